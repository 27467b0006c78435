//! What an audit tells.

use std::collections::BTreeMap;

use ledger::{Currency, LedgerAccount, TrialBalance};

/// The most findings that are told; what is wrong beyond is of the same cause.
pub const MAX_FINDINGS: usize = 100;

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The first record of a partition's journal that is altered, missing or out of place.
    Record {
        /// The partition.
        partition: u32,
        /// The record's place in its journal, counted from 1.
        sequence: u64,
    },
    /// A row whose bytes are not those that were written.
    Row {
        /// The table.
        table: &'static str,
        /// The row's number, or its name in hexadecimal digits.
        key: String,
    },
    /// A row that the engine cannot read; what comes behind it in its table was not looked at.
    Unreadable {
        /// The table.
        table: &'static str,
        /// The row before it, told as in [`Finding::Row`]; empty for the first.
        after: String,
    },
    /// A list that holds other ids than the rows say that belong in it.
    List {
        /// The list.
        list: &'static str,
        /// Whose it is: an id in hexadecimal digits, or the subject of events.
        owner: String,
    },
    /// A balance that is not the sum of its journal lines.
    Balance(LedgerAccount),
    /// A payment whose row says other than the journal what was paid or given back; by its id.
    Payment(platform::PaymentId),
    /// What is in clearing is not what waits for merchants.
    Clearing(Currency),
    /// Debits and credits differ.
    Trial(Currency),
    /// What the engine says of its own files.
    Engine(String),
}

impl core::fmt::Display for Finding {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Record { partition, sequence } => {
                write!(f, "journal of partition {partition}: record {sequence} is altered, missing or out of place")
            }
            Self::Row { table, key } => write!(f, "{table}: row {key} is altered"),
            Self::Unreadable { table, after } if after.is_empty() => write!(f, "{table}: the first row cannot be read"),
            Self::Unreadable { table, after } => write!(f, "{table}: the row after {after} cannot be read"),
            Self::List { list, owner } => write!(f, "{list}: the list of {owner} is not what rows say"),
            Self::Balance(account) => {
                write!(f, "the {} balance of ", account.kind.name())?;
                account.owner.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                write!(f, " in {} is not the sum of its journal lines", account.currency)
            }
            Self::Payment(id) => write!(f, "{id}: its row and the journal differ"),
            Self::Clearing(currency) => write!(f, "what is in clearing in {currency} is not what waits for merchants"),
            Self::Trial(currency) => write!(f, "debits and credits in {currency} differ"),
            Self::Engine(line) => write!(f, "database file: {line}"),
        }
    }
}

/// What an audit comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audit {
    /// Debits and credits by currency.
    pub trial: BTreeMap<Currency, TrialBalance>,
    /// How many records all journals hold.
    pub records: u64,
    /// How many other rows were read.
    pub rows: u64,
    /// What is wrong; empty in sound books, and never longer than [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
}

impl Audit {
    /// The first record that is altered, missing or out of place; `None` in sound books.
    pub fn broken_record(&self) -> Option<u64> {
        self.findings.iter().find_map(|finding| match finding {
            Finding::Record { sequence, .. } => Some(*sequence),
            _ => None,
        })
    }

    /// Adds what one home's books came to.
    pub(super) fn add(&mut self, home: Self) {
        for (currency, sums) in home.trial {
            let all = self.trial.entry(currency).or_default();
            all.debit_minor += sums.debit_minor;
            all.credit_minor += sums.credit_minor;
        }
        self.records += home.records;
        self.rows += home.rows;
        home.findings.into_iter().for_each(|finding| self.find(finding));
    }

    pub(super) fn find(&mut self, finding: Finding) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }
}
