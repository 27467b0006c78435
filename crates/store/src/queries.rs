//! Reads that decide nothing: for answers, statements and pages. They see what is durable and never wait for the
//! writer. The books of accounts are in `queries/books.rs`.

mod books;

use platform::accounts::Account;
use platform::bindings::Binding;
use platform::makers::shipments::Shipment;
use platform::makers::{ChipModel, DeviceModel, Maker, MakerCode};
use platform::merchants::Merchant;
use platform::payments::{MerchantNumber, Payment, Refund};
use platform::syncs::{TokenResult, TokenSync, UsedCode};
use platform::tokens::Token;
use platform::{AccountId, BindingId, ChipId, KeyHash, MerchantId, PaymentId, RefundId, ShipmentId, TokenId};

use crate::engine::View;
use crate::homes::Homes;
use crate::key::{Key, List, Named, Numbered, format_name, models_of};
use crate::lookups::{newest_rules_version, rules_versions};
use crate::rows::codec::unseal;
use crate::rows::{self, PartitionState, Purse, RulesRow};
use crate::{Env, StoreError};
pub use books::{BookLine, MAX_WALK, Page};

/// The most rows one page of a list holds.
pub const MAX_PAGE: usize = 100;
/// Rows of owners of tokens that are read at once: a quarter of a megabyte.
const OWNER_ROWS: usize = 256;
/// Partitions looked at.
const MAX_PARTITIONS: usize = 4_096;

/// What is done with a view.
pub type Work<'w> = &'w mut dyn FnMut(&mut dyn View) -> Result<(), StoreError>;

/// The reading side of an engine.
pub trait Reader: Send + Sync {
    /// Reads what is durable now; each row by itself.
    ///
    /// # Errors
    /// Those of the engine and of `work`.
    fn now(&self, work: Work<'_>) -> Result<(), StoreError>;

    /// Reads everything as it is at one moment.
    ///
    /// # Errors
    /// Those of the engine and of `work`.
    fn snapshot(&self, work: Work<'_>) -> Result<(), StoreError>;

    /// How many homes the rows have.
    fn homes(&self) -> Homes {
        Homes::ONE
    }

    /// Reads the rows of one home as they are at one moment.
    ///
    /// # Errors
    /// Those of the engine and of `work`.
    fn cut(&self, _home: u16, work: Work<'_>) -> Result<(), StoreError> {
        self.snapshot(work)
    }
}

/// One line of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLine {
    /// When.
    pub at_ms: u64,
    /// To what.
    pub subject: String,
    /// What happened.
    pub name: String,
    /// By whom.
    pub actor: String,
    /// Why, where something was said.
    pub why: String,
}

/// The reading side of a store.
pub struct Queries {
    reader: Box<dyn Reader>,
}

impl Queries {
    /// Reads through an engine's reading side.
    pub fn new(reader: Box<dyn Reader>) -> Self {
        Self { reader }
    }

    pub(crate) fn reader(&self) -> &dyn Reader {
        self.reader.as_ref()
    }

    pub(crate) fn with<T>(
        &self,
        mut work: impl FnMut(&mut dyn View) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut answer = Err(StoreError::Stopped);
        self.reader.now(&mut |view| {
            answer = Ok(work(view)?);
            Ok(())
        })?;
        answer
    }

    /// The merchant with this API key.
    ///
    /// # Errors
    /// Those of the engine, here and in every query below.
    pub fn merchant_by_key(&self, key: KeyHash) -> Result<Option<Merchant>, StoreError> {
        self.with(|view| match id_under(view, &Key::api_key(key))? {
            Some(id) => merchant(view, MerchantId(id)),
            None => Ok(None),
        })
    }

    /// The account with this wallet key.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn account_by_key(&self, key: KeyHash) -> Result<Option<Account>, StoreError> {
        self.with(|view| match id_under(view, &Key::wallet_key(key))? {
            Some(id) => account(view, AccountId(id)),
            None => Ok(None),
        })
    }

    /// An account by its id.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        self.with(|view| account(view, id))
    }

    /// A merchant by its id.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn merchant(&self, id: MerchantId) -> Result<Option<Merchant>, StoreError> {
        self.with(|view| merchant(view, id))
    }

    /// A token by its id.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn token(&self, id: TokenId) -> Result<Option<Token>, StoreError> {
        self.with(|view| token(view, id))
    }

    /// Has `env` learn whose tokens are, as far as there is room: a payment then asks for one row of its wearer's and not for two,
    /// one after the other. Bounded by the rows that this format has; each holds the tokens of 128 numbers.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn learn_owners(&self, env: &Env) -> Result<(), StoreError> {
        let format = &env.settings.codes.format;
        // What the names of all its blocks begin with comes before them.
        let mut after = format_name(format).into_vec();
        loop {
            let rows = self.with(|view| view.scan_names(Named::TokenOwners, &after, OWNER_ROWS))?;
            let is_last = rows.len() < OWNER_ROWS;
            for (name, row) in rows {
                // Those of another format come after.
                let Some(block) = Key::block_of(format, &name) else { return Ok(()) };
                after.clone_from(&name);
                let key = Key::Name(Named::TokenOwners, name.into());
                if !env.owners.learn_row(block, &rows::owners(unseal(&key, &row)?)?) {
                    return Ok(());
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// The tokens of an account, newest first, at most [`MAX_PAGE`].
    ///
    /// # Errors
    /// Those of the engine.
    pub fn tokens_of(&self, account: AccountId) -> Result<Vec<Token>, StoreError> {
        self.with(|view| {
            let ids = view.list(List::AccountTokens, &account.0, [0xFF; 16], MAX_PAGE)?;
            present(ids.into_iter().map(|id| token(view, TokenId(id))))
        })
    }

    /// A binding by its id.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn binding(&self, id: BindingId) -> Result<Option<Binding>, StoreError> {
        self.with(|view| {
            let fields = fields(view, &Key::Number(Numbered::Bindings, id.number()))?;
            let binding = fields.map(|fields| rows::binding(&fields)).transpose()?;
            Ok(binding.filter(|binding| binding.id == id))
        })
    }

    /// The binding that began with this offer.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn binding_by_offer(&self, chip: ChipId, nonce: [u8; 8]) -> Result<Option<Binding>, StoreError> {
        let id = self.with(|view| id_under(view, &Key::offer(chip, nonce)))?;
        id.map_or(Ok(None), |id| self.binding(BindingId(id)))
    }

    /// The newest sync of a token.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn sync_of(&self, token: TokenId) -> Result<Option<TokenSync>, StoreError> {
        self.with(|view| {
            let fields = fields(view, &Key::Number(Numbered::Syncs, token.number()))?;
            let sync = fields.map(|fields| rows::sync(&fields)).transpose()?;
            Ok(sync.filter(|sync| sync.token == token))
        })
    }

    /// A payment by its id.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn payment(&self, id: PaymentId) -> Result<Option<Payment>, StoreError> {
        self.with(|view| payment(view, id))
    }

    /// A payment by the merchant's order number.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn payment_by_order(
        &self,
        merchant: MerchantId,
        order: &MerchantNumber,
    ) -> Result<Option<Payment>, StoreError> {
        self.with(|view| match id_under(view, &Key::order(merchant, order))? {
            Some(id) => payment(view, PaymentId(id)),
            None => Ok(None),
        })
    }

    /// A merchant's payments, newest first, beginning below `before`, at most `limit` and [`MAX_PAGE`].
    ///
    /// # Errors
    /// Those of the engine.
    pub fn payments_of(
        &self,
        merchant: MerchantId,
        before: Option<PaymentId>,
        limit: usize,
    ) -> Result<Vec<Payment>, StoreError> {
        self.with(|view| {
            let before = before.map_or([0xFF; 16], |id| id.0);
            let ids = view.list(List::MerchantPayments, &merchant.0, before, limit.min(MAX_PAGE))?;
            present(ids.into_iter().map(|id| payment(view, PaymentId(id))))
        })
    }

    /// The payments of an account that wait to be confirmed, oldest first.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn waiting_of(&self, account: AccountId) -> Result<Vec<Payment>, StoreError> {
        self.with(|view| {
            let waiting = purse(view, account)?.waiting;
            present(waiting.into_iter().map(|id| payment(view, id)))
        })
    }

    /// What became of the payments that a token's last codes were used for, newest first, at most
    /// [`platform::syncs::MAX_RESULTS`].
    ///
    /// # Errors
    /// Those of the engine.
    pub fn results_of(&self, token: &Token) -> Result<Vec<TokenResult>, StoreError> {
        self.with(|view| {
            let codes = purse(view, token.account)?.spend_of(token.id).map(|spend| spend.codes.clone());
            let result = |used: UsedCode| {
                let Some(payment) = payment(view, used.payment)? else { return Ok(None) };
                let merchant = merchant(view, payment.merchant)?;
                Ok(merchant.map(|merchant| TokenResult { payment, merchant: merchant.name, stamp: used.stamp }))
            };
            present(codes.unwrap_or_default().into_iter().map(result))
        })
    }

    /// The refunds of a payment, oldest first, at most [`MAX_PAGE`].
    ///
    /// # Errors
    /// Those of the engine.
    pub fn refunds_of(&self, payment: PaymentId) -> Result<Vec<Refund>, StoreError> {
        self.with(|view| {
            let ids = view.list(List::PaymentRefunds, &payment.0, [0xFF; 16], MAX_PAGE)?;
            present(ids.into_iter().rev().map(|id| {
                let key = Key::Number(Numbered::Refunds, RefundId(id).number());
                fields(view, &key)?.map(|fields| rows::refund(&fields)).transpose()
            }))
        })
    }

    /// The makers behind `after`, by their codes, at most [`MAX_PAGE`].
    ///
    /// # Errors
    /// Those of the engine.
    pub fn makers(&self, after: &str) -> Result<Vec<Maker>, StoreError> {
        self.with(|view| {
            let found = view.scan_names(Named::Makers, after.as_bytes(), MAX_PAGE)?;
            found
                .into_iter()
                .map(|(name, row)| rows::maker(unseal(&Key::Name(Named::Makers, name.into()), &row)?))
                .collect()
        })
    }

    /// A maker by its code.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn maker(&self, code: &MakerCode) -> Result<Option<Maker>, StoreError> {
        self.with(|view| fields(view, &Key::maker(code))?.map(|fields| rows::maker(&fields)).transpose())
    }

    /// A shipment by its id.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn shipment(&self, id: ShipmentId) -> Result<Option<Shipment>, StoreError> {
        self.with(|view| fields(view, &Key::shipment(id))?.map(|fields| rows::shipment(&fields)).transpose())
    }

    /// The chip models of a maker, at most [`MAX_PAGE`].
    ///
    /// # Errors
    /// Those of the engine.
    pub fn chip_models(&self, maker: &MakerCode) -> Result<Vec<ChipModel>, StoreError> {
        self.with(|view| models(view, Named::ChipModels, maker, rows::chip_model))
    }

    /// The device models of a maker, at most [`MAX_PAGE`].
    ///
    /// # Errors
    /// Those of the engine.
    pub fn device_models(&self, maker: &MakerCode) -> Result<Vec<DeviceModel>, StoreError> {
        self.with(|view| models(view, Named::DeviceModels, maker, rows::device_model))
    }

    /// A version of the risk rules.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn rules(&self, version: u32) -> Result<Option<RulesRow>, StoreError> {
        self.with(|view| rules(view, version))
    }

    /// The newest version of the risk rules, where it is above this one.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn rules_after(&self, version: u32) -> Result<Option<RulesRow>, StoreError> {
        self.with(|view| match newest_rules_version(view)? {
            newest if newest > version => rules(view, newest),
            _ => Ok(None),
        })
    }

    /// The versions of the risk rules, newest first, at most [`MAX_PAGE`].
    ///
    /// # Errors
    /// Those of the engine.
    pub fn rules_history(&self) -> Result<Vec<RulesRow>, StoreError> {
        self.with(|view| present(rules_versions(view, MAX_PAGE)?.into_iter().map(|version| rules(view, version))))
    }

    /// The audit trail of one thing, newest first, at most [`MAX_PAGE`].
    ///
    /// # Errors
    /// Those of the engine.
    pub fn events_of(&self, subject: &str) -> Result<Vec<EventLine>, StoreError> {
        self.with(|view| {
            let ids = view.list(List::SubjectEvents, subject.as_bytes(), [0xFF; 16], MAX_PAGE)?;
            present(ids.into_iter().map(|id| {
                let key = Key::Number(Numbered::Events, PaymentId(id).number());
                fields(view, &key)?.map(|fields| rows::event(&fields)).transpose()
            }))
        })
    }
}

/// The rows of a maker's models.
fn models<T>(
    view: &mut dyn View,
    table: Named,
    maker: &MakerCode,
    read: fn(&[u8]) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let begin = models_of(maker);
    let found = view.scan_names(table, &begin, MAX_PAGE)?;
    let own = found.into_iter().take_while(|(name, _)| name.starts_with(&begin));
    own.map(|(name, row)| read(unseal(&Key::Name(table, name.into()), &row)?)).collect()
}

fn rules(view: &mut dyn View, version: u32) -> Result<Option<RulesRow>, StoreError> {
    fields(view, &Key::rule_set(version))?.map(|fields| rows::rule_set(&fields)).transpose()
}

/// The rows that are there; a list names no other.
fn present<T>(rows: impl Iterator<Item = Result<Option<T>, StoreError>>) -> Result<Vec<T>, StoreError> {
    rows.filter_map(Result::transpose).collect()
}

/// The fields of a row.
pub(crate) fn fields(view: &mut dyn View, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
    let row = view.read(core::slice::from_ref(key))?.pop().flatten();
    row.map(|row| unseal(key, &row).map(<[u8]>::to_vec)).transpose()
}

fn id_under(view: &mut dyn View, name: &Key) -> Result<Option<[u8; 16]>, StoreError> {
    fields(view, name)?.map(|fields| rows::id(name.place().0, &fields)).transpose()
}

fn account(view: &mut dyn View, id: AccountId) -> Result<Option<Account>, StoreError> {
    let account = fields(view, &Key::account(id))?.map(|fields| rows::account(&fields)).transpose()?;
    Ok(account.filter(|account| account.id == id))
}

pub(crate) fn merchant(view: &mut dyn View, id: MerchantId) -> Result<Option<Merchant>, StoreError> {
    let merchant = fields(view, &Key::merchant(id))?.map(|fields| rows::merchant(&fields)).transpose()?;
    Ok(merchant.filter(|merchant| merchant.id == id))
}

fn purse(view: &mut dyn View, account: AccountId) -> Result<Purse, StoreError> {
    let fields = fields(view, &Key::purse(account))?.ok_or(StoreError::Corrupt("purses"))?;
    Purse::from_row(&fields)
}

pub(crate) fn token(view: &mut dyn View, id: TokenId) -> Result<Option<Token>, StoreError> {
    let Some(place) = fields(view, &Key::Number(Numbered::Tokens, id.number()))? else { return Ok(None) };
    let fields = fields(view, &rows::token_place(&place)?)?.ok_or(StoreError::Corrupt("token_numbers"))?;
    let token = rows::token(&fields)?;
    let purse = purse(view, token.account)?;
    let token = rows::join_token(token, purse.spend_of(id));
    Ok((token.id == id).then_some(token))
}

fn payment(view: &mut dyn View, id: PaymentId) -> Result<Option<Payment>, StoreError> {
    let fields = fields(view, &Key::Number(Numbered::Payments, id.number()))?;
    let payment = fields.map(|fields| rows::payment(&fields)).transpose()?;
    Ok(payment.filter(|payment| payment.id == id))
}

/// Every partition there is, with its state.
pub(crate) fn partitions(view: &mut dyn View) -> Result<Vec<(u32, PartitionState)>, StoreError> {
    // Partition 0 is found above no number, so the scan begins before it by reading it alone.
    let zero = Key::partition(0);
    let first = if view.reaches(&zero) { fields(view, &zero)? } else { None };
    let first = first.map(|fields| PartitionState::from_row(&fields)).transpose()?;
    let mut all: Vec<(u32, PartitionState)> = first.map(|state| (0, state)).into_iter().collect();
    for (number, row) in view.scan(Numbered::Partitions, 0, u64::from(u32::MAX), MAX_PARTITIONS)? {
        let key = Key::Number(Numbered::Partitions, number);
        let number = u32::try_from(number).map_err(|_| StoreError::Corrupt("partitions"))?;
        all.push((number, PartitionState::from_row(unseal(&key, &row)?)?));
    }
    Ok(all)
}
