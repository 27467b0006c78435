//! What must hold whatever a chip is sent: which ways its life may go and by which command, that counters never go
//! back, that no order is obeyed without the right to give it, and that no key is ever told.

use crate::support::{CLOUD_KEY, token_id, token_keys};
use protocol::applet::{
    ChipStatus, CodeLog, Lifecycle, Order, PasscodeState, PaymentCode, RemoveToken, Slot, StateChange, TokenStatuses,
};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Every status word but `6F00`: here the flash fails only together with the power.
const STATUS_WORDS: [u16; 27] = [
    0x9000, 0x6300, 0x63C0, 0x63C1, 0x63C2, 0x63C3, 0x63C4, 0x63C5, 0x6700, 0x6881, 0x6882, 0x6982, 0x6983, 0x6985,
    0x6A80, 0x6A82, 0x6A84, 0x6A86, 0x6A88, 0x6D00, 0x6E00, 0x9301, 0x9302, 0x9303, 0x9304, 0x9305, 0x9306,
];

/// What runs have shown, added up.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) commands: u64,
    /// Of them, through a channel.
    pub(crate) secured: u64,
    pub(crate) channels: u64,
    pub(crate) power_losses: u64,
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) ways: BTreeMap<(u8, u8), u64>,
    pub(crate) stages: BTreeSet<u8>,
    /// Instruction, order, stage of life, answer: what a run showed that none before did.
    pub(crate) features: HashSet<(u8, u8, u8, u16)>,
}

impl Seen {
    /// Adds a run's; says whether it showed something new.
    #[allow(dead_code, reason = "libFuzzer looks for what is new by itself")]
    pub(crate) fn add(&mut self, run: Self) -> bool {
        let before = self.features.len();
        self.commands += run.commands;
        self.secured += run.secured;
        self.channels += run.channels;
        self.power_losses += run.power_losses;
        run.statuses.into_iter().for_each(|(status, count)| *self.statuses.entry(status).or_default() += count);
        run.ways.into_iter().for_each(|(way, count)| *self.ways.entry(way).or_default() += count);
        self.stages.extend(run.stages);
        self.features.extend(run.features);
        self.features.len() > before
    }
}

/// What anyone may know of the chip.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) lifecycle: Lifecycle,
    passcode: PasscodeState,
    tries: u8,
    default_slot: Option<Slot>,
}

impl Look {
    pub(crate) fn of(status: &[u8]) -> Self {
        let status = ChipStatus::decode(status).expect("the status is well-formed");
        Self {
            lifecycle: status.lifecycle,
            passcode: status.passcode,
            tries: status.tries_left,
            default_slot: status.default_slot,
        }
    }
}

/// Who a command spoke for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// Anyone.
    Nobody,
    /// The domain of a key set; whether its commands are encrypted, or signed at all.
    Keys { version: u8, signed: bool, encrypted: bool },
}

/// One command, without its secure messaging, and its answer; none where power was lost over it.
pub(crate) struct Exchange<'a> {
    pub(crate) speaker: Speaker,
    pub(crate) command: &'a [u8],
    pub(crate) answer: Option<(&'a [u8], u16)>,
}

impl Exchange<'_> {
    fn instruction(&self) -> u8 {
        self.command.get(1).copied().unwrap_or(0)
    }

    /// It was obeyed, or power was lost and it may have been.
    fn may_be_done(&self) -> bool {
        self.answer.is_none_or(|(_, status)| status == 0x9000)
    }

    fn data(&self) -> &[u8] {
        match self.command.get(4..) {
            Some([bytes, data @ ..]) if data.len() >= usize::from(*bytes) => &data[..usize::from(*bytes)],
            _ => &[],
        }
    }

    /// The order in it, where it may have been obeyed.
    fn order(&self) -> Option<Order<'_>> {
        if self.instruction() == 0xE2 && self.may_be_done() { Order::decode(self.data()).ok() } else { None }
    }
}

/// The slot whose domain has key sets of this version; 0 for the root.
const fn domain_of(version: u8) -> usize {
    match version {
        0x60..=0x7F => 1 + (version as usize - 0x60) / 8,
        _ => 0,
    }
}

/// What is known of the token in a slot.
#[derive(Clone, Default)]
struct Known {
    token_id: Option<[u8; 16]>,
    counter: u32,
    stamp: Option<(u32, u8)>,
    digits: HashSet<String>,
}

/// Looks at every exchange of one chip.
pub(crate) struct Watch {
    pub(crate) seen: Seen,
    pub(crate) look: Look,
    tokens: [Known; 4],
    /// Slots that have keys of their own.
    pub(crate) own_keys: BTreeSet<usize>,
    sequences: [u32; 5],
    pub(crate) secrets: Vec<Vec<u8>>,
    all_told: Vec<u8>,
}

impl Watch {
    pub(crate) fn new(look: Look, own_keys: BTreeSet<usize>) -> Self {
        let secrets = (1..=4).flat_map(token_keys).chain([CLOUD_KEY.to_vec()]).collect();
        let seen = Seen { stages: BTreeSet::from([look.lifecycle.to_byte()]), ..Seen::default() };
        // Where a stage has a token it is this one; where it has none, its counters begin at nothing anyway.
        let tokens = [1, 2, 3, 4].map(|slot| Known { token_id: Some(token_id(slot)), ..Known::default() });
        Self { seen, look, tokens, own_keys, sequences: [0; 5], secrets, all_told: Vec::new() }
    }

    /// Bytes that left the chip.
    pub(crate) fn told(&mut self, bytes: &[u8]) {
        self.all_told.extend(bytes);
        for secret in &self.secrets {
            let told = bytes.windows(16).any(|window| window[0] == secret[0] && window == &secret[..16]);
            assert!(!told, "a key was told: {bytes:02X?}");
        }
    }

    /// A secret that was found only in the end.
    pub(crate) fn was_never_told(&self, secret: &[u8]) {
        assert!(!self.all_told.windows(secret.len()).any(|window| window == secret), "the device key was told");
    }

    /// One command, and how the chip stands after it.
    pub(crate) fn exchanged(&mut self, exchange: &Exchange<'_>, after: Look) {
        let before = self.look;
        self.count(exchange);
        self.rights_are_kept(exchange);
        stage_allows(before.lifecycle, exchange);
        if let Some((data, 0x9000)) = exchange.answer {
            self.told(data);
            self.counters_go_on(exchange, data);
        }
        self.life_goes_its_ways(exchange, before.lifecycle, after.lifecycle);
        passcode_is_kept(exchange, before, after);
        self.follow_tokens(exchange);
        self.look = after;
    }

    fn count(&mut self, exchange: &Exchange<'_>) {
        self.seen.commands += 1;
        self.seen.secured += u64::from(exchange.speaker != Speaker::Nobody);
        let Some((_, status)) = exchange.answer else { return };
        assert!(STATUS_WORDS.contains(&status), "status {status:04X}");
        *self.seen.statuses.entry(status).or_default() += 1;
        let template = if exchange.instruction() == 0xE2 { exchange.data().first().copied().unwrap_or(0) } else { 0 };
        let life = self.look.lifecycle.to_byte();
        self.seen.features.insert((exchange.instruction(), template, life, status));
    }

    /// Orders and what is not public, for whom it is meant only (3.4, 3.9).
    fn rights_are_kept(&self, exchange: &Exchange<'_>) {
        let Some((_, 0x9000)) = exchange.answer else { return };
        let p1_p2 = exchange.command.get(2..4).map_or(0, |p| u16::from_be_bytes([p[0], p[1]]));
        let (signed, encrypted, domain) = match exchange.speaker {
            Speaker::Nobody => (false, false, 0),
            Speaker::Keys { version, signed, encrypted } => (signed, encrypted, domain_of(version)),
        };
        match exchange.instruction() {
            0xD8 | 0x46 | 0xE2 => assert!(encrypted, "obeyed without the right: {:02X?}", exchange.command),
            0xCA if p1_p2 == 0xDF23 || p1_p2 & 0xFFF0 == 0xDF40 => assert!(signed, "told to anybody"),
            _ => {}
        }
        if exchange.instruction() == 0xD8 {
            let target = domain_of(exchange.data()[0]);
            let new = domain == 0 && !self.own_keys.contains(&target);
            assert!(target == domain || new, "keys of domain {target} put by {domain}");
        }
        let owner = |slot: Slot| {
            if self.own_keys.contains(&usize::from(slot.number())) { usize::from(slot.number()) } else { 0 }
        };
        let may = match exchange.order() {
            None => true,
            Some(Order::InstallToken(order)) => owner(order.slot) == domain,
            Some(Order::Sync(order)) => owner(order.slot) == domain,
            Some(Order::SetRules(order)) => owner(order.slot) == domain,
            Some(Order::RemoveToken(order)) => domain == 0 || owner(order.slot) == domain,
            Some(_) => domain == 0,
        };
        assert!(may, "domain {domain} may not: {:02X?}", exchange.command);
    }

    fn life_goes_its_ways(&mut self, exchange: &Exchange<'_>, from: Lifecycle, to: Lifecycle) {
        use Lifecycle::{Blank, Bound, Ready, Suspended, Terminated};
        if from == to {
            return;
        }
        self.seen.stages.insert(to.to_byte());
        *self.seen.ways.entry((from.to_byte(), to.to_byte())).or_default() += 1;
        let order = exchange.order();
        let may = match (from, to) {
            (Terminated, _) => false,
            (_, Terminated) => matches!(order, Some(Order::SetState(StateChange::Terminate))),
            (Blank, Ready) => matches!(order, Some(Order::FactoryData(_))),
            (Ready, Bound) => matches!(order, Some(Order::InstallToken(_))),
            (Bound | Suspended, Ready) => matches!(order, Some(Order::RemoveToken(_))),
            (Bound, Suspended) => matches!(order, Some(Order::SetState(StateChange::Suspend))),
            (Suspended, Bound) => matches!(order, Some(Order::SetState(StateChange::Resume))),
            _ => false,
        };
        let proven = matches!(exchange.speaker, Speaker::Keys { encrypted: true, .. });
        assert!(may && proven, "{from:?} became {to:?} by {:02X?}", exchange.command);
    }

    /// Codes are each newer than the one before, and so is every counter the chip tells.
    fn counters_go_on(&mut self, exchange: &Exchange<'_>, data: &[u8]) {
        let p2 = exchange.command[3];
        match (exchange.instruction(), exchange.command[2]) {
            (0x50, _) => {
                let (domain, sequence) = (domain_of(data[10]), &data[data.len() - 3..]);
                let sequence = u32::from_be_bytes([0, sequence[0], sequence[1], sequence[2]]);
                assert!(sequence >= self.sequences[domain], "the channel's counter went back");
                self.sequences[domain] = sequence;
            }
            (0x40, _) => {
                assert_eq!(self.look.lifecycle, Lifecycle::Bound, "a code of a chip that is not bound");
                let slot = Slot::new(p2).or(self.look.default_slot).expect("a code has a token");
                let code = PaymentCode::decode(data).expect("the code is well-formed");
                let known = &mut self.tokens[slot.index()];
                let stamp = (code.stamp.step(), code.stamp.sequence());
                assert!(known.stamp.is_none_or(|last| stamp > last), "a code no newer than the last");
                known.stamp = Some(stamp);
                if let Some(digits) = code.digits {
                    assert!(known.digits.insert(digits.into()), "a code was made twice");
                }
                known.counter += 1;
                assert!(!code.verified || self.look.passcode == PasscodeState::Open, "verified without a passcode");
            }
            (0xCA, 0xDF) if p2 == 0x23 => {
                for token in TokenStatuses::decode(data).expect("the object is well-formed") {
                    let known = &mut self.tokens[token.slot.index()];
                    assert!(token.transaction_counter >= known.counter, "a transaction counter went back");
                    known.counter = token.transaction_counter;
                    let stamp = token.last_stamp.map(|stamp| (stamp.step(), stamp.sequence()));
                    assert!(stamp >= known.stamp, "a last stamp went back");
                    known.stamp = stamp;
                }
            }
            (0xCA, 0xDF) if p2 & 0xF0 == 0x40 => {
                let slot = Slot::new(p2 & 0x0F).unwrap();
                let log = CodeLog::decode(slot, data).expect("the log is well-formed");
                let stamps: Vec<_> = log.codes().map(|(_, code)| code.stamp).collect();
                assert!(stamps.is_sorted_by(|newer, older| newer > older), "the log is out of order");
                let newest = stamps.first().map(|stamp| (stamp.step(), stamp.sequence()));
                assert!(newest >= self.tokens[slot.index()].stamp, "the newest code is not in the log");
            }
            _ => {}
        }
    }

    /// Which tokens are there: only a token that is new begins its counters anew.
    fn follow_tokens(&mut self, exchange: &Exchange<'_>) {
        let cut = exchange.answer.is_none();
        match exchange.order() {
            Some(Order::InstallToken(order)) => {
                let known = &mut self.tokens[order.slot.index()];
                if cut || known.token_id != Some(*order.token_id) {
                    *known = Known { token_id: (!cut).then_some(*order.token_id), ..Known::default() };
                }
            }
            Some(Order::RemoveToken(RemoveToken { slot })) => self.tokens[slot.index()] = Known::default(),
            _ => {}
        }
    }
}

/// What is obeyed is what a chip in this stage of its life obeys: the second table of the specification's section 2.
fn stage_allows(life: Lifecycle, exchange: &Exchange<'_>) {
    use Lifecycle::{Blank, Bound, Ready, Suspended, Terminated};
    let Some((_, 0x9000)) = exchange.answer else { return };
    let asks_only = exchange.instruction() == 0x20 && exchange.data().is_empty();
    let may = match exchange.instruction() {
        0xCA if matches!(exchange.command, [_, _, 0x9F, 0x70, ..] | [_, _, 0xDF, 0x20..=0x22, ..]) => true,
        0xA4 | 0x30 | 0x4E => true,
        0xCA | 0x50 | 0x82 | 0xD8 => life != Terminated,
        0x20 if asks_only => life != Terminated,
        0x20 | 0x24 | 0x40 | 0x48 => life == Bound,
        0x46 => life == Blank,
        0x42 => matches!(life, Ready | Bound | Suspended),
        0xE2 => match exchange.order().expect("an order that was obeyed is well-formed") {
            Order::FactoryData(_) | Order::StoreCertificate(_) => life == Blank,
            Order::InstallToken(_) => matches!(life, Ready | Bound),
            Order::Sync(_) => life == Bound,
            Order::RemoveToken(_) => matches!(life, Ready | Bound | Suspended),
            Order::SetState(StateChange::Terminate) => life != Terminated,
            Order::SetState(_) | Order::Passcode(_) | Order::SetRules(_) => matches!(life, Bound | Suspended),
        },
        _ => false,
    };
    assert!(may, "obeyed by a chip that is {life:?}: {:02X?}", exchange.command);
}

/// Tries come back, and a session opens, only by the right passcode or the cloud's help.
fn passcode_is_kept(exchange: &Exchange<'_>, before: Look, after: Look) {
    let entered = matches!(exchange.instruction(), 0x20 | 0x24) && exchange.may_be_done();
    if after.tries > before.tries {
        let helped = matches!(
            exchange.order(),
            Some(Order::Passcode(_) | Order::RemoveToken(_) | Order::SetState(StateChange::Terminate))
        );
        assert!(helped || (entered && before.tries > 0), "tries came back by {:02X?}", exchange.command);
    }
    if after.passcode == PasscodeState::Open && before.passcode != PasscodeState::Open {
        assert!(entered && before.passcode == PasscodeState::Closed, "a session opened by itself");
    }
}
