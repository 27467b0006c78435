//! Versions of the risk rules as rows.

use super::FORM;
use super::codec::{Decoder, Encoder};
use crate::StoreError;

/// A version of the risk rules, as the operator wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesRow {
    /// Counted up from 1.
    pub version: u32,
    /// When it was set.
    pub at_ms: u64,
    /// By whom.
    pub by: String,
    /// Why, where something was said.
    pub why: String,
    /// The rules, as JSON.
    pub text: String,
}

pub(crate) fn put_rule_set(row: &RulesRow) -> Vec<u8> {
    Encoder::new(FORM).u32(row.version).u64(row.at_ms).text(&row.by).text(&row.why).text(&row.text).finish()
}

pub(crate) fn rule_set(fields: &[u8]) -> Result<RulesRow, StoreError> {
    let mut row = Decoder::new("rule_sets", FORM, fields)?;
    let rules = RulesRow {
        version: row.u32()?,
        at_ms: row.u64()?,
        by: row.text()?.to_owned(),
        why: row.text()?.to_owned(),
        text: row.text()?.to_owned(),
    };
    row.end().map(|()| rules)
}
