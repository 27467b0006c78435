//! Where rows are found. There are three shapes of table, the same in every engine:
//!
//! - [`Numbered`]: a row under a number, the last eight bytes of its id. Numbers are counted up, so that new rows lie
//!   side by side;
//! - [`Named`]: a row, or the id of one, under a name: what must be unique, such as a merchant's order number;
//! - [`List`]: ids under an owner, newest last.
//!
//! What a row holds is the business of `rows/`; an engine keeps bytes.

use ledger::{Currency, LedgerAccount};
use paycode::{CodeFormat, TokenIndex};
use pki::Fingerprint;
use platform::makers::manifest::ShipmentNumber;
use platform::makers::{BatchId, MakerCode, ModelName};
use platform::payments::MerchantNumber;
use platform::{AccountId, ChipId, KeyHash, MerchantId, PaymentId, ShipmentId};
use smallvec::SmallVec;

use crate::owners;

/// Bytes of a name that need no memory of their own: those of tokens, balances and keys, and of orders whose number has up to
/// 32 characters.
const SHORT_NAME: usize = 40;

macro_rules! tables {
    ($(#[$doc:meta])* $kind:ident { $($(#[$row_doc:meta])* $name:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kind {
            $($(#[$row_doc])* $name,)*
        }

        impl $kind {
            /// Every table of this shape.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The table's name in a database.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

tables! {
    /// Tables of rows under a number.
    Numbered {
        /// Wearers' accounts: what does not change.
        Accounts = "accounts",
        /// What changes with every payment of an account, in one row: balance, the day's use, its tokens' spent codes.
        Purses = "purses",
        /// Merchants.
        Merchants = "merchants",
        /// Where each token is, by its id.
        Tokens = "tokens",
        /// Bindings.
        Bindings = "bindings",
        /// Payments, declined ones as well.
        Payments = "payments",
        /// Refunds.
        Refunds = "refunds",
        /// The journal.
        Journal = "journal",
        /// The audit trail.
        Events = "events",
        /// How far each partition is: its journal's head, the last number given out, what has been posted.
        Partitions = "partitions",
        /// Risk rules, by their version. A version never changes.
        RuleSets = "rule_sets",
        /// The newest sync of each token, by the token's number.
        Syncs = "syncs",
    }
}

tables! {
    /// Tables of rows under a name.
    Named {
        /// Accounts by their wallet key's hash.
        WalletKeys = "wallet_keys",
        /// Merchants by their API key's hash.
        ApiKeys = "api_keys",
        /// Chips by their id.
        Chips = "chips",
        /// Tokens, by the number in their codes: what no payment changes of them.
        TokenNumbers = "token_numbers",
        /// Whose tokens are that have numbers side by side: what a server has in memory, in few rows.
        TokenOwners = "token_owners",
        /// The one living token of a chip. One, so a chip never has two owners.
        LivingTokens = "living_tokens",
        /// Bindings by their offer.
        Offers = "offers",
        /// Payments by the merchant's order number.
        Orders = "orders",
        /// Refunds by the merchant's refund number.
        RefundNumbers = "refund_numbers",
        /// Top-ups by account and reference.
        TopUps = "top_ups",
        /// Balances of accounts that are no wearer's.
        Balances = "balances",
        /// What waits in clearing beyond a posting, by partition, merchant and currency.
        Waiting = "waiting",
        /// Payments that wait to be confirmed, by the time they wait until.
        Pending = "pending",
        /// The highest token number given out under a format.
        LastTokenNumbers = "last_token_numbers",
        /// Makers, by their code.
        Makers = "makers",
        /// Chip models, by maker and name.
        ChipModels = "chip_models",
        /// Device models, by maker and name.
        DeviceModels = "device_models",
        /// The newest revocation list of an authority, by its certificate's SHA-256.
        RevocationLists = "revocation_lists",
        /// What is asked under an order or refund number whose payment or refund is not booked yet, where the number and
        /// the money are at home in different places.
        Reservations = "reservations",
        /// Batches of chip keys, by their id.
        Batches = "batches",
        /// Shipments of chips, by their id.
        Shipments = "shipments",
        /// Shipments' ids, by maker and number.
        ShipmentNumbers = "shipment_numbers",
    }
}

tables! {
    /// Tables of ids under an owner.
    List {
        /// A merchant's payments.
        MerchantPayments = "merchant_payments",
        /// An account's tokens.
        AccountTokens = "account_tokens",
        /// A payment's refunds.
        PaymentRefunds = "payment_refunds",
        /// The audit trail of one thing.
        SubjectEvents = "subject_events",
        /// The versions of the risk rules, newest last; of no owner.
        RuleVersions = "rule_versions",
    }
}

/// What a row of a [`Named`] table is found by. A payment makes more than a dozen of them.
pub type Name = SmallVec<[u8; SHORT_NAME]>;

/// Where one row is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Under a number.
    Number(Numbered, u64),
    /// Under a name.
    Name(Named, Name),
}

impl Key {
    /// The account's unchanging part.
    pub fn account(id: AccountId) -> Self {
        Self::Number(Numbered::Accounts, id.number())
    }

    /// The account's changing part.
    pub fn purse(id: AccountId) -> Self {
        Self::Number(Numbered::Purses, id.number())
    }

    /// A merchant.
    pub fn merchant(id: MerchantId) -> Self {
        Self::Number(Numbered::Merchants, id.number())
    }

    /// An account's id, by its wallet key.
    pub fn wallet_key(key: KeyHash) -> Self {
        Self::Name(Named::WalletKeys, name(&[&key.0]))
    }

    /// A merchant's id, by its API key.
    pub fn api_key(key: KeyHash) -> Self {
        Self::Name(Named::ApiKeys, name(&[&key.0]))
    }

    /// A chip.
    pub fn chip(id: ChipId) -> Self {
        Self::Name(Named::Chips, name(&[&id.0]))
    }

    /// The id of a chip's living token.
    pub fn living_token(chip: ChipId) -> Self {
        Self::Name(Named::LivingTokens, name(&[&chip.0]))
    }

    /// A token's unchanging part, by the number in its codes.
    pub fn token_number(format: &CodeFormat, index: TokenIndex) -> Self {
        let mut name = format_name(format);
        name.extend_from_slice(&index.get().to_be_bytes());
        Self::Name(Named::TokenNumbers, name)
    }

    /// Whose tokens are that have this number and those beside it.
    pub fn token_owners(format: &CodeFormat, index: TokenIndex) -> Self {
        let mut name = format_name(format);
        name.extend_from_slice(&owners::place(index).0.to_be_bytes());
        Self::Name(Named::TokenOwners, name)
    }

    /// The block of numbers of a key made by [`Key::token_owners`] for this format.
    pub(crate) fn block_of(format: &CodeFormat, name: &[u8]) -> Option<u64> {
        let block = name.strip_prefix(format_name(format).as_slice())?;
        block.try_into().ok().map(u64::from_be_bytes)
    }

    /// The highest token number given out under a format.
    pub fn last_token_number(format: &CodeFormat) -> Self {
        Self::Name(Named::LastTokenNumbers, format_name(format))
    }

    /// A binding's id, by its offer.
    pub fn offer(chip: ChipId, nonce: [u8; 8]) -> Self {
        Self::Name(Named::Offers, name(&[&chip.0, &nonce]))
    }

    /// A payment's id, by its order number.
    pub fn order(merchant: MerchantId, order: &MerchantNumber) -> Self {
        Self::Name(Named::Orders, numbered_name(merchant.number(), order.as_str()))
    }

    /// A refund's id, by its number.
    pub fn refund_number(merchant: MerchantId, number: &MerchantNumber) -> Self {
        Self::Name(Named::RefundNumbers, numbered_name(merchant.number(), number.as_str()))
    }

    /// A top-up.
    pub fn top_up(account: AccountId, reference: &str) -> Self {
        Self::Name(Named::TopUps, numbered_name(account.number(), reference))
    }

    /// The balance of an account that is no wearer's.
    pub fn balance(account: &LedgerAccount) -> Self {
        Self::Name(Named::Balances, name(&[&account.to_key()]))
    }

    /// What waits for a merchant in a partition's clearing.
    pub fn waiting(partition: u32, merchant: MerchantId, currency: Currency) -> Self {
        Self::Name(Named::Waiting, name(&[&partition.to_be_bytes(), &merchant.0, &currency.to_bytes()]))
    }

    /// A payment that waits until a time to be confirmed.
    pub fn pending(until_ms: u64, payment: PaymentId) -> Self {
        Self::Name(Named::Pending, name(&[&until_ms.to_be_bytes(), &payment.0]))
    }

    /// What is asked of a payment or refund that is reserved in a merchant's home and not booked yet, by its id.
    pub(crate) fn reservation(home: u16, id: [u8; 16]) -> Self {
        Self::Name(Named::Reservations, name(&[&home.to_be_bytes(), &id]))
    }

    /// Whose a name of [`Key::waiting`] is, and in which currency.
    pub(crate) fn waiting_of(name: &[u8]) -> Option<(MerchantId, Currency)> {
        let (_, name) = name.split_first_chunk::<4>()?;
        let (merchant, currency) = name.split_first_chunk::<16>()?;
        let currency = Currency::parse(core::str::from_utf8(currency).ok()?).ok()?;
        Some((MerchantId(*merchant), currency))
    }

    /// A maker.
    pub fn maker(code: &MakerCode) -> Self {
        Self::Name(Named::Makers, name(&[code.as_str().as_bytes()]))
    }

    /// A chip model.
    pub fn chip_model(maker: &MakerCode, model: &ModelName) -> Self {
        Self::Name(Named::ChipModels, name(&[&models_of(maker), model.as_str().as_bytes()]))
    }

    /// A device model.
    pub fn device_model(maker: &MakerCode, model: &ModelName) -> Self {
        Self::Name(Named::DeviceModels, name(&[&models_of(maker), model.as_str().as_bytes()]))
    }

    /// A batch.
    pub fn batch(id: BatchId) -> Self {
        Self::Name(Named::Batches, name(&[&id.0]))
    }

    /// A shipment.
    pub fn shipment(id: ShipmentId) -> Self {
        Self::Name(Named::Shipments, name(&[&id.0]))
    }

    /// A shipment's id, by its maker's number.
    pub fn shipment_number(maker: &MakerCode, number: &ShipmentNumber) -> Self {
        Self::Name(Named::ShipmentNumbers, name(&[&models_of(maker), number.as_str().as_bytes()]))
    }

    /// The revocation list of an authority.
    pub fn revocation_list(authority: &Fingerprint) -> Self {
        Self::Name(Named::RevocationLists, name(&[authority]))
    }

    /// A version of the risk rules.
    pub fn rule_set(version: u32) -> Self {
        Self::Number(Numbered::RuleSets, u64::from(version))
    }

    /// The state of a partition.
    pub fn partition(number: u32) -> Self {
        Self::Number(Numbered::Partitions, u64::from(number))
    }

    /// What binds a row to its place, for its seal.
    pub(crate) fn place(&self) -> (&'static str, u64, &[u8]) {
        match self {
            Self::Number(table, number) => (table.name(), *number, &[]),
            Self::Name(table, name) => (table.name(), 0, name),
        }
    }
}

/// What the names of a maker's models begin with; no code holds a slash.
pub(crate) fn models_of(maker: &MakerCode) -> Vec<u8> {
    [maker.as_str().as_bytes(), b"/"].concat()
}

/// A format as part of a name: its length, then its prefix, so that no two formats make the same bytes.
pub(crate) fn format_name(format: &CodeFormat) -> Name {
    // A code has at most 24 digits.
    let digits = format.total_digits() as u8;
    let prefix = format.prefix_str();
    name(&[&[digits, prefix.len() as u8], prefix.as_bytes()])
}

fn numbered_name(number: u64, text: &str) -> Name {
    name(&[&number.to_be_bytes(), text.as_bytes()])
}

/// A name of these parts, one after the other.
pub(crate) fn name(parts: &[&[u8]]) -> Name {
    let mut name = Name::new();
    parts.iter().for_each(|part| name.extend_from_slice(part));
    name
}
