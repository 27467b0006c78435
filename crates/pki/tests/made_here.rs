//! Certificates made here: a good chain is taken, and every way it can be wrong is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use pki::issue::{Role, Subject};
use pki::{Certificate, Fault, PublicKey, RevocationList, Scheme, SecretKey, split_chain, verify_chain};
use support::{DAY_S, Maker, NOW_S};

#[test]
fn a_chain_leads_to_its_makers_root_and_to_no_other() {
    for scheme in Scheme::ALL {
        let (maker, other) = (Maker::new(scheme, "Alpha", 1), Maker::new(scheme, "Beta", 50));
        let chip = maker.chip("00ff", 9);
        let chain = [chip.clone(), maker.issuing.certificate.clone()];
        assert_eq!(verify_chain(&chain, &maker.root, NOW_S), Ok(()));
        let with_root = [&chain[..], core::slice::from_ref(&maker.root)].concat();
        assert_eq!(verify_chain(&with_root, &maker.root, NOW_S), Ok(()));
        assert_eq!(verify_chain(&chain, &other.root, NOW_S), Err(Fault::OtherIssuer));
        // Of the same name, with another key.
        let namesake = Maker::new(scheme, "Alpha", 90);
        assert_eq!(verify_chain(&chain, &namesake.root, NOW_S), Err(Fault::Forged));
        let mixed = [chip.clone(), namesake.issuing.certificate.clone()];
        assert_eq!(verify_chain(&mixed, &namesake.root, NOW_S), Err(Fault::Forged));
        assert_eq!(chip.common_name(), Some("00ff"));
        assert_eq!((chip.organisation(), chip.unit()), (Some("Alpha"), Some("M1, \"small\"")));
        let der: Vec<u8> = chain.iter().flat_map(|one| one.der().to_vec()).collect();
        assert_eq!(split_chain(&der).unwrap(), chain);
        assert_eq!(Certificate::from_file(chip.pem().unwrap().as_bytes()).unwrap(), chip);
    }
}

#[test]
fn no_byte_of_a_chain_can_be_changed() {
    for scheme in Scheme::ALL {
        let maker = Maker::new(scheme, "Alpha", 1);
        let good = [maker.chip("00ff", 9).der(), maker.issuing.certificate.der()].concat();
        assert_eq!(verify_chain(&split_chain(&good).unwrap(), &maker.root, NOW_S), Ok(()));
        for position in 0..good.len() {
            for flip in [0x01, 0x80, 0xFF] {
                let mut altered = good.clone();
                altered[position] ^= flip;
                let taken = split_chain(&altered).and_then(|chain| verify_chain(&chain, &maker.root, NOW_S));
                assert!(taken.is_err(), "{scheme:?}: byte {position} changed by {flip:02x} is taken");
            }
        }
        for cut in 0..good.len() {
            let taken = split_chain(&good[..cut]).and_then(|chain| verify_chain(&chain, &maker.root, NOW_S));
            assert!(taken.is_err(), "{scheme:?}: {cut} bytes are taken");
        }
    }
}

#[test]
fn time_is_looked_at_in_every_certificate() {
    let maker = Maker::new(Scheme::P256, "Alpha", 1);
    let chain = [maker.chip("00ff", 9), maker.issuing.certificate.clone()];
    for (now_s, said) in [
        (NOW_S - 2 * DAY_S, Err(Fault::NotYetValid)),
        (NOW_S - DAY_S, Ok(())),
        (NOW_S + 100 * DAY_S, Ok(())),
        (NOW_S + 100 * DAY_S + 1, Err(Fault::Expired)),
    ] {
        assert_eq!(verify_chain(&chain, &maker.root, now_s), said, "{now_s}");
    }
    let short = Maker::with_issuing_until(Scheme::P256, "Alpha", 1, NOW_S + DAY_S);
    let chain = [short.chip("00ff", 9), short.issuing.certificate.clone()];
    assert_eq!(verify_chain(&chain, &short.root, NOW_S + 2 * DAY_S), Err(Fault::Expired));
}

#[test]
fn a_chip_issues_nothing_and_an_authority_is_no_chip() {
    let maker = Maker::new(Scheme::P256, "Alpha", 1);
    // A chip's owner signs another chip's certificate with the chip's own key.
    let chip_key = support::key(Scheme::P256, 77);
    let chip = maker.certify(Role::Chip, chip_key.public(), "00ff", 9);
    let false_issuer = pki::issue::Authority { certificate: chip.clone(), key: chip_key };
    let victim = support::key(Scheme::P256, 78);
    let forged = false_issuer.issue(&support::new(Role::Chip, victim.public(), "Alpha", "01ff", &[10])).unwrap();
    let chain = [forged, chip, maker.issuing.certificate.clone()];
    assert_eq!(verify_chain(&chain, &maker.root, NOW_S), Err(Fault::Forged));
    let authority_alone = [maker.issuing.certificate.clone()];
    assert_eq!(verify_chain(&authority_alone, &maker.root, NOW_S), Err(Fault::Forged));
    // An authority below an authority that may have none.
    let below_key = support::key(Scheme::P256, 79);
    let below = maker.certify(Role::Issuing, below_key.public(), "below", 11);
    let below = pki::issue::Authority { certificate: below, key: below_key };
    let leaf = below.issue(&support::new(Role::Chip, victim.public(), "Alpha", "01ff", &[12])).unwrap();
    let chain = [leaf, below.certificate.clone(), maker.issuing.certificate.clone()];
    assert_eq!(verify_chain(&chain, &maker.root, NOW_S), Err(Fault::Forged));
    assert_eq!(maker.root.check_is_root(NOW_S), Ok(()));
    assert_eq!(maker.issuing.certificate.check_is_root(NOW_S), Err(Fault::Forged));
    assert_eq!(verify_chain(&[], &maker.root, NOW_S), Err(Fault::Malformed));
}

#[test]
fn an_authority_is_of_the_root_that_made_it_and_a_chip_of_its_authority() {
    let maker = Maker::new(Scheme::P256, "Alpha", 1);
    let (namesake, other) = (Maker::new(Scheme::P256, "Alpha", 90), Maker::new(Scheme::P256, "Beta", 1));
    let (authority, chip) = (&maker.issuing.certificate, maker.chip("00ff", 9));
    for (one, root, now_s, said) in [
        (authority, &maker.root, NOW_S, Ok(())),
        (authority, &maker.root, NOW_S + 101 * DAY_S, Err(Fault::Expired)),
        (authority, &namesake.root, NOW_S, Err(Fault::Forged)),
        (authority, &other.root, NOW_S, Err(Fault::OtherIssuer)),
        (&chip, authority, NOW_S, Err(Fault::Forged)),
    ] {
        assert_eq!(one.check_issued_by_root(root, now_s), said);
    }
    assert!(chip.is_issued_by(authority) && chip.names_as_issuer(authority));
    let false_one = &namesake.issuing.certificate;
    assert!(!chip.is_issued_by(false_one) && chip.names_as_issuer(false_one), "the same name, another key");
    assert!(!chip.names_as_issuer(&other.issuing.certificate));
}

#[test]
fn a_revocation_list_is_its_authoritys_own_and_of_the_present() {
    for scheme in Scheme::ALL {
        let maker = Maker::new(scheme, "Alpha", 1);
        let (serials, next_s) = ([&[9][..], &[0x40, 1]], NOW_S + DAY_S);
        let list = maker.issuing.revoke(7, &serials, NOW_S, next_s).unwrap();
        let authority = &maker.issuing.certificate;
        let read = RevocationList::verify(&list, authority, NOW_S).unwrap();
        let revoked = vec![vec![9], vec![0x40, 1]];
        assert_eq!(read, RevocationList { revoked, number: 7, this_update_s: NOW_S, next_update_s: next_s });
        assert_eq!(RevocationList::verify(&list, authority, next_s + 1), Err(Fault::Expired));
        assert_eq!(RevocationList::verify(&list, authority, NOW_S - 1), Err(Fault::NotYetValid));
        assert_eq!(RevocationList::verify(&list, &maker.root, NOW_S), Err(Fault::OtherIssuer));
        let namesake = Maker::new(scheme, "Alpha", 90).issuing.certificate;
        assert_eq!(RevocationList::verify(&list, &namesake, NOW_S), Err(Fault::Forged));
        for position in 0..list.len() {
            let mut altered = list.clone();
            altered[position] ^= 1;
            assert!(RevocationList::verify(&altered, authority, NOW_S).is_err(), "byte {position}");
        }
        let none = maker.issuing.revoke(8, &[], NOW_S, next_s).unwrap();
        assert!(RevocationList::verify(&none, authority, NOW_S).unwrap().revoked.is_empty());
        let last = maker.issuing.revoke(u64::MAX, &[], NOW_S, next_s).unwrap();
        assert_eq!(RevocationList::verify(&last, authority, NOW_S).unwrap().number, u64::MAX);
    }
}

#[test]
fn a_list_is_signed_by_who_may_and_has_nothing_critical_in_it() {
    use der::{Decode as _, Encode as _};
    let maker = Maker::new(Scheme::P256, "Alpha", 1);
    let chip_key = support::key(Scheme::P256, 77);
    let chip = maker.certify(Role::Chip, chip_key.public(), "00ff", 9);
    let false_authority = pki::issue::Authority { certificate: chip.clone(), key: chip_key };
    let list = false_authority.revoke(7, &[&[9]], NOW_S, NOW_S + DAY_S).unwrap();
    assert_eq!(RevocationList::verify(&list, &chip, NOW_S), Err(Fault::Forged), "its own, and it may not");

    // An extension that must not be passed over: a list that is only a part of one, or of another issuer.
    type List = x509_cert::crl::CertificateList<x509_cert::certificate::Rfc5280>;
    let honest = maker.issuing.revoke(7, &[&[9]], NOW_S, NOW_S + DAY_S).unwrap();
    for is_critical in [false, true] {
        let mut list = List::from_der(&honest).unwrap();
        list.tbs_cert_list.crl_extensions.as_mut().unwrap()[0].critical = is_critical;
        let signature = maker.issuing.key.sign(&list.tbs_cert_list.to_der().unwrap()).unwrap();
        let (r, s) = signature.split_at(32);
        let [r, s] = [r, s].map(|part| der::asn1::Uint::new(part).unwrap());
        let signature = [r.to_der().unwrap(), s.to_der().unwrap()].concat();
        // A sequence of less than 128 bytes.
        let signature = [&[0x30, signature.len() as u8][..], &signature].concat();
        list.signature = der::asn1::BitString::from_bytes(&signature).unwrap();
        let read = RevocationList::verify(&list.to_der().unwrap(), &maker.issuing.certificate, NOW_S);
        assert_eq!(read.err(), is_critical.then_some(Fault::Malformed));
    }
}

#[test]
fn a_public_key_is_a_point_of_its_curve_and_a_secret_one_is_below_its_order() {
    for scheme in Scheme::ALL {
        let key = support::key(scheme, 5);
        assert_eq!(PublicKey::new(scheme, key.public().point()).unwrap(), *key.public());
        let mut beside = *key.public().point();
        beside[64] ^= 1;
        assert_eq!(PublicKey::new(scheme, &beside), Err(Fault::Malformed));
        for secret in [[0; 32], [0xFF; 32]] {
            assert!(SecretKey::new(scheme, &secret).is_err());
        }
        let signature = key.sign(b"a statement").unwrap();
        assert!(key.public().has_signed(b"a statement", &signature));
        assert!(!key.public().has_signed(b"A statement", &signature));
        assert!(!format!("{key:?}").contains("5, 5"), "a secret key is not printed");
    }
}

#[test]
fn names_come_back_as_they_were_given() {
    let maker = Maker::new(Scheme::P256, "Alpha", 1);
    for name in ["a,b+c=d", "#1", " space ", "芯片", "a\\\"<>;"] {
        let key = support::key(Scheme::P256, 6);
        let mut new = support::new(Role::Chip, key.public(), name, "x", &[1]);
        new.subject = Subject { organisation: name, unit: Some(name), common_name: name };
        let made = maker.issuing.issue(&new).unwrap();
        assert_eq!((made.organisation(), made.unit(), made.common_name()), (Some(name), Some(name), Some(name)));
    }
}
