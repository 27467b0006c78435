//! `DF23`: how each token stands, read by the cloud inside the channel. Four tokens fit a short answer with
//! response encryption; that is why the token index is left out (the cloud knows it by the token id).

use super::fields::{Fields, ensure, unix_seconds};
use super::values::{CodeStamp, Slot};
use super::{Error, TOKEN_ID_BYTES, tag};
use tlv::{Reader, Writer};

/// `E5`: one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenStatus<'a> {
    /// Where it is.
    pub slot: Slot,
    /// Its name.
    pub token_id: &'a [u8; TOKEN_ID_BYTES],
    /// Application transaction counter: codes made with it so far.
    pub transaction_counter: u32,
    /// The last code made; `None` before the first.
    pub last_stamp: Option<CodeStamp>,
    /// Codes left in its budget.
    pub codes_left: u16,
    /// The time anchor it holds, in Unix seconds.
    pub time_anchor_unix_seconds: u64,
}

impl<'a> TokenStatus<'a> {
    fn decode_objects(objects: &'a [u8]) -> Result<Self, Error> {
        let fields = Fields::of_answer(objects)?;
        let last_stamp = fields.optional_array(tag::STAMP)?;
        Ok(Self {
            slot: fields.one_of(tag::SLOT, Slot::new)?,
            token_id: fields.array(tag::TOKEN_ID)?,
            transaction_counter: fields.u32(tag::COUNTER)?,
            last_stamp: last_stamp
                .map(|bytes| CodeStamp::from_bytes(*bytes).ok_or(Error::BadValue(tag::STAMP)))
                .transpose()?,
            codes_left: fields.u16(tag::CODE_BUDGET)?,
            time_anchor_unix_seconds: fields.unix_seconds(tag::TIME_ANCHOR)?,
        })
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), tlv::Error> {
        writer.nest(tag::TOKEN, |w| {
            w.put(tag::SLOT, &[self.slot.number()])?;
            w.put(tag::TOKEN_ID, self.token_id)?;
            w.put(tag::COUNTER, &self.transaction_counter.to_be_bytes())?;
            if let Some(stamp) = self.last_stamp {
                w.put(tag::STAMP, &stamp.to_bytes())?;
            }
            w.put(tag::CODE_BUDGET, &self.codes_left.to_be_bytes())?;
            w.put(tag::TIME_ANCHOR, &self.time_anchor_unix_seconds.to_be_bytes())
        })
    }
}

/// The tokens of a `DF23` answer, in the order of their slots.
#[derive(Clone, Debug)]
pub struct TokenStatuses<'a> {
    reader: Reader<'a>,
}

impl<'a> TokenStatuses<'a> {
    /// Reads and checks the whole object, then iterates over its tokens.
    ///
    /// # Errors
    /// Any of [`Error`]; [`Error::BadValue`] names `C1` when slots repeat or are out of order.
    pub fn decode(data: &'a [u8]) -> Result<Self, Error> {
        let objects = tlv::find(data, tag::TOKEN_STATUS)?.ok_or(Error::Missing(tag::TOKEN_STATUS))?;
        let mut last_slot = 0;
        for element in Reader::new(objects) {
            let element = element?;
            ensure(element.tag, element.tag == tag::TOKEN)?;
            let slot = TokenStatus::decode_objects(element.value)?.slot.number();
            ensure(tag::SLOT, slot > last_slot)?;
            last_slot = slot;
        }
        Ok(Self { reader: Reader::new(objects) })
    }
}

impl<'a> Iterator for TokenStatuses<'a> {
    type Item = TokenStatus<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        // `decode` has read every one of them without a fault.
        TokenStatus::decode_objects(self.reader.next()?.ok()?.value).ok()
    }
}

/// Writes the `DF23` object; at most 208 bytes.
///
/// # Errors
/// [`Error::BadValue`] when slots repeat, are out of order or a time is too great; [`Error::Tlv`] when `out`
/// is too small.
pub fn encode_token_statuses<'b>(tokens: &[TokenStatus<'_>], out: &'b mut [u8]) -> Result<&'b [u8], Error> {
    let mut writer = TokenStatusWriter::new(out);
    tokens.iter().try_for_each(|token| writer.put(token))?;
    writer.finish()
}

/// Writes the `DF23` object token by token, for a chip that holds no more than one of them in its memory.
#[derive(Debug)]
pub struct TokenStatusWriter<'b> {
    writer: Writer<'b>,
    last_slot: u8,
}

impl<'b> TokenStatusWriter<'b> {
    /// Writes to `out` from its first byte.
    #[must_use]
    pub const fn new(out: &'b mut [u8]) -> Self {
        Self { writer: Writer::new(out), last_slot: 0 }
    }

    /// Writes the next token.
    ///
    /// # Errors
    /// As [`encode_token_statuses`].
    pub fn put(&mut self, token: &TokenStatus<'_>) -> Result<(), Error> {
        let slot = token.slot.number();
        ensure(tag::SLOT, slot > self.last_slot)?;
        self.last_slot = slot;
        unix_seconds(tag::TIME_ANCHOR, token.time_anchor_unix_seconds)?;
        Ok(token.write(&mut self.writer)?)
    }

    /// Puts the tokens into their object, and gives what was written.
    ///
    /// # Errors
    /// [`Error::Tlv`] when the buffer is too small.
    pub fn finish(mut self) -> Result<&'b [u8], Error> {
        self.writer.enclose(tag::TOKEN_STATUS)?;
        Ok(self.writer.finish())
    }
}
