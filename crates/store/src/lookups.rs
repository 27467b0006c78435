//! The platform's rows by key, as commands look them up in a batch's working set.

use std::collections::BTreeMap;

use ledger::journal::{GENESIS, Record};
use ledger::{Balances, Currency, LedgerAccount};
use paycode::{CodeFormat, TokenIndex};
use pki::Fingerprint;
use platform::accounts::{Account, TopUp};
use platform::bindings::Binding;
use platform::chips::Chip;
use platform::makers::manifest::ShipmentNumber;
use platform::makers::shipments::{Shipment, ShipmentState};
use platform::makers::{Batch, BatchId, ChipModel, DeviceModel, Maker, MakerCode, ModelName, RevokedList};
use platform::merchants::Merchant;
use platform::payments::{DayUse, MerchantNumber, Payment, Refund};
use platform::postings::Unposted;
use platform::risk::History;
use platform::syncs::{TokenResult, TokenSync};
use platform::tokens::Token;
use platform::{AccountId, BindingId, ChipId, MerchantId, PaymentId, RefundId, ShipmentId, TokenId};

use crate::engine::{NumberedRow, View};
use crate::key::{Key, List, Named, Numbered};
use crate::rows::codec::unseal;
use crate::rows::{self, PartitionState, Place, RulesRow, Spend};
use crate::{StoreError, Tables};

/// The most merchants whose refunds wait that one posting looks at again, beyond those something was booked for.
const MAX_WAITING: usize = 10_000;

/// The rows of the platform, by key. An absent row is `None`; a row that cannot be read is an error.
#[allow(missing_docs, clippy::missing_errors_doc, reason = "each method is named for the one row it reads")]
impl Tables<'_> {
    pub fn account(&mut self, id: AccountId) -> Result<Option<Account>, StoreError> {
        let account = self.fields(&Key::account(id))?.map(rows::account).transpose()?;
        Ok(account.filter(|account| account.id == id))
    }

    pub fn top_up(&mut self, account: AccountId, reference: &str) -> Result<Option<TopUp>, StoreError> {
        self.fields(&Key::top_up(account, reference))?.map(rows::top_up).transpose()
    }

    pub fn merchant(&mut self, id: MerchantId) -> Result<Option<Merchant>, StoreError> {
        let merchant = self.fields(&Key::merchant(id))?.map(rows::merchant).transpose()?;
        Ok(merchant.filter(|merchant| merchant.id == id))
    }

    pub fn chip(&mut self, id: ChipId) -> Result<Option<Chip>, StoreError> {
        self.fields(&Key::chip(id))?.map(rows::chip).transpose()
    }

    /// A chip that may be bound: one of a shipment counts only once all of the shipment has come in.
    pub fn present_chip(&mut self, id: ChipId) -> Result<Option<(Chip, Option<Shipment>)>, StoreError> {
        let Some(chip) = self.chip(id)? else { return Ok(None) };
        let Some(origin) = chip.origin else { return Ok(Some((chip, None))) };
        let shipment = self.shipment(origin.shipment)?.ok_or(StoreError::Corrupt("shipments"))?;
        Ok((shipment.state == ShipmentState::Complete).then_some((chip, Some(shipment))))
    }

    pub fn batch(&mut self, id: BatchId) -> Result<Option<Batch>, StoreError> {
        self.fields(&Key::batch(id))?.map(rows::batch).transpose()
    }

    pub fn shipment(&mut self, id: ShipmentId) -> Result<Option<Shipment>, StoreError> {
        self.fields(&Key::shipment(id))?.map(rows::shipment).transpose()
    }

    /// The shipment with this number of its maker.
    pub fn shipment_by_number(
        &mut self,
        maker: &MakerCode,
        number: &ShipmentNumber,
    ) -> Result<Option<Shipment>, StoreError> {
        let id = self.id_under(&Key::shipment_number(maker, number))?;
        id.map_or(Ok(None), |id| self.shipment(ShipmentId(id)))
    }

    pub fn maker(&mut self, code: &MakerCode) -> Result<Option<Maker>, StoreError> {
        self.fields(&Key::maker(code))?.map(rows::maker).transpose()
    }

    pub fn chip_model(&mut self, maker: &MakerCode, name: &ModelName) -> Result<Option<ChipModel>, StoreError> {
        self.fields(&Key::chip_model(maker, name))?.map(rows::chip_model).transpose()
    }

    pub fn device_model(&mut self, maker: &MakerCode, name: &ModelName) -> Result<Option<DeviceModel>, StoreError> {
        self.fields(&Key::device_model(maker, name))?.map(rows::device_model).transpose()
    }

    pub fn revoked_list(&mut self, authority: &Fingerprint) -> Result<Option<RevokedList>, StoreError> {
        self.fields(&Key::revocation_list(authority))?.map(rows::revoked_list).transpose()
    }

    pub fn token(&mut self, id: TokenId) -> Result<Option<Token>, StoreError> {
        let place = self.fields(&Key::Number(Numbered::Tokens, id.number()))?;
        let place = place.map(rows::token_place).transpose()?;
        let token = place.map_or(Ok(None), |place| self.token_at(&place))?;
        Ok(token.filter(|token| token.id == id))
    }

    /// The token with this number. First it is looked for in the purse of the account, by its number, whose it is believed to be.
    pub(crate) fn token_by_index(
        &mut self,
        format: &CodeFormat,
        index: TokenIndex,
        believed: Option<u64>,
    ) -> Result<Option<Token>, StoreError> {
        let purse = believed.map_or(Ok(None), |account| self.purse_under(account))?;
        match purse.and_then(|purse| purse.spend_under(format, index)).and_then(Spend::to_token) {
            Some(token) => Ok(Some(token)),
            None => self.token_at(&Key::token_number(format, index)),
        }
    }

    fn token_at(&mut self, place: &Key) -> Result<Option<Token>, StoreError> {
        let Some(token) = self.fields(place)?.map(rows::token).transpose()? else { return Ok(None) };
        let spend = self.present_purse(token.account)?.spend_of(token.id);
        Ok(Some(rows::join_token(token, spend)))
    }

    /// The token of a chip that is neither revoked nor replaced, if there is one.
    pub fn token_of_chip(&mut self, chip: ChipId) -> Result<Option<Token>, StoreError> {
        let id = self.id_under(&Key::living_token(chip))?;
        id.map_or(Ok(None), |id| self.token(TokenId(id)))
    }

    /// The lowest token number never given out under a format, of those that may be this account's.
    pub fn next_token_index(&mut self, format: &CodeFormat, account: AccountId) -> Result<u64, StoreError> {
        let home = self.homes().of_number(account.number());
        let fields = self.fields(&self.homes().last_token_number(format, home))?;
        let last = fields.map_or(Ok(0), |fields| rows::number("last_token_numbers", fields))?;
        let last = u64::try_from(last).map_err(|_| StoreError::Corrupt("last_token_numbers"))?;
        Ok(self.homes().next_number(last, home))
    }

    pub fn binding(&mut self, id: BindingId) -> Result<Option<Binding>, StoreError> {
        let fields = self.fields(&Key::Number(Numbered::Bindings, id.number()))?;
        let binding = fields.map(rows::binding).transpose()?;
        Ok(binding.filter(|binding| binding.id == id))
    }

    /// The binding that began with this offer.
    pub fn binding_by_offer(&mut self, chip: ChipId, nonce: [u8; 8]) -> Result<Option<Binding>, StoreError> {
        let id = self.id_under(&Key::offer(chip, nonce))?;
        id.map_or(Ok(None), |id| self.binding(BindingId(id)))
    }

    /// The newest sync of a token.
    pub fn sync_of(&mut self, token: TokenId) -> Result<Option<TokenSync>, StoreError> {
        let fields = self.fields(&Key::Number(Numbered::Syncs, token.number()))?;
        let sync = fields.map(rows::sync).transpose()?;
        Ok(sync.filter(|sync| sync.token == token))
    }

    /// What became of the payments that a token's last codes were used for, newest first.
    pub fn results_of(&mut self, token: &Token) -> Result<Vec<TokenResult>, StoreError> {
        let spend = self.present_purse(token.account)?.spend_of(token.id);
        let codes = spend.map(|spend| spend.codes.clone()).unwrap_or_default();
        let mut results = Vec::with_capacity(codes.len());
        for used in codes {
            let payment = self.payment(used.payment)?.ok_or(StoreError::Corrupt("payments"))?;
            let merchant = self.merchant(payment.merchant)?.ok_or(StoreError::Corrupt("merchants"))?.name;
            results.push(TokenResult { payment, merchant, stamp: used.stamp });
        }
        Ok(results)
    }

    pub fn payment(&mut self, id: PaymentId) -> Result<Option<Payment>, StoreError> {
        let fields = self.fields(&Key::Number(Numbered::Payments, id.number()))?;
        let payment = fields.map(rows::payment).transpose()?;
        Ok(payment.filter(|payment| payment.id == id))
    }

    pub fn payment_by_order(
        &mut self,
        merchant: MerchantId,
        order: &MerchantNumber,
    ) -> Result<Option<Payment>, StoreError> {
        let id = self.id_under(&Key::order(merchant, order))?;
        id.map_or(Ok(None), |id| self.payment(PaymentId(id)))
    }

    pub fn refund(&mut self, merchant: MerchantId, number: &MerchantNumber) -> Result<Option<Refund>, StoreError> {
        let Some(id) = self.id_under(&Key::refund_number(merchant, number))? else { return Ok(None) };
        self.refund_by_id(RefundId(id))
    }

    pub fn refund_by_id(&mut self, id: RefundId) -> Result<Option<Refund>, StoreError> {
        let fields = self.fields(&Key::Number(Numbered::Refunds, id.number()))?;
        fields.map(rows::refund).transpose()
    }

    /// What an account has paid on a day; zero where nothing is recorded. A day that has begun stays: of two servers
    /// around midnight, the one whose clock is behind must not open the day before with nothing paid on it.
    pub fn day_use(&mut self, account: AccountId, day: i64) -> Result<DayUse, StoreError> {
        let purse = self.present_purse(account)?;
        let day = day.max(purse.day);
        let of_the_day = purse.day == day;
        Ok(DayUse {
            account,
            currency: purse.currency,
            day,
            total_minor: if of_the_day { purse.day_total_minor } else { 0 },
            unverified_minor: if of_the_day { purse.day_unverified_minor } else { 0 },
        })
    }

    /// What an account has paid on a day, where that is still known.
    pub fn use_of_day(&mut self, account: AccountId, day: i64) -> Result<Option<DayUse>, StoreError> {
        let is_known = self.present_purse(account)?.day == day;
        if is_known { self.day_use(account, day).map(Some) } else { Ok(None) }
    }

    /// What risk rules may know of an account and one of its tokens on a day.
    pub fn history(&mut self, account: AccountId, token: TokenId, day: i64) -> Result<History, StoreError> {
        Ok(self.present_purse(account)?.history(account, token, day))
    }

    /// The newest version of the risk rules that is stored; 0 where none was ever set.
    pub fn newest_rules_version(&mut self) -> Result<u32, StoreError> {
        newest_rules_version(self.engine())
    }

    pub fn rule_set(&mut self, version: u32) -> Result<Option<RulesRow>, StoreError> {
        self.fields(&Key::rule_set(version))?.map(rows::rule_set).transpose()
    }

    /// Adds a version of the risk rules.
    pub(crate) fn put_rule_set(&mut self, row: &RulesRow) -> Result<(), StoreError> {
        self.enlist(List::RuleVersions, &[], rules_position(row.version));
        self.put(Key::rule_set(row.version), Some(rows::put_rule_set(row)))
    }

    /// An account's payments that wait to be confirmed.
    pub fn waiting_of(&mut self, account: AccountId) -> Result<Vec<PaymentId>, StoreError> {
        Ok(self.present_purse(account)?.waiting.clone())
    }

    /// A ledger balance in minor units; zero where nothing was ever booked.
    pub fn balance(&mut self, account: &LedgerAccount) -> Result<i64, StoreError> {
        Ok(self.stored_balance(account)?.minor)
    }

    /// What went through clearing since the last posting, summed by merchant and currency, with those whose refunds wait;
    /// and the last record in the sums. About `limit` records are read, and all of a posting that is under way.
    pub(crate) fn unposted(&mut self, limit: usize) -> Result<(ClearingSums, u64), StoreError> {
        let (state, partition) = (*self.state(), self.partition());
        let end = state.posting.map_or(state.head.number, |posting| posting.up_to);
        let (mut sums, mut up_to, mut read) = (ClearingSums::default(), state.posted, 0);
        while up_to < end && (read < limit || state.posting.is_some()) {
            let records = self.engine().scan(Numbered::Journal, up_to, end, limit)?;
            let Some((last, _)) = records.last() else { break };
            up_to = *last;
            read += records.len();
            sums.add(&records, partition, &state)?;
        }
        // Refunds may have waited for payments that another partition has posted since: nothing here tells of those.
        for place in waiting_places(self.engine(), partition)? {
            sums.expect(place);
        }
        Ok((sums, up_to))
    }

    /// What waits for a merchant in this partition's clearing beyond a posting.
    pub(crate) fn waiting(&mut self, (merchant, currency): Place) -> Result<i64, StoreError> {
        let waiting = self.fields(&Key::waiting(self.partition(), merchant, currency))?;
        waiting.map_or(Ok(0), |fields| rows::number("waiting", fields))
    }

    /// The balances of these accounts.
    pub fn balances(&mut self, accounts: &[LedgerAccount]) -> Result<Balances, StoreError> {
        accounts.iter().map(|account| Ok((*account, self.balance(account)?))).collect()
    }

    /// The balances that a payment or refund by this wearer touches.
    pub fn purse_balances(&mut self, account: AccountId, currency: Currency) -> Result<Balances, StoreError> {
        use ledger::posting::{clearing, wallet};
        self.balances(&[wallet(account.0, currency), clearing(self.partition(), currency)])
    }

    /// The payments that have waited to be confirmed longer than until `now_ms`, at most `limit`.
    pub fn overdue(&mut self, now_ms: u64, limit: usize) -> Result<Vec<PaymentId>, StoreError> {
        let mut overdue = Vec::new();
        for (name, row) in self.engine().scan_names(Named::Pending, &[], limit)? {
            let until_ms = name.first_chunk::<8>().copied().map(u64::from_be_bytes);
            if until_ms.is_none_or(|until_ms| until_ms > now_ms) {
                break;
            }
            let key = Key::Name(Named::Pending, name.into());
            overdue.push(PaymentId(rows::id("pending", unseal(&key, &row)?)?));
        }
        Ok(overdue)
    }
}

/// The place of a version of the risk rules in their list.
pub(crate) fn rules_position(version: u32) -> [u8; 16] {
    u128::from(version).to_be_bytes()
}

/// The versions of the risk rules, newest first.
pub(crate) fn rules_versions(view: &mut dyn View, limit: usize) -> Result<Vec<u32>, StoreError> {
    let places = view.list(List::RuleVersions, &[], [0xFF; 16], limit)?;
    Ok(places.into_iter().map(|[.., a, b, c, d]| u32::from_be_bytes([a, b, c, d])).collect())
}

pub(crate) fn newest_rules_version(view: &mut dyn View) -> Result<u32, StoreError> {
    Ok(rules_versions(view, 1)?.first().copied().unwrap_or(0))
}

/// The merchants whose refunds wait in a partition, at most [`MAX_WAITING`]; the rest wait for a payment of theirs.
pub(crate) fn waiting_places(view: &mut dyn View, partition: u32) -> Result<Vec<Place>, StoreError> {
    let partition = partition.to_be_bytes();
    let rows = view.scan_names(Named::Waiting, &partition, MAX_WAITING)?;
    let mine = rows.iter().map(|(name, _)| name).take_while(|name| name.starts_with(&partition));
    mine.map(|name| Key::waiting_of(name).ok_or(StoreError::Corrupt("waiting"))).collect()
}

/// What payments and refunds left in a partition's clearing account, minor units, by merchant and currency.
#[derive(Debug, Default)]
pub(crate) struct ClearingSums(BTreeMap<Place, i64>);

impl ClearingSums {
    /// Adds what of these records waits to be posted, and says how many of them it is.
    pub(crate) fn add(
        &mut self,
        records: &[NumberedRow],
        partition: u32,
        state: &PartitionState,
    ) -> Result<usize, StoreError> {
        let mut added = 0;
        for (number, row) in records {
            let record = record(row)?;
            if !record.kind.passes_through_clearing() {
                continue;
            }
            for line in &record.lines {
                let account = line.leg.account;
                let place = (MerchantId(record.cause.counterparty), account.currency);
                if account == ledger::posting::clearing(partition, account.currency) && state.waits(*number, place) {
                    let sum = self.0.entry(place).or_default();
                    *sum = sum.checked_add(line.leg.change_minor()).ok_or(StoreError::Corrupt("journal"))?;
                    added += 1;
                }
            }
        }
        Ok(added)
    }

    /// Has a merchant looked at although nothing new waits for it.
    pub(crate) fn expect(&mut self, place: Place) {
        self.0.entry(place).or_default();
    }

    /// What waits for one merchant.
    pub(crate) fn of(&self, place: Place) -> i64 {
        self.0.get(&place).copied().unwrap_or(0)
    }

    /// In the order in which they are posted.
    pub(crate) fn into_parts(self) -> impl Iterator<Item = Unposted> {
        let part = |((merchant, currency), net_minor)| Unposted { merchant, currency, net_minor };
        self.0.into_iter().map(part)
    }
}

/// The record in a row of the journal. Its hash is for who follows the chain.
pub(crate) fn record(row: &[u8]) -> Result<Record, StoreError> {
    let corrupt = StoreError::Corrupt("journal");
    let (content, _) = row.split_last_chunk::<{ GENESIS.len() }>().ok_or(corrupt.clone())?;
    Record::from_bytes(content).map_err(|_| corrupt)
}
