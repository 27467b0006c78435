//! Homes: where a database is spread over several machines, each row has a home, and rows of one home are on one machine.
//!
//! A home holds a set of books that is complete in itself: the accounts whose numbers fall to it, their tokens, payments
//! and refunds, and the partitions that book them. What a merchant or the operator is owed is kept once in every home
//! that books it; the whole is the sum. So a payment and a refund are booked in one home, and nothing else takes part.
//!
//! The home of a row is told by its key alone: numbers are given out so that what belongs together falls together. An
//! engine that is one database has one home, and none of this does anything there (docs/decisions/0018).

use ledger::LedgerAccount;
use ledger::journal::SEQUENCE_BITS;

use crate::StoreError;
use crate::key::{Key, List, Name, Named, Numbered, name};

/// How many homes a database has where nothing else is said: enough that a few machines get equal shares, few enough
/// that one server writes them all, each over a connection of its own.
pub const DEFAULT_HOMES: u16 = 16;
/// The most homes of a database.
pub const MAX_HOMES: u16 = 128;
/// The highest number a row is found by: stores keep it as a signed one.
const MAX_NUMBER: u64 = u64::MAX >> 1;

/// How many homes a database has. It never changes: the keys of all rows hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Homes(u16);

impl Homes {
    /// One database on one machine.
    pub const ONE: Self = Self(1);

    /// So many homes.
    ///
    /// # Errors
    /// [`StoreError::Engine`] where it is none, or more than [`MAX_HOMES`].
    pub fn new(count: u16) -> Result<Self, StoreError> {
        if (1..=MAX_HOMES).contains(&count) {
            return Ok(Self(count));
        }
        Err(StoreError::Engine(format!("a database has 1 to {MAX_HOMES} homes, not {count}")))
    }

    /// How many there are.
    pub const fn count(self) -> u16 {
        self.0
    }

    /// Whether everything is at home in one place.
    pub const fn is_one(self) -> bool {
        self.0 == 1
    }

    /// All homes.
    pub fn all(self) -> impl Iterator<Item = u16> {
        0..self.0
    }

    /// The home of what has this number: an account, a payment, a merchant.
    pub const fn of_number(self, number: u64) -> u16 {
        // The remainder is below a u16.
        (number % self.0 as u64) as u16
    }

    /// The home whose rows a partition books.
    pub const fn of_partition(self, partition: u32) -> u16 {
        self.of_number(partition as u64)
    }

    /// The home of a row; nothing for one that is kept on every machine.
    pub fn of(self, key: &Key) -> Option<u16> {
        if self.is_one() {
            return Some(0);
        }
        match key {
            Key::Number(Numbered::Journal, number) => Some(self.of_number(number >> SEQUENCE_BITS)),
            Key::Number(_, number) => Some(self.of_number(*number)),
            Key::Name(table, name) => self.of_name(*table, name),
        }
    }

    fn of_name(self, table: Named, name: &[u8]) -> Option<u16> {
        let number = |bytes: Option<&[u8; 8]>| self.of_number(bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes)));
        match table {
            Named::ApiKeys => None,
            Named::Orders | Named::RefundNumbers | Named::TopUps => Some(number(name.first_chunk())),
            // A token's number in its codes falls to the home of its account, and so does what waits of a payment.
            Named::TokenNumbers => Some(number(name.last_chunk())),
            Named::Pending => {
                let id = name.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
                Some(self.of_number(id & MAX_NUMBER))
            }
            Named::Waiting => {
                let partition = name.first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes));
                Some(self.of_partition(partition))
            }
            Named::Reservations => Some(self.named_by(name.first_chunk())),
            Named::Balances | Named::LastTokenNumbers => Some(self.named_by(name.last_chunk())),
            // Few, and rarely changed.
            Named::Makers
            | Named::ChipModels
            | Named::DeviceModels
            | Named::RevocationLists
            // None, where there is more than one home.
            | Named::TokenOwners
            | Named::Batches
            | Named::Shipments
            | Named::ShipmentNumbers => Some(0),
            // By the last half of a chip's id, or some bytes of a hash.
            Named::WalletKeys | Named::Chips | Named::LivingTokens | Named::Offers => {
                Some(number(name.get(8..).and_then(|rest| rest.first_chunk())))
            }
        }
    }

    fn named_by(self, home: Option<&[u8; 2]>) -> u16 {
        home.map_or(0, |home| u16::from_be_bytes(*home)) % self.0
    }

    /// Whether a table is kept on every machine.
    pub(crate) fn is_everywhere(self, table: Named) -> bool {
        !self.is_one() && table == Named::ApiKeys
    }

    /// The home of a list; nothing where parts of it are in all of them.
    pub fn of_list(self, list: List, owner: &[u8]) -> Option<u16> {
        if self.is_one() {
            return Some(0);
        }
        let number = || owner.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes) & MAX_NUMBER);
        match list {
            List::MerchantPayments | List::AccountTokens | List::PaymentRefunds => Some(self.of_number(number())),
            // Few, and rarely changed.
            List::RuleVersions => Some(0),
            // Events are kept where they happened.
            List::SubjectEvents => None,
        }
    }

    /// The lowest number above this one that falls to a home.
    pub(crate) fn next_number(self, above: u64, home: u16) -> u64 {
        let count = u64::from(self.0);
        let ahead = (u64::from(home) + count - above % count) % count;
        above + if ahead == 0 { count } else { ahead }
    }

    /// An id whose last bytes are a random number, so that it falls to a home.
    pub(crate) fn moved(self, mut id: [u8; 16], home: u16) -> [u8; 16] {
        if let (false, Some(last)) = (self.is_one(), id.last_chunk_mut::<8>()) {
            let count = u64::from(self.0);
            let number = u64::from_be_bytes(*last) & MAX_NUMBER;
            let moved = number - number % count + u64::from(home);
            // There is room below the last few numbers.
            *last = if moved > MAX_NUMBER { moved - count } else { moved }.to_be_bytes();
        }
        id
    }

    /// A name that is kept once in every home, as it is in this one.
    fn marked(self, mut name: Name, home: u16) -> Name {
        if !self.is_one() {
            name.extend_from_slice(&home.to_be_bytes());
        }
        name
    }

    /// The balance, in one home, of an account that is no wearer's.
    pub(crate) fn balance(self, account: &LedgerAccount, home: u16) -> Key {
        Key::Name(Named::Balances, self.marked(name(&[&account.to_key()]), home))
    }

    /// Of the highest token number given out in a home under a format.
    pub(crate) fn last_token_number(self, format: &paycode::CodeFormat, home: u16) -> Key {
        match Key::last_token_number(format) {
            Key::Name(table, name) => Key::Name(table, self.marked(name, home)),
            number @ Key::Number(..) => number,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use ledger::{Currency, posting};
    use platform::payments::MerchantNumber;
    use platform::{AccountId, MerchantId, PaymentId};

    use super::*;

    fn id(number: u64) -> [u8; 16] {
        PaymentId::numbered(1, number).0
    }

    #[test]
    fn what_a_payment_changes_falls_to_the_home_of_its_account() {
        for count in [2, 7, 16, MAX_HOMES] {
            let homes = Homes::new(count).unwrap();
            for account in [0, 1, 5, 1_000_003, MAX_NUMBER] {
                let home = homes.of_number(account);
                let partition = u32::from(home) + 3 * u32::from(count);
                let journal = Key::Number(Numbered::Journal, (u64::from(partition) << SEQUENCE_BITS) + 9);
                let payment = PaymentId(id(homes.next_number(77, home)));
                let format = paycode::CodeFormat::DEFAULT;
                let token = paycode::TokenIndex::new(homes.next_number(1_000, home)).unwrap();
                let clearing = posting::clearing(partition, Currency::CNY);
                for key in [
                    Key::purse(AccountId(id(account))),
                    Key::partition(partition),
                    journal,
                    Key::Number(Numbered::Payments, payment.number()),
                    Key::pending(5, payment),
                    Key::token_number(&format, token),
                    homes.last_token_number(&format, home),
                    homes.balance(&clearing, home),
                    Key::waiting(partition, MerchantId([9; 16]), Currency::CNY),
                    Key::Number(Numbered::Refunds, AccountId(homes.moved([0xAB; 16], home)).number()),
                ] {
                    assert_eq!(homes.of(&key), Some(home), "{key:?} of {count}");
                }
            }
        }
    }

    #[test]
    fn a_merchants_numbers_fall_to_its_own_home() {
        let homes = Homes::new(16).unwrap();
        let (merchant, number) = (MerchantId(id(21)), MerchantNumber::parse("o-1", "order").unwrap());
        assert_eq!(homes.of(&Key::order(merchant, &number)), Some(5));
        assert_eq!(homes.of(&Key::refund_number(merchant, &number)), Some(5));
        assert_eq!(homes.of_list(List::MerchantPayments, &merchant.0), Some(5));
        assert_eq!(homes.of(&Key::merchant(merchant)), Some(5));
    }

    #[test]
    fn a_moved_id_keeps_its_time_and_stays_within_what_a_row_is_found_by() {
        let homes = Homes::new(7).unwrap();
        for home in homes.all() {
            let moved = homes.moved([0xFF; 16], home);
            assert_eq!((moved[..8].to_vec(), homes.of_number(PaymentId(moved).number())), (vec![0xFF; 8], home));
        }
        assert_eq!(Homes::ONE.moved([0xFF; 16], 0), [0xFF; 16]);
        let numbers: Vec<u64> =
            (0..3).scan(20, |last, _| Some(core::mem::replace(last, homes.next_number(*last, 4)))).collect();
        assert_eq!(numbers, [20, 25, 32]);
    }

    #[test]
    fn there_is_at_least_one_home_and_a_bound() {
        assert!(Homes::new(0).is_err() && Homes::new(MAX_HOMES + 1).is_err());
    }
}
