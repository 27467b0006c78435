//! The payment chip on bare metal: powers up, and answers the commands that come over the line.
//!
//! Everything that decides is in `crates/chip`, everything that touches a register is in `board`; here they meet.

#![no_std]
#![no_main]
#![forbid(unsafe_code)]

#[cfg(feature = "measure")]
mod measure;

use board::{Board, NorFlash, Uart, Virt, VirtioRng};
use chip::{Chip, OpenError};
use uart::State;
use uart::chip_end::{Card, ChipEnd};

board::start!(run);

/// What stands behind the line: the chip, or why there is none.
enum Powered {
    Chip(Chip<Virt>),
    /// The flash is held so that a blank chip can be made in it, if there never was one.
    Refused(OpenError, NorFlash),
    /// Creating a chip is under way.
    Nothing,
}

/// A chip that could be opened or created, or its flash with the reason.
type Opened = Result<Chip<Virt>, (OpenError, NorFlash)>;

impl Powered {
    fn by(open: fn(NorFlash, VirtioRng) -> Opened, flash: NorFlash) -> Self {
        let Some(rng) = VirtioRng::take() else { return Self::Refused(OpenError::SelfTest, flash) };
        match open(flash, rng) {
            Ok(chip) => Self::Chip(chip),
            Err((error, flash)) => Self::Refused(error, flash),
        }
    }

    const fn state(&self) -> State {
        match self {
            Self::Chip(_) => State::Works,
            Self::Refused(OpenError::NotCreated, _) => State::NotCreated,
            Self::Refused(OpenError::Damaged, _) => State::Damaged,
            Self::Refused(OpenError::SelfTest, _) => State::SelfTestFailed,
            Self::Refused(OpenError::Flash, _) | Self::Nothing => State::FlashFailed,
        }
    }
}

/// The chip behind the line, and what is counted about it.
struct Behind {
    powered: Powered,
    #[cfg(feature = "measure")]
    counts: measure::Counts,
}

impl Card for Behind {
    fn reset(&mut self) -> State {
        if let Powered::Chip(chip) = &mut self.powered {
            chip.reset();
        }
        self.powered.state()
    }

    /// Only flash that never held a chip is made one: damage is not mended by forgetting.
    fn create(&mut self) -> State {
        match core::mem::replace(&mut self.powered, Powered::Nothing) {
            Powered::Refused(OpenError::NotCreated, flash) => self.powered = Powered::by(Chip::create, flash),
            other => self.powered = other,
        }
        self.powered.state()
    }

    fn process(&mut self, command: &[u8], answer: &mut [u8]) -> usize {
        let Powered::Chip(chip) = &mut self.powered else { return 0 };
        #[cfg(feature = "measure")]
        let _counting = self.counts.command();
        chip.process(command, answer)
    }

    #[cfg(feature = "measure")]
    fn measure(&mut self, question: &[u8], answer: &mut [u8]) -> usize {
        self.counts.answer(question, answer)
    }
}

/// Powers up and serves the line for ever.
fn run(board: Board) -> ! {
    #[cfg(feature = "measure")]
    board::time::paint_stack();
    let Board { mut uart, flash } = board;
    let powered = Powered::by(Chip::open, flash);
    let mut behind = Behind {
        powered,
        #[cfg(feature = "measure")]
        counts: measure::Counts::since_power_up(),
    };
    let mut line = ChipEnd::new();
    loop {
        let byte = Uart::receive(&mut uart);
        line.receive(byte, &mut behind, |bytes| uart.send(bytes));
    }
}
