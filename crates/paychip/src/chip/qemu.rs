//! The RISC-V image of the chip in QEMU: the same commands, over a serial line (`spec/uart.md`), to the very machine
//! code a chip would run. The flash is a file, kept by the emulator; ending the emulator is a loss of power.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use uart::State;
use uart::host_end::{Error, HostEnd, Wire};

use super::Card;
use crate::fault::Fault;

const PROGRAM: &str = "qemu-system-riscv32";
/// The emulator's flash bank is 32 MiB; the chip uses four sectors of it, and the file is sparse.
const FLASH_FILE_BYTES: u64 = 32 * 1024 * 1024;

/// How the emulator runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// One instruction a tick, so that counting instructions gives the same number every time. Slower.
    pub counted: bool,
    /// Leave it to the operating system when the flash reaches the disk. For tests: a crash of this machine may then
    /// take back what the chip wrote; a crash of the emulator never does.
    pub lazy_flash: bool,
}

/// A chip in QEMU. Dropping it cuts its power.
#[derive(Debug)]
pub struct QemuChip {
    line: HostEnd<Pipes>,
}

impl QemuChip {
    /// Powers up the chip whose program and flash are in these files.
    ///
    /// # Errors
    /// `chip_emulator` where QEMU is missing or ended, `chip` where the chip says what is wrong with it.
    pub fn open(image: &Path, flash: &Path, options: Options) -> Result<Self, Fault> {
        let mut chip = Self::start(image, flash, options)?;
        let state = chip.say(|line| line.reset())?;
        working(state)?;
        Ok(chip)
    }

    /// Makes a blank chip with this program, its flash in a new file.
    ///
    /// # Errors
    /// As [`QemuChip::open`]; an existing file is never overwritten.
    pub fn create(image: &Path, flash: &Path, options: Options) -> Result<Self, Fault> {
        let file = OpenOptions::new().write(true).create_new(true).open(flash);
        file.and_then(|file| file.set_len(FLASH_FILE_BYTES)).map_err(|error| Fault::file(flash, error))?;
        let mut chip = Self::start(image, flash, options)?;
        chip.say(|line| line.reset())?;
        let state = chip.say(|line| line.create())?;
        working(state)?;
        Ok(chip)
    }

    /// Asks an image built for measuring; empty from any other.
    ///
    /// # Errors
    /// The emulator ended, or the chip is silent.
    pub fn measure(&mut self, question: u8) -> Result<Vec<u32>, Fault> {
        let mut answer = [0; uart::MAX_PAYLOAD_BYTES];
        let length = self.say(|line| line.measure(&[question], &mut answer))?;
        let (numbers, _) = answer.get(..length).unwrap_or_default().as_chunks::<4>();
        Ok(numbers.iter().map(|bytes| u32::from_be_bytes(*bytes)).collect())
    }

    /// Cuts its power, from another thread.
    pub fn killer(&mut self) -> Killer {
        Killer(Arc::clone(&self.line.wire_mut().child))
    }

    /// Cuts its power, and returns when its flash is free for the next one.
    pub fn power_down(&mut self) {
        self.killer().kill();
    }

    fn start(image: &Path, flash: &Path, options: Options) -> Result<Self, Fault> {
        if !image.is_file() {
            return Err(Fault::new("chip_image", format!("there is no chip image at {}", image.display()))
                .hint("make one with `cargo xtask firmware`"));
        }
        let pipes = Pipes::start(&mut command(image, flash, options)).map_err(|error| {
            Fault::new("chip_emulator", format!("{PROGRAM} could not be started: {error}"))
                .hint("on Debian and Ubuntu it is in the package qemu-system-misc")
        })?;
        Ok(Self { line: HostEnd::new(pipes) })
    }

    fn say<T>(&mut self, what: impl FnOnce(&mut HostEnd<Pipes>) -> Result<T, Error<Gone>>) -> Result<T, Fault> {
        what(&mut self.line).map_err(|error| {
            let told = match error {
                Error::Wire(Gone) => self.line.wire_mut().last_words(),
                _ => String::new(),
            };
            Fault::new("chip_emulator", format!("{error}{told}"))
        })
    }
}

impl Card for QemuChip {
    fn exchange(&mut self, command: &[u8], answer: &mut [u8]) -> Result<usize, Fault> {
        self.say(|line| line.exchange(command, answer))
    }

    fn reset(&mut self) -> Result<(), Fault> {
        let state = self.say(|line| line.reset())?;
        working(state)
    }
}

fn working(state: State) -> Result<(), Fault> {
    let sentence = match state {
        State::Works => return Ok(()),
        State::NotCreated => "the flash holds no chip yet",
        State::Damaged => "the flash is damaged",
        State::FlashFailed => "the flash could not be read or written",
        State::SelfTestFailed => "a known-answer test failed",
    };
    Err(Fault::new("chip", sentence))
}

fn command(image: &Path, flash: &Path, options: Options) -> Command {
    let cache = if options.lazy_flash { "writeback" } else { "writethrough" };
    let drive = format!("if=pflash,unit=1,format=raw,cache={cache},file={}", escaped(flash));
    let mut command = Command::new(PROGRAM);
    command
        .args(["-M", "virt", "-m", "16M", "-bios", "none", "-nodefaults", "-display", "none"])
        .args(["-serial", "stdio", "-global", "virtio-mmio.force-legacy=false", "-device", "virtio-rng-device"])
        // Not `-kernel`: with a file behind this flash bank, QEMU would look for the kernel there.
        .args(["-drive", &drive, "-device", &format!("loader,cpu-num=0,file={}", escaped(image))]);
    if options.counted {
        command.args(["-icount", "shift=0"]);
    }
    command
}

/// A comma in a file's name is doubled in an option of QEMU.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// Cuts a chip's power.
#[derive(Debug)]
pub struct Killer(Arc<Mutex<Child>>);

impl Killer {
    /// Ends the emulator at once, whatever it does, and returns when it is gone.
    pub fn kill(&self) {
        let mut child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Its flash is in the file after every command; there is nothing to say goodbye for.
        drop(child.kill());
        drop(child.wait());
    }
}

/// The emulator ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

impl core::fmt::Display for Gone {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the emulator ended")
    }
}

/// The serial line: what is written goes in, what the emulator prints comes out.
#[derive(Debug)]
struct Pipes {
    child: Arc<Mutex<Child>>,
    to_chip: ChildStdin,
    from_chip: Receiver<Vec<u8>>,
    received: std::vec::IntoIter<u8>,
}

impl Pipes {
    fn start(command: &mut Command) -> std::io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (Some(to_chip), Some(mut out)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::Error::other("no pipes"));
        };
        let (sender, from_chip) = mpsc::channel();
        // Ends with the emulator, whose end of the pipe closes.
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok(length @ 1..) = out.read(&mut buffer) {
                let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                if sender.send(bytes).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child: Arc::new(Mutex::new(child)), to_chip, from_chip, received: Vec::new().into_iter() })
    }

    /// What the emulator said when it ended.
    fn last_words(&mut self) -> String {
        let mut words = String::new();
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // It has ended, so there is an end to what it says.
        if let Some(mut errors) = child.stderr.take()
            && child.wait().is_ok()
            && errors.read_to_string(&mut words).is_ok()
            && !words.trim().is_empty()
        {
            return format!(": {}", words.trim());
        }
        ": the chip stopped itself".to_owned()
    }
}

impl Wire for Pipes {
    type Error = Gone;

    fn send(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.to_chip.write_all(bytes).and_then(|()| self.to_chip.flush()).map_err(|_| Gone)
    }

    fn receive(&mut self, within: Duration) -> Result<Option<u8>, Gone> {
        loop {
            if let Some(byte) = self.received.next() {
                return Ok(Some(byte));
            }
            match self.from_chip.recv_timeout(within) {
                Ok(bytes) => self.received = bytes.into_iter(),
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => return Err(Gone),
            }
        }
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        Killer(Arc::clone(&self.child)).kill();
    }
}
