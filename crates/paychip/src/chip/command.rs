//! The options of `paychip chip`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Where vpcd waits for a card unless it was told another port.
const VPCD_ADDRESS: &str = "127.0.0.1:35963";

/// Which chip; the one of a watch when nothing is said.
#[derive(Debug, Args)]
pub(crate) struct WhichChip {
    /// The chip of this virtual watch.
    #[arg(long, global = true, default_value = "watch", value_name = "NAME")]
    pub(crate) watch: String,
    /// The virtual chip in this file.
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "reader")]
    pub(crate) flash: Option<PathBuf>,
    /// The chip in this PC/SC reader: part of its name, or its number in `paychip chip list`.
    #[arg(long, global = true, value_name = "READER")]
    pub(crate) reader: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChipCommand {
    /// List the virtual watches and the PC/SC readers of this machine.
    List,
    /// Make a blank chip in the file named with --flash.
    New,
    /// Show what anyone may read.
    Status,
    /// Select the payment applet and show its answer.
    Select,
    /// Send command APDUs as they are, in one session, and show the answers.
    Apdu {
        /// One command each, in hexadecimal; spaces and colons do not count.
        #[arg(required = true, value_name = "HEX")]
        commands: Vec<String>,
    },
    /// Have a blank chip make its device key, and show the public half, to issue a certificate for.
    DeviceKey,
    /// Give a blank chip its device key, its id and its keys, as a factory does, from the cloud.
    Personalise {
        /// A certificate of the chip's chain, in DER: its own first, then its issuer's, and so on.
        #[arg(long, value_name = "FILE")]
        chain: Vec<PathBuf>,
    },
    /// Check that the chip answers as the specification says. Nothing is spent or changed but, on a blank chip, the
    /// counter of its secure channel.
    Selftest,
    /// Put the chip into a virtual PC/SC reader, until Ctrl-C.
    Serve {
        /// Where vpcd waits for a card.
        #[arg(long, required = true, num_args = 0..=1, default_missing_value = VPCD_ADDRESS, value_name = "HOST:PORT")]
        vpcd: String,
    },
}
