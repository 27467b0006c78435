//! Attestation: a key that was made in the chip and never leaves it signs what the chip is.
#![cfg(all(feature = "virtual", feature = "p256"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use chip::Chip;
use chip::hal::{Platform, Rng, RngError};
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use protocol::applet::{
    Attestation, AttestedState, CertificatePart, DataObject, DeviceKey, Lifecycle, Order, Scheme, StateChange,
    StoreCertificate, attest, generate_key,
};
use sha2::{Digest, Sha256};
use support::{
    CHIP_ID, CLOUD_KEY, CLOUD_KEY_VERSION, Cloud, Flash, TRANSPORT_KEY, blank_flash, factory_data, get_code, install,
    open, put_cloud_keys, roomy_blank, send, send_command, send_order, set_passcode, token_id,
};

const CHALLENGE: [u8; 16] = *b"fresh challenge!";

/// Makes the device key over the transport keys; gives its public half.
fn make_key<P: Platform>(chip: &mut Chip<P>, scheme: Scheme) -> Result<Vec<u8>, u16> {
    let mut factory = Cloud::open(chip, 0xFF, 0x33, &TRANSPORT_KEY).unwrap();
    let (data, status) = factory.send_command(chip, &generate_key(scheme));
    if status != 0x9000 {
        return Err(status);
    }
    let key = DeviceKey::decode(&data).unwrap();
    assert_eq!(key.scheme, scheme);
    Ok(key.public.to_vec())
}

fn store_chain<P: Platform>(chip: &mut Chip<P>, chain: &[u8]) -> u16 {
    let mut factory = Cloud::open(chip, 0xFF, 0x33, &TRANSPORT_KEY).unwrap();
    for (part, bytes) in CertificatePart::all().zip(chain.chunks(200)) {
        let status = factory.order(chip, &Order::StoreCertificate(StoreCertificate { part, bytes }));
        if status != 0x9000 {
            return status;
        }
    }
    0x9000
}

fn read_chain<P: Platform>(chip: &mut Chip<P>) -> Vec<u8> {
    let mut chain = Vec::new();
    for part in CertificatePart::all() {
        let (data, status) = send_command(chip, &DataObject::Certificate(part).command());
        match status {
            0x9000 => chain.extend(tlv::find(&data, part.tag()).unwrap().unwrap()),
            0x6A88 => break,
            other => panic!("{other:04X}"),
        }
    }
    chain
}

/// Whether the chip's attestation for this challenge is signed by this key; the attestation's own claims.
fn attested<P: Platform>(chip: &mut Chip<P>, public: &[u8], challenge: &[u8]) -> (Lifecycle, Vec<u8>, bool) {
    let (data, status) = send_command(chip, &attest(challenge));
    assert_eq!(status, 0x9000);
    let attestation = Attestation::decode(&data).unwrap();
    assert_eq!(attestation.chip_id, &CHIP_ID);
    assert_eq!(attestation.versions, chip::VERSIONS);
    let mut statement = [0; protocol::applet::MAX_STATEMENT_BYTES];
    let statement = attestation.statement(challenge, &mut statement).unwrap();
    let key = VerifyingKey::from_sec1_bytes(public).unwrap();
    let signature = Signature::from_slice(attestation.signature).unwrap();
    (attestation.lifecycle, attestation.state_hash.to_vec(), key.verify(statement, &signature).is_ok())
}

fn hash(state: &AttestedState<'_>) -> Vec<u8> {
    let mut bytes = [0; protocol::applet::MAX_STATE_BYTES];
    let used = state.to_bytes(&mut bytes);
    Sha256::digest(&bytes[..used]).to_vec()
}

/// A ready chip with a device key.
fn ready() -> (Flash, Vec<u8>) {
    let mut chip = open(blank_flash());
    let public = make_key(&mut chip, Scheme::P256).unwrap();
    assert_eq!(put_cloud_keys(&mut chip), 0x9000);
    assert_eq!(factory_data(&mut chip), 0x9000);
    (chip.into_parts().0, public)
}

#[test]
fn a_chip_proves_what_it_is_and_what_was_installed() {
    let (flash, public) = ready();
    let mut chip = open(flash);
    let mut state = AttestedState { root_key_version: CLOUD_KEY_VERSION, ..AttestedState::default() };
    assert_eq!(attested(&mut chip, &public, &CHALLENGE), (Lifecycle::Ready, hash(&state), true));
    assert!(attested(&mut chip, &public, &[7; 32]).2);

    assert_eq!(install(&mut chip, 2), 0x9000);
    let id = token_id(2);
    state.slots[1].1 = Some(&id);
    assert_eq!(attested(&mut chip, &public, &CHALLENGE), (Lifecycle::Bound, hash(&state), true));
    get_code(&mut chip, 1, support::ANCHOR).unwrap();
    assert_eq!(attested(&mut chip, &public, &CHALLENGE).1, hash(&state), "codes change nothing of it");
    assert_eq!(set_passcode(&mut chip, b"1234"), 0x9000);
    state.passcode_set = true;
    assert_eq!(attested(&mut chip, &public, &CHALLENGE).1, hash(&state));
    assert_eq!(send_order(&mut chip, &Order::SetState(StateChange::Suspend)), 0x9000);
    assert_eq!(attested(&mut chip, &public, &CHALLENGE), (Lifecycle::Suspended, hash(&state), true));
}

#[test]
fn a_signature_fits_its_challenge_only_and_no_two_are_alike() {
    let (flash, public) = ready();
    let mut chip = open(flash);
    let (data, _) = send_command(&mut chip, &attest(&CHALLENGE));
    let attestation = Attestation::decode(&data).unwrap();
    let key = VerifyingKey::from_sec1_bytes(&public).unwrap();
    let signature = Signature::from_slice(attestation.signature).unwrap();
    let mut buffer = [0; protocol::applet::MAX_STATEMENT_BYTES];
    let statement = attestation.statement(&CHALLENGE, &mut buffer).unwrap().to_vec();
    assert!(key.verify(&statement, &signature).is_ok());
    for bit in 0..statement.len() * 8 {
        let mut changed = statement.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(key.verify(&changed, &signature).is_err(), "bit {bit}");
    }
    let (again, _) = send_command(&mut chip, &attest(&CHALLENGE));
    assert_ne!(data, again, "fresh randomness goes into each");
}

#[test]
fn the_key_is_made_in_the_factory_only_and_never_told() {
    let (flash, public) = ready();
    let mut chip = open(flash);
    assert_eq!(send_command(&mut chip, &DataObject::DeviceKey.command()).0[4..], public);
    let mut cloud = Cloud::open(&mut chip, CLOUD_KEY_VERSION, 0x33, &CLOUD_KEY).unwrap();
    assert_eq!(cloud.send_command(&mut chip, &generate_key(Scheme::P256)).1, 0x6985);
    let part = StoreCertificate { part: CertificatePart::new(0).unwrap(), bytes: &[1] };
    assert_eq!(cloud.order(&mut chip, &Order::StoreCertificate(part)), 0x6985);
    assert_eq!(send_command(&mut chip, &generate_key(Scheme::P256)).1, 0x6982, "in the clear");
    // What it drew stands in flash, and in no answer.
    let mut drawn = [0; 32];
    support::SeededRng(7).fill(&mut drawn).unwrap();
    for p1_p2 in 0..=u16::MAX {
        let [p1, p2] = p1_p2.to_be_bytes();
        let (data, _) = send(&mut chip, &[0x00, 0xCA, p1, p2]);
        assert!(!data.windows(32).any(|window| window == drawn));
    }
    assert!(chip.into_parts().0.contains(&drawn));
}

#[test]
fn a_chain_of_2000_bytes_comes_back_and_a_new_key_forgets_it() {
    let chain: Vec<u8> = (0..2_000_u32).map(|count| (count * 7) as u8).collect();
    let mut chip = roomy_blank();
    assert_eq!(store_chain(&mut chip, &chain), 0x6985, "first the key, then its certificate");
    let first = make_key(&mut chip, Scheme::P256).unwrap();
    assert_eq!(store_chain(&mut chip, &chain), 0x9000);
    assert_eq!(read_chain(&mut chip), chain);
    assert_eq!(store_chain(&mut chip, &chain[..450]), 0x9000);
    assert_eq!(read_chain(&mut chip), chain[..450], "a shorter chain leaves nothing of the longer one");
    let second = make_key(&mut chip, Scheme::P256).unwrap();
    assert_ne!(first, second);
    assert!(read_chain(&mut chip).is_empty());

    let mut factory = Cloud::open(&mut chip, 0xFF, 0x33, &TRANSPORT_KEY).unwrap();
    let third = StoreCertificate { part: CertificatePart::new(2).unwrap(), bytes: &[1] };
    assert_eq!(factory.order(&mut chip, &Order::StoreCertificate(third)), 0x6985, "a part without the one before");
}

#[test]
fn a_chain_that_does_not_fit_the_flash_is_refused_and_changes_nothing() {
    let mut chip = open(blank_flash());
    make_key(&mut chip, Scheme::P256).unwrap();
    assert_eq!(store_chain(&mut chip, &[1; 2_000]), 0x6A84);
    let kept = read_chain(&mut chip).len();
    assert!(kept > 1_000 && kept.is_multiple_of(200), "{kept}");
}

#[test]
fn without_a_key_or_before_the_factory_or_after_the_end_nothing_is_attested() {
    let mut chip = open(support::bound_flash());
    assert_eq!(send_command(&mut chip, &attest(&CHALLENGE)).1, 0x6985);
    assert_eq!(send_command(&mut chip, &DataObject::DeviceKey.command()).1, 0x6A88);

    let mut chip = open(blank_flash());
    make_key(&mut chip, Scheme::P256).unwrap();
    assert_eq!(send_command(&mut chip, &attest(&CHALLENGE)).1, 0x6985);

    let (flash, _) = ready();
    let mut chip = open(flash);
    for challenge in [[1; 15].as_slice(), &[1; 33], &[]] {
        assert_eq!(send_command(&mut chip, &attest(challenge)).1, 0x6700);
    }
    let mut drawn = [0; 32];
    support::SeededRng(7).fill(&mut drawn).unwrap();
    assert_eq!(send_order(&mut chip, &Order::SetState(StateChange::Terminate)), 0x9000);
    assert_eq!(send_command(&mut chip, &attest(&CHALLENGE)).1, 0x6985);
    assert_eq!(send_command(&mut chip, &DataObject::DeviceKey.command()).1, 0x6985);
    assert!(!chip.into_parts().0.contains(&drawn), "the device key is wiped");
}

#[test]
#[cfg(not(feature = "sm2"))]
fn a_scheme_that_is_not_in_the_image_is_refused() {
    assert_eq!(make_key(&mut open(blank_flash()), Scheme::Sm2), Err(0x6A86));
}

#[test]
#[cfg(feature = "sm2")]
fn the_chinese_suite_signs_with_sm2() {
    use sm2::dsa::signature::Verifier as _;
    let mut chip = open(blank_flash());
    let public = make_key(&mut chip, Scheme::Sm2).unwrap();
    assert_eq!(put_cloud_keys(&mut chip), 0x9000);
    assert_eq!(factory_data(&mut chip), 0x9000);
    let (data, _) = send_command(&mut chip, &attest(&CHALLENGE));
    let attestation = Attestation::decode(&data).unwrap();
    let mut buffer = [0; protocol::applet::MAX_STATEMENT_BYTES];
    let statement = attestation.statement(&CHALLENGE, &mut buffer).unwrap();
    let key = sm2::dsa::VerifyingKey::from_sec1_bytes("1234567812345678", &public).unwrap();
    let signature = sm2::dsa::Signature::try_from(attestation.signature.as_slice()).unwrap();
    assert!(key.verify(statement, &signature).is_ok());
}

/// A source that is stuck from the beginning.
struct Stuck;

impl Rng for Stuck {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RngError> {
        bytes.fill(0x42);
        Ok(())
    }
}

enum StuckPlatform {}

impl Platform for StuckPlatform {
    type Flash = Flash;
    type Rng = Stuck;
}

#[test]
fn a_stuck_random_source_makes_no_key_and_no_signature_and_sets_no_passcode() {
    let mut chip = Chip::<StuckPlatform>::open(blank_flash(), Stuck).map_err(|(error, _)| error).unwrap();
    assert_eq!(make_key(&mut chip, Scheme::P256), Err(0x6F00));
    let (flash, _) = ready();
    let mut chip = Chip::<StuckPlatform>::open(flash, Stuck).map_err(|(error, _)| error).unwrap();
    assert_eq!(send_command(&mut chip, &attest(&CHALLENGE)).1, 0x6F00);
    assert_eq!(install(&mut chip, 1), 0x9000);
    assert_eq!(set_passcode(&mut chip, b"1234"), 0x6F00);
    assert_eq!(get_code(&mut chip, 1, support::ANCHOR).unwrap().codes_left, 499, "codes need no randomness");
}
