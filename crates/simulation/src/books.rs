//! The model's own books: every journal record that becomes durable is added up again here, by plain sums of 128 bits
//! that share no code with the ledger's.

use std::collections::BTreeMap;

use ledger::journal::{Record, SEQUENCE_BITS};
use ledger::{AccountKind, Currency, EntryKind, LedgerAccount};
use platform::payments::Payment;
use platform::{AccountId, MerchantId, PaymentId, Settings};
use store::engine::Writes;
use store::key::{Key, List, Numbered};

/// Bytes of the hash behind a record's content.
const HASH_BYTES: usize = 32;

/// What was paid, by the journal.
#[derive(Debug, Clone)]
pub(crate) struct PaidOut {
    pub(crate) account: [u8; 16],
    pub(crate) merchant: MerchantId,
    pub(crate) minor: i128,
    pub(crate) refunded_minor: i128,
}

/// What was set aside for a payment that waits.
#[derive(Debug, Clone)]
struct Hold {
    paid: PaidOut,
    waits: bool,
    /// The day it was counted to.
    day: i64,
    verified: bool,
}

/// What an account paid on a day.
#[derive(Debug, Clone, Copy, Default)]
struct Day {
    day: i64,
    total_minor: u64,
    unverified_minor: u64,
}

/// The sums.
#[derive(Default)]
pub(crate) struct Books {
    balances: BTreeMap<LedgerAccount, i128>,
    heads: BTreeMap<u64, u64>,
    pub(crate) paid: BTreeMap<PaymentId, PaidOut>,
    holds: BTreeMap<PaymentId, Hold>,
    refund_of: BTreeMap<[u8; 16], PaymentId>,
    /// Refunds by their id, minor units.
    pub(crate) refunds: BTreeMap<[u8; 16], u64>,
    /// Top-ups by their id: whose, and how much.
    pub(crate) top_ups: BTreeMap<[u8; 16], ([u8; 16], u64)>,
    days: BTreeMap<AccountId, Day>,
}

impl Books {
    /// Adds what a transaction wrote; gives the payments that it moved money for, in their order.
    pub(crate) fn take_in(&mut self, writes: &Writes) -> Result<Vec<(PaymentId, EntryKind)>, String> {
        for (list, owner, id) in &writes.listed {
            if *list == List::PaymentRefunds {
                let payment = owner.as_slice().try_into().map(PaymentId).map_err(|_| "a list's owner is no payment")?;
                self.refund_of.insert(*id, payment);
            }
        }
        let mut payments = Vec::new();
        for row in &writes.rows {
            let Key::Number(Numbered::Journal, number) = row.key else { continue };
            let after = row.after.as_deref().filter(|_| row.before.is_none());
            let after = after.ok_or_else(|| format!("record {number} of the journal was changed"))?;
            let content = after.len().checked_sub(HASH_BYTES).and_then(|end| after.get(..end)).unwrap_or_default();
            let record = Record::from_bytes(content).map_err(|error| format!("record {number}: {error}"))?;
            self.number(number)?;
            self.balance(&record)?;
            payments.extend(self.book(&record)?);
        }
        Ok(payments)
    }

    fn number(&mut self, number: u64) -> Result<(), String> {
        let last = self.heads.entry(number >> SEQUENCE_BITS).or_insert(number >> SEQUENCE_BITS << SEQUENCE_BITS);
        *last += 1;
        if *last == number { Ok(()) } else { Err(format!("record {number} came where {last} was due")) }
    }

    fn balance(&mut self, record: &Record) -> Result<(), String> {
        let mut debit_less_credit = 0_i128;
        for line in &record.lines {
            let leg = line.leg;
            let minor = i128::from(leg.amount.minor());
            let is_debit = leg.side == ledger::Side::Debit;
            debit_less_credit += if is_debit { minor } else { -minor };
            // Assets grow on the debit side, what is owed grows on the other.
            let grows = is_debit == (matches!(leg.account.kind, AccountKind::Funding | AccountKind::Marketing));
            let balance = self.balances.entry(leg.account).or_default();
            *balance += if grows { minor } else { -minor };
            if *balance != i128::from(line.balance_minor) {
                return Err(format!(
                    "the journal says that {:?} holds {}, and it holds {balance}",
                    leg.account, line.balance_minor
                ));
            }
            if *balance < 0 && leg.account.kind != AccountKind::Clearing {
                return Err(format!("{:?} fell to {balance}", leg.account));
            }
        }
        if debit_less_credit == 0 { Ok(()) } else { Err(format!("a record is off by {debit_less_credit}")) }
    }

    fn book(&mut self, record: &Record) -> Result<Option<(PaymentId, EntryKind)>, String> {
        let reference = record.cause.reference;
        let amount = record.lines.first().map_or(0, |line| line.leg.amount.minor());
        let is_wearers = |kind| matches!(kind, AccountKind::Wallet | AccountKind::Held);
        let wallet = record.lines.iter().find(|line| is_wearers(line.leg.account.kind));
        let wallet = wallet.map_or([0; 16], |line| line.leg.account.owner.0);
        match record.kind {
            EntryKind::TopUp => match self.top_ups.insert(reference, (wallet, amount)) {
                None => {}
                Some(_) => return Err("a top-up was booked twice".to_owned()),
            },
            EntryKind::Payment | EntryKind::Hold | EntryKind::Capture | EntryKind::Release => {
                let paid = PaidOut {
                    account: wallet,
                    merchant: MerchantId(record.cause.counterparty),
                    minor: i128::from(amount),
                    refunded_minor: 0,
                };
                let id = PaymentId(reference);
                self.book_payment(id, record.kind, paid)?;
                return Ok(Some((id, record.kind)));
            }
            EntryKind::Refund => {
                if self.refunds.insert(reference, amount).is_some() {
                    return Err("a refund was booked twice".to_owned());
                }
                let id = self.refund_of.get(&reference).ok_or("a refund is in no payment's list")?;
                let paid = self.paid.get_mut(id).ok_or_else(|| format!("{id} was refunded and never paid"))?;
                paid.refunded_minor += i128::from(amount);
                if paid.refunded_minor > paid.minor || paid.account != wallet {
                    return Err(format!("{id} of {} was refunded {}", paid.minor, paid.refunded_minor));
                }
            }
            _ => {}
        }
        Ok(None)
    }

    /// A payment is paid at once, or set aside once and then paid or given back once.
    fn book_payment(&mut self, id: PaymentId, kind: EntryKind, paid: PaidOut) -> Result<(), String> {
        let twice = match kind {
            EntryKind::Payment => self.holds.contains_key(&id) || self.paid.insert(id, paid).is_some(),
            EntryKind::Hold => {
                let hold = Hold { paid, waits: true, day: 0, verified: false };
                self.paid.contains_key(&id) || self.holds.insert(id, hold).is_some()
            }
            _ => {
                let hold = self.holds.get_mut(&id).filter(|hold| hold.waits);
                let hold = hold.ok_or_else(|| format!("{id} does not wait, and what is set aside of it moved"))?;
                if hold.paid.minor != paid.minor || hold.paid.account != paid.account {
                    return Err(format!("{id}: {:?} was set aside and {paid:?} moved", hold.paid));
                }
                hold.waits = false;
                kind == EntryKind::Capture && self.paid.insert(id, paid).is_some()
            }
        };
        if twice { Err(format!("{id} was booked twice")) } else { Ok(()) }
    }

    /// What was given back counts no more, where its day still lasts.
    pub(crate) fn uncount_day(&mut self, id: PaymentId) {
        let Some(hold) = self.holds.get(&id) else { return };
        let of_the_day = self.days.get_mut(&AccountId(hold.paid.account)).filter(|day| day.day == hold.day);
        if let Some(day) = of_the_day {
            let minor = u64::try_from(hold.paid.minor).unwrap_or(0);
            day.total_minor = day.total_minor.saturating_sub(minor);
            day.unverified_minor = day.unverified_minor.saturating_sub(if hold.verified { 0 } else { minor });
        }
    }

    /// What was moved or set aside for a payment: whose, for whom, how much.
    pub(crate) fn spent(&self, id: PaymentId) -> Option<([u8; 16], MerchantId, i128)> {
        let paid = self.paid.get(&id).or(self.holds.get(&id).map(|hold| &hold.paid));
        paid.map(|paid| (paid.account, paid.merchant, paid.minor))
    }

    /// Whether money is or was set aside for a payment.
    pub(crate) fn was_held(&self, id: PaymentId) -> bool {
        self.holds.contains_key(&id)
    }

    /// A payment that nobody has answered for, if there is one.
    pub(crate) fn still_waits(&self) -> Option<PaymentId> {
        self.holds.iter().find(|(_, hold)| hold.waits).map(|(id, _)| *id)
    }

    /// A payment counts against the limits of its day. The operator's day never goes back, whatever a server's clock
    /// says.
    pub(crate) fn count_day(&mut self, payment: &Payment, settings: &Settings) -> Result<(), String> {
        let (Some(account), Some(amount)) = (payment.account, payment.amount) else {
            return Err(format!("{} has moved money and names no account", payment.id));
        };
        let limits = settings.limits.get(&amount.currency()).ok_or("a payment in a currency without limits")?;
        let day = self.days.entry(account).or_default();
        let today = settings.day_of(payment.created_ms);
        if today > day.day {
            *day = Day { day: today, ..Day::default() };
        }
        if let Some(hold) = self.holds.get_mut(&payment.id) {
            hold.day = day.day;
            hold.verified = payment.verified;
        }
        day.total_minor += amount.minor();
        if !payment.verified {
            day.unverified_minor += amount.minor();
        }
        let within = amount.minor() <= limits.single_minor
            && day.total_minor <= limits.day_minor
            && (payment.verified || day.unverified_minor <= limits.day_unverified_minor);
        if within { Ok(()) } else { Err(format!("{} passed a limit: {day:?}", payment.id)) }
    }

    /// Every account's balance.
    pub(crate) fn balances(&self) -> impl Iterator<Item = (&LedgerAccount, i128)> {
        self.balances.iter().map(|(account, minor)| (account, *minor))
    }

    /// What merchants are to get in the end, by the payments and refunds alone.
    pub(crate) fn owed(&self, merchant: MerchantId) -> i128 {
        let mine = self.paid.values().filter(|paid| paid.merchant == merchant);
        mine.map(|paid| paid.minor - paid.refunded_minor).sum()
    }

    /// Money in is money there: for each currency, what was topped up is what the operator holds, and what wearers,
    /// clearing and merchants have together.
    pub(crate) fn conserved(&self) -> Result<(), String> {
        let mut sums: BTreeMap<Currency, (i128, i128)> = BTreeMap::new();
        for (account, minor) in &self.balances {
            let sum = sums.entry(account.currency).or_default();
            match account.kind {
                AccountKind::Funding | AccountKind::Marketing => sum.0 += minor,
                _ => sum.1 += minor,
            }
        }
        let topped_up: i128 = self.top_ups.values().map(|(_, minor)| i128::from(*minor)).sum();
        let held: i128 = sums.values().map(|(held, _)| held).sum();
        match sums.iter().find(|(_, (held, owed))| held != owed) {
            Some((currency, (held, owed))) => Err(format!("{currency}: {held} held and {owed} owed")),
            None if held != topped_up => Err(format!("{topped_up} was topped up and {held} is held")),
            None => Ok(()),
        }
    }
}
