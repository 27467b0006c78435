//! A chip under an arbitrary sequence of commands, in the clear and through its channels, with power cut now and
//! then. The one who sends them holds every key, so that also what only the cloud may send is reached, and things
//! inside it are wrong. What must hold is in `watch`. The fuzz target, the bounded test and the campaign all call this.

mod input;
mod orders;
mod watch;

pub(crate) use watch::Seen;

use crate::support::{
    ANCHOR, CLOUD_KEY, CLOUD_KEY_VERSION, Cloud, Flash, HOST_CHALLENGE, TRANSPORT_KEY, TestChip, blank_flash,
    bound_flash, install_order, open, ready_flash, send, token_id, token_keys, try_open,
};
use chip::hal::Flash as _;
use input::Input;
use protocol::apdu::Command;
use protocol::applet::{
    CertificatePart, CodeForm, CodeRequest, Lifecycle, Order, Scheme, StoreCertificate, generate_key, initialize_update,
};
use protocol::scp03::{KeySet, Level, host};
use std::collections::BTreeSet;
use watch::{Exchange, Look, Speaker, Watch};

const DOMAIN_KEY: [u8; 16] = [0xD2; 16];
const DOMAIN_VERSION: u8 = 0x68;
const INSTRUCTIONS: [u8; 15] =
    [0xA4, 0x50, 0x82, 0xD8, 0xE2, 0xCA, 0x20, 0x24, 0x30, 0x40, 0x42, 0x46, 0x48, 0x4E, 0xFF];
/// How much more is tried on a terminated chip.
const STEPS_AFTER_THE_END: u32 = 12;

/// The key that stands for all three of the key set of this version, wherever one is put here.
fn key_of(version: u8) -> Vec<u8> {
    match version {
        0xFF => TRANSPORT_KEY.to_vec(),
        CLOUD_KEY_VERSION => CLOUD_KEY.to_vec(),
        DOMAIN_VERSION => DOMAIN_KEY.to_vec(),
        // Every other one is of AES-256.
        _ => vec![version ^ 0xA5; if version % 2 == 1 { 32 } else { 16 }],
    }
}

/// An open channel.
struct Channel {
    cloud: Cloud,
    keys: KeySet,
    level: u8,
}

impl Channel {
    fn speaker(&self) -> Speaker {
        let (signed, encrypted) = (self.level & 0x01 != 0, self.level & 0x02 != 0);
        Speaker::Keys { version: self.keys.version(), signed, encrypted }
    }
}

struct World {
    chip: Option<TestChip>,
    channel: Option<Channel>,
    watch: Watch,
    codes_asked: u64,
}

fn look(chip: &mut TestChip) -> Look {
    let (data, status) = send(chip, &[0x00, 0xCA, 0xDF, 0x22]);
    assert_eq!(status, 0x9000);
    let look = Look::of(&data);
    let (data, status) = send(chip, &[0x00, 0xCA, 0x9F, 0x70]);
    assert_eq!((&data[..], status), (&[0x9F, 0x70, 0x01, look.lifecycle.to_byte()][..], 0x9000));
    look
}

/// The versions of the key sets there are.
fn versions(chip: &mut TestChip) -> BTreeSet<u8> {
    let (data, _) = send(chip, &[0x00, 0xCA, 0x00, 0xE0]);
    data.get(2..).unwrap_or_default().chunks(6).map(|key| key[3]).collect()
}

/// The slots among them.
fn own_keys(versions: &BTreeSet<u8>) -> BTreeSet<usize> {
    versions.iter().filter(|version| (0x60..0x80).contains(*version)).map(|it| 1 + usize::from(it - 0x60) / 8).collect()
}

impl World {
    fn new(flash: Flash) -> Self {
        let mut chip = open(flash);
        let (look, versions) = (look(&mut chip), versions(&mut chip));
        let mut watch = Watch::new(look, own_keys(&versions));
        let secret = orders::VERSIONS.iter().filter(|version| **version != 0xFF).map(|version| key_of(*version));
        watch.secrets.extend(secret);
        Self { chip: Some(chip), channel: None, watch, codes_asked: 0 }
    }

    fn chip(&mut self) -> &mut TestChip {
        self.chip.as_mut().unwrap()
    }

    /// After a command, or the power lost over it.
    fn watch(&mut self, speaker: Speaker, command: &[u8], answer: Option<(&[u8], u16)>) {
        let chip = self.chip.as_mut().unwrap();
        let after = look(chip);
        self.watch.exchanged(&Exchange { speaker, command, answer }, after);
        if matches!(command, [_, 0xD8 | 0xE2, ..]) {
            self.watch.own_keys = own_keys(&versions(chip));
        }
    }

    /// Sends a command in the clear.
    fn clear(&mut self, command: &[u8]) -> (Vec<u8>, u16) {
        let (data, status) = send(self.chip(), command);
        self.watch(Speaker::Nobody, command, Some((&data, status)));
        (data, status)
    }

    /// Opens a channel, or tries to.
    fn open(&mut self, version: u8, level: u8, key: &[u8], challenge_bytes: usize) {
        self.channel = None;
        let challenge = [HOST_CHALLENGE, HOST_CHALLENGE].concat();
        let challenge = &challenge[..challenge_bytes];
        let mut buffer = [0; 64];
        let command = initialize_update(version, challenge).encode(&mut buffer).unwrap().to_vec();
        let (data, status) = self.clear(&command);
        if status != 0x9000 {
            return;
        }
        let keys = KeySet::from_bytes(data[10], key, key, key).unwrap();
        let level_of = Level::from_byte(level).unwrap();
        let Ok(mut session) = host::Session::open(&keys, level_of, challenge, &data) else {
            // Without the key it is a guess, which must count as one.
            let guess = [&[0x84, 0x82, level, 0x00, 0x10], &[0x11; 16][..]].concat();
            assert_ne!(self.clear(&guess).1, 0x9000);
            return;
        };
        let command = session.external_authenticate(&mut buffer).unwrap().to_vec();
        if self.clear(&command).1 == 0x9000 {
            self.watch.seen.channels += 1;
            self.channel = Some(Channel { cloud: Cloud::of(session), keys, level });
        }
    }

    /// Opens the channel of one of the key sets there are, with its key; mostly at the level that everything needs.
    fn open_rightly(&mut self, input: &mut Input<'_>) {
        let versions: Vec<_> = versions(self.chip()).into_iter().collect();
        if versions.is_empty() {
            return;
        }
        let version = input.one_of(&versions);
        let level = input.one_of(&[0x33, 0x33, 0x33, 0x33, 0x13, 0x03, 0x01, 0x11]);
        let challenge_bytes = input.one_of(&[8, 8, 16]);
        self.open(version, level, &key_of(version), challenge_bytes);
    }

    /// Somebody without keys tries, and goes on trying where the chip holds back.
    fn guess(&mut self, input: &mut Input<'_>) {
        let version = input.one_of(&[0x00, DOMAIN_VERSION, 0x70]);
        for _ in 0..input.byte() % 64 {
            self.open(version, 0x33, &[0x99; 16], 8);
        }
    }

    /// One command of the input, as it stands there.
    fn command(input: &mut Input<'_>) -> Vec<u8> {
        let how = input.byte();
        if how & 0xE0 == 0xE0 {
            return input.bytes(usize::from(how & 0x1F) * 9).to_vec();
        }
        let class = [0x00, 0x80, 0x84, 0x04][usize::from(how & 3)];
        let instruction = input.one_of(&INSTRUCTIONS);
        let mut command = vec![class, instruction, input.byte(), input.byte()];
        let length = usize::from(input.byte());
        let data = input.bytes(length.min(223));
        if !data.is_empty() {
            command.push(data.len() as u8);
            command.extend(data);
        }
        command
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 32 {
            0 => {
                self.channel = None;
                let flash = self.chip.take().unwrap().into_parts().0;
                self.chip = Some(open(flash));
                self.came_back();
            }
            1 => self.power_fails(input),
            2..=4 => {
                let (version, key) = input.one_of(&[
                    (CLOUD_KEY_VERSION, CLOUD_KEY),
                    (0xFF, TRANSPORT_KEY),
                    (DOMAIN_VERSION, DOMAIN_KEY),
                    (CLOUD_KEY_VERSION, DOMAIN_KEY),
                ]);
                let level = input.one_of(&[0x33, 0x33, 0x03, 0x01, 0x13, 0x11, 0x00, 0x33]);
                self.open(version, level, &key, 8);
            }
            5..=8 => {
                let command = Self::command(input);
                self.secured(&command);
            }
            9 => self.ask_for_code(input),
            10..=15 => {
                let command = Self::command(input);
                self.clear(&command);
            }
            16 if input.once_in(24) => self.guess(input),
            16 => self.open_rightly(input),
            17..=25 => {
                let command = self.order(input);
                self.secured(&command);
            }
            26 => self.forged(input),
            27 | 28 => {
                self.codes_asked += 1;
                let mut command = orders::code(input, self.codes_asked);
                self.now_and_then_spoil(input, &mut command);
                // A wearer in a hurry presses more than once.
                for _ in 0..if input.once_in(16) { 6 } else { 1 } {
                    self.clear(&command);
                }
            }
            29 => {
                let command = orders::read(input);
                self.clear(&command);
            }
            _ => {
                let mut command = orders::of_the_wearer(input);
                self.now_and_then_spoil(input, &mut command);
                self.clear(&command);
            }
        }
    }

    fn now_and_then_spoil(&self, input: &mut Input<'_>, command: &mut Vec<u8>) {
        if input.once_in(6) {
            orders::spoil(input, command);
        }
    }

    /// What the holder of the keys sends, right or nearly; a channel is opened for it where none is.
    fn order(&mut self, input: &mut Input<'_>) -> Vec<u8> {
        if self.channel.is_none() {
            self.open_rightly(input);
        }
        let Some(channel) = &self.channel else { return orders::read(input) };
        let mut command = orders::right(input, &channel.keys, key_of);
        self.now_and_then_spoil(input, &mut command);
        command
    }

    fn secured(&mut self, command: &[u8]) {
        let Some(mut channel) = self.channel.take() else { return };
        let Ok(parsed) = Command::parse(command) else { return };
        if parsed.class.is_secured() || parsed.class.channel() != 0 || parsed.class.is_chained() {
            return;
        }
        let Some((wrapped, ticket)) = channel.cloud.wrap(command) else { return };
        let (data, status) = send(self.chip(), &wrapped);
        self.watch.told(&data);
        let (data, status) = channel.cloud.unwrap(ticket, &data, status).unwrap_or((Vec::new(), status));
        self.watch(channel.speaker(), command, Some((&data, status)));
        // SELECT and a new handshake end the session: its host end is of no more use.
        if !matches!(parsed.instruction, 0xA4 | 0x50 | 0x82) && status != 0x6982 && status != 0x6700 {
            self.channel = Some(channel);
        }
        // What was installed or synced is looked at, so that a counter that went back is seen at once.
        if status == 0x9000 && matches!(command, [_, 0xE2, _, _, _, 0xE1 | 0xE2, ..]) {
            self.secured(&[0x80, 0xCA, 0xDF, 0x23, 0x00]);
        }
    }

    /// A command of the cloud with a bit changed on its way: it is nobody's any more, and ends the channel.
    fn forged(&mut self, input: &mut Input<'_>) {
        let command = self.order(input);
        let Some(mut channel) = self.channel.take() else { return };
        let Some((mut wrapped, _)) = channel.cloud.wrap(&command) else { return };
        // What stands behind the MAC (Le) is nobody's to protect.
        let signed = wrapped.get(4).map_or(4, |data_bytes| 5 + usize::from(*data_bytes));
        let at = usize::from(input.byte()) % signed.min(wrapped.len());
        wrapped[at] ^= 1 << (input.byte() % 8);
        let (data, status) = send(self.chip(), &wrapped);
        let level_asks = channel.level & 0x01 != 0;
        assert!(!level_asks || status != 0x9000 || wrapped[0] & 0x04 == 0, "obeyed: {wrapped:02X?}");
        let speaker = if level_asks { Speaker::Nobody } else { channel.speaker() };
        // Without MACs what was changed is what was sent.
        self.watch(speaker, &wrapped, Some((&data, status)));
    }

    fn ask_for_code(&mut self, input: &mut Input<'_>) {
        let unix_seconds = ANCHOR + u64::from(input.byte()) * 30 + u64::from(input.byte()) * 7_000;
        let request = CodeRequest { form: CodeForm::Both, slot: None, unix_seconds };
        let command = request.encode(&mut [0; 32]).unwrap().to_vec();
        self.clear(&command);
    }

    /// Power was away, which closes the session and changes nothing else.
    fn came_back(&mut self) {
        self.watch.seen.power_losses += 1;
        self.watch(Speaker::Nobody, &[], None);
    }

    /// Power is lost within the next commands.
    fn power_fails(&mut self, input: &mut Input<'_>) {
        self.channel = None;
        let mut flash: Flash = self.chip.take().unwrap().into_parts().0;
        flash.cut_after(u64::from(input.byte() % 64), u64::from(input.byte()));
        let mut cut_over: (Speaker, Vec<u8>) = (Speaker::Nobody, Vec::new());
        let mut flash = match try_open(flash) {
            Ok(mut chip) => {
                cut_over = Self::last_words(&mut chip, input);
                chip.into_parts().0
            }
            Err((_, flash)) => flash,
        };
        flash.power_on();
        self.chip = Some(open(flash));
        self.watch.seen.power_losses += 1;
        self.watch(cut_over.0, &cut_over.1, None);
    }

    /// What is sent to a chip whose power goes.
    fn last_words(chip: &mut TestChip, input: &mut Input<'_>) -> (Speaker, Vec<u8>) {
        let right = input.once_in(2);
        let version = *versions(chip).iter().next_back().unwrap_or(&0);
        let key = key_of(version);
        let Ok(keys) = KeySet::from_bytes(version, &key, &key, &key) else { return (Speaker::Nobody, Vec::new()) };
        let cloud = Cloud::open(chip, version, 0x33, &key).ok();
        let command = if right { orders::right(input, &keys, key_of) } else { Self::command(input) };
        match cloud {
            Some(mut cloud) if Command::parse(&command).is_ok_and(|command| !command.class.is_secured()) => {
                let _ = cloud.try_send(chip, &command);
                (Channel { cloud, keys, level: 0x33 }.speaker(), command)
            }
            _ => {
                send(chip, &command);
                (Speaker::Nobody, command)
            }
        }
    }

    /// The last look: a chip whose life ended holds none of the keys any more, and the device key, which nobody knows
    /// but the flash, was never told.
    fn end(mut self) -> Seen {
        let life = self.watch.look.lifecycle;
        let (device_key, status) = send(self.chip(), &[0x00, 0xCA, 0xDF, 0x24]);
        let flash = self.chip.take().unwrap().into_parts().0;
        assert_eq!(flash.broken_rule(), None);
        if life == Lifecycle::Terminated {
            assert!(!self.watch.secrets.iter().any(|secret| flash.contains(&secret[..16])), "a key is left");
        }
        if status == 0x9000 {
            let bytes: Vec<u8> = (0..Flash::PAGES * Flash::PAGE_WORDS)
                .flat_map(|word| flash.read(word).unwrap().to_le_bytes())
                .collect();
            // The secret half stands before the public one.
            let public = &device_key[device_key.len() - 65..];
            let at = bytes.windows(65).position(|window| window == public).unwrap();
            self.watch.was_never_told(&bytes[at - 32..at]);
        }
        self.watch.seen
    }
}

/// A blank chip with a device key, and no room for one more part of its chain.
fn crowded_flash() -> Flash {
    let mut chip = open(blank_flash());
    let mut factory = Cloud::open(&mut chip, 0xFF, 0x33, &TRANSPORT_KEY).unwrap();
    factory.send_command(&mut chip, &generate_key(Scheme::P256));
    for part in CertificatePart::all() {
        let order = Order::StoreCertificate(StoreCertificate { part, bytes: &[0xCE; 200] });
        if factory.order(&mut chip, &order) != 0x9000 {
            break;
        }
    }
    chip.into_parts().0
}

/// Chips to begin with: blank; ready; bound; bound, with a domain that has a token in slot 2 and one without in slot 3;
/// blank and full.
pub(crate) fn stages() -> [Flash; 5] {
    let mut chip = open(bound_flash());
    for version in [DOMAIN_VERSION, 0x70] {
        let mut cloud = Cloud::open(&mut chip, CLOUD_KEY_VERSION, 0x33, &CLOUD_KEY).unwrap();
        assert_eq!(cloud.put_key(&mut chip, &CLOUD_KEY, 0x00, version, &key_of(version)), 0x9000);
    }
    let ([pay, mask], id) = (token_keys(2), token_id(2));
    let mut cloud = Cloud::open(&mut chip, DOMAIN_VERSION, 0x33, &DOMAIN_KEY).unwrap();
    assert_eq!(cloud.order(&mut chip, &install_order(2, &id, &pay, &mask)), 0x9000);
    [blank_flash(), ready_flash(), bound_flash(), chip.into_parts().0, crowded_flash()]
}

/// Runs the input as a sequence of commands on a chip that begins in one of these stages of its life. Gives what was
/// seen.
pub(crate) fn run(stages: &[Flash], input: &[u8]) -> Seen {
    let mut input = Input::new(input);
    let flash = stages[usize::from(input.byte()) % stages.len()].clone();
    let mut world = World::new(flash);
    let mut left_after_the_end = STEPS_AFTER_THE_END;
    while !input.is_at_its_end() && left_after_the_end > 0 {
        world.step(&mut input);
        left_after_the_end -= u32::from(world.watch.look.lifecycle == Lifecycle::Terminated);
    }
    world.end()
}
