//! The attacker in the phone: everything a relay can do to a message that it can neither read nor make.

use protocol::applet::{self, CodeForm, CodeRequest, Passcode, PasscodeChange, PaymentCode};
use protocol::script::{MAX_MESSAGE_BYTES, Message, Outcome, ResultsWriter, ScriptWriter, SessionId};

/// Messages it keeps to use again.
const MEMORY: usize = 60;
/// The statuses it likes to forge: success, and every refusal that the cloud tells apart from others.
pub(super) const STATUSES: [u16; 8] = [0x9000, 0x9305, 0x6985, 0x6982, 0x6A88, 0x6988, 0x6F00, 0x6300];

/// Where a message is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    ToDevice,
    ToCloud,
}

/// What is done to one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attack {
    /// It never arrives.
    Drop,
    /// It arrives twice.
    Repeat,
    /// It arrives after the one that follows it.
    Overtaken,
    /// Another session's message of its way arrives in its place.
    Swap,
    /// An older message of its way arrives before it.
    Replay,
    /// Its first so many bytes arrive.
    Truncate(usize),
    /// The bits of this mask are flipped in one byte.
    Alter(usize, u8),
    /// Results that say this status, with no MAC.
    ForgeStatus(u16),
    /// Results that say all is done, with a MAC that is made up.
    ForgeSuccess,
    /// The last word of the cloud, made up: done or failed.
    ForgeOutcome(bool),
    /// A script made up, whose channel cannot open: it closes the one there is, and costs the chip an attempt.
    ForgeScript,
    /// A script made up that asks the chip for a code, or tries a passcode.
    AskForCode,
}

/// The attacker.
pub(super) enum Attacker {
    /// There is none.
    Nobody,
    /// Does something to so many of a thousand messages.
    Any(u32),
    /// Does one thing to one message, counted from 0.
    Once { at: u64, attack: Attack },
}

/// The attacker, and what it knows.
pub(super) struct Relay {
    pub(super) attacker: Attacker,
    /// Messages that have crossed.
    pub(super) crossed: u64,
    /// What was done.
    pub(super) attacks: u64,
    /// How long each message was, in the order they crossed; kept where somebody counts.
    pub(super) lengths: Option<Vec<(Way, usize)>>,
    /// A code that a chip has made for it, or a passcode it has tried or set: what should never be.
    pub(super) learned: Option<String>,
    seen: Vec<(Way, u64, Vec<u8>)>,
    held: Option<(Way, u64, Vec<u8>)>,
}

impl Relay {
    pub(super) fn new(attacker: Attacker) -> Self {
        Self { attacker, crossed: 0, attacks: 0, lengths: None, learned: None, seen: Vec::new(), held: None }
    }

    /// What arrives in place of this message of a session.
    pub(super) fn carry(&mut self, way: Way, of: u64, message: &[u8], random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
        let number = self.crossed;
        self.crossed += 1;
        if self.learned.is_none() && way == Way::ToCloud {
            self.learned = learned(message);
        }
        if let Some(lengths) = &mut self.lengths {
            lengths.push((way, message.len()));
        }
        let attack = match self.attacker {
            Attacker::Nobody => None,
            Attacker::Any(rate) => (random.u32(0..1_000) < rate).then(|| any(message.len(), random)),
            Attacker::Once { at, attack } => (at == number).then_some(attack),
        };
        let mut arrives = match attack {
            Some(attack) => {
                self.attacks += 1;
                self.put(attack, way, of, message, random)
            }
            None => vec![message.to_vec()],
        };
        if attack != Some(Attack::Overtaken)
            && let Some((_, _, held)) = self.held.take_if(|(held, session, _)| (*held, *session) == (way, of))
        {
            arrives.push(held);
        }
        if self.seen.len() == MEMORY {
            self.seen.remove(random.usize(..MEMORY));
        }
        self.seen.push((way, of, message.to_vec()));
        arrives
    }

    fn put(&mut self, attack: Attack, way: Way, of: u64, message: &[u8], random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
        let whole = message.to_vec();
        match attack {
            Attack::Drop => Vec::new(),
            Attack::Repeat => vec![whole.clone(), whole],
            Attack::Overtaken => {
                self.held = Some((way, of, whole));
                Vec::new()
            }
            Attack::Swap => {
                let others = self.seen.iter().filter(|(seen, session, _)| *seen == way && *session != of);
                let others: Vec<_> = others.map(|(_, _, other)| other.clone()).collect();
                random.choice(others).map_or_else(Vec::new, |other| vec![other])
            }
            Attack::Replay => {
                let older = self.seen.iter().filter(|(seen, ..)| *seen == way).map(|(_, _, older)| older.clone());
                let older: Vec<_> = older.collect();
                random.choice(older).into_iter().chain([whole]).collect()
            }
            Attack::Truncate(length) => vec![message.get(..length).unwrap_or(message).to_vec()],
            Attack::Alter(at, mask) => {
                let mut altered = whole;
                if let Some(byte) = altered.get_mut(at) {
                    *byte ^= mask;
                }
                vec![altered]
            }
            Attack::ForgeStatus(status) => forged(message, |answers| {
                let at = answers.len().saturating_sub(1);
                answers.truncate(at);
                answers.push(status.to_be_bytes().to_vec());
            }),
            Attack::ForgeSuccess => {
                let mut mac = [0; 8];
                random.fill(&mut mac);
                forged(message, |answers| *answers = vec![vec![0x90, 0x00], [&mac[..], &[0x90, 0x00]].concat()])
            }
            Attack::ForgeOutcome(done) => outcome(message, done).into_iter().chain([whole]).collect(),
            Attack::ForgeScript => script(message, random).into_iter().chain([whole]).collect(),
            Attack::AskForCode => asking(message, random).into_iter().chain([whole]).collect(),
        }
    }
}

fn any(length: usize, random: &mut fastrand::Rng) -> Attack {
    match random.u32(0..14) {
        0 | 1 => Attack::Drop,
        2 => Attack::Repeat,
        3 => Attack::Overtaken,
        4 => Attack::Swap,
        5 => Attack::Replay,
        6 => Attack::Truncate(random.usize(..length.max(1))),
        7 | 8 => Attack::Alter(random.usize(..length.max(1)), 1 << random.u32(0..8)),
        9 => Attack::ForgeStatus(random.choice(STATUSES).unwrap_or(0x6F00)),
        10 => Attack::ForgeSuccess,
        11 => Attack::ForgeOutcome(random.bool()),
        12 => Attack::AskForCode,
        _ => Attack::ForgeScript,
    }
}

/// Results like these with other answers; the message itself where it holds none.
fn forged(message: &[u8], change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<Vec<u8>> {
    let Ok(Message::Results(results)) = Message::decode(message) else { return vec![message.to_vec()] };
    let mut answers = results.responses().map(|answer| answer.unwrap_or_default().to_vec()).collect();
    change(&mut answers);
    let mut buffer = [0; MAX_MESSAGE_BYTES];
    let Ok(mut writer) = ResultsWriter::new(&mut buffer, results.session, results.number) else { return Vec::new() };
    for answer in &answers {
        let _ = writer.push((!answer.is_empty()).then_some(answer));
    }
    vec![writer.finish().to_vec()]
}

/// The session of a message that goes to the device.
fn session(message: &[u8]) -> Option<(SessionId, u16)> {
    match Message::decode(message) {
        Ok(Message::Script(script)) => Some((script.session, script.number)),
        Ok(Message::Outcome(outcome)) => Some((outcome.session(), 1)),
        _ => None,
    }
}

fn outcome(message: &[u8], done: bool) -> Option<Vec<u8>> {
    let (session, _) = session(message)?;
    let outcome = match done {
        true => Outcome::Done { session, account_label: "M***" },
        false => Outcome::Failed { session, code: "made_up" },
    };
    outcome.encode(&mut [0; MAX_MESSAGE_BYTES]).ok().map(<[u8]>::to_vec)
}

/// Asks a chip for a code, once more at the end of its time, and for a passcode that is not its wearer's.
fn asking(message: &[u8], random: &mut fastrand::Rng) -> Option<Vec<u8>> {
    let (session, number) = session(message)?;
    let session = if random.bool() { session } else { SessionId(random.u128(..).to_be_bytes()) };
    let mut buffer = [0; MAX_MESSAGE_BYTES];
    let mut writer = ScriptWriter::new(&mut buffer, session, number, 70).ok()?;
    let mut encoded = [0; 64];
    writer.push(applet::select().encode(&mut encoded).ok()?, true).ok()?;
    for ahead_s in [60, 13 * 86_400] {
        // The anchor of a token is never far from the beginning of the world.
        let unix_seconds = super::world::START_MS / 1_000 + ahead_s;
        let request = CodeRequest { form: CodeForm::Digits, slot: None, unix_seconds };
        writer.push(request.encode(&mut encoded).ok()?, true).ok()?;
    }
    let new = Passcode::new(b"1234").ok()?;
    writer.push(PasscodeChange::First { new }.encode(&mut encoded).ok()?, true).ok()?;
    writer.push(applet::verify(Some(Passcode::new(b"0000").ok()?)).encode(&mut encoded).ok()?, true).ok()?;
    writer.finish().ok().map(<[u8]>::to_vec)
}

/// What a carrier has out of these results that is no carrier's.
fn learned(message: &[u8]) -> Option<String> {
    let Ok(Message::Results(results)) = Message::decode(message) else { return None };
    let of_wearers = |answer: &&[u8]| {
        let code = answer.strip_suffix(&[0x90, 0x00]).map(PaymentCode::decode);
        matches!(answer, [0x63, 0xC0..=0xCF] | [0x69, 0x83]) || code.is_some_and(|code| code.is_ok())
    };
    results.responses().flatten().find(of_wearers).map(|answer| format!("a carrier was answered {answer:02x?}"))
}

fn script(message: &[u8], random: &mut fastrand::Rng) -> Option<Vec<u8>> {
    let (session, number) = session(message)?;
    let session = if random.bool() { session } else { SessionId(random.u128(..).to_be_bytes()) };
    let mut buffer = [0; MAX_MESSAGE_BYTES];
    let mut writer = ScriptWriter::new(&mut buffer, session, number, 70).ok()?;
    let mut encoded = [0; 64];
    let opening = applet::initialize_update(1, &[7; 8]);
    writer.push(opening.encode(&mut encoded).ok()?, true).ok()?;
    // EXTERNAL AUTHENTICATE at the highest level, with a cryptogram and a MAC out of nothing.
    let mut authenticate = [0x84, 0x82, 0x33, 0x00, 0x10].to_vec();
    authenticate.extend(random.u128(..).to_be_bytes());
    writer.push(&authenticate, true).ok()?;
    writer.finish().ok().map(<[u8]>::to_vec)
}
