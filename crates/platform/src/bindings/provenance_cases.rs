//! A chip's proof of where it comes from, honest and forged in every part, under both schemes.

use paycode::Suite;
use pki::issue::{Authority, Role};
use pki::{Scheme, SecretKey, Serial};
use protocol::applet::{Versions, encode_certificate_part};

use super::*;
use crate::UnixMs;
use crate::makers::cases::{House, NOW_MS, certificate_of, house, maker};
use crate::makers::manifest::ShipmentNumber;
use crate::makers::{BatchId, ModelName};

pub(in crate::bindings) const CHIP: ChipId = ChipId([0xAB; 16]);
const CHALLENGE: [u8; 24] = [7; 24];
const NOW_S: u64 = NOW_MS / 1_000;
const LATER: UnixMs = 101 * 86_400;
pub(in crate::bindings) const SERIAL: &[u8] = &[0x41, 9];

/// A chip, and what is known of it.
pub(in crate::bindings) struct Case {
    house: House,
    key: SecretKey,
    pub(in crate::bindings) from: Provenance,
    /// The chip's certificate, and what stands behind it.
    chain: Vec<u8>,
    lifecycle: Lifecycle,
    versions: Versions,
    chip: ChipId,
    pub(in crate::bindings) challenge: Vec<u8>,
    signer: SecretKey,
    now_s: u64,
}

fn secret(scheme: Scheme, seed: u8) -> SecretKey {
    SecretKey::new(scheme, &[seed; 32]).unwrap()
}

fn leaf(line: &Authority, key: &SecretKey, unit: &str, name: &str) -> Vec<u8> {
    line.issue(&certificate_of(Role::Chip, key, SERIAL, Some(unit), name)).unwrap().der().to_vec()
}

pub(in crate::bindings) fn honest(scheme: Scheme) -> Case {
    let (house, key) = (house(scheme, 1), secret(scheme, 50));
    let maker = maker(&house);
    let name = ModelName::parse("SE-1").unwrap();
    let header = ManifestHeader {
        maker: maker.code.clone(),
        model: name.clone(),
        shipment: ShipmentNumber::parse("1").unwrap(),
        batch: BatchId([3; 16]),
        key_version: 1,
        count: 1,
        made_s: NOW_S,
        authority: house.line.certificate.clone(),
    };
    let model = ChipModel {
        maker: maker.code.clone(),
        name,
        suite: Suite::International,
        flash_kib: 16,
        applets: vec![AppletVersion([0, 1, 0]), AppletVersion([0, 2, 0])],
        standing: Standing::Active,
        changed_ms: NOW_MS,
    };
    let own = leaf(&house.line, &key, "SE-1", &CHIP.to_string());
    Case {
        from: Provenance {
            key_hash: key_hash(key.public()),
            header,
            maker,
            model: Some(model),
            ended_by_root: None,
            ended_by_line: None,
        },
        chain: [&own, house.line.certificate.der()].concat(),
        signer: secret(scheme, 50),
        house,
        key,
        lifecycle: Lifecycle::Ready,
        versions: Versions { major: 0, minor: 2, patch: 0 },
        chip: CHIP,
        challenge: CHALLENGE.to_vec(),
        now_s: NOW_S,
    }
}

impl Case {
    /// The chip's answers.
    pub(in crate::bindings) fn answers(&self) -> Vec<Vec<u8>> {
        let scheme = protocol::applet::Scheme::from_byte(self.signer.public().scheme() as u8).unwrap();
        let mut attestation = Attestation {
            scheme,
            chip_id: &self.chip.0,
            lifecycle: self.lifecycle,
            versions: self.versions,
            state_hash: &[5; 32],
            signature: &[0; 64],
        };
        let mut statement = [0; MAX_STATEMENT_BYTES];
        let signature = self.signer.sign(attestation.statement(&self.challenge, &mut statement).unwrap()).unwrap();
        attestation.signature = &signature;
        let mut buffer = [0; 256];
        let mut answers = vec![[attestation.encode(&mut buffer).unwrap(), &[0x90, 0x00]].concat()];
        for (part, bytes) in CertificatePart::all().zip(self.chain.chunks(200)).take(ASKED_PARTS) {
            let mut buffer = [0; 256];
            answers.push([encode_certificate_part(part, bytes, &mut buffer).unwrap(), &[0x90, 0x00]].concat());
        }
        answers.resize(QUESTIONS, vec![0x6A, 0x88]);
        answers
    }

    fn judged(&self) -> Result<Serial, Reason> {
        let answers = self.answers();
        let proof = Proof::read(&answers)?;
        self.from.judge(CHIP, &CHALLENGE, &proof, self.now_s)
    }

    pub(in crate::bindings) fn list(&self, ends: &[u8]) -> Option<RevokedList> {
        Some(RevokedList {
            authority: [0; 32],
            maker: self.from.maker.code.clone(),
            number: 1,
            this_update_s: NOW_S,
            next_update_s: NOW_S + 1,
            revoked: vec![ends.to_vec()],
        })
    }
}

type Forge = fn(&mut Case, Scheme);

#[test]
fn a_chip_proves_its_origin_and_every_forgery_has_its_own_reason() {
    let cases: &[(&str, Forge, Result<(), Reason>)] = &[
        ("honest", |_, _| {}, Ok(())),
        ("bound before", |case, _| case.lifecycle = Lifecycle::Bound, Ok(())),
        ("its chain cut off behind its own certificate", |case, _| case.chain.truncate(case.chain.len() - 5), Ok(())),
        ("suspended", |case, _| case.lifecycle = Lifecycle::Suspended, Err(Reason::ChipStateForbids)),
        ("terminated", |case, _| case.lifecycle = Lifecycle::Terminated, Err(Reason::ChipStateForbids)),
        ("an older applet that is taken as well", |case, _| case.versions.minor = 1, Ok(())),
        ("an applet that is not taken", |case, _| case.versions.patch = 1, Err(Reason::AppletNotAllowed)),
        ("no certificate", |case, _| case.chain.clear(), Err(Reason::ChipAttestsNothing)),
        ("half a certificate", |case, _| case.chain.truncate(100), Err(Reason::CertificateMalformed)),
        (
            "a certificate with a bit changed",
            |case, _| {
                // The last byte of the chip's certificate is its signature's.
                let own = pki::first_of_chain(&case.chain).unwrap().der().len();
                case.chain[own - 1] ^= 1;
            },
            Err(Reason::CertificateForged),
        ),
        (
            "a forger's house with the same names",
            |case, scheme| case.chain = leaf(&house(scheme, 90).line, &case.key, "SE-1", &CHIP.to_string()),
            Err(Reason::CertificateForged),
        ),
        (
            "the root's own hand",
            |case, _| case.chain = leaf(&case.house.root, &case.key, "SE-1", &CHIP.to_string()),
            Err(Reason::CertificateOfAnotherIssuer),
        ),
        (
            "another key, certified by the line after the shipment",
            |case, scheme| {
                (case.key, case.signer) = (secret(scheme, 51), secret(scheme, 51));
                case.chain = leaf(&case.house.line, &case.key, "SE-1", &CHIP.to_string());
            },
            Err(Reason::ChipNotGenuine),
        ),
        (
            "another chip's certificate",
            |case, _| case.chain = leaf(&case.house.line, &case.key, "SE-1", &ChipId([1; 16]).to_string()),
            Err(Reason::ChipNotGenuine),
        ),
        (
            "another model's certificate",
            |case, _| case.chain = leaf(&case.house.line, &case.key, "SE-2", &CHIP.to_string()),
            Err(Reason::ChipNotGenuine),
        ),
        (
            "a clone without the device key",
            |case, scheme| case.signer = secret(scheme, 51),
            Err(Reason::ChipNotGenuine),
        ),
        ("an older attestation", |case, _| case.challenge[0] ^= 1, Err(Reason::ChipNotGenuine)),
        ("another chip's attestation", |case, _| case.chip = ChipId([1; 16]), Err(Reason::ChipNotGenuine)),
        (
            "the other scheme's attestation",
            |case, scheme| {
                let other = if scheme == Scheme::P256 { Scheme::Sm2 } else { Scheme::P256 };
                case.signer = secret(other, 50);
            },
            Err(Reason::ChipNotGenuine),
        ),
        ("expired", |case, _| case.now_s += LATER, Err(Reason::CertificateExpired)),
        ("not yet valid", |case, _| case.now_s -= LATER, Err(Reason::CertificateNotYetValid)),
        ("ended", |case, _| case.from.ended_by_line = case.list(SERIAL), Err(Reason::CertificateRevoked)),
        ("its line ended", |case, _| case.from.ended_by_root = case.list(&[2]), Err(Reason::CertificateRevoked)),
        ("others ended", |case, _| case.from.ended_by_line = case.list(&[0x41, 8]), Ok(())),
        ("its maker withdrawn", |case, _| case.from.maker.standing = Standing::Withdrawn, Err(Reason::MakerWithdrawn)),
        (
            "its model withdrawn",
            |case, _| case.from.model.as_mut().unwrap().standing = Standing::Withdrawn,
            Err(Reason::ModelNotFound),
        ),
        (
            "its maker now has another root",
            |case, scheme| case.from.maker = maker(&house(scheme, 90)),
            Err(Reason::CertificateForged),
        ),
    ];
    for scheme in Scheme::ALL {
        for (what, forge, expected) in cases {
            let mut case = honest(scheme);
            forge(&mut case, scheme);
            assert_eq!(case.judged(), expected.map(|()| SERIAL.to_vec()), "{what}, {}", scheme.name());
        }
    }
}

#[test]
fn an_answer_that_was_lost_is_none_that_was_refused() {
    let case = honest(Scheme::P256);
    let answers = case.answers();
    let reason = |answers: &[Vec<u8>]| Proof::read(answers).map(|_| ()).unwrap_err();
    assert_eq!(reason(&[]), Reason::ChipSilent);
    assert_eq!(reason(&[Vec::new()]), Reason::ChipSilent);
    assert_eq!(reason(&[vec![0x69, 0x85]]), Reason::ChipAttestsNothing);
    assert_eq!(reason(&answers[..1]), Reason::ChipAttestsNothing);
    assert_eq!(reason(&[answers[0].clone(), answers[1].clone(), Vec::new()]), Reason::ChipSilent);
    let swapped = [answers[0].clone(), answers[2].clone(), answers[1].clone()];
    assert_eq!(reason(&swapped), Reason::CertificateMalformed);
}

#[test]
fn every_byte_of_a_proof_counts() {
    let case = honest(Scheme::P256);
    let answers = case.answers();
    let own = pki::first_of_chain(&case.chain).unwrap().der().len();
    // The heads of the parts are six bytes each; what stands behind the chip's own certificate is not looked at.
    let mut checked = 0;
    for (at, answer) in answers.iter().enumerate().take(1 + own / 200) {
        for position in 0..answer.len() - 2 {
            let mut altered = answers.clone();
            altered[at][position] ^= 1;
            let judged = Proof::read(&altered).and_then(|proof| case.from.judge(CHIP, &CHALLENGE, &proof, NOW_S));
            assert!(judged.is_err(), "answer {at}, byte {position}");
            checked += 1;
        }
    }
    assert!(checked > 300, "{checked}");
}
