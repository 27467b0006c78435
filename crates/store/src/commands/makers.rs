//! Makers, their models, and their revocation lists.

use platform::UnixMs;
use platform::makers::{
    self, ChipModel, DeviceModel, Maker, MakerCode, RevokedList, Standing, TakeOnMaker as Request, authority_of,
};

use crate::{Command, Env, Failure, Tables};

/// Takes a maker on.
pub struct TakeOnMaker(pub Request);

impl Command for TakeOnMaker {
    type Answer = Maker;

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<Maker, Failure> {
        let before = tables.maker(&self.0.code)?;
        let (maker, changes) = makers::take_on(self.0.clone(), before)?;
        tables.apply_all(&changes)?;
        Ok(maker)
    }
}

/// Withdraws a maker, or takes it back.
pub struct SetMakerStanding {
    /// Which maker.
    pub maker: MakerCode,
    /// What it is from now on.
    pub standing: Standing,
    /// The present time.
    pub now_ms: UnixMs,
}

impl Command for SetMakerStanding {
    type Answer = Maker;

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<Maker, Failure> {
        let (maker, changes) = makers::set_standing(tables.maker(&self.maker)?, self.standing, self.now_ms)?;
        tables.apply_all(&changes)?;
        Ok(maker)
    }
}

/// Sets a chip model.
pub struct PutChipModel(pub ChipModel);

impl Command for PutChipModel {
    type Answer = ChipModel;

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<ChipModel, Failure> {
        let maker = tables.maker(&self.0.maker)?;
        let before = tables.chip_model(&self.0.maker, &self.0.name)?;
        let (model, changes) = makers::put_chip_model(self.0.clone(), maker.as_ref(), before.as_ref())?;
        tables.apply_all(&changes)?;
        Ok(model)
    }
}

/// Sets a device model.
pub struct PutDeviceModel(pub DeviceModel);

impl Command for PutDeviceModel {
    type Answer = DeviceModel;

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<DeviceModel, Failure> {
        let maker = tables.maker(&self.0.maker)?;
        let before = tables.device_model(&self.0.maker, &self.0.name)?;
        let (model, changes) = makers::put_device_model(self.0.clone(), maker.as_ref(), before.as_ref())?;
        tables.apply_all(&changes)?;
        Ok(model)
    }
}

/// Takes in a revocation list.
pub struct TakeInList {
    /// Whose.
    pub maker: MakerCode,
    /// The certificate of the line that has signed it, DER or PEM; the maker's root where there is none.
    pub authority: Option<Vec<u8>>,
    /// The list, DER.
    pub list: Vec<u8>,
    /// The present time.
    pub now_ms: UnixMs,
}

impl Command for TakeInList {
    type Answer = RevokedList;

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<RevokedList, Failure> {
        let maker = tables.maker(&self.maker)?.ok_or(platform::Reason::MakerNotFound)?;
        let authority = authority_of(&maker, self.authority.as_deref(), self.now_ms)?;
        let before = tables.revoked_list(&authority.fingerprint())?;
        let (list, changes) = makers::take_in_list(&maker, &authority, &self.list, before, self.now_ms)?;
        tables.apply_all(&changes)?;
        Ok(list)
    }
}
