//! The device: a real chip on simulated flash, the real SDK around it, and what befalls them both: power that is cut in
//! the middle of a write, answers that never come, reboots.

use std::cell::RefCell;
use std::rc::Rc;

use super::maker::House;
use chip::Chip;
use chip::hal::{Flash, FlashError, Platform, Rng, RngError};
use chip::virtual_chip::CutFlash;
use platform::ChipId;
use protocol::apdu::{Command, Response};
use protocol::applet::{
    self, CertificatePart, DataObject, DeviceKey, FactoryData, MAX_CERTIFICATE_PART_BYTES, Order, StoreCertificate,
    TokenStatuses, ins,
};
use protocol::put_key;
use protocol::scp03::{KeySet, Level, host};
use wearable::{Device, Host, HostFault, Key, Wearable};

/// Room for the longest command or answer.
const APDU_BYTES: usize = 300;
/// The keys a blank chip is born with.
const BIRTH_KEY_VERSION: u8 = 0xFF;
const BIRTH_KEY: [u8; 16] = *b"@ABCDEFGHIJKLMNO";
/// How often a chip that holds its channel back is asked again: `spec/secure-channel.md` 9.3.
const MAX_ASKED_AGAIN: u8 = 40;
/// Flash operations within which a power cut strikes: within the first few writes, within an order, anywhere.
const CUT_WITHIN: [u64; 3] = [4, 16, 64];
/// Frames the link holds before it is full.
const LINK_FRAMES: usize = 64;

/// Small pages, so that the chip compacts its store often.
type Pages = CutFlash<4, 256>;

/// A chip's flash, which the world can look into and cut the power of while the chip uses it.
#[derive(Clone)]
pub(super) struct SharedFlash(Rc<RefCell<Pages>>);

impl Flash for SharedFlash {
    const PAGES: usize = Pages::PAGES;
    const PAGE_WORDS: usize = Pages::PAGE_WORDS;

    fn read(&self, word: usize) -> Result<u32, FlashError> {
        self.0.borrow().read(word)
    }

    fn program(&mut self, word: usize, value: u32) -> Result<(), FlashError> {
        self.0.borrow_mut().program(word, value)
    }

    fn erase(&mut self, page: usize) -> Result<(), FlashError> {
        self.0.borrow_mut().erase(page)
    }
}

/// The chip's random source, out of the seed.
pub(super) struct Seeded(fastrand::Rng);

impl Rng for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RngError> {
        self.0.fill(bytes);
        Ok(())
    }
}

/// The silicon of the simulation.
pub(super) enum Silicon {}

impl Platform for Silicon {
    type Flash = SharedFlash;
    type Rng = Seeded;
}

/// How unkind the world is to a device; chances in a thousand commands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hardship {
    /// Power is lost within the command.
    pub(super) cut: u32,
    /// The command is obeyed and its answer lost.
    pub(super) silent: u32,
    /// The chip is reset after it.
    pub(super) reset: u32,
}

/// What has befallen a device.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Befell {
    pub(super) cuts: u64,
    pub(super) silences: u64,
    pub(super) resets: u64,
}

/// Chip, storage, clock and link of one device.
pub(super) struct Hardware {
    flash: SharedFlash,
    /// Nothing while it has no power.
    chip: Option<Chip<Silicon>>,
    random: fastrand::Rng,
    /// What the SDK keeps over a reboot, by its keys.
    stored: Vec<(Key, Vec<u8>)>,
    pub(super) hardship: Hardship,
    pub(super) befell: Befell,
    pub(super) now_s: u64,
    pub(super) sent: Vec<Vec<u8>>,
    pub(super) mtu: usize,
    /// Orders of the cloud that reached the chip: after one of them its keys may be others.
    pub(super) orders: u64,
    /// What should never be: the chip does not start any more.
    pub(super) broken: Option<String>,
}

impl Hardware {
    fn befalls(&mut self, in_a_thousand: u32) -> bool {
        in_a_thousand > 0 && self.random.u32(0..1_000) < in_a_thousand
    }

    fn arm(&mut self) {
        let within = self.random.choice(CUT_WITHIN).unwrap_or(1);
        let (after, seed) = (self.random.u64(..within), self.random.u64(..));
        self.flash.0.borrow_mut().cut_after(after, seed);
    }

    /// Power comes back; now and then it is lost once more while the chip recovers.
    fn power_on(&mut self) -> bool {
        if self.befalls(self.hardship.cut) {
            self.arm();
            if self.start().is_ok() {
                self.flash.0.borrow_mut().power_on();
                return true;
            }
            self.befell.cuts += 1;
        }
        self.flash.0.borrow_mut().power_on();
        let started = self.start();
        if let Err(error) = started {
            self.broken = Some(format!("a chip does not start after a power cut: {error}"));
        }
        started.is_ok()
    }

    fn start(&mut self) -> Result<(), chip::OpenError> {
        let random = Seeded(fastrand::Rng::with_seed(self.random.u64(..)));
        self.chip = Some(Chip::open(self.flash.clone(), random).map_err(|(error, _)| error)?);
        Ok(())
    }

    /// One command; nothing where power or answer was lost.
    fn exchange(&mut self, command: &[u8], answer: &mut [u8]) -> Option<usize> {
        self.chip.as_ref()?;
        let cut = self.befalls(self.hardship.cut);
        if cut {
            self.arm();
        }
        let before = self.flash.0.borrow().faults();
        let length = self.chip.as_mut()?.process(command, answer);
        self.orders += u64::from(command.get(1) == Some(&ins::STORE_DATA));
        if self.flash.0.borrow().faults() != before {
            self.befell.cuts += 1;
            self.chip = None;
            return None;
        }
        if cut {
            // It did not write enough for the cut to strike.
            self.flash.0.borrow_mut().power_on();
        }
        if self.befalls(self.hardship.silent) {
            self.befell.silences += 1;
            return None;
        }
        if self.befalls(self.hardship.reset) {
            self.befell.resets += 1;
            self.chip.as_mut()?.reset();
        }
        Some(length)
    }

    fn run(&mut self, command: &[u8]) -> Result<Vec<u8>, String> {
        let mut answer = [0; APDU_BYTES];
        let length = self.exchange(command, &mut answer).ok_or("the chip is silent")?;
        Ok(answer.get(..length).unwrap_or_default().to_vec())
    }

    fn send(&mut self, command: &Command<'_>) -> Result<Vec<u8>, String> {
        let mut buffer = [0; APDU_BYTES];
        let answer = self.run(command.encode(&mut buffer).map_err(|error| error.to_string())?)?;
        ok_data(&answer)
    }

    /// The cloud's end of a channel, past a chip that holds it back.
    fn channel(&mut self, keys: &KeySet) -> Result<host::Session, String> {
        let challenge: [u8; 8] = self.random.u64(..).to_be_bytes();
        self.send(&applet::select())?;
        for _ in 0..MAX_ASKED_AGAIN {
            match self.send(&applet::initialize_update(keys.version(), &challenge)) {
                Err(status) if status == "9305" => {}
                Err(status) => return Err(status),
                Ok(opening) => {
                    let session = host::Session::open(keys, Level::Full, &challenge, &opening);
                    let mut session = session.map_err(|error| error.to_string())?;
                    let mut buffer = [0; APDU_BYTES];
                    let command = session.external_authenticate(&mut buffer).map_err(|error| error.to_string())?;
                    ok_data(&self.run(command)?)?;
                    return Ok(session);
                }
            }
        }
        Err("the chip holds its channel back for ever".to_owned())
    }

    fn secured(&mut self, session: &mut host::Session, command: &Command<'_>) -> Result<Vec<u8>, String> {
        let mut buffer = [0; APDU_BYTES];
        let (wrapped, ticket) = session.wrap(command, &mut buffer).map_err(|error| error.to_string())?;
        let mut answer = self.run(wrapped)?;
        let answer = session.unwrap(ticket, &mut answer).map_err(|error| error.to_string())?;
        if answer.authentic && answer.status.is_ok() {
            Ok(answer.data.to_vec())
        } else {
            Err(answer.status.to_string())
        }
    }

    /// The ids of the tokens the chip says it holds, over a channel of its own.
    pub(super) fn tokens(&mut self, keys: &KeySet) -> Result<Vec<[u8; 16]>, String> {
        let mut session = self.channel(keys)?;
        let data = self.secured(&mut session, &DataObject::TokenStatus.command())?;
        let tokens = TokenStatuses::decode(&data).map_err(|error| error.to_string())?;
        Ok(tokens.map(|token| *token.token_id).collect())
    }

    /// Whether these bytes stand in the chip's flash.
    pub(super) fn holds(&self, key: &[u8]) -> bool {
        self.flash.0.borrow().contains(key)
    }
}

/// The data of an answer whose status is success, else the status in four hexadecimal digits.
fn ok_data(answer: &[u8]) -> Result<Vec<u8>, String> {
    let answer = Response::parse(answer).map_err(|error| error.to_string())?;
    if answer.status.is_ok() { Ok(answer.data.to_vec()) } else { Err(format!("{:04X}", answer.status.to_u16())) }
}

/// What a device maker writes.
pub(super) struct Callbacks(Rc<RefCell<Hardware>>);

impl Host for Callbacks {
    fn se_exchange(&mut self, command: &[u8], answer: &mut [u8]) -> Result<usize, HostFault> {
        self.0.borrow_mut().exchange(command, answer).ok_or(HostFault)
    }

    fn se_power(&mut self, on: bool) -> Result<(), HostFault> {
        let mut hardware = self.0.borrow_mut();
        if on && hardware.chip.is_none() && !hardware.power_on() {
            return Err(HostFault);
        }
        Ok(())
    }

    fn link_send(&mut self, frame: &[u8]) -> Result<(), HostFault> {
        let mut hardware = self.0.borrow_mut();
        if hardware.sent.len() >= LINK_FRAMES {
            return Err(HostFault);
        }
        hardware.sent.push(frame.to_vec());
        Ok(())
    }

    fn link_mtu(&self) -> usize {
        self.0.borrow().mtu
    }

    fn unix_time_s(&self) -> u64 {
        self.0.borrow().now_s
    }

    fn load(&mut self, key: Key, value: &mut [u8]) -> Result<usize, HostFault> {
        let hardware = self.0.borrow();
        let stored = hardware.stored.iter().find(|(known, _)| *known == key);
        let stored = stored.map(|(_, stored)| stored.as_slice()).unwrap_or_default();
        value.get_mut(..stored.len()).ok_or(HostFault)?.copy_from_slice(stored);
        Ok(stored.len())
    }

    fn store(&mut self, key: Key, value: &[u8]) -> Result<(), HostFault> {
        let stored = &mut self.0.borrow_mut().stored;
        stored.retain(|(known, _)| *known != key);
        stored.push((key, value.to_vec()));
        Ok(())
    }

    fn device(&self) -> Device<'_> {
        Device { model: "simulated", id: "simulated" }
    }
}

/// A wearable: what is in it, and the SDK that runs on it.
pub(super) struct Wrist {
    pub(super) chip: ChipId,
    pub(super) hardware: Rc<RefCell<Hardware>>,
    pub(super) sdk: Wearable<Callbacks>,
}

impl Wrist {
    /// A device with a chip fresh from the factory, under these keys; from this maker's, where it has one.
    pub(super) fn new(
        chip: ChipId,
        keys: &KeySet,
        mtu: usize,
        random: &mut fastrand::Rng,
        maker: Option<&mut House>,
    ) -> Result<Self, String> {
        let flash = SharedFlash(Rc::new(RefCell::new(Pages::new())));
        let mut random = random.fork();
        let blank = Chip::create(flash.clone(), Seeded(random.fork()));
        let mut hardware = Hardware {
            flash,
            chip: Some(blank.map_err(|(error, _)| error.to_string())?),
            random,
            stored: Vec::new(),
            hardship: Hardship::default(),
            befell: Befell::default(),
            now_s: 0,
            sent: Vec::new(),
            mtu,
            orders: 0,
            broken: None,
        };
        personalise(&mut hardware, chip, keys, maker)?;
        let hardware = Rc::new(RefCell::new(hardware));
        let sdk = Wearable::new(Callbacks(Rc::clone(&hardware)));
        Ok(Self { chip, hardware, sdk })
    }

    /// The device restarts: what it did not store, it has forgotten.
    pub(super) fn reboot(&mut self) {
        self.hardware.borrow_mut().sent.clear();
        self.sdk = Wearable::new(Callbacks(Rc::clone(&self.hardware)));
        self.start();
    }

    /// Starts the chip. Where that is cut short, the maker's firmware does it again at the next occasion, as it must.
    pub(super) fn start(&mut self) {
        let _ = self.sdk.pre_init();
    }
}

/// The factory line: the chip makes its device key and gets its certificate, its own keys take the place of the ones it was
/// born with, and it is given its id.
fn personalise(hardware: &mut Hardware, chip: ChipId, keys: &KeySet, maker: Option<&mut House>) -> Result<(), String> {
    let born = KeySet::from_bytes(BIRTH_KEY_VERSION, &BIRTH_KEY, &BIRTH_KEY, &BIRTH_KEY);
    let born = born.map_err(|error| error.to_string())?;
    let mut session = hardware.channel(&born)?;
    if let Some(maker) = maker {
        let scheme = applet::Scheme::from_byte(maker.scheme() as u8).ok_or("no such scheme")?;
        let made = hardware.secured(&mut session, &applet::generate_key(scheme))?;
        let made = DeviceKey::decode(&made).map_err(|error| error.to_string())?;
        let chain = maker.certify(chip, made.public)?;
        for (part, bytes) in CertificatePart::all().zip(chain.chunks(MAX_CERTIFICATE_PART_BYTES)) {
            let mut order = [0; APDU_BYTES];
            let order = Order::StoreCertificate(StoreCertificate { part, bytes }).encode(&mut order);
            hardware.secured(&mut session, &applet::store_data(order.map_err(|error| error.to_string())?))?;
        }
    }
    let mut data = [0; APDU_BYTES];
    let data = put_key::build(born.dek(), keys, &mut data).map_err(|error| error.to_string())?;
    hardware.secured(&mut session, &put_key::command(0, data))?;
    let mut order = [0; APDU_BYTES];
    let order = Order::FactoryData(FactoryData { chip_id: &chip.0 }).encode(&mut order);
    hardware.secured(&mut session, &applet::store_data(order.map_err(|error| error.to_string())?))?;
    Ok(())
}
