//! What a command sees of an engine: rows to read, changes to write. One transaction is open around every call.

use std::sync::Arc;

use ledger::{Amount, LedgerAccount};
use paycode::{CodeFormat, TokenIndex};
use platform::accounts::{Account, TopUp};
use platform::bindings::Binding;
use platform::chips::Chip;
use platform::merchants::Merchant;
use platform::payments::{DayUse, MerchantNumber, Payment, Refund};
use platform::postings::Unposted;
use platform::tokens::Token;
use platform::{
    AccountId, BindingId, Change, ChipId, KeyVault, MerchantId, PaymentId, Refusal, Settings, TokenId, VaultError,
};

use crate::StoreError;

/// Rows by key, inside one transaction. An absent row is `None`; a row that cannot be read is an error.
#[allow(missing_docs, reason = "each method is named for the one row it reads")]
pub trait Tables {
    fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError>;
    fn top_up(&self, account: AccountId, reference: &str) -> Result<Option<TopUp>, StoreError>;
    fn merchant(&self, id: MerchantId) -> Result<Option<Merchant>, StoreError>;
    fn chip(&self, id: ChipId) -> Result<Option<Chip>, StoreError>;
    fn token(&self, id: TokenId) -> Result<Option<Token>, StoreError>;
    fn token_by_index(&self, format: &CodeFormat, index: TokenIndex) -> Result<Option<Token>, StoreError>;
    /// The token of a chip that is neither revoked nor replaced, if there is one.
    fn token_of_chip(&self, chip: ChipId) -> Result<Option<Token>, StoreError>;
    /// The lowest token number never given out under a format.
    fn next_token_index(&self, format: &CodeFormat) -> Result<u64, StoreError>;
    fn binding(&self, id: BindingId) -> Result<Option<Binding>, StoreError>;
    /// The binding that began with this offer.
    fn binding_by_offer(&self, chip: ChipId, nonce: [u8; 8]) -> Result<Option<Binding>, StoreError>;
    fn payment(&self, id: PaymentId) -> Result<Option<Payment>, StoreError>;
    fn payment_by_order(&self, merchant: MerchantId, order: &MerchantNumber) -> Result<Option<Payment>, StoreError>;
    fn refund(&self, merchant: MerchantId, number: &MerchantNumber) -> Result<Option<Refund>, StoreError>;
    /// What an account has paid on a day; zero where nothing is recorded.
    fn day_use(&self, account: &Account, day: i64) -> Result<DayUse, StoreError>;
    /// A ledger balance in minor units; zero where nothing was ever booked.
    fn balance(&self, account: &LedgerAccount) -> Result<i64, StoreError>;
    /// Sums of clearing items not posted yet, of at most `limit` merchants.
    fn unposted(&self, limit: usize) -> Result<Vec<Unposted>, StoreError>;
    /// Begins a command: from here it can be undone alone.
    fn begin_command(&mut self) -> Result<(), StoreError>;
    /// Keeps what the command wrote, for the transaction to make durable.
    fn keep_command(&mut self) -> Result<(), StoreError>;
    /// Undoes what the command wrote; the rest of the transaction stands.
    fn undo_command(&mut self) -> Result<(), StoreError>;
    /// Writes one change.
    fn apply(&mut self, change: &Change) -> Result<(), StoreError>;
}

impl dyn Tables + '_ {
    /// The balances of these accounts.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn balances(&self, accounts: &[LedgerAccount]) -> Result<ledger::Balances, StoreError> {
        accounts.iter().map(|account| Ok((*account, self.balance(account)?))).collect()
    }

    /// The balances that a payment or refund of `amount` by this wearer touches.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn purse_balances(
        &self,
        account: AccountId,
        partition: u32,
        currency: ledger::Currency,
    ) -> Result<ledger::Balances, StoreError> {
        use ledger::posting::{clearing, wallet};
        self.balances(&[wallet(account.0, currency), clearing(partition, currency)])
    }

    /// Writes the changes of one decision.
    ///
    /// # Errors
    /// Those of the engine: the whole transaction must then be given up.
    pub fn apply_all(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        changes.iter().try_for_each(|change| self.apply(change))
    }
}

/// Reads a stored amount.
pub(crate) fn stored_amount(minor: u64, currency: &str) -> Result<Amount, StoreError> {
    let currency = ledger::Currency::parse(currency).map_err(|_| StoreError::Corrupt("currency"))?;
    Amount::new(minor, currency).map_err(|_| StoreError::Corrupt("amount"))
}

/// What every command may use besides the tables.
#[derive(Clone)]
pub struct Env {
    /// Where keys come from.
    pub vault: Arc<dyn KeyVault>,
    /// The operator's choices.
    pub settings: Arc<Settings>,
}

/// Why a command ended without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A rule refused it: nothing was changed, the transaction goes on.
    Refused(Refusal),
    /// The engine failed: the transaction is given up.
    Store(StoreError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<platform::Reason> for Failure {
    fn from(reason: platform::Reason) -> Self {
        Self::Refused(reason.into())
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Something asked of the platform that may change what is stored.
///
/// `run` must write only after its rule has decided: a refusal leaves no trace.
pub trait Command: Send + 'static {
    /// What comes back.
    type Answer: Send + 'static;

    /// Loads, decides, writes.
    ///
    /// # Errors
    /// [`Failure`].
    fn run(self, tables: &mut dyn Tables, env: &Env) -> Result<Self::Answer, Failure>;
}
