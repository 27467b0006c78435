//! The wearer's passcode: how it is kept, how a try is counted, and when its session is open.
//!
//! A try is paid before it is made: the counter in flash goes down first, then the passcode is compared, in
//! constant time and twice; only a right one puts the counter back. So pulling the power wins no try back.
//! The session (the wearable is on the wrist of who entered the passcode) lives in RAM only.

use crate::hal::{Flash, Rng};
use crate::hardened::{Verdict, spread, unspread};
use crate::records::{self, PASSCODE, TRIES};
use crate::store::{Store, Update};
use paycode::hmac_sha256::HmacSha256;
use protocol::apdu::StatusWord;
use protocol::applet::{Passcode, PasscodeChange, PasscodeOrder, PasscodeState};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Wrong tries until the passcode is blocked.
pub(crate) const MAX_TRIES: u8 = 5;

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
const RECORD_BYTES: usize = SALT_BYTES + HASH_BYTES;

/// PBKDF2 (RFC 8018) rounds. They only slow down whoever reads the flash: a passcode of four digits has ten
/// thousand values, and no number of rounds a chip can afford makes that many. What protects it is the try
/// counter, and that the flash can't be read. 64 rounds are about 20 ms on a 50 MHz chip.
const ROUNDS: u32 = 64;

type Secret<const N: usize> = Zeroizing<[u8; N]>;

/// How the passcode stands, and how many tries are left.
pub(crate) fn state<F: Flash>(store: &mut Store<F>, session: Verdict) -> Result<(PasscodeState, u8), StatusWord> {
    if !store.contains(PASSCODE)? {
        return Ok((PasscodeState::None, MAX_TRIES));
    }
    let tries = tries_left(store)?;
    Ok(match tries {
        0 => (PasscodeState::Blocked, 0),
        _ if session.is_yes() => (PasscodeState::Open, tries),
        _ => (PasscodeState::Closed, tries),
    })
}

/// VERIFY without data: 9000 where the session is open, else the tries left (63Cx), 6983 where blocked, 6A88
/// where no passcode was set.
pub(crate) fn ask<F: Flash>(store: &mut Store<F>, session: Verdict) -> Result<(), StatusWord> {
    match state(store, session)? {
        (PasscodeState::Open, _) => Ok(()),
        (PasscodeState::Closed, tries) => Err(StatusWord::tries_left(tries)),
        (PasscodeState::Blocked, _) => Err(StatusWord::BLOCKED),
        (PasscodeState::None, _) => Err(StatusWord::REFERENCE_NOT_FOUND),
    }
}

/// VERIFY: whether this is the passcode.
///
/// # Errors
/// 63Cx for a wrong one with tries left; 6983 for the last wrong one and for any one after it; 6A88 where
/// none was set; 6F00 where the try could not be counted, and then nothing was compared.
pub(crate) fn verify<F: Flash>(store: &mut Store<F>, passcode: &Passcode<'_>) -> Result<Verdict, StatusWord> {
    let record: Secret<RECORD_BYTES> =
        Zeroizing::new(records::read(store, PASSCODE)?.ok_or(StatusWord::REFERENCE_NOT_FOUND)?);
    let left = tries_left(store)?.checked_sub(1).ok_or(StatusWord::BLOCKED)?;
    store.transact(&[Update::Put(TRIES, &spread(left))])?;
    if tries_left(store)? != left {
        return Err(StatusWord::INTERNAL);
    }
    let (salt, expected) = record.split_at(SALT_BYTES);
    let right = hash(passcode, salt).ct_eq(expected);
    // Hashed a second time for the second look: a glitch has to hit both.
    let again = hash(passcode, salt).ct_eq(expected);
    let verdict = Verdict::of(|| right.into()).and(Verdict::of(|| again.into()));
    if !verdict.is_yes() {
        return Err(if left == 0 { StatusWord::BLOCKED } else { StatusWord::tries_left(left) });
    }
    store.transact(&[Update::Put(TRIES, &spread(MAX_TRIES))])?;
    Ok(verdict)
}

/// CHANGE REFERENCE DATA: sets the first passcode, or another in place of the one given, which counts as a
/// try.
///
/// # Errors
/// 6985 for a first passcode where one is set; those of [`verify`]; 6F00.
#[inline(never)]
pub(crate) fn change<F: Flash, R: Rng>(
    store: &mut Store<F>,
    rng: &mut R,
    change: &PasscodeChange<'_>,
) -> Result<(), StatusWord> {
    let new = match change {
        PasscodeChange::First { new } => {
            if store.contains(PASSCODE)? {
                return Err(StatusWord::CONDITIONS_OF_USE);
            }
            new
        }
        PasscodeChange::Replace { old, new } => {
            if !verify(store, old)?.is_yes() {
                return Err(StatusWord::SECURITY_STATUS);
            }
            new
        }
    };
    let mut record: Secret<RECORD_BYTES> = Zeroizing::new([0; RECORD_BYTES]);
    let (salt, kept) = record.split_at_mut(SALT_BYTES);
    rng.fill(salt).map_err(|_| StatusWord::INTERNAL)?;
    kept.copy_from_slice(hash(new, salt).as_slice());
    store.transact(&[Update::Put(PASSCODE, record.as_slice()), Update::Put(TRIES, &spread(MAX_TRIES))])?;
    Ok(())
}

/// The cloud's help: all tries again, or no passcode any more. 6A88 where there is none to unblock.
#[inline(never)]
pub(crate) fn help<F: Flash>(store: &mut Store<F>, order: PasscodeOrder) -> Result<(), StatusWord> {
    let is_set = store.contains(PASSCODE)?;
    match order {
        PasscodeOrder::Unblock if !is_set => return Err(StatusWord::REFERENCE_NOT_FOUND),
        PasscodeOrder::Unblock => store.transact(&[Update::Put(TRIES, &spread(MAX_TRIES))])?,
        PasscodeOrder::Clear if is_set => store.transact(&[Update::Remove(PASSCODE), Update::Remove(TRIES)])?,
        PasscodeOrder::Clear => {}
    }
    Ok(())
}

fn tries_left<F: Flash>(store: &mut Store<F>) -> Result<u8, StatusWord> {
    let tries = unspread(records::read_present(store, TRIES)?).ok_or(StatusWord::INTERNAL)?;
    if tries <= MAX_TRIES { Ok(tries) } else { Err(StatusWord::INTERNAL) }
}

/// PBKDF2-HMAC-SHA-256 of the passcode, padded so that every length takes one time; one block of output.
#[inline(never)]
fn hash(passcode: &Passcode<'_>, salt: &[u8]) -> Secret<HASH_BYTES> {
    let padded = Zeroizing::new(passcode.padded());
    let keyed = HmacSha256::new(padded.as_slice());
    let mut first = Zeroizing::new([0; SALT_BYTES + 4]);
    for (to, from) in first.iter_mut().zip(salt.iter().chain(&1_u32.to_be_bytes())) {
        *to = *from;
    }
    let mut round: Secret<HASH_BYTES> = Zeroizing::new(keyed.mac(first.as_slice()));
    let mut sum = round.clone();
    for _ in 1..ROUNDS {
        *round = keyed.mac(round.as_slice());
        for (sum, byte) in sum.iter_mut().zip(round.iter()) {
            *sum ^= byte;
        }
    }
    sum
}
