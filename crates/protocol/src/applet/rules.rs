//! Orders about the passcode: what a token asks of it, and the cloud's help for who forgot it.

use super::fields::Fields;
use super::values::Slot;
use super::{Error, tag};
use tlv::Writer;

/// `E9`: help with a passcode that was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PasscodeOrder {
    /// All tries are there again; the passcode stays.
    Unblock = 0x01,
    /// The passcode is gone; the wearer sets a new one.
    Clear = 0x02,
}

impl PasscodeOrder {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Unblock),
            0x02 => Some(Self::Clear),
            _ => None,
        }
    }

    pub(super) fn decode_objects(objects: &[u8]) -> Result<Self, Error> {
        Fields::of_order(objects, &[tag::PASSCODE_ACTION])?.one_of(tag::PASSCODE_ACTION, Self::from_byte)
    }

    pub(super) fn write(self, writer: &mut Writer<'_>) -> Result<(), Error> {
        Ok(writer.nest(tag::PASSCODE_ORDER, |w| w.put(tag::PASSCODE_ACTION, &[self as u8]))?)
    }
}

/// `EA`: what a token asks of the passcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetRules {
    /// Which token.
    pub slot: Slot,
    /// Whether it makes no codes until a passcode is set.
    pub passcode_required: bool,
    /// How long after the passcode was entered codes are made as verified, in seconds of the wearable's clock.
    pub session_seconds: u32,
}

impl SetRules {
    pub(super) fn decode_objects(objects: &[u8]) -> Result<Self, Error> {
        let fields = Fields::of_order(objects, &[tag::SLOT, tag::PASSCODE_REQUIRED, tag::SESSION_SECONDS])?;
        Ok(Self {
            slot: fields.one_of(tag::SLOT, Slot::new)?,
            passcode_required: fields.one_of(tag::PASSCODE_REQUIRED, |byte| match byte {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            })?,
            session_seconds: fields.u32(tag::SESSION_SECONDS)?,
        })
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
        Ok(writer.nest(tag::SET_RULES, |w| {
            w.put(tag::SLOT, &[self.slot.number()])?;
            w.put(tag::PASSCODE_REQUIRED, &[u8::from(self.passcode_required)])?;
            w.put(tag::SESSION_SECONDS, &self.session_seconds.to_be_bytes())
        })?)
    }
}
