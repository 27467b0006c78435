//! What a decision changes, as data. The store writes all the changes of a decision in one transaction, or none.

use ledger::{Balances, Entry, LedgerError};

use crate::accounts::{Account, TopUp};
use crate::bindings::Binding;
use crate::chips::Chip;
use crate::makers::shipments::Shipment;
use crate::makers::{Batch, ChipModel, DeviceModel, Maker, RevokedList};
use crate::merchants::Merchant;
use crate::payments::{DayUse, Payment, Refund};
use crate::postings::Unposted;
use crate::risk::History;
use crate::syncs::{TokenSync, UsedCode};
use crate::tokens::Token;
use crate::{AccountId, Caller, MerchantId, PaymentId, TokenId, UnixMs};

/// One change. `Put` replaces the whole row with that id, or adds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An account.
    PutAccount(Account),
    /// A top-up.
    PutTopUp(TopUp),
    /// A merchant.
    PutMerchant(Merchant),
    /// A chip.
    PutChip(Chip),
    /// A token.
    PutToken(Token),
    /// A binding.
    PutBinding(Binding),
    /// The newest sync of a token.
    PutSync(TokenSync),
    /// A payment.
    PutPayment(Payment),
    /// A refund.
    PutRefund(Refund),
    /// What a wearer has paid on a day.
    PutDayUse(DayUse),
    /// What rules may know of an account and one of its tokens.
    PutHistory(Box<History>),
    /// A code of a token was used for a payment, whatever became of it: the newest few are known.
    KeepUsedCode {
        /// Whose.
        account: AccountId,
        /// The token.
        token: TokenId,
        /// Which payment, and which code.
        used: UsedCode,
    },
    /// One more binding was begun by an account on one of the operator's days.
    CountBegunBinding {
        /// Whose.
        account: AccountId,
        /// The day, counted from 1970-01-01.
        day: i64,
    },
    /// Once more an account's wearer let a wearable pay again on one of the operator's days.
    CountResume {
        /// Whose.
        account: AccountId,
        /// The day, counted from 1970-01-01.
        day: i64,
    },
    /// A payment waits for its wearer, until the time its state says, or waits no more.
    SetPending {
        /// The payment.
        payment: PaymentId,
        /// Whose.
        account: AccountId,
        /// Until when.
        until_ms: UnixMs,
        /// Whether it still waits.
        waits: bool,
    },
    /// What waits in clearing for a merchant because refunds outweigh what it is owed: zero where nothing does.
    SetWaiting(Unposted),
    /// Every journal record of this partition up to this number (inclusive) has been posted to its merchant.
    PostedUpTo(u64),
    /// An entry for the journal, and the balances after it.
    Book(Booking),
    /// A line of the audit trail.
    AddEvent(Event),
    /// A maker.
    PutMaker(Maker),
    /// A chip model.
    PutChipModel(ChipModel),
    /// A device model.
    PutDeviceModel(DeviceModel),
    /// A batch.
    PutBatch(Batch),
    /// A shipment.
    PutShipment(Shipment),
    /// The newest revocation list of an authority.
    PutRevokedList(RevokedList),
}

/// An entry together with the balances after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    /// What is appended to the journal.
    pub entry: Entry,
    /// The new balance of every account the entry touches.
    pub balances: Balances,
}

impl Booking {
    /// Applies an entry to the balances known before it.
    ///
    /// # Errors
    /// Those of [`ledger::apply`].
    pub fn new(entry: Entry, before: &Balances) -> Result<Self, LedgerError> {
        let balances = ledger::apply(before, &entry)?;
        Ok(Self { entry, balances })
    }
}

/// One line of the audit trail: what happened to what, when, by whom, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at_ms: UnixMs,
    /// To what: an id as text.
    pub subject: String,
    /// What: a stable name.
    pub name: &'static str,
    /// By whom: `operator`, `risk`, `clock`, or an id as text.
    pub actor: String,
    /// Why, in the words of whoever did it; empty where nothing was said.
    pub why: String,
}

impl Event {
    /// Something a caller did to a token.
    pub fn about_token(token: TokenId, at_ms: UnixMs, name: &'static str, caller: Caller) -> Self {
        Self { at_ms, subject: token.to_string(), name, actor: caller.name(), why: String::new() }
    }

    /// Something a caller did to a merchant.
    pub fn about_merchant(merchant: MerchantId, at_ms: UnixMs, name: &'static str, caller: Caller) -> Self {
        Self { at_ms, subject: merchant.to_string(), name, actor: caller.name(), why: String::new() }
    }

    /// Something that happened to a token because its time had come.
    pub fn in_time(token: TokenId, at_ms: UnixMs, name: &'static str) -> Self {
        Self { at_ms, subject: token.to_string(), name, actor: "clock".to_owned(), why: String::new() }
    }

    /// Something a risk rule did to a token: an alert for the operator.
    pub fn risk(token: TokenId, at_ms: UnixMs, name: &'static str) -> Self {
        Self { at_ms, subject: token.to_string(), name, actor: RISK.to_owned(), why: String::new() }
    }

    /// Something a risk rule did to a merchant: an alert for the operator.
    pub fn risk_to_merchant(merchant: MerchantId, at_ms: UnixMs, name: &'static str) -> Self {
        Self { at_ms, subject: merchant.to_string(), name, actor: RISK.to_owned(), why: String::new() }
    }

    /// The same, with the reason.
    #[must_use]
    pub fn because(self, why: impl Into<String>) -> Self {
        Self { why: why.into(), ..self }
    }
}

/// Who does what a risk rule decides, in the audit trail.
const RISK: &str = "risk";
