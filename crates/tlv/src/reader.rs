//! Reading: an iterator over the objects of a slice, borrowing their values. It never reads past the
//! slice, and after a fault it ends, so a loop over hostile data always stops.

use crate::{Error, Tag};

/// One object: its tag and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// The tag.
    pub tag: Tag,
    /// The value; for a constructed tag, the objects inside.
    pub value: &'a [u8],
}

impl<'a> Element<'a> {
    /// The objects inside a constructed object.
    #[must_use]
    pub const fn children(&self) -> Reader<'a> {
        Reader::new(self.value)
    }
}

/// Iterates over the objects that lie one after the other in a slice.
///
/// Yields `Err` once, at the first fault, and nothing after it.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `data` from its first byte.
    #[must_use]
    pub const fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// What has not been read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Element<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        // Emptied first: a fault leaves nothing to read.
        let data = core::mem::take(&mut self.rest);
        Some(split_element(data).map(|(element, rest)| {
            self.rest = rest;
            element
        }))
    }
}

impl core::iter::FusedIterator for Reader<'_> {}

/// The value of the first object with this tag at the top level of `data`; `None` when it is not there.
///
/// # Errors
/// The fault met before the tag was found. What follows the object found is not looked at.
pub fn find(data: &[u8], tag: Tag) -> Result<Option<&[u8]>, Error> {
    for element in Reader::new(data) {
        let element = element?;
        if element.tag == tag {
            return Ok(Some(element.value));
        }
    }
    Ok(None)
}

/// The one object `data` must consist of.
///
/// # Errors
/// [`Error::Truncated`] when there is none or it is cut; [`Error::Trailing`] when anything follows it.
pub fn only(data: &[u8]) -> Result<Element<'_>, Error> {
    let (element, rest) = split_element(data)?;
    if rest.is_empty() { Ok(element) } else { Err(Error::Trailing) }
}

fn split_element(data: &[u8]) -> Result<(Element<'_>, &[u8]), Error> {
    let (tag, rest) = Tag::split_from(data)?;
    let (length, rest) = split_length(rest)?;
    let (value, rest) = rest.split_at_checked(length).ok_or(Error::Truncated)?;
    Ok((Element { tag, value }, rest))
}

/// Longer forms than needed are accepted, as BER allows them and other writers use them.
fn split_length(data: &[u8]) -> Result<(usize, &[u8]), Error> {
    match data {
        [] | [0x81] | [0x82] | [0x82, _] => Err(Error::Truncated),
        [short @ 0..=0x7F, rest @ ..] => Ok((usize::from(*short), rest)),
        [0x81, length, rest @ ..] => Ok((usize::from(*length), rest)),
        [0x82, high, low, rest @ ..] => Ok((usize::from(u16::from_be_bytes([*high, *low])), rest)),
        _ => Err(Error::BadLength),
    }
}
