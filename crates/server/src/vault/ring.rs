//! The master keys by version, and what each may be used for. No file and no clock: what a ring may become, in one place.

use core::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::VaultFault;
use super::token::TokenKey;

/// Bytes of a master key.
pub(crate) const KEY_BYTES: usize = 32;
/// Bytes of the value by which servers find that they have the same key.
pub(crate) const CHECK_VALUE_BYTES: usize = 16;
/// The last version: a key version travels to the chip in seven bits (GlobalPlatform, PUT KEY).
pub(crate) const MAX_VERSION: u8 = 127;
/// Versions under which a code may be made at the same time. Each costs a wrong code one derivation, and a guesser gets
/// one more chance from each.
pub(crate) const MAX_IN_FORCE: usize = 4;

/// What a version of the master key is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MasterKeyState {
    /// Known, so that what other servers make under it is accepted here; nothing new is made under it here yet.
    Next,
    /// New chips and tokens get keys from it.
    Current,
    /// Codes of tokens that were made under it are accepted.
    Accepted,
    /// Codes under it are not accepted any more; chips whose keys came from it can still be talked to.
    Retired,
}

impl MasterKeyState {
    /// Every state.
    pub(crate) const ALL: [Self; 4] = [Self::Next, Self::Current, Self::Accepted, Self::Retired];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Current => "current",
            Self::Accepted => "accepted",
            Self::Retired => "retired",
        }
    }
}

/// One version of the master key.
#[derive(Clone)]
pub(crate) struct MasterKey {
    pub(crate) version: u8,
    pub(crate) state: MasterKeyState,
    /// When it was made, Unix milliseconds; 0 where nobody knows.
    pub(crate) created_ms: u64,
    /// It lay in the open, in the file of the development vault, before it was sealed.
    pub(crate) was_open: bool,
    pub(crate) key: Material,
}

/// A master key itself, or where it is.
#[derive(Clone)]
pub(crate) enum Material {
    /// In this process's memory.
    Held(Zeroizing<[u8; KEY_BYTES]>),
    /// In a PKCS#11 token, which it never leaves.
    InToken(TokenKey),
}

impl From<Zeroizing<[u8; KEY_BYTES]>> for Material {
    fn from(key: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self::Held(key)
    }
}

impl MasterKey {
    /// A value by which servers find that they have the same key, and from which nobody finds the key.
    pub(crate) fn check_value(&self) -> [u8; CHECK_VALUE_BYTES] {
        match &self.key {
            Material::Held(key) => check_value(key),
            Material::InToken(key) => key.check_value,
        }
    }
}

/// The value by which a key is known that was ever in a server's memory.
fn check_value(key: &[u8; KEY_BYTES]) -> [u8; CHECK_VALUE_BYTES] {
    let mut hash = Sha256::new();
    hash.update(b"paychip master key check value");
    hash.update(key);
    let mut value = [0; CHECK_VALUE_BYTES];
    value.copy_from_slice(&hash.finalize()[..CHECK_VALUE_BYTES]);
    value
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({}, {}, ..)", self.version, self.state.name())
    }
}

/// Master keys in ascending order of version, exactly one of them current.
#[derive(Debug, Clone)]
pub(crate) struct KeyRing {
    keys: Vec<MasterKey>,
}

impl KeyRing {
    /// A ring of one key.
    pub(crate) fn first(key: impl Into<Material>, created_ms: u64, was_open: bool) -> Self {
        let key = key.into();
        Self { keys: vec![MasterKey { version: 1, state: MasterKeyState::Current, created_ms, was_open, key }] }
    }

    /// A ring of these keys, where they are one.
    pub(crate) fn of(keys: Vec<MasterKey>) -> Option<Self> {
        let count = |state| keys.iter().filter(|key| key.state == state).count();
        let is_ring = keys.windows(2).all(|pair| pair[0].version < pair[1].version)
            && keys.iter().all(|key| (1..=MAX_VERSION).contains(&key.version))
            && count(MasterKeyState::Current) == 1
            && count(MasterKeyState::Next) <= 1
            && keys.len() - count(MasterKeyState::Retired) <= MAX_IN_FORCE;
        is_ring.then_some(Self { keys })
    }

    pub(crate) fn keys(&self) -> &[MasterKey] {
        &self.keys
    }

    pub(crate) fn get(&self, version: u8) -> Option<&MasterKey> {
        self.keys.iter().find(|key| key.version == version)
    }

    /// The same versions, their keys elsewhere.
    pub(crate) fn map_keys(&self, to: impl Fn(&MasterKey) -> Result<Material, VaultFault>) -> Result<Self, VaultFault> {
        let keys = self.keys.iter().map(|key| to(key).map(|at| MasterKey { key: at, ..key.clone() }));
        Ok(Self { keys: keys.collect::<Result<_, _>>()? })
    }

    fn of_state(&self, state: MasterKeyState) -> Option<u8> {
        self.keys.iter().find(|key| key.state == state).map(|key| key.version)
    }

    /// The version new keys come from.
    pub(crate) fn current(&self) -> u8 {
        // A ring has one; `of` and the changes below keep it so.
        self.of_state(MasterKeyState::Current).unwrap_or(1)
    }

    /// The versions whose codes are accepted: the current first, then from the newest to the oldest.
    pub(crate) fn in_force(&self) -> Vec<u8> {
        let current = self.current();
        let others =
            self.keys.iter().rev().filter(|key| key.state != MasterKeyState::Retired && key.version != current);
        core::iter::once(current).chain(others.map(|key| key.version)).collect()
    }

    /// The ring with one more version, of which nothing is made yet.
    pub(crate) fn prepared(&self, key: impl Into<Material>, now_ms: u64) -> Result<Self, VaultFault> {
        let version = self.next_version()?;
        let mut keys = self.keys.clone();
        let key = key.into();
        keys.push(MasterKey { version, state: MasterKeyState::Next, created_ms: now_ms, was_open: false, key });
        Ok(Self { keys })
    }

    /// The version that would be prepared now.
    pub(crate) fn next_version(&self) -> Result<u8, VaultFault> {
        if let Some(next) = self.of_state(MasterKeyState::Next) {
            return Err(VaultFault::NextWaits(next));
        }
        if self.in_force().len() >= MAX_IN_FORCE {
            return Err(VaultFault::TooManyInForce);
        }
        let version = self.keys.last().map_or(1, |last| last.version + 1);
        if version > MAX_VERSION {
            return Err(VaultFault::NoVersionLeft);
        }
        Ok(version)
    }

    /// The ring with its next version current and the current one accepted.
    pub(crate) fn activated(&self) -> Result<Self, VaultFault> {
        let next = self.of_state(MasterKeyState::Next).ok_or(VaultFault::NothingNext)?;
        let mut ring = self.clone();
        for key in &mut ring.keys {
            if key.state == MasterKeyState::Current {
                key.state = MasterKeyState::Accepted;
            } else if key.version == next {
                key.state = MasterKeyState::Current;
            }
        }
        Ok(ring)
    }

    /// The ring without codes of this version.
    pub(crate) fn retired(&self, version: u8) -> Result<Self, VaultFault> {
        let mut ring = self.clone();
        let key = ring.keys.iter_mut().find(|key| key.version == version && key.state == MasterKeyState::Accepted);
        key.ok_or(VaultFault::NotAccepted(version))?.state = MasterKeyState::Retired;
        Ok(ring)
    }

    /// Whether everything made under the other ring can still be checked with this one.
    pub(crate) fn holds_all_of(&self, other: &Self) -> bool {
        let same = |key: &MasterKey| self.get(key.version).is_some_and(|own| own.check_value() == key.check_value());
        other.keys.iter().all(same)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    fn key(byte: u8) -> Zeroizing<[u8; KEY_BYTES]> {
        Zeroizing::new([byte; KEY_BYTES])
    }

    #[test]
    fn a_version_goes_from_next_to_current_to_accepted_to_retired_and_never_back() {
        let one = KeyRing::first(key(1), 0, false);
        assert_eq!(one.activated().unwrap_err(), VaultFault::NothingNext);
        let two = one.prepared(key(2), 5).unwrap();
        assert_eq!((two.current(), two.in_force()), (1, vec![1, 2]), "what others make under the next is accepted");
        assert_eq!(two.prepared(key(3), 5).unwrap_err(), VaultFault::NextWaits(2));
        let two = two.activated().unwrap();
        assert_eq!((two.current(), two.in_force()), (2, vec![2, 1]));
        assert_eq!(two.retired(2).unwrap_err(), VaultFault::NotAccepted(2));
        let alone = two.retired(1).unwrap();
        assert_eq!(alone.in_force(), [2]);
        assert!(alone.get(1).is_some(), "its chips can still be talked to");
        assert_eq!(alone.retired(1).unwrap_err(), VaultFault::NotAccepted(1));
        assert!(alone.holds_all_of(&one) && !one.holds_all_of(&alone));
        assert!(!KeyRing::first(key(9), 0, false).holds_all_of(&one), "the same version of another key");
    }

    #[test]
    fn versions_in_force_and_versions_at_all_are_bounded() {
        let rotate = |ring: &KeyRing, byte| ring.prepared(key(byte), 0).and_then(|ring| ring.activated());
        let mut ring = KeyRing::first(key(1), 0, false);
        for byte in 2..=MAX_IN_FORCE as u8 {
            ring = rotate(&ring, byte).unwrap();
        }
        assert_eq!(rotate(&ring, 9).unwrap_err(), VaultFault::TooManyInForce);
        for version in MAX_IN_FORCE as u8 + 1..=MAX_VERSION {
            ring = rotate(&ring.retired(version - MAX_IN_FORCE as u8).unwrap(), version).unwrap();
        }
        let full = ring.retired(MAX_VERSION - 1).unwrap();
        assert_eq!(rotate(&full, 1).unwrap_err(), VaultFault::NoVersionLeft);
        let mut keys = full.keys.clone();
        assert!(KeyRing::of(keys.clone()).is_some());
        keys.swap(0, 1);
        assert!(KeyRing::of(keys).is_none(), "out of order");
        assert!(KeyRing::of(full.keys[..126].to_vec()).is_none(), "none is current");
    }

    #[test]
    fn a_ring_does_not_print_its_keys() {
        let text = format!("{:?}", KeyRing::first(key(0xAB), 0, false));
        assert!(!text.contains("171") && !text.to_lowercase().contains("abab"), "{text}");
    }
}
