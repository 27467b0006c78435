//! Batches of keys for makers, and the shipments that come back.

use pki::SIGNATURE_BYTES;
use platform::makers::manifest::{BadLine, ManifestHeader, ShippedChip};
use platform::makers::shipments::{self, Shipment, ShipmentFacts, ShipmentState};
use platform::makers::{self, Batch};
use platform::{Reason, ShipmentId, UnixMs};

use crate::key::Key;
use crate::{Command, Env, Failure, StoreError, Tables};

/// Opens a batch.
pub struct OpenBatch(pub Batch);

impl Command for OpenBatch {
    type Answer = Batch;

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<Batch, Failure> {
        let maker = tables.maker(&self.0.maker)?;
        let (batch, changes) = makers::open_batch(self.0.clone(), maker.as_ref())?;
        tables.apply_all(&changes)?;
        Ok(batch)
    }
}

/// Begins a shipment, or goes on with it.
pub struct BeginShipment {
    /// A fresh id.
    pub id: ShipmentId,
    /// What its manifest says before the chips.
    pub header: ManifestHeader,
    /// The present time.
    pub now_ms: UnixMs,
}

impl Command for BeginShipment {
    type Answer = Shipment;

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<Shipment, Failure> {
        let header = &self.header;
        let maker = tables.maker(&header.maker)?;
        let root = maker.as_ref().map(|maker| maker.root.fingerprint());
        let facts = ShipmentFacts {
            maker,
            model: tables.chip_model(&header.maker, &header.model)?,
            batch: tables.batch(header.batch)?,
            revoked: root.map_or(Ok(None), |root| tables.revoked_list(&root))?,
            before: tables.shipment_by_number(&header.maker, &header.shipment)?,
        };
        let (shipment, changes) = shipments::begin(self.id, header.clone(), facts, self.now_ms)?;
        tables.apply_all(&changes)?;
        Ok(shipment)
    }
}

/// Takes in the chips of a shipment that come next.
pub struct TakeInChips {
    /// Which shipment.
    pub id: ShipmentId,
    /// How many chips come before the first of these.
    pub first: u32,
    /// The chips.
    pub chips: Vec<ShippedChip>,
    /// The present time.
    pub now_ms: UnixMs,
}

impl Command for TakeInChips {
    type Answer = Result<Shipment, BadLine>;

    fn wants(&self, _: &Tables<'_>, _: &Env) -> Result<Vec<Key>, StoreError> {
        Ok(self.chips.iter().map(|chip| Key::chip(chip.id)).collect())
    }

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<Self::Answer, Failure> {
        let shipment = tables.shipment(self.id)?.ok_or(Reason::ShipmentNotFound)?;
        let is_known = |chip: &ShippedChip| is_here(tables, chip);
        let taken = shipments::take_in(shipment, self.first, &self.chips, is_known, self.now_ms)?;
        let (shipment, changes) = match taken {
            Ok(taken) => taken,
            Err(bad) => return Ok(Err(bad)),
        };
        tables.apply_all(&changes)?;
        Ok(Ok(shipment))
    }
}

/// Whether a chip is here already. One of a shipment that was refused never was.
fn is_here(tables: &mut Tables<'_>, chip: &ShippedChip) -> Result<bool, Failure> {
    let Some(known) = tables.chip(chip.id)? else { return Ok(false) };
    let Some(origin) = known.origin else { return Ok(true) };
    let shipment = tables.shipment(origin.shipment)?;
    Ok(shipment.is_none_or(|shipment| shipment.state != ShipmentState::Refused))
}

/// Ends a shipment by the signature over all of it.
pub struct FinishShipment {
    /// Which shipment.
    pub id: ShipmentId,
    /// The signature, r and s.
    pub signature: [u8; SIGNATURE_BYTES],
    /// The present time.
    pub now_ms: UnixMs,
}

impl Command for FinishShipment {
    type Answer = Shipment;

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<Shipment, Failure> {
        let shipment = tables.shipment(self.id)?.ok_or(Reason::ShipmentNotFound)?;
        let maker = tables.maker(&shipment.header.maker)?.ok_or(StoreError::Corrupt("shipment's maker"))?;
        let revoked = tables.revoked_list(&maker.root.fingerprint())?;
        let (shipment, changes) = shipments::finish(shipment, &maker, revoked.as_ref(), &self.signature, self.now_ms)?;
        tables.apply_all(&changes)?;
        Ok(shipment)
    }
}

/// Gives up a shipment that has not come in whole.
pub struct GiveUpShipment {
    /// Which shipment.
    pub id: ShipmentId,
    /// The present time.
    pub now_ms: UnixMs,
}

impl Command for GiveUpShipment {
    type Answer = Shipment;

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<Shipment, Failure> {
        let shipment = tables.shipment(self.id)?.ok_or(Reason::ShipmentNotFound)?;
        let (shipment, changes) = shipments::give_up(shipment, self.now_ms)?;
        tables.apply_all(&changes)?;
        Ok(shipment)
    }
}
