//! Writing into a caller's buffer, with the shortest length field. A `put` or `nest` that fails leaves the
//! writer as it was, so what has been written is always a sequence of whole objects.

use crate::{Error, MAX_VALUE_BYTES, Tag};

/// Writes objects one after the other into a buffer.
#[derive(Debug)]
pub struct Writer<'b> {
    buffer: &'b mut [u8],
    /// Bytes written; never above `buffer.len()`.
    length: usize,
}

impl<'b> Writer<'b> {
    /// Writes from the first byte of `buffer`.
    #[must_use]
    pub const fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    /// Writes one object.
    ///
    /// # Errors
    /// [`Error::NoRoom`], [`Error::ValueTooLong`]; nothing is written then.
    pub fn put(&mut self, tag: Tag, value: &[u8]) -> Result<(), Error> {
        let start = self.length;
        let written = self.put_parts(tag, value);
        if written.is_err() {
            self.length = start;
        }
        written
    }

    /// Writes a constructed object whose value is what `inner` writes.
    ///
    /// # Errors
    /// Those of `inner`, [`Error::NoRoom`], [`Error::ValueTooLong`]; nothing is written then.
    #[inline]
    pub fn nest(&mut self, tag: Tag, inner: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        let start = self.length;
        let value_start = self.begin(tag)?;
        let written = inner(self);
        self.end(start, value_start, written)
    }

    /// Makes everything written so far the value of one constructed object.
    ///
    /// # Errors
    /// [`Error::NoRoom`], [`Error::ValueTooLong`]; nothing has changed then.
    pub fn enclose(&mut self, tag: Tag) -> Result<(), Error> {
        let bytes = tag.padded_bytes();
        let tag = bytes.get(bytes.len() - tag.encoded_bytes()..).unwrap_or_default();
        let (field, used) = length_field(self.length)?;
        let field = field.get(..used).unwrap_or_default();
        self.insert(0, tag, field)
    }

    /// How many bytes have been written.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing has been written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// What has been written so far.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }

    /// What was written.
    #[must_use]
    pub fn finish(self) -> &'b [u8] {
        let buffer: &'b [u8] = self.buffer;
        buffer.get(..self.length).unwrap_or_default()
    }

    fn put_parts(&mut self, tag: Tag, value: &[u8]) -> Result<(), Error> {
        self.put_tag(tag)?;
        let ([first, second, third], used) = length_field(value.len())?;
        self.push(first)?;
        if used > 1 {
            self.push(second)?;
        }
        if used > 2 {
            self.push(third)?;
        }
        self.append(value)
    }

    /// Writes the tag of a constructed object and one byte for its length; gives where its value begins for now.
    #[inline(never)]
    fn begin(&mut self, tag: Tag) -> Result<usize, Error> {
        self.put_tag(tag)?;
        self.push(0)?;
        Ok(self.length)
    }

    /// Ends a constructed object, or undoes it. Out of line: a chip writes many templates.
    #[inline(never)]
    fn end(&mut self, start: usize, value_start: usize, written: Result<(), Error>) -> Result<(), Error> {
        let ended = written.and_then(|()| self.put_length_of(value_start));
        if ended.is_err() {
            self.length = start;
        }
        ended
    }

    /// The length is known only now: where one byte is not enough for it, moves the value up.
    fn put_length_of(&mut self, value_start: usize) -> Result<(), Error> {
        let (field, used) = length_field(self.length - value_start)?;
        let [first, more @ ..] = &field;
        if let Some(length) = self.buffer.get_mut(value_start - 1) {
            *length = *first;
        }
        if used == 1 {
            return Ok(());
        }
        self.insert(value_start, &[], more.get(..used - 1).unwrap_or_default())
    }

    /// Moves what was written from `at` on, and puts these bytes before it.
    fn insert(&mut self, at: usize, tag: &[u8], length: &[u8]) -> Result<(), Error> {
        let end = self.length;
        let moved_end = end.checked_add(tag.len() + length.len()).ok_or(Error::NoRoom)?;
        if moved_end > self.buffer.len() {
            return Err(Error::NoRoom);
        }
        self.buffer.copy_within(at..end, at + tag.len() + length.len());
        self.length = at;
        self.append(tag)?;
        self.append(length)?;
        self.length = moved_end;
        Ok(())
    }

    fn put_tag(&mut self, tag: Tag) -> Result<(), Error> {
        let [_, first, second, third] = tag.padded_bytes();
        let bytes = tag.encoded_bytes();
        if bytes > 2 {
            self.push(first)?;
        }
        if bytes > 1 {
            self.push(second)?;
        }
        self.push(third)
    }

    fn push(&mut self, byte: u8) -> Result<(), Error> {
        *self.buffer.get_mut(self.length).ok_or(Error::NoRoom)? = byte;
        self.length += 1;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let end = self.length.checked_add(bytes.len()).ok_or(Error::NoRoom)?;
        self.buffer.get_mut(self.length..end).ok_or(Error::NoRoom)?.copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }
}

/// The shortest length field for `length`, and how many of its three bytes are used.
fn length_field(length: usize) -> Result<([u8; 3], usize), Error> {
    if length > MAX_VALUE_BYTES {
        return Err(Error::ValueTooLong);
    }
    let [.., high, low] = length.to_be_bytes();
    Ok(match length {
        0..=0x7F => ([low, 0, 0], 1),
        0x80..=0xFF => ([0x81, low, 0], 2),
        _ => ([0x82, high, low], 3),
    })
}
