//! The rules for makers, as tables of cases.

use paycode::Suite;
use pki::issue::{Authority, NewCertificate, Role, Subject, root};
use pki::{Certificate, Scheme, SecretKey};

use super::*;
use crate::{Change, Reason};

pub(crate) const NOW_MS: u64 = 1_763_890_000_000;
const NOW_S: u64 = NOW_MS / 1_000;
const DAY_S: u64 = 86_400;

/// A maker's root and one of its lines.
pub(crate) struct House {
    pub(crate) root: Authority,
    pub(crate) line: Authority,
}

pub(crate) fn certificate_of<'a>(
    role: Role,
    key: &'a SecretKey,
    serial: &'a [u8],
    unit: Option<&'a str>,
    common_name: &'a str,
) -> NewCertificate<'a> {
    NewCertificate {
        role,
        serial,
        subject: Subject { organisation: "Sunrise", unit, common_name },
        key: key.public(),
        not_before_s: NOW_S - DAY_S,
        not_after_s: NOW_S + 100 * DAY_S,
    }
}

pub(crate) fn house(scheme: Scheme, seed: u8) -> House {
    let (root_key, line_key) =
        (SecretKey::new(scheme, &[seed; 32]).unwrap(), SecretKey::new(scheme, &[seed + 1; 32]).unwrap());
    let own = root(&certificate_of(Role::Root, &root_key, &[1], None, "root"), &root_key).unwrap();
    let root = Authority { certificate: own, key: root_key };
    let line = root.issue(&certificate_of(Role::Issuing, &line_key, &[2], None, "line")).unwrap();
    House { root, line: Authority { certificate: line, key: line_key } }
}

fn request(root: &Certificate) -> TakeOnMaker {
    TakeOnMaker {
        code: MakerCode::parse("sunrise").unwrap(),
        name: "Sunrise".to_owned(),
        kind: MakerKind::Chips,
        root: root.der().to_vec(),
        now_ms: NOW_MS,
    }
}

pub(crate) fn maker(house: &House) -> Maker {
    take_on(request(&house.root.certificate), None).unwrap().0
}

fn events(changes: &[Change]) -> Vec<(&str, &str)> {
    changes
        .iter()
        .filter_map(|change| match change {
            Change::AddEvent(event) => Some((event.subject.as_str(), event.name)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_maker_is_taken_on_by_a_root_that_is_one_and_valid_now() {
    for scheme in Scheme::ALL {
        let (house, other) = (house(scheme, 1), house(scheme, 7));
        let good = request(&house.root.certificate);
        let (maker, changes) = take_on(good.clone(), None).unwrap();
        assert_eq!(events(&changes), [("maker:sunrise", "maker_taken_on")]);
        assert_eq!(take_on(good.clone(), Some(maker.clone())).unwrap().1, [], "again");
        let old = take_on(TakeOnMaker { now_ms: NOW_MS + 101 * DAY_S * 1_000, ..good.clone() }, None);
        let cases = [
            (take_on(request(&house.line.certificate), None), Reason::CertificateForged, "root"),
            (take_on(TakeOnMaker { root: vec![1, 2], ..good.clone() }, None), Reason::CertificateMalformed, "root"),
            (old, Reason::CertificateExpired, "root"),
            (take_on(TakeOnMaker { name: " ".to_owned(), ..good.clone() }, None), Reason::FieldMalformed, "name"),
            (take_on(TakeOnMaker { name: "n".repeat(101), ..good.clone() }, None), Reason::FieldTooLong, "name"),
            (take_on(request(&other.root.certificate), Some(maker.clone())), Reason::MakerExists, "code"),
        ];
        for (outcome, reason, field) in cases {
            assert_eq!(outcome.map(|_| ()).unwrap_err(), crate::Refusal::at(reason, field));
        }
        let (withdrawn, changes) = set_standing(Some(maker), Standing::Withdrawn, NOW_MS).unwrap();
        assert_eq!(events(&changes), [("maker:sunrise", "maker_withdrawn")]);
        assert_eq!(withdrawn.must_be_active().unwrap_err().reason, Reason::MakerWithdrawn);
        assert_eq!(set_standing(Some(withdrawn), Standing::Withdrawn, NOW_MS).unwrap().1, []);
    }
}

#[test]
fn models_are_of_makers_of_their_kind() {
    let chips = maker(&house(Scheme::P256, 1));
    let devices = Maker { kind: MakerKind::Devices, ..chips.clone() };
    let version = |text| AppletVersion::parse(text).unwrap();
    let chip = ChipModel {
        maker: chips.code.clone(),
        name: ModelName::parse("SE-1").unwrap(),
        suite: Suite::International,
        flash_kib: 16,
        applets: vec![version("0.1.1"), version("0.1.0"), version("0.1.1")],
        standing: Standing::Active,
        changed_ms: NOW_MS,
    };
    let (kept, changes) = put_chip_model(chip.clone(), Some(&chips), None).unwrap();
    assert_eq!(kept.applets, [version("0.1.0"), version("0.1.1")]);
    assert_eq!(events(&changes), [("model:sunrise/SE-1", "model_added")]);
    let later = ChipModel { changed_ms: NOW_MS + 1, ..chip.clone() };
    assert_eq!(put_chip_model(later, Some(&chips), Some(&kept)).unwrap(), (kept.clone(), vec![]), "as it was");
    let withdrawn = ChipModel { standing: Standing::Withdrawn, ..chip.clone() };
    let (_, changes) = put_chip_model(withdrawn, Some(&chips), Some(&kept)).unwrap();
    assert_eq!(events(&changes), [("model:sunrise/SE-1", "model_withdrawn")]);
    let many = ChipModel { applets: (0..33).map(|patch| AppletVersion([0, 1, patch])).collect(), ..chip.clone() };
    for (outcome, reason) in [
        (put_chip_model(chip.clone(), None, None), Reason::MakerNotFound),
        (put_chip_model(chip.clone(), Some(&devices), None), Reason::MakerKindForbids),
        (put_chip_model(many, Some(&chips), None), Reason::FieldTooLong),
    ] {
        assert_eq!(outcome.unwrap_err().reason, reason);
    }
    let device = DeviceModel {
        maker: chips.code.clone(),
        name: ModelName::parse("W1").unwrap(),
        kind: DeviceKind::Watch,
        screen: DeviceScreen::Round,
        link: DeviceLink::Phone,
        passcode: true,
        wear_detection: true,
        standing: Standing::Active,
        changed_ms: NOW_MS,
    };
    assert!(put_device_model(device.clone(), Some(&devices), None).is_ok());
    assert_eq!(put_device_model(device.clone(), Some(&chips), None).unwrap_err().reason, Reason::MakerKindForbids);
    let careless = DeviceModel { passcode: false, ..device };
    assert_eq!(put_device_model(careless, Some(&devices), None).unwrap_err().field, Some("wear_detection"));
    for bad in ["", "1", "1.2", "1.2.3.4", "1.2.256", "1.+2.3", "1..3"] {
        assert!(AppletVersion::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_newer_list_takes_the_place_of_an_older_one_and_never_the_other_way_round() {
    for scheme in Scheme::ALL {
        let (own, other) = (house(scheme, 1), house(scheme, 7));
        let maker = maker(&own);
        let line = authority_of(&maker, Some(own.line.certificate.der()), NOW_MS).unwrap();
        let list = |number, serials: &[&[u8]]| own.line.revoke(number, serials, NOW_S, NOW_S + DAY_S).unwrap();
        let take = |list: &[u8], before| take_in_list(&maker, &line, list, before, NOW_MS);
        let (first, changes) = take(&list(5, &[&[9], &[3], &[9]]), None).unwrap();
        assert_eq!(events(&changes), [("maker:sunrise", "revocation_list_taken_in")]);
        assert!(first.ends(&[3]) && first.ends(&[9]) && !first.ends(&[4]) && !first.ends(&[2]));
        assert_eq!(take(&list(5, &[&[9], &[3]]), Some(first.clone())).unwrap().1, [], "the same again");
        for older in [list(4, &[]), list(5, &[])] {
            let refusal = take(&older, Some(first.clone())).unwrap_err();
            assert_eq!(refusal.reason, Reason::RevocationListOlder);
        }
        let (second, _) = take(&list(6, &[&[4]]), Some(first)).unwrap();
        assert!(second.ends(&[4]) && !second.ends(&[3]));
        // Of the root, of another maker's line, of the past.
        let of_root = own.root.revoke(1, &[&[2]], NOW_S, NOW_S + DAY_S).unwrap();
        assert!(take_in_list(&maker, &maker.root, &of_root, None, NOW_MS).unwrap().0.ends(&[2]));
        assert_eq!(take(&of_root, None).unwrap_err().reason, Reason::CertificateOfAnotherIssuer);
        let foreign = authority_of(&maker, Some(other.line.certificate.der()), NOW_MS);
        assert_eq!(foreign.unwrap_err(), crate::Refusal::at(Reason::CertificateForged, "authority"));
        let late = take_in_list(&maker, &line, &list(7, &[]), None, NOW_MS + 2 * DAY_S * 1_000);
        assert_eq!(late.unwrap_err().reason, Reason::CertificateExpired);
    }
}
