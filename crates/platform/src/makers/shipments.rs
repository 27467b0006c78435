//! Shipments: chips that a maker has sent, taken in from its manifest. They come in pieces, and count from the moment the
//! signature over all of them has been found right: before it they are nobody's, after a wrong one they never were.

use super::manifest::{BadLine, LineFault, ManifestHeader, Running, ShippedChip};
use super::{Batch, ChipModel, Maker, MakerKind, RevokedList, Standing, event, refused};
use crate::chips::{Chip, Origin};
use crate::{Change, Reason, Refusal, ShipmentId, UnixMs};

/// The most chips taken in at once.
pub const MAX_PIECE: usize = 4_096;

/// Where a shipment is. The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ShipmentState {
    /// Its chips are coming in.
    Receiving = 1,
    /// All of them are in: they can be bound.
    Complete = 2,
    /// It was given up: its chips were never here.
    Refused = 3,
}

impl ShipmentState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Receiving, Self::Complete, Self::Refused];

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Complete => "complete",
            Self::Refused => "refused",
        }
    }
}

/// A shipment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipment {
    /// Its id.
    pub id: ShipmentId,
    /// What its manifest says before the chips.
    pub header: ManifestHeader,
    /// How far it has come in.
    pub running: Running,
    /// Where it is.
    pub state: ShipmentState,
    /// When it began.
    pub created_ms: UnixMs,
}

impl Shipment {
    fn subject(&self) -> String {
        self.id.to_string()
    }

    fn change(self, name: &'static str, now_ms: UnixMs) -> (Self, Vec<Change>) {
        let events =
            [self.subject(), format!("maker:{}", self.header.maker)].map(|subject| event(subject, now_ms, name));
        let mut changes = vec![Change::PutShipment(self.clone())];
        changes.extend(events.map(Change::AddEvent));
        (self, changes)
    }
}

/// What is known when a shipment begins.
#[derive(Debug, Clone, Default)]
pub struct ShipmentFacts {
    /// The maker of the header.
    pub maker: Option<Maker>,
    /// The chip model of the header.
    pub model: Option<ChipModel>,
    /// The batch of the header.
    pub batch: Option<Batch>,
    /// The list of certificates that the maker's root has ended.
    pub revoked: Option<RevokedList>,
    /// The shipment with the same number, where there is one.
    pub before: Option<Shipment>,
}

/// Begins a shipment. The same header again goes on with it; one that was refused may come again.
///
/// # Errors
/// [`Reason::MakerNotFound`] and the like; those of a line that the maker's root has not made or has ended;
/// [`Reason::ShipmentDiffers`].
pub fn begin(
    id: ShipmentId,
    header: ManifestHeader,
    facts: ShipmentFacts,
    now_ms: UnixMs,
) -> Result<(Shipment, Vec<Change>), Refusal> {
    if let Some(before) = facts.before.filter(|before| before.state != ShipmentState::Refused) {
        return if before.header == header {
            Ok((before, Vec::new()))
        } else {
            Err(Refusal::at(Reason::ShipmentDiffers, "header"))
        };
    }
    let maker = facts.maker.ok_or(Refusal::at(Reason::MakerNotFound, "maker"))?;
    maker.must_make(MakerKind::Chips)?;
    maker.must_be_active()?;
    let has_model = facts.model.is_some_and(|model| model.standing == Standing::Active);
    if !has_model {
        return Err(Refusal::at(Reason::ModelNotFound, "model"));
    }
    let own = facts.batch.filter(|batch| batch.maker == maker.code && batch.key_version == header.key_version);
    own.ok_or(Refusal::at(Reason::BatchNotFound, "batch"))?;
    line_stands(&header, &maker, facts.revoked.as_ref(), now_ms / 1_000)?;
    let running = Running::of_header(&header);
    let shipment = Shipment { id, header, running, state: ShipmentState::Receiving, created_ms: now_ms };
    Ok(shipment.change("shipment_begun", now_ms))
}

/// Whether the maker's root stands now behind the line that signs under this header.
pub(crate) fn line_stands(
    header: &ManifestHeader,
    maker: &Maker,
    revoked: Option<&RevokedList>,
    now_s: u64,
) -> Result<(), Refusal> {
    let authority = &header.authority;
    authority.check_issued_by_root(&maker.root, now_s).map_err(|fault| refused(fault, "authority"))?;
    if revoked.is_some_and(|list| list.ends(authority.serial())) {
        return Err(Refusal::at(Reason::CertificateRevoked, "authority"));
    }
    Ok(())
}

/// Takes in the chips that come next. Chips that came before, or that begin beyond, change nothing: the answer says how far
/// the shipment is. `is_known` says whether a chip is here already from elsewhere.
///
/// # Errors
/// The first line that is wrong: then none of these chips is taken in.
pub fn take_in<E: From<Refusal>>(
    shipment: Shipment,
    first: u32,
    chips: &[ShippedChip],
    mut is_known: impl FnMut(&ShippedChip) -> Result<bool, E>,
    now_ms: UnixMs,
) -> Result<Result<(Shipment, Vec<Change>), BadLine>, E> {
    if shipment.state == ShipmentState::Refused {
        return Err(Refusal::from(Reason::ShipmentRefused).into());
    }
    if chips.len() > MAX_PIECE {
        return Err(Refusal::at(Reason::FieldTooLong, "lines").into());
    }
    if shipment.state == ShipmentState::Complete || first != shipment.running.chips {
        return Ok(Ok((shipment, Vec::new())));
    }
    let scheme = shipment.header.authority.key().scheme();
    let mut running = shipment.running;
    let mut changes = Vec::with_capacity(chips.len() + 1);
    for chip in chips {
        let bad = |fault| BadLine { number: ManifestHeader::line_of(running.chips.into()), fault };
        if running.chips >= shipment.header.count {
            return Ok(Err(bad(LineFault::Count)));
        }
        if is_known(chip)? {
            return Ok(Err(bad(LineFault::Exists)));
        }
        let mut next = running;
        if let Err(fault) = next.add(scheme, chip) {
            return Ok(Err(bad(fault)));
        }
        running = next;
        changes.push(Change::PutChip(Chip {
            id: chip.id,
            key_version: shipment.header.key_version,
            registered_ms: now_ms,
            origin: Some(Origin { shipment: shipment.id, key_hash: chip.key_hash }),
        }));
    }
    let shipment = Shipment { running, ..shipment };
    changes.push(Change::PutShipment(shipment.clone()));
    Ok(Ok((shipment, changes)))
}

/// Ends a shipment: with the right signature all of its chips are here at once; with a wrong one, none ever was. A maker that
/// was withdrawn, or a line whose certificate was ended, while the chips came in ships nothing; the shipment stays as it is,
/// to be given up or, once they stand again, finished.
///
/// # Errors
/// [`Reason::ShipmentRefused`], [`Reason::ShipmentIncomplete`]; those of maker and line, as in [`begin`].
pub fn finish(
    shipment: Shipment,
    maker: &Maker,
    revoked: Option<&RevokedList>,
    signature: &[u8; pki::SIGNATURE_BYTES],
    now_ms: UnixMs,
) -> Result<(Shipment, Vec<Change>), Refusal> {
    match shipment.state {
        ShipmentState::Complete => return Ok((shipment, Vec::new())),
        ShipmentState::Refused => return Err(Reason::ShipmentRefused.into()),
        ShipmentState::Receiving => {}
    }
    if shipment.running.chips != shipment.header.count {
        return Err(Reason::ShipmentIncomplete.into());
    }
    maker.must_be_active()?;
    line_stands(&shipment.header, maker, revoked, now_ms / 1_000)?;
    if shipment.running.is_signed(&shipment.header.authority, signature) {
        Ok(Shipment { state: ShipmentState::Complete, ..shipment }.change("shipment_complete", now_ms))
    } else {
        Ok(Shipment { state: ShipmentState::Refused, ..shipment }.change("shipment_signature_wrong", now_ms))
    }
}

/// Gives up a shipment that has not come in whole.
///
/// # Errors
/// [`Reason::ShipmentComplete`].
pub fn give_up(shipment: Shipment, now_ms: UnixMs) -> Result<(Shipment, Vec<Change>), Refusal> {
    match shipment.state {
        ShipmentState::Refused => Ok((shipment, Vec::new())),
        ShipmentState::Complete => Err(Reason::ShipmentComplete.into()),
        ShipmentState::Receiving => {
            Ok(Shipment { state: ShipmentState::Refused, ..shipment }.change("shipment_given_up", now_ms))
        }
    }
}

#[cfg(test)]
#[path = "shipments_cases.rs"]
mod tests;
