//! What is done at the counter: the watch on one side of it, the till on the other.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum WatchCommand {
    /// Make a watch with a blank chip, and personalise it as a factory does.
    New {
        /// What the chip runs on. Later commands find it in the watch's folder.
        #[arg(long, value_enum, default_value_t = ChipKind::Virtual)]
        chip: ChipKind,
        /// The RISC-V image for a chip in QEMU, from `cargo xtask firmware`.
        #[arg(long, env = "PAYCHIP_IMAGE", default_value = "target/firmware/paychip-riscv", value_name = "FILE")]
        image: PathBuf,
        /// Put the next chip of this maker's factory into the watch (`paychip factory`), instead of personalising one here.
        #[arg(long, value_name = "MAKER", conflicts_with_all = ["chip", "image"])]
        factory: Option<String>,
    },
    /// Show the binding code and bind the watch to an account.
    Bind {
        /// Whose, by name; the newest when absent.
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        /// The watch is on the network and carries its messages itself; the phone confirms the offer, and no more.
        #[arg(long)]
        direct: bool,
        /// Also save the picture of the binding code.
        #[arg(long, value_name = "FILE")]
        png: Option<PathBuf>,
    },
    /// What became of the last payments, as the cloud told the watch in its last sync.
    Results {
        /// Save the picture of the newest as the screen shows it.
        #[arg(long, value_name = "FILE")]
        png: Option<PathBuf>,
    },
    /// Let the cloud do what there is to do at the chip: a new code budget and clock, or take away a token that was revoked.
    Sync {
        /// Whose watch it is, by name; the newest account's when absent.
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        /// Save the picture of what the screen shows afterwards: the newest payment's result.
        #[arg(long, value_name = "FILE")]
        png: Option<PathBuf>,
    },
    /// Give the watch up: its token pays no more, and its keys leave the chip.
    Unbind {
        /// Whose watch it is, by name; the newest account's when absent.
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        /// Why, for the audit trail.
        #[arg(long, default_value = "")]
        why: String,
    },
    /// Make a payment code, with no network.
    Code {
        /// Save the picture of the screen.
        #[arg(long, value_name = "FILE")]
        png: Option<PathBuf>,
        /// What the screen shows.
        #[arg(long, value_enum, default_value_t = ScreenView::Both)]
        view: ScreenView,
    },
    /// Set the passcode, or change it.
    Passcode {
        /// The new passcode, 4 to 8 digits; asked for when absent.
        new: Option<String>,
        /// The present passcode, where one is set.
        #[arg(long)]
        old: Option<String>,
    },
    /// Enter the passcode: codes made now carry the higher limits.
    Unlock {
        /// The passcode; asked for when absent.
        passcode: Option<String>,
    },
    /// Take the watch off: the passcode session closes.
    Lock,
    /// Show the chip's state.
    Status,
}

/// What a watch's chip runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ChipKind {
    /// The chip's code in this program.
    Virtual,
    /// The RISC-V image in QEMU. It loses power with every command, and its passcode session with it.
    Qemu,
}

/// What the watch's screen shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScreenView {
    /// Bar code and QR code of the digits.
    Both,
    /// The bar code alone.
    Bar,
    /// The QR code of the digits alone.
    Qr,
    /// The EMV QR code.
    Emv,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PosCommand {
    /// Charge the wearer whose code is in a picture.
    Charge {
        /// How much, such as 12.50.
        amount: String,
        /// A picture of the watch's screen (PNG).
        #[arg(long, value_name = "FILE", conflicts_with = "code", required_unless_present = "code")]
        image: Option<PathBuf>,
        /// The code itself.
        #[arg(long, value_name = "DIGITS")]
        code: Option<String>,
        /// Your order number; a fresh one when absent. Repeat it to ask again after a time-out.
        #[arg(long)]
        order: Option<String>,
    },
    /// Cancel an order, whatever became of it.
    Cancel {
        /// The order number.
        order: String,
    },
    /// Give back part or all of an order.
    Refund {
        /// The order number.
        order: String,
        /// How much; all that is left when absent.
        #[arg(long)]
        amount: Option<String>,
        /// Your refund number; a fresh one when absent.
        #[arg(long)]
        refund: Option<String>,
    },
    /// Show an order.
    Show {
        /// The order number.
        order: String,
    },
}
