//! The lists that pages are read from, compared with the rows that belong in them: nobody finds a payment that its list
//! has lost.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{Finding, MAX_FINDINGS, PIECE, hex};
use crate::StoreError;
use crate::engine::View;
use crate::key::List;

/// Above every id.
const NEWEST: [u8; 16] = [0xFF; 16];

/// What rows say is in each list, by its owner.
#[derive(Default)]
pub(super) struct Lists {
    known: BTreeMap<(List, Vec<u8>), Ids>,
}

/// Ids in any order: how many, and a sum of what each comes to, which those of other ids do not add up to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Ids {
    count: u64,
    sum: u128,
}

impl Ids {
    fn add(&mut self, id: [u8; 16]) {
        let mut first = [0; 16];
        first.copy_from_slice(&Sha256::digest(id)[..16]);
        self.count += 1;
        self.sum = self.sum.wrapping_add(u128::from_be_bytes(first));
    }
}

impl Lists {
    /// A row that was read belongs in this list.
    pub(super) fn add(&mut self, list: List, owner: &[u8], id: [u8; 16]) {
        self.known.entry((list, owner.to_vec())).or_default().add(id);
    }

    /// The lists that hold other ids than rows say.
    pub(super) fn compare(self, view: &mut dyn View) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Vec::new();
        for ((list, owner), expected) in self.known {
            let found = ids_of(view, list, &owner);
            match found {
                Ok(found) if found == expected => {}
                // What can't be read is not what was written.
                Ok(_) | Err(StoreError::Engine(_)) => {
                    findings.push(Finding::List { list: list.name(), owner: told(list, &owner) })
                }
                Err(error) => return Err(error),
            }
            if findings.len() >= MAX_FINDINGS {
                break;
            }
        }
        Ok(findings)
    }
}

fn ids_of(view: &mut dyn View, list: List, owner: &[u8]) -> Result<Ids, StoreError> {
    let (mut ids, mut before) = (Ids::default(), NEWEST);
    loop {
        let page = view.list(list, owner, before, PIECE)?;
        page.iter().for_each(|id| ids.add(*id));
        match page.last() {
            Some(last) if page.len() == PIECE => before = *last,
            _ => return Ok(ids),
        }
    }
}

/// Whose a list is: ids are bytes, the subjects of events are texts.
fn told(list: List, owner: &[u8]) -> String {
    match list {
        List::SubjectEvents => String::from_utf8_lossy(owner).into_owned(),
        _ => hex(owner),
    }
}
