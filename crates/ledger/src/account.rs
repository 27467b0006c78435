//! The chart of accounts: which kinds there are, on which side each grows, and how low each may go.

use crate::{Currency, LedgerError};

/// One side of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The left side: assets and expenses grow here.
    Debit,
    /// The right side: liabilities and income grow here.
    Credit,
}

/// A kind of account. The number is what is stored and hashed: it never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum AccountKind {
    /// Money the operator really holds for its users (an asset). Owner: the operator.
    Funding = 1,
    /// What the operator owes a wearer. Never below zero.
    Wallet = 2,
    /// What left wallets of one partition and has not reached merchants yet. Goes below zero while a refund
    /// waits for the next posting.
    Clearing = 3,
    /// What the operator owes a merchant. Never below zero.
    Payable = 4,
    /// A wearer's money that is set aside for payments waiting to be confirmed. Never below zero.
    Held = 5,
    /// What the operator has earned (income). Owner: the operator. Goes below zero where it gives fees back.
    Fees = 6,
    /// What the operator has given away (an expense). Owner: the operator.
    Marketing = 7,
    /// Money that has come and whose owner is not known yet (a liability). Owner: the operator. Never below zero.
    Suspense = 8,
}

impl AccountKind {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 8] = [
        Self::Funding,
        Self::Wallet,
        Self::Clearing,
        Self::Payable,
        Self::Held,
        Self::Fees,
        Self::Marketing,
        Self::Suspense,
    ];

    /// The kind with this stored number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// The name shown in books.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Funding => "funding",
            Self::Wallet => "wallet",
            Self::Clearing => "clearing",
            Self::Payable => "merchant payable",
            Self::Held => "held",
            Self::Fees => "fees",
            Self::Marketing => "marketing",
            Self::Suspense => "suspense",
        }
    }

    /// The side on which the balance grows.
    pub const fn normal_side(self) -> Side {
        match self {
            Self::Funding | Self::Marketing => Side::Debit,
            Self::Wallet | Self::Clearing | Self::Payable | Self::Held | Self::Fees | Self::Suspense => Side::Credit,
        }
    }

    /// The lowest balance allowed, in minor units; `None` where there is no floor.
    pub const fn floor_minor(self) -> Option<i64> {
        match self {
            Self::Funding | Self::Wallet | Self::Payable | Self::Held | Self::Marketing | Self::Suspense => Some(0),
            Self::Clearing | Self::Fees => None,
        }
    }
}

/// Who an account belongs to: the 16 bytes of a wearer's or merchant's id, or a partition number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub [u8; 16]);

impl Owner {
    /// The operator itself.
    pub const OPERATOR: Self = Self([0; 16]);

    /// A partition of the wearers, by number.
    pub fn partition(number: u32) -> Self {
        let mut bytes = [0; 16];
        bytes[12..].copy_from_slice(&number.to_be_bytes());
        Self(bytes)
    }
}

/// One account of the ledger: a kind, an owner and a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LedgerAccount {
    /// What kind of account it is.
    pub kind: AccountKind,
    /// Whose it is.
    pub owner: Owner,
    /// In which currency it is kept.
    pub currency: Currency,
}

impl LedgerAccount {
    /// Bytes of [`LedgerAccount::to_key`].
    pub const KEY_LEN: usize = 20;

    /// The account as 20 bytes: kind, owner, currency. This is how it is stored and hashed.
    pub fn to_key(&self) -> [u8; Self::KEY_LEN] {
        let mut key = [0; Self::KEY_LEN];
        key[0] = self.kind as u8;
        key[1..17].copy_from_slice(&self.owner.0);
        key[17..].copy_from_slice(&self.currency.to_bytes());
        key
    }

    /// Reads what [`LedgerAccount::to_key`] wrote.
    ///
    /// # Errors
    /// [`LedgerError::CurrencyMalformed`] when the bytes are not an account.
    pub fn from_key(key: &[u8]) -> Result<Self, LedgerError> {
        let malformed = LedgerError::CurrencyMalformed;
        let key: &[u8; Self::KEY_LEN] = key.try_into().map_err(|_| malformed)?;
        let kind = AccountKind::from_number(key[0]).ok_or(malformed)?;
        let mut owner = [0; 16];
        owner.copy_from_slice(&key[1..17]);
        let currency = core::str::from_utf8(&key[17..]).map_err(|_| malformed)?;
        Ok(Self { kind, owner: Owner(owner), currency: Currency::parse(currency)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_comes_back_from_its_key() {
        for kind in AccountKind::ALL {
            let account = LedgerAccount { kind, owner: Owner::partition(7), currency: Currency::CNY };
            assert_eq!(LedgerAccount::from_key(&account.to_key()), Ok(account));
        }
        assert!(LedgerAccount::from_key(&[9; 20]).is_err());
        assert!(LedgerAccount::from_key(&[1; 19]).is_err());
    }
}
