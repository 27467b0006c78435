//! Reading rows by key, and handing changes to [`super::apply`].

use ledger::{Currency, LedgerAccount};
use paycode::{CodeFormat, TokenIndex};
use platform::accounts::{Account, TopUp};
use platform::bindings::Binding;
use platform::chips::Chip;
use platform::merchants::Merchant;
use platform::payments::{DayUse, MerchantNumber, Payment, Refund};
use platform::postings::Unposted;
use platform::tokens::{Token, TokenState};
use platform::{AccountId, BindingId, Change, ChipId, MerchantId, PaymentId, TokenId};
use rusqlite::Connection;

use super::rows::{self, Columns};
use super::select::{all, first, select};
use crate::{StoreError, Tables};

/// Clearing items summed for one merchant in one posting, at most.
const MAX_POSTED_ITEMS: i64 = 100_000;

impl Tables for Connection {
    fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        first(self, select!(rows::ACCOUNT, "accounts WHERE id = ?1"), [id.0], rows::account)
    }

    fn top_up(&self, account: AccountId, reference: &str) -> Result<Option<TopUp>, StoreError> {
        let sql = select!(rows::TOP_UP, "top_ups WHERE account = ?1 AND reference = ?2");
        first(self, sql, (account.0, reference), rows::top_up)
    }

    fn merchant(&self, id: MerchantId) -> Result<Option<Merchant>, StoreError> {
        first(self, select!(rows::MERCHANT, "merchants WHERE id = ?1"), [id.0], rows::merchant)
    }

    fn chip(&self, id: ChipId) -> Result<Option<Chip>, StoreError> {
        first(self, select!(rows::CHIP, "chips WHERE id = ?1"), [id.0], rows::chip)
    }

    fn token(&self, id: TokenId) -> Result<Option<Token>, StoreError> {
        first(self, select!(rows::TOKEN, "tokens WHERE id = ?1"), [id.0], rows::token)
    }

    fn token_by_index(&self, format: &CodeFormat, index: TokenIndex) -> Result<Option<Token>, StoreError> {
        let sql = select!(rows::TOKEN, "tokens WHERE prefix = ?1 AND digits = ?2 AND token_index = ?3");
        first(self, sql, (format.prefix_str(), format.total_digits(), index.get()), rows::token)
    }

    fn token_of_chip(&self, chip: ChipId) -> Result<Option<Token>, StoreError> {
        let revoked = TokenState::Revoked as u8;
        debug_assert_eq!(revoked, 5, "the partial index tokens_by_chip names this number");
        first(self, select!(rows::TOKEN, "tokens WHERE chip = ?1 AND state <> 5"), [chip.0], rows::token)
    }

    fn next_token_index(&self, format: &CodeFormat) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(max(token_index), 0) + 1 FROM tokens WHERE prefix = ?1 AND digits = ?2";
        let next = first(self, sql, (format.prefix_str(), format.total_digits()), |row| {
            Columns::of(row).number("token number")
        })?;
        Ok(next.unwrap_or(1))
    }

    fn binding(&self, id: BindingId) -> Result<Option<Binding>, StoreError> {
        first(self, select!(rows::BINDING, "bindings WHERE id = ?1"), [id.0], rows::binding)
    }

    fn binding_by_offer(&self, chip: ChipId, nonce: [u8; 8]) -> Result<Option<Binding>, StoreError> {
        first(self, select!(rows::BINDING, "bindings WHERE chip = ?1 AND nonce = ?2"), (chip.0, nonce), rows::binding)
    }

    fn payment(&self, id: PaymentId) -> Result<Option<Payment>, StoreError> {
        first(self, select!(rows::PAYMENT, "payments WHERE id = ?1"), [id.0], rows::payment)
    }

    fn payment_by_order(&self, merchant: MerchantId, order: &MerchantNumber) -> Result<Option<Payment>, StoreError> {
        let sql = select!(rows::PAYMENT, "payments WHERE merchant = ?1 AND order_number = ?2");
        first(self, sql, (merchant.0, order.as_str()), rows::payment)
    }

    fn refund(&self, merchant: MerchantId, number: &MerchantNumber) -> Result<Option<Refund>, StoreError> {
        let sql = select!(rows::REFUND, "refunds WHERE merchant = ?1 AND number = ?2");
        first(self, sql, (merchant.0, number.as_str()), rows::refund)
    }

    fn day_use(&self, account: &Account, day: i64) -> Result<DayUse, StoreError> {
        let sql = "SELECT total_minor, unverified_minor FROM day_use WHERE account = ?1 AND currency = ?2 AND day = ?3";
        let sums = first(self, sql, (account.id.0, account.currency.as_str(), day), |row| {
            let mut columns = Columns::of(row);
            Ok((columns.number("amount")?, columns.number("amount")?))
        })?;
        let (total_minor, unverified_minor) = sums.unwrap_or((0, 0));
        Ok(DayUse { account: account.id, currency: account.currency, day, total_minor, unverified_minor })
    }

    fn balance(&self, account: &LedgerAccount) -> Result<i64, StoreError> {
        let sql = "SELECT minor FROM balances WHERE account = ?1";
        Ok(first(self, sql, [account.to_key()], |row| Columns::of(row).take())?.unwrap_or(0))
    }

    fn unposted(&self, limit: usize) -> Result<Vec<Unposted>, StoreError> {
        // At most a few thousand merchants a call, so the cast is exact.
        let limit = limit as i64;
        let sql = "SELECT merchant, currency, sum(minor), max(number) FROM
            (SELECT merchant, currency, minor, number FROM clearing_items WHERE posted = 0
                ORDER BY merchant, currency, number LIMIT ?2)
            GROUP BY merchant, currency LIMIT ?1";
        all(self, sql, [limit, MAX_POSTED_ITEMS], |row| {
            let mut columns = Columns::of(row);
            Ok(Unposted {
                merchant: MerchantId(columns.take()?),
                currency: Currency::parse(&columns.take::<String>()?).map_err(|_| StoreError::Corrupt("currency"))?,
                net_minor: columns.take()?,
                up_to: columns.number("item number")?,
            })
        })
    }

    fn begin_command(&mut self) -> Result<(), StoreError> {
        Ok(self.prepare_cached("SAVEPOINT command")?.execute([]).map(drop)?)
    }

    fn keep_command(&mut self) -> Result<(), StoreError> {
        Ok(self.prepare_cached("RELEASE command")?.execute([]).map(drop)?)
    }

    fn undo_command(&mut self) -> Result<(), StoreError> {
        self.prepare_cached("ROLLBACK TO command")?.execute([])?;
        self.keep_command()
    }

    fn apply(&mut self, change: &Change) -> Result<(), StoreError> {
        super::apply::apply(self, change)
    }
}
