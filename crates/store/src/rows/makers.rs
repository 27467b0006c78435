//! Makers, their models and their revocation lists as rows.

use paycode::Suite;
use pki::Certificate;
use platform::makers::manifest::{ManifestHeader, Running};
use platform::makers::shipments::{Shipment, ShipmentState};
use platform::makers::{
    AppletVersion, Batch, BatchId, ChipModel, DeviceKind, DeviceLink, DeviceModel, DeviceScreen, Maker, MakerCode,
    MakerKind, ModelName, RevokedList, Standing,
};

use platform::{ChipId, ShipmentId};

use super::FORM;
use super::codec::{Decoder, Encoder};
use crate::StoreError;

pub(crate) fn put_maker(row: &Maker) -> Vec<u8> {
    Encoder::new(FORM)
        .text(row.code.as_str())
        .text(&row.name)
        .u8(row.kind as u8)
        .bytes(row.root.der())
        .u8(row.standing as u8)
        .u64(row.created_ms)
        .finish()
}

pub(crate) fn maker(fields: &[u8]) -> Result<Maker, StoreError> {
    let mut row = Decoder::new("makers", FORM, fields)?;
    let maker = Maker {
        code: code(&mut row)?,
        name: row.text()?.to_owned(),
        kind: numbered(&mut row, |number| MakerKind::ALL.into_iter().find(|kind| *kind as u8 == number))?,
        root: Certificate::from_der(row.bytes()?).map_err(|_| row.corrupt())?,
        standing: standing(&mut row)?,
        created_ms: row.u64()?,
    };
    row.end().map(|()| maker)
}

pub(crate) fn put_chip_model(row: &ChipModel) -> Vec<u8> {
    let head = Encoder::new(FORM)
        .text(row.maker.as_str())
        .text(row.name.as_str())
        .u8(row.suite.id())
        .u16(row.flash_kib)
        // At most `MAX_APPLETS`.
        .u8(row.applets.len() as u8);
    let applets = row.applets.iter().fold(head, |row, applet| row.raw(&applet.0));
    applets.u8(row.standing as u8).u64(row.changed_ms).finish()
}

pub(crate) fn chip_model(fields: &[u8]) -> Result<ChipModel, StoreError> {
    let mut row = Decoder::new("chip_models", FORM, fields)?;
    let model = ChipModel {
        maker: code(&mut row)?,
        name: name(&mut row)?,
        suite: numbered(&mut row, Suite::from_id)?,
        flash_kib: row.u16()?,
        applets: (0..row.u8()?).map(|_| row.raw().map(AppletVersion)).collect::<Result<_, _>>()?,
        standing: standing(&mut row)?,
        changed_ms: row.u64()?,
    };
    row.end().map(|()| model)
}

pub(crate) fn put_device_model(row: &DeviceModel) -> Vec<u8> {
    Encoder::new(FORM)
        .text(row.maker.as_str())
        .text(row.name.as_str())
        .u8(row.kind as u8)
        .u8(row.screen as u8)
        .u8(row.link as u8)
        .flag(row.passcode)
        .flag(row.wear_detection)
        .u8(row.standing as u8)
        .u64(row.changed_ms)
        .finish()
}

pub(crate) fn device_model(fields: &[u8]) -> Result<DeviceModel, StoreError> {
    let mut row = Decoder::new("device_models", FORM, fields)?;
    let model = DeviceModel {
        maker: code(&mut row)?,
        name: name(&mut row)?,
        kind: numbered(&mut row, DeviceKind::from_number)?,
        screen: numbered(&mut row, DeviceScreen::from_number)?,
        link: numbered(&mut row, DeviceLink::from_number)?,
        passcode: row.flag()?,
        wear_detection: row.flag()?,
        standing: standing(&mut row)?,
        changed_ms: row.u64()?,
    };
    row.end().map(|()| model)
}

pub(crate) fn put_revoked_list(row: &RevokedList) -> Vec<u8> {
    let head = Encoder::new(FORM)
        .raw(&row.authority)
        .text(row.maker.as_str())
        .u64(row.number)
        .u64(row.this_update_s)
        .u64(row.next_update_s)
        // At most `pki::MAX_REVOKED`.
        .u32(row.revoked.len() as u32);
    row.revoked.iter().fold(head, |row, serial| row.bytes(serial)).finish()
}

pub(crate) fn revoked_list(fields: &[u8]) -> Result<RevokedList, StoreError> {
    let mut row = Decoder::new("revocation_lists", FORM, fields)?;
    let list = RevokedList {
        authority: row.raw()?,
        maker: code(&mut row)?,
        number: row.u64()?,
        this_update_s: row.u64()?,
        next_update_s: row.u64()?,
        revoked: (0..row.u32()?).map(|_| row.bytes().map(<[u8]>::to_vec)).collect::<Result<_, _>>()?,
    };
    row.end().map(|()| list)
}

pub(crate) fn put_batch(row: &Batch) -> Vec<u8> {
    Encoder::new(FORM).raw(&row.id.0).text(row.maker.as_str()).u8(row.key_version).u64(row.created_ms).finish()
}

pub(crate) fn batch(fields: &[u8]) -> Result<Batch, StoreError> {
    let mut row = Decoder::new("batches", FORM, fields)?;
    let batch =
        Batch { id: BatchId(row.raw()?), maker: code(&mut row)?, key_version: row.u8()?, created_ms: row.u64()? };
    row.end().map(|()| batch)
}

pub(crate) fn put_shipment(row: &Shipment) -> Vec<u8> {
    Encoder::new(FORM)
        .raw(&row.id.0)
        // At most `MAX_HEADER_BYTES`.
        .text(&row.header.to_text())
        .raw(&row.running.hash)
        .u32(row.running.chips)
        .maybe(row.running.last, |row, last| row.raw(&last.0))
        .u8(row.state as u8)
        .u64(row.created_ms)
        .finish()
}

pub(crate) fn shipment(fields: &[u8]) -> Result<Shipment, StoreError> {
    let mut row = Decoder::new("shipments", FORM, fields)?;
    let shipment = Shipment {
        id: ShipmentId(row.raw()?),
        header: ManifestHeader::parse(row.text()?).map_err(|_| row.corrupt())?,
        running: Running { hash: row.raw()?, chips: row.u32()?, last: row.maybe(|row| row.raw().map(ChipId))? },
        state: numbered(&mut row, |number| ShipmentState::ALL.into_iter().find(|state| *state as u8 == number))?,
        created_ms: row.u64()?,
    };
    row.end().map(|()| shipment)
}

fn code(row: &mut Decoder<'_>) -> Result<MakerCode, StoreError> {
    MakerCode::parse(row.text()?).map_err(|_| row.corrupt())
}

fn name(row: &mut Decoder<'_>) -> Result<ModelName, StoreError> {
    ModelName::parse(row.text()?).map_err(|_| row.corrupt())
}

fn standing(row: &mut Decoder<'_>) -> Result<Standing, StoreError> {
    numbered(row, |number| Standing::ALL.into_iter().find(|standing| *standing as u8 == number))
}

fn numbered<T>(row: &mut Decoder<'_>, find: impl FnOnce(u8) -> Option<T>) -> Result<T, StoreError> {
    let number = row.u8()?;
    row.known(find(number))
}
