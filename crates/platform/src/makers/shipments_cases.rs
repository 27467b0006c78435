//! Shipments as tables of cases: what begins, what is taken in, and what ends how.

use paycode::Suite;
use pki::{Certificate, Scheme};

use super::super::cases::{House, NOW_MS, house, maker};
use super::super::manifest::ShipmentNumber;
use super::super::{AppletVersion, BatchId, ModelName, Standing};
use super::*;
use crate::ChipId;

const COUNT: u32 = 3;

fn header(house: &House) -> ManifestHeader {
    ManifestHeader {
        maker: maker(house).code,
        model: ModelName::parse("SE-1").unwrap(),
        shipment: ShipmentNumber::parse("1").unwrap(),
        batch: BatchId([3; 16]),
        key_version: 1,
        count: COUNT,
        made_s: NOW_MS / 1_000,
        authority: house.line.certificate.clone(),
    }
}

fn facts(house: &House) -> ShipmentFacts {
    let maker = maker(house);
    let model = ChipModel {
        maker: maker.code.clone(),
        name: ModelName::parse("SE-1").unwrap(),
        suite: Suite::International,
        flash_kib: 4,
        applets: vec![AppletVersion([0, 2, 0])],
        standing: Standing::Active,
        changed_ms: NOW_MS,
    };
    let batch = Batch { id: BatchId([3; 16]), maker: maker.code.clone(), key_version: 1, created_ms: NOW_MS };
    ShipmentFacts { maker: Some(maker), model: Some(model), batch: Some(batch), revoked: None, before: None }
}

fn begun(house: &House) -> Shipment {
    begin(ShipmentId([5; 16]), header(house), facts(house), NOW_MS).unwrap().0
}

fn chip(number: u8) -> ShippedChip {
    ShippedChip { id: ChipId([number; 16]), key_hash: [number; 32] }
}

/// Takes in these chips; those that are known from elsewhere are named.
fn taken(shipment: &Shipment, first: u32, chips: &[u8], known: &[u8]) -> Result<Result<Shipment, BadLine>, Refusal> {
    let chips: Vec<ShippedChip> = chips.iter().map(|number| chip(*number)).collect();
    let is_known = |chip: &ShippedChip| Ok(known.contains(&chip.id.0[0]));
    let taken: Result<_, Refusal> = take_in(shipment.clone(), first, &chips, is_known, NOW_MS);
    taken.map(|taken| {
        taken.map(|(after, changes)| {
            let put = changes.iter().filter(|change| matches!(change, Change::PutChip(_))).count();
            assert_eq!(put as u32, after.running.chips - shipment.running.chips);
            after
        })
    })
}

fn whole(house: &House) -> Shipment {
    taken(&begun(house), 0, &[1, 2, 3], &[]).unwrap().unwrap()
}

fn list(house: &House, authority: &Certificate, ends: &[u8]) -> RevokedList {
    RevokedList {
        authority: authority.fingerprint(),
        maker: maker(house).code,
        number: 1,
        this_update_s: 0,
        next_update_s: u64::MAX,
        revoked: vec![ends.to_vec()],
    }
}

#[test]
fn what_a_shipment_begins_with() {
    let (own, other) = (house(Scheme::P256, 1), house(Scheme::P256, 11));
    let started = |header: ManifestHeader, facts: ShipmentFacts| {
        begin(ShipmentId([5; 16]), header, facts, NOW_MS).map(|_| ()).map_err(|refusal| refusal.reason)
    };
    assert_eq!(started(header(&own), facts(&own)), Ok(()));
    let with = |change: fn(&mut ShipmentFacts)| {
        let mut known = facts(&own);
        change(&mut known);
        started(header(&own), known)
    };
    let none = |reason| Err(reason);
    assert_eq!(with(|facts| facts.maker = None), none(Reason::MakerNotFound));
    assert_eq!(
        with(|facts| facts.maker.as_mut().unwrap().standing = Standing::Withdrawn),
        none(Reason::MakerWithdrawn)
    );
    assert_eq!(with(|facts| facts.maker.as_mut().unwrap().kind = MakerKind::Devices), none(Reason::MakerKindForbids));
    assert_eq!(with(|facts| facts.model = None), none(Reason::ModelNotFound));
    assert_eq!(with(|facts| facts.model.as_mut().unwrap().standing = Standing::Withdrawn), none(Reason::ModelNotFound));
    assert_eq!(with(|facts| facts.batch = None), none(Reason::BatchNotFound));
    assert_eq!(with(|facts| facts.batch.as_mut().unwrap().key_version = 2), none(Reason::BatchNotFound));
    let another = |facts: &mut ShipmentFacts| {
        facts.batch.as_mut().unwrap().maker = super::super::MakerCode::parse("moon").unwrap();
    };
    assert_eq!(with(another), none(Reason::BatchNotFound));
    // A line of another root, and one that its root has ended.
    let authority = other.line.certificate.clone();
    assert_eq!(started(ManifestHeader { authority, ..header(&own) }, facts(&own)), none(Reason::CertificateForged));
    let revoked = Some(list(&own, &own.root.certificate, own.line.certificate.serial()));
    assert_eq!(started(header(&own), ShipmentFacts { revoked, ..facts(&own) }), none(Reason::CertificateRevoked));
    let revoked = Some(list(&own, &own.root.certificate, &[0x77]));
    assert_eq!(started(header(&own), ShipmentFacts { revoked, ..facts(&own) }), Ok(()));
    // The number is taken by one with another header, and free again once that was refused.
    let before = Some(Shipment { header: ManifestHeader { count: 9, ..header(&own) }, ..begun(&own) });
    assert_eq!(started(header(&own), ShipmentFacts { before, ..facts(&own) }), none(Reason::ShipmentDiffers));
    let before = Some(Shipment { state: ShipmentState::Refused, ..begun(&own) });
    assert_eq!(started(header(&own), ShipmentFacts { before, ..facts(&own) }), Ok(()));
    let before = Some(whole(&own));
    let (again, changes) =
        begin(ShipmentId([6; 16]), header(&own), ShipmentFacts { before, ..facts(&own) }, NOW_MS).unwrap();
    assert_eq!((again, changes), (whole(&own), Vec::new()), "the same header goes on with it");
}

#[test]
fn chips_come_in_their_order_each_once_and_no_more_than_were_shipped() {
    let house = house(Scheme::P256, 1);
    let begun = begun(&house);
    let bad = |number, fault| Ok(Err(BadLine { number, fault }));
    for (chips, known, expected) in [
        (&[1, 2, 3][..], &[][..], Ok(Ok(3))),
        (&[1, 2], &[], Ok(Ok(2))),
        (&[1, 1], &[], bad(12, LineFault::Order)),
        (&[1, 3, 2], &[], bad(13, LineFault::Order)),
        (&[1, 2, 3, 4], &[], bad(14, LineFault::Count)),
        (&[1, 2, 3], &[2], bad(12, LineFault::Exists)),
    ] {
        let came = taken(&begun, 0, chips, known).map(|taken| taken.map(|after| after.running.chips));
        assert_eq!(came, expected, "{chips:?} {known:?}");
    }
    // In pieces: what came before, or begins beyond, changes nothing.
    let one = taken(&begun, 0, &[1], &[]).unwrap().unwrap();
    for first in [0, 2, 3] {
        assert_eq!(taken(&one, first, &[2], &[]), Ok(Ok(one.clone())), "from {first}");
    }
    assert_eq!(taken(&one, 1, &[2, 3], &[]), Ok(Ok(whole(&house))));
    assert_eq!(taken(&one, 1, &[1], &[]), bad(12, LineFault::Order).map(|bad| bad.map(|_: u32| begun.clone())));
    let complete = Shipment { state: ShipmentState::Complete, ..begun.clone() };
    assert_eq!(taken(&complete, 0, &[1], &[]), Ok(Ok(complete.clone())));
    let refused = Shipment { state: ShipmentState::Refused, ..begun.clone() };
    assert_eq!(taken(&refused, 0, &[1], &[]), Err(Reason::ShipmentRefused.into()));
    let many = vec![chip(1); MAX_PIECE + 1];
    let too_many: Result<_, Refusal> = take_in(begun, 0, &many, |_| Ok(false), NOW_MS);
    assert_eq!(too_many.map(|_| ()), Err(Refusal::at(Reason::FieldTooLong, "lines")));
}

#[test]
fn a_shipment_ends_whole_by_the_signature_of_a_line_that_stands_or_not_at_all() {
    let (own, other) = (house(Scheme::P256, 1), house(Scheme::P256, 11));
    let shipment = whole(&own);
    let signature = shipment.running.sign(&own.line.key).unwrap();
    let ended = |shipment: &Shipment, maker: &Maker, revoked: Option<&RevokedList>, signature| {
        let ended = finish(shipment.clone(), maker, revoked, signature, NOW_MS);
        ended.map(|(after, _)| after.state).map_err(|refusal| refusal.reason)
    };
    let active = maker(&own);
    assert_eq!(ended(&shipment, &active, None, &signature), Ok(ShipmentState::Complete));
    let others = shipment.running.sign(&other.line.key).unwrap();
    assert_eq!(ended(&shipment, &active, None, &others), Ok(ShipmentState::Refused));
    // Any chip's key is part of what was signed.
    let mut running = Running::of_header(&shipment.header);
    for number in [1, 2, 3] {
        let key_hash = if number == 2 { [9; 32] } else { [number; 32] };
        running.add(Scheme::P256, &ShippedChip { key_hash, ..chip(number) }).unwrap();
    }
    assert_eq!(ended(&Shipment { running, ..shipment.clone() }, &active, None, &signature), Ok(ShipmentState::Refused));
    let two = taken(&begun(&own), 0, &[1, 2], &[]).unwrap().unwrap();
    let of_two = two.running.sign(&own.line.key).unwrap();
    assert_eq!(ended(&two, &active, None, &of_two), Err(Reason::ShipmentIncomplete));
    let withdrawn = Maker { standing: Standing::Withdrawn, ..active.clone() };
    assert_eq!(ended(&shipment, &withdrawn, None, &signature), Err(Reason::MakerWithdrawn));
    let revoked = list(&own, &own.root.certificate, own.line.certificate.serial());
    assert_eq!(ended(&shipment, &active, Some(&revoked), &signature), Err(Reason::CertificateRevoked));
    // A root may issue, and signs no manifest.
    let mut by_root = shipment.clone();
    by_root.header.authority = own.root.certificate.clone();
    let roots = by_root.running.sign(&own.root.key).unwrap();
    assert_ne!(ended(&by_root, &active, None, &roots), Ok(ShipmentState::Complete));
    for (state, again, given_up) in [
        (ShipmentState::Receiving, Ok(ShipmentState::Complete), Ok(ShipmentState::Refused)),
        (ShipmentState::Complete, Ok(ShipmentState::Complete), Err(Reason::ShipmentComplete)),
        (ShipmentState::Refused, Err(Reason::ShipmentRefused), Ok(ShipmentState::Refused)),
    ] {
        let shipment = Shipment { state, ..shipment.clone() };
        assert_eq!(ended(&shipment, &active, None, &signature), again, "{state:?}");
        let left = give_up(shipment, NOW_MS).map(|(after, _)| after.state).map_err(|refusal| refusal.reason);
        assert_eq!(left, given_up, "{state:?}");
    }
}

#[test]
fn a_header_has_one_spelling() {
    let header = header(&house(Scheme::P256, 1));
    let text = header.to_text();
    assert_eq!(ManifestHeader::parse(&text), Ok(header));
    for (from, to) in [
        ("count: 3\n", "count: +3\n"),
        ("count: 3\n", "count: 03\n"),
        ("key-version: 1\n", "key-version: 001\n"),
        ("batch: 0303", "batch: 0303 "),
    ] {
        let other = text.replacen(from, to, 1);
        assert!(other != text && ManifestHeader::parse(&other).is_err(), "{to}");
    }
}
