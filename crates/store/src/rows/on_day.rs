//! How often something happened on a day, inside a row.

use platform::OnDay;

use super::codec::{Decoder, Encoder};
use crate::StoreError;

/// Takes a day and a byte.
pub(super) fn put_on_day(row: Encoder, known: OnDay) -> Encoder {
    row.i64(known.day).u8(known.count)
}

pub(super) fn on_day(row: &mut Decoder<'_>) -> Result<OnDay, StoreError> {
    Ok(OnDay { day: row.i64()?, count: row.u8()? })
}
