//! The orders the cloud gives the chip with STORE DATA, always inside the secure channel. Each is one
//! template and one atomic change: the chip obeys all of it or none of it.

use super::attestation::StoreCertificate;
use super::fields::{Fields, digits, ensure, exact, label, unix_seconds};
use super::rules::{PasscodeOrder, SetRules};
use super::values::Slot;
use super::{
    CHIP_ID_BYTES, CODE_DIGITS, Error, MASK_KEY_BYTES, MAX_PREFIX_DIGITS, PAY_KEY_BYTES, TOKEN_ID_BYTES,
    TOKEN_INDEX_END, tag,
};
use core::fmt;
use tlv::{Tag, Writer};

/// Any order of STORE DATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order<'a> {
    /// `E0`
    FactoryData(FactoryData<'a>),
    /// `E1`
    InstallToken(InstallToken<'a>),
    /// `E2`
    Sync(SyncGrant<'a>),
    /// `E3`
    RemoveToken(RemoveToken),
    /// `E4`
    SetState(StateChange),
    /// `E7`
    StoreCertificate(StoreCertificate<'a>),
    /// `E9`
    Passcode(PasscodeOrder),
    /// `EA`
    SetRules(SetRules),
}

impl<'a> Order<'a> {
    /// Reads the data field of STORE DATA: exactly one template.
    ///
    /// # Errors
    /// Any of [`Error`]; [`Error::Unexpected`] names a template that is no order.
    pub fn decode(data: &'a [u8]) -> Result<Self, Error> {
        let template = tlv::only(data)?;
        Ok(match template.tag {
            tag::FACTORY_DATA => Self::FactoryData(FactoryData::decode_objects(template.value)?),
            tag::INSTALL_TOKEN => Self::InstallToken(InstallToken::decode_objects(template.value)?),
            tag::SYNC => Self::Sync(SyncGrant::decode_objects(template.value)?),
            tag::REMOVE_TOKEN => Self::RemoveToken(RemoveToken::decode_objects(template.value)?),
            tag::SET_STATE => Self::SetState(StateChange::decode_objects(template.value)?),
            tag::STORE_CERTIFICATE => Self::StoreCertificate(StoreCertificate::decode_objects(template.value)?),
            tag::PASSCODE_ORDER => Self::Passcode(PasscodeOrder::decode_objects(template.value)?),
            tag::SET_RULES => Self::SetRules(SetRules::decode_objects(template.value)?),
            other => return Err(Error::Unexpected(other)),
        })
    }

    /// Writes the template.
    ///
    /// # Errors
    /// [`Error::BadValue`] for a value that would not be read back, [`Error::Tlv`] when `out` is too small.
    pub fn encode<'b>(&self, out: &'b mut [u8]) -> Result<&'b [u8], Error> {
        let mut writer = Writer::new(out);
        match self {
            Self::FactoryData(order) => {
                writer.nest(tag::FACTORY_DATA, |w| w.put(tag::FACTORY_CHIP_ID, order.chip_id))?;
            }
            Self::InstallToken(order) => order.write(&mut writer)?,
            Self::Sync(order) => order.write(&mut writer)?,
            Self::RemoveToken(order) => {
                writer.nest(tag::REMOVE_TOKEN, |w| w.put(tag::SLOT, &[order.slot.number()]))?;
            }
            Self::SetState(order) => {
                writer.nest(tag::SET_STATE, |w| w.put(tag::NEW_STATE, &[order.to_byte()]))?;
            }
            Self::StoreCertificate(order) => order.write(&mut writer)?,
            Self::Passcode(order) => order.write(&mut writer)?,
            Self::SetRules(order) => order.write(&mut writer)?,
        }
        Ok(writer.finish())
    }
}

/// `E0`: what the factory writes; makes a blank chip ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactoryData<'a> {
    /// The chip's name for life.
    pub chip_id: &'a [u8; CHIP_ID_BYTES],
}

impl<'a> FactoryData<'a> {
    fn decode_objects(objects: &'a [u8]) -> Result<Self, Error> {
        let fields = Fields::of_order(objects, &[tag::FACTORY_CHIP_ID])?;
        Ok(Self { chip_id: fields.array(tag::FACTORY_CHIP_ID)? })
    }
}

/// What a sync allows until the next one. It bounds what a hijacked watch processor can harvest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The cloud's time, in Unix seconds, up to [`super::MAX_UNIX_SECONDS`].
    pub time_anchor_unix_seconds: u64,
    /// How far past the anchor codes may be made, in seconds.
    pub offline_allowance_seconds: u32,
    /// How many codes may be made.
    pub code_budget: u16,
}

impl Grant {
    const TAGS: [Tag; 3] = [tag::TIME_ANCHOR, tag::OFFLINE_ALLOWANCE, tag::CODE_BUDGET];

    fn read(fields: &Fields<'_>) -> Result<Self, Error> {
        Ok(Self {
            time_anchor_unix_seconds: fields.unix_seconds(tag::TIME_ANCHOR)?,
            offline_allowance_seconds: fields.u32(tag::OFFLINE_ALLOWANCE)?,
            code_budget: fields.u16(tag::CODE_BUDGET)?,
        })
    }

    fn check(&self) -> Result<(), Error> {
        unix_seconds(tag::TIME_ANCHOR, self.time_anchor_unix_seconds).map(|_| ())
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), tlv::Error> {
        writer.put(tag::TIME_ANCHOR, &self.time_anchor_unix_seconds.to_be_bytes())?;
        writer.put(tag::OFFLINE_ALLOWANCE, &self.offline_allowance_seconds.to_be_bytes())?;
        writer.put(tag::CODE_BUDGET, &self.code_budget.to_be_bytes())
    }
}

/// `E1`: a token with its keys and its first grant. It replaces what the slot held.
///
/// `Debug` leaves the keys out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InstallToken<'a> {
    /// Where the token goes.
    pub slot: Slot,
    /// The token's name.
    pub token_id: &'a [u8; TOKEN_ID_BYTES],
    /// The code prefix, 1 to 8 decimal digits.
    pub prefix: &'a str,
    /// Digits of a whole code, 18 to 24.
    pub total_digits: u8,
    /// Cipher suite: 1 international, 2 Chinese.
    pub suite: u8,
    /// The token's number under its prefix, below ten billion.
    pub token_index: u64,
    /// The key codes are made with.
    pub pay_key: &'a [u8; PAY_KEY_BYTES],
    /// Its version.
    pub pay_key_version: u8,
    /// The key that hides the token index.
    pub mask_key: &'a [u8; MASK_KEY_BYTES],
    /// Its version.
    pub mask_key_version: u8,
    /// The masked account name for the screen, 1 to 48 bytes, no control characters.
    pub account_label: &'a str,
    /// What the token may do until the first sync.
    pub grant: Grant,
}

impl<'a> InstallToken<'a> {
    fn decode_objects(objects: &'a [u8]) -> Result<Self, Error> {
        let fields = Fields::of_order(
            objects,
            &[
                tag::SLOT,
                tag::TOKEN_ID,
                tag::PREFIX,
                tag::TOTAL_DIGITS,
                tag::SUITE,
                tag::TOKEN_INDEX,
                tag::PAY_KEY,
                tag::PAY_KEY_VERSION,
                tag::MASK_KEY,
                tag::MASK_KEY_VERSION,
                tag::LABEL,
                tag::TIME_ANCHOR,
                tag::OFFLINE_ALLOWANCE,
                tag::CODE_BUDGET,
            ],
        )?;
        let order = Self {
            slot: fields.one_of(tag::SLOT, Slot::new)?,
            token_id: fields.array(tag::TOKEN_ID)?,
            prefix: digits(tag::PREFIX, fields.required(tag::PREFIX)?, 1..=MAX_PREFIX_DIGITS)?,
            total_digits: fields.byte(tag::TOTAL_DIGITS)?,
            suite: fields.byte(tag::SUITE)?,
            token_index: fields.u64(tag::TOKEN_INDEX)?,
            pay_key: fields.array(tag::PAY_KEY)?,
            pay_key_version: fields.byte(tag::PAY_KEY_VERSION)?,
            mask_key: fields.array(tag::MASK_KEY)?,
            mask_key_version: fields.byte(tag::MASK_KEY_VERSION)?,
            account_label: label(tag::LABEL, fields.required(tag::LABEL)?)?,
            grant: Grant::read(&fields)?,
        };
        order.check()?;
        Ok(order)
    }

    fn check(&self) -> Result<(), Error> {
        digits(tag::PREFIX, self.prefix.as_bytes(), 1..=MAX_PREFIX_DIGITS)?;
        ensure(tag::TOTAL_DIGITS, CODE_DIGITS.contains(&self.total_digits))?;
        ensure(tag::SUITE, matches!(self.suite, 1 | 2))?;
        ensure(tag::TOKEN_INDEX, self.token_index < TOKEN_INDEX_END)?;
        label(tag::LABEL, self.account_label.as_bytes())?;
        self.grant.check()
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
        self.check()?;
        writer.nest(tag::INSTALL_TOKEN, |w| {
            w.put(tag::SLOT, &[self.slot.number()])?;
            w.put(tag::TOKEN_ID, self.token_id)?;
            w.put(tag::PREFIX, self.prefix.as_bytes())?;
            w.put(tag::TOTAL_DIGITS, &[self.total_digits])?;
            w.put(tag::SUITE, &[self.suite])?;
            w.put(tag::TOKEN_INDEX, &self.token_index.to_be_bytes())?;
            w.put(tag::PAY_KEY, self.pay_key)?;
            w.put(tag::PAY_KEY_VERSION, &[self.pay_key_version])?;
            w.put(tag::MASK_KEY, self.mask_key)?;
            w.put(tag::MASK_KEY_VERSION, &[self.mask_key_version])?;
            w.put(tag::LABEL, self.account_label.as_bytes())?;
            self.grant.write(w)
        })?;
        Ok(())
    }
}

impl fmt::Debug for InstallToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstallToken")
            .field("slot", &self.slot)
            .field("prefix", &self.prefix)
            .field("total_digits", &self.total_digits)
            .field("suite", &self.suite)
            .field("pay_key_version", &self.pay_key_version)
            .field("mask_key_version", &self.mask_key_version)
            .field("grant", &self.grant)
            .finish_non_exhaustive()
    }
}

/// `E2`: a new grant for one token and, now and then, a new mask key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncGrant<'a> {
    /// Which token.
    pub slot: Slot,
    /// What it may do until the next sync.
    pub grant: Grant,
    /// The mask key from now on; `None` keeps the one it has.
    pub mask_key: Option<MaskKeyUpdate<'a>>,
}

/// A new mask key and its version. `Debug` leaves the key out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MaskKeyUpdate<'a> {
    /// The key.
    pub key: &'a [u8; MASK_KEY_BYTES],
    /// Its version.
    pub version: u8,
}

impl fmt::Debug for MaskKeyUpdate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaskKeyUpdate").field("version", &self.version).finish_non_exhaustive()
    }
}

impl<'a> SyncGrant<'a> {
    fn decode_objects(objects: &'a [u8]) -> Result<Self, Error> {
        let [anchor, allowance, budget] = Grant::TAGS;
        let known = [tag::SLOT, anchor, allowance, budget, tag::MASK_KEY, tag::MASK_KEY_VERSION];
        let fields = Fields::of_order(objects, &known)?;
        let version = fields.optional_array::<1>(tag::MASK_KEY_VERSION)?;
        let mask_key = match (fields.optional(tag::MASK_KEY)?, version) {
            (None, None) => None,
            (Some(key), Some([version])) => Some(MaskKeyUpdate { key: exact(tag::MASK_KEY, key)?, version: *version }),
            (Some(_), None) => return Err(Error::Missing(tag::MASK_KEY_VERSION)),
            (None, Some(_)) => return Err(Error::Missing(tag::MASK_KEY)),
        };
        Ok(Self { slot: fields.one_of(tag::SLOT, Slot::new)?, grant: Grant::read(&fields)?, mask_key })
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
        self.grant.check()?;
        writer.nest(tag::SYNC, |w| {
            w.put(tag::SLOT, &[self.slot.number()])?;
            self.grant.write(w)?;
            if let Some(update) = &self.mask_key {
                w.put(tag::MASK_KEY, update.key)?;
                w.put(tag::MASK_KEY_VERSION, &[update.version])?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

/// `E3`: forget a token; its keys are wiped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoveToken {
    /// Which token.
    pub slot: Slot,
}

impl RemoveToken {
    fn decode_objects(objects: &[u8]) -> Result<Self, Error> {
        let fields = Fields::of_order(objects, &[tag::SLOT])?;
        Ok(Self { slot: fields.one_of(tag::SLOT, Slot::new)? })
    }
}

/// `E4`: freeze the chip, thaw it, or end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StateChange {
    /// Suspended → Bound.
    Resume = 0x07,
    /// Bound → Suspended.
    Suspend = 0x0B,
    /// Any → Terminated; keys wiped, for good.
    Terminate = 0x7F,
}

impl StateChange {
    /// The byte on the wire.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self as u8
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x07 => Self::Resume,
            0x0B => Self::Suspend,
            0x7F => Self::Terminate,
            _ => return None,
        })
    }

    fn decode_objects(objects: &[u8]) -> Result<Self, Error> {
        Fields::of_order(objects, &[tag::NEW_STATE])?.one_of(tag::NEW_STATE, Self::from_byte)
    }
}
