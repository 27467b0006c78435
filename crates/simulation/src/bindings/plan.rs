//! What a seed stands for: how many there are of each, and how unkind their world is.

use pki::Scheme;

use super::cloud::Trouble;
use super::device::Hardship;

/// One world. Chances are in a thousand.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) wrists: usize,
    pub(super) wearers: usize,
    pub(super) servers: usize,
    /// How the maker signs whose chips these are, and they with it; nothing where they were registered by hand.
    pub(super) maker: Option<Scheme>,
    /// The longest frame of the links.
    pub(super) mtu: usize,
    /// Messages the attacker does something to.
    pub(super) attacks: u32,
    /// Frames lost or damaged.
    pub(super) frames: u32,
    /// Requests and answers lost between phone and cloud.
    pub(super) lost: u32,
    /// Reboots and lost links, of each step.
    pub(super) reboots: u32,
    pub(super) hardship: Hardship,
    pub(super) trouble: Trouble,
}

impl Plan {
    pub(super) fn of(random: &mut fastrand::Rng) -> Self {
        let mut pick = |choices: &[u32]| choices.get(random.usize(..choices.len())).copied().unwrap_or(0);
        Self {
            wrists: pick(&[1, 1, 2, 3]) as usize,
            wearers: pick(&[2, 3, 4]) as usize,
            servers: pick(&[1, 2, 3]) as usize,
            // SM2 takes its time; one world in eight is enough of it.
            maker: match pick(&[0, 0, 0, 1, 1, 1, 1, 2]) {
                0 => None,
                1 => Some(Scheme::P256),
                _ => Some(Scheme::Sm2),
            },
            mtu: pick(&[20, 185, 512]) as usize,
            attacks: pick(&[0, 20, 80, 250]),
            frames: pick(&[0, 0, 5, 20]),
            lost: pick(&[0, 10, 60]),
            reboots: pick(&[0, 2, 10]),
            hardship: Hardship { cut: pick(&[0, 20, 150]), silent: pick(&[0, 5, 30]), reset: pick(&[0, 5, 30]) },
            trouble: Trouble {
                crash: pick(&[0, 10, 50]),
                unknown: pick(&[0, 10, 50]),
                read_fails: pick(&[0, 10, 80]),
                disk_full: pick(&[0, 0, 20]),
                meanwhile: pick(&[0, 200, 600]),
                unsynced: pick(&[0, 200, 600]),
            },
        }
    }

    /// A world of one device in which nothing goes wrong by itself.
    pub(super) fn kind() -> Self {
        Self {
            wrists: 2,
            wearers: 2,
            servers: 1,
            maker: Some(Scheme::P256),
            mtu: 512,
            attacks: 0,
            frames: 0,
            lost: 0,
            reboots: 0,
            hardship: Hardship::default(),
            trouble: Trouble::default(),
        }
    }
}
