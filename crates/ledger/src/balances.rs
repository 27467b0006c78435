//! Balances, and how an entry moves them: all of its legs, or none.

use std::collections::BTreeMap;

use crate::{Currency, Entry, LedgerAccount, LedgerError, Side};

/// Balances in minor units, each positive on its account's normal side. An absent account has a balance of 0.
pub type Balances = BTreeMap<LedgerAccount, i64>;

/// The balances that an entry touches, after it.
///
/// `known` must hold the present balance of every account the entry names that has one.
///
/// # Errors
/// [`LedgerError::BelowFloor`] when an account would end below what its kind allows, [`LedgerError::Overflow`]
/// when a balance would leave 64 bits. Nothing is changed in either case.
pub fn apply(known: &Balances, entry: &Entry) -> Result<Balances, LedgerError> {
    let mut after = Balances::new();
    for leg in entry.legs() {
        let present = known.get(&leg.account).copied().unwrap_or(0);
        let balance = after.entry(leg.account).or_insert(present);
        *balance = balance.checked_add(leg.change_minor()).ok_or(LedgerError::Overflow)?;
    }
    for (account, balance) in &after {
        let lowered = *balance < known.get(account).copied().unwrap_or(0);
        if lowered && account.kind.floor_minor().is_some_and(|floor| *balance < floor) {
            return Err(LedgerError::BelowFloor(account.kind));
        }
    }
    Ok(after)
}

/// The sums of a whole ledger in one currency. In sound books the two sides are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrialBalance {
    /// The sum of balances of accounts that grow on the debit side, minor units.
    pub debit_minor: i128,
    /// The sum of balances of accounts that grow on the credit side, minor units.
    pub credit_minor: i128,
}

impl TrialBalance {
    /// The trial balance of every currency in `balances`.
    pub fn of(balances: impl IntoIterator<Item = (LedgerAccount, i64)>) -> BTreeMap<Currency, Self> {
        let mut sums: BTreeMap<Currency, Self> = BTreeMap::new();
        for (account, balance) in balances {
            let sum = sums.entry(account.currency).or_default();
            match account.kind.normal_side() {
                Side::Debit => sum.debit_minor += i128::from(balance),
                Side::Credit => sum.credit_minor += i128::from(balance),
            }
        }
        sums
    }

    /// Whether debits and credits are equal.
    pub fn is_balanced(&self) -> bool {
        self.debit_minor == self.credit_minor
    }
}
