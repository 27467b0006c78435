//! Paying, cancelling and refunding.

use std::sync::Arc;

use ledger::{Amount, Balances};
use paycode::{CodeFormat, Miss, PayKey, TimeStep, Unmasked, find};
use platform::payments::cancel::CancelRequest;
use platform::payments::code::{Candidate, Found, PresentedCode, Verdict, fingerprint, judge};
use platform::payments::confirm::Held;
use platform::payments::pay::{PayRequest, Purse};
use platform::payments::refund::RefundRequest;
use platform::payments::{Decline, MerchantNumber, Payment, PaymentState, Refund, cancel, pay, refund};
use platform::risk::RuleSet;
use platform::tokens::Token;
use platform::{Change, MerchantId, PaymentId, Reason, UnixMs, guesses};

use super::reserve;
use crate::key::{Key, Numbered};
use crate::rows;
use crate::{Command, Env, Failure, Store, StoreError, Tables};

/// What a till asks for.
pub struct NewPayment {
    /// Who is to be paid.
    pub merchant: MerchantId,
    /// The merchant's order number.
    pub order: MerchantNumber,
    /// What the till scanned, as text.
    pub code: zeroize::Zeroizing<String>,
    /// How much.
    pub amount: Amount,
    /// The present time.
    pub now_ms: UnixMs,
}

/// A payment that was asked for, its code already looked at: everything about it that no row is needed for has been
/// done, by whoever made this, so that the one writer need not.
pub struct Pay {
    pub(super) request: PayRequest,
    pub(super) presented: PresentedCode,
    suspects: Vec<Suspect>,
    format: CodeFormat,
    now: TimeStep,
}

/// A token the code may be of, under one mask key, and where its password fits if the token's pay key has the version
/// of its mask key.
struct Suspect {
    mask_version: u8,
    unmasked: Unmasked,
    key_version: u8,
    pay_key: Arc<PayKey>,
    found: Found,
    /// The number of the account whose token it probably is.
    owner: Option<u64>,
}

impl Suspect {
    /// The row that is asked for first.
    fn first_row(&self, format: &CodeFormat) -> Key {
        match self.owner {
            Some(owner) => Key::Number(Numbered::Purses, owner),
            None => Key::token_number(format, self.unmasked.index),
        }
    }
}

impl Pay {
    /// Looks at the code.
    ///
    /// # Errors
    /// [`Reason::CodeMalformed`], and [`Reason::KeysUnavailable`] where the vault does not answer.
    pub fn new(new: NewPayment, env: &Env) -> Result<Self, Failure> {
        let codes = &env.settings.codes;
        let presented = PresentedCode::parse(&new.code, &codes.format)?;
        let now = TimeStep::from_unix_seconds(new.now_ms / 1_000).map_err(|_| StoreError::Corrupt("clock"))?;
        let mut suspects = Vec::new();
        for (mask_version, unmasked) in presented.unmasked(&codes.format, env.masks()?.as_slice()) {
            // Pay key and mask key of a token are made together.
            let key_version = mask_version;
            let key = env.vault.pay_key(&codes.format, unmasked.index, key_version)?;
            let pay_key = Arc::new(PayKey::new(codes.suite, &key));
            let found = find(&pay_key, &unmasked, now);
            let owner = env.owners.of(unmasked.index);
            suspects.push(Suspect { mask_version, unmasked, key_version, pay_key, found, owner });
            // A password that fits under the current mask key fits by chance under no other.
            if found.is_in_window() {
                break;
            }
        }
        let request = PayRequest {
            // The store counts payments; until it has, the payment has no number.
            id: PaymentId([0; 16]),
            merchant: new.merchant,
            order: new.order,
            fingerprint: fingerprint(&new.code, new.amount),
            amount: new.amount,
            now_ms: new.now_ms,
        };
        Ok(Self { request, presented, suspects, format: codes.format, now })
    }

    /// The tokens the code may be of, each with what its password comes to.
    pub(super) fn candidates(&self, tables: &mut Tables<'_>, env: &Env) -> Result<Vec<Candidate>, Failure> {
        let codes = &env.settings.codes;
        let mut candidates = Vec::new();
        for suspect in &self.suspects {
            let Some(token) = suspect_token(suspect, tables, env)? else { continue };
            let mask_version = suspect.mask_version;
            let as_supposed = token.pay_key_version == suspect.key_version && token.suite == codes.suite;
            let (pay_key, found) = if as_supposed {
                (Arc::clone(&suspect.pay_key), suspect.found)
            } else {
                let key = env.vault.pay_key(&token.format, token.index, token.pay_key_version)?;
                let pay_key = Arc::new(PayKey::new(token.suite, &key));
                let found = find(&pay_key, &suspect.unmasked, self.now);
                (pay_key, found)
            };
            candidates.push(Candidate { token, pay_key, found, mask_version });
        }
        Ok(candidates)
    }

    /// The home in which this payment is booked: that of the wearer whose code it is. The number in the code tells; where
    /// the password fits no suspect under the newest keys, the rows of all of them are looked at. A code that is nobody's
    /// is booked at the merchant's.
    pub(super) fn home_of_money(&self, tables: &mut Tables<'_>, env: &Env) -> Result<u16, Failure> {
        let homes = tables.homes();
        if let Some(fits) = self.suspects.iter().find(|suspect| suspect.found.is_in_window()) {
            return Ok(homes.of_number(fits.unmasked.index.get()));
        }
        let candidates = self.candidates(tables, env)?;
        let fits = candidates.iter().find(|candidate| candidate.found.against(None) != Err(Miss::Wrong));
        let is_wrong = |candidate: &&Candidate| candidate.mask_version == candidate.token.mask_key_version;
        let account = fits.or_else(|| candidates.iter().find(is_wrong)).map(|candidate| candidate.token.account);
        Ok(account.map_or(tables.home(), |account| homes.of_number(account.number())))
    }

    /// The rows of the wearer's that decide it.
    pub(super) fn wanted_of_wearer(&self, known: &Tables<'_>, env: &Env) -> Result<Vec<Key>, StoreError> {
        let mut keys = Vec::with_capacity(6);
        for suspect in &self.suspects {
            let first = suspect.first_row(&env.settings.codes.format);
            if suspect.owner.is_none() {
                keys.extend(known.known(&first).map(rows::token_account).transpose()?.map(Key::purse));
            }
            keys.push(first);
        }
        keys.push(clearing_of(known, self.request.amount.currency()));
        Ok(keys)
    }

    /// The purse that a genuine code opens, with all that these rules may take.
    pub(super) fn purse_of(
        &self,
        verdict: &Verdict,
        rules: &RuleSet,
        tables: &mut Tables<'_>,
        env: &Env,
    ) -> Result<Option<Purse>, Failure> {
        match verdict {
            Verdict::Genuine { token, .. } => purse(token, &self.request, rules, tables, env).map(Some),
            _ => Ok(None),
        }
    }
}

/// The answer to [`Pay`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paid {
    /// The payment, new or repeated, succeeded or declined.
    Payment(Payment),
    /// The merchant sent too many unknown codes; nothing was looked at.
    Wait {
        /// For how long, milliseconds.
        wait_ms: u64,
    },
}

impl Command for Pay {
    type Answer = Paid;
    const IS_SPREAD: bool = true;

    async fn carry_out(self, store: &Store) -> Result<Paid, Failure> {
        reserve::pay_in_steps(self, store).await
    }

    fn wants(&self, known: &Tables<'_>, env: &Env) -> Result<Vec<Key>, StoreError> {
        let request = &self.request;
        let mut keys = self.wanted_of_wearer(known, env)?;
        let name = Key::order(request.merchant, &request.order);
        // The till asks again: it is told what became of its order.
        keys.extend(payment_under(&name, known)?.map(|id| Key::Number(Numbered::Payments, id.number())));
        keys.extend([name, Key::merchant(request.merchant)]);
        Ok(keys)
    }

    fn expects(&self) -> Vec<Key> {
        self.suspects.iter().map(|suspect| suspect.first_row(&self.format)).collect()
    }

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<Paid, Failure> {
        let settings = &env.settings;
        let request = &self.request;
        if let Some(existing) = tables.payment_by_order(request.merchant, &request.order)? {
            return Ok(Paid::Payment(pay::repeat(request, existing)?));
        }
        let merchant = tables.merchant(request.merchant)?.ok_or(Reason::MerchantNotFound)?;
        pay::accept(request, &merchant)?;
        if let Some(wait_ms) = merchant.wrong_codes.wait_ms(request.now_ms, settings) {
            return Ok(Paid::Wait { wait_ms });
        }
        let verdict = judge(&self.presented, self.candidates(tables, env)?);
        guesses::may_be_kept(&verdict, &merchant, request.now_ms, settings)?;
        // Read once: a version set meanwhile may ask the phone where these did not, and what that takes was not read.
        let rules = env.rules.get();
        let purse = self.purse_of(&verdict, &rules, tables, env)?;
        let id = PaymentId::numbered(request.now_ms, tables.next_payment_number());
        let request = PayRequest { id, ..request.clone() };
        let (payment, changes) = pay::decide(&request, &merchant, verdict, purse.as_ref(), &rules, settings);
        tables.apply_all(&changes)?;
        Ok(Paid::Payment(payment))
    }
}

/// The token that a code may be of. Whose it is is known then.
fn suspect_token(suspect: &Suspect, tables: &mut Tables<'_>, env: &Env) -> Result<Option<Token>, StoreError> {
    let (format, index) = (&env.settings.codes.format, suspect.unmasked.index);
    let token = tables.token_by_index(format, index, suspect.owner)?;
    let owner = token.as_ref().map(|token| token.account).filter(|_| tables.homes().is_one());
    if let Some(owner) = owner.filter(|owner| suspect.owner != Some(owner.number())) {
        env.owners.learn(index, owner);
    }
    Ok(token)
}

fn purse(
    token: &Token,
    request: &PayRequest,
    rules: &RuleSet,
    tables: &mut Tables<'_>,
    env: &Env,
) -> Result<Purse, Failure> {
    let day_use = tables.day_use(token.account, env.settings.day_of(request.now_ms))?;
    let history = tables.history(token.account, token.id, day_use.day)?;
    let mut balances = tables.purse_balances(token.account, request.amount.currency())?;
    let waiting = tables.waiting_of(token.account)?.len();
    if waiting > 0 || rules.may_ask(request.amount) {
        let set_aside = ledger::posting::held(token.account.0, request.amount.currency());
        balances.extend(tables.balances(&[set_aside])?);
    }
    Ok(Purse { day_use, history, partition: tables.partition(), waiting, balances })
}

/// A till wants an order over, whatever became of it. The id of the payment in the request is given by the store.
pub struct CancelOrder(pub CancelRequest);

impl Command for CancelOrder {
    type Answer = Payment;
    const IS_SPREAD: bool = true;

    async fn carry_out(self, store: &Store) -> Result<Payment, Failure> {
        reserve::cancel_in_steps(self, store).await
    }

    fn wants(&self, known: &Tables<'_>, _: &Env) -> Result<Vec<Key>, StoreError> {
        let name = Key::order(self.0.merchant, &self.0.order);
        let mut keys = Vec::new();
        if let Some(id) = payment_under(&name, known)? {
            // What is left of it goes back as a refund.
            let number = Key::refund_number(self.0.merchant, &cancel::refund_number(&self.0.order));
            keys = wanted_for(id, known)?;
            keys.extend([number, Key::Number(Numbered::Refunds, self.0.refund_id.number())]);
        }
        // An order that never came counts against its merchant.
        keys.extend([name, Key::merchant(self.0.merchant)]);
        Ok(keys)
    }

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<Payment, Failure> {
        let existing = tables.payment_by_order(self.0.merchant, &self.0.order)?;
        let held = held(existing.as_ref(), tables, env)?;
        let (request, counted) = match &existing {
            Some(_) => (self.0.clone(), Vec::new()),
            None => {
                let counted = count_closed(&self.0, tables, env)?;
                let payment_id = PaymentId::numbered(self.0.now_ms, tables.next_payment_number());
                (CancelRequest { payment_id, ..self.0.clone() }, counted)
            }
        };
        let (payment, mut changes) = cancel::cancel(request, existing, &held)?;
        changes.extend(counted);
        tables.apply_all(&changes)?;
        Ok(payment)
    }
}

/// What closing an order that never came counts against its merchant.
pub(super) fn count_closed(
    request: &CancelRequest,
    tables: &mut Tables<'_>,
    env: &Env,
) -> Result<Vec<Change>, Failure> {
    let merchant = tables.merchant(request.merchant)?.ok_or(Reason::MerchantNotFound)?;
    Ok(guesses::closed_unpaid(&merchant, request.now_ms, &env.settings)?)
}

/// A merchant gives back part or all of a payment.
pub struct RefundPayment {
    /// The merchant.
    pub merchant: MerchantId,
    /// The payment.
    pub payment: PaymentId,
    /// Number and amount.
    pub request: RefundRequest,
}

impl Command for RefundPayment {
    type Answer = Refund;
    const IS_SPREAD: bool = true;

    async fn carry_out(self, store: &Store) -> Result<Refund, Failure> {
        reserve::refund_in_steps(self, store).await
    }

    fn wants(&self, known: &Tables<'_>, _: &Env) -> Result<Vec<Key>, StoreError> {
        let mut keys = wanted_for(self.payment, known)?;
        let place = Key::Number(Numbered::Refunds, self.request.id.number());
        keys.extend([Key::refund_number(self.merchant, &self.request.number), place]);
        Ok(keys)
    }

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<Refund, Failure> {
        let payment = tables.payment(self.payment)?;
        // Another merchant's payment does not exist for this one.
        let payment = payment.filter(|p| p.merchant == self.merchant).ok_or(Reason::PaymentNotFound)?;
        let before = tables.refund(self.merchant, &self.request.number)?;
        let balances = paid_balances(&payment, tables)?;
        let (refund, changes) = refund::refund(self.request.clone(), payment, before, tables.partition(), &balances)?;
        tables.apply_all(&changes)?;
        Ok(refund)
    }
}

/// The balance every payment of a partition moves.
fn clearing_of(known: &Tables<'_>, currency: ledger::Currency) -> Key {
    known.balance_key(&ledger::posting::clearing(known.partition(), currency))
}

/// The payment under an order number, as far as it is known.
fn payment_under(order: &Key, known: &Tables<'_>) -> Result<Option<PaymentId>, StoreError> {
    let id = known.known(order).map(|fields| rows::id("orders", fields)).transpose()?;
    Ok(id.map(PaymentId))
}

/// A payment's row, and then its wearer's purse and the balance it moves; of one that waits also what is set aside for it.
pub(super) fn wanted_for(payment: PaymentId, known: &Tables<'_>) -> Result<Vec<Key>, StoreError> {
    let mut keys = vec![Key::Number(Numbered::Payments, payment.number())];
    let found = keys.first().and_then(|key| known.known(key)).map(rows::payment).transpose()?;
    if let Some((account, amount, state)) = found.and_then(|found| Some((found.account?, found.amount?, found.state))) {
        let currency = amount.currency();
        keys.extend([Key::purse(account), clearing_of(known, currency)]);
        if let PaymentState::RequiresConfirmation { until_ms } = state {
            let set_aside = ledger::posting::held(account.0, currency);
            keys.extend([known.balance_key(&set_aside), Key::pending(until_ms, payment)]);
        }
    }
    Ok(keys)
}

/// The balances a refund of this payment would touch; none where no money moved.
pub(super) fn paid_balances(payment: &Payment, tables: &mut Tables<'_>) -> Result<Balances, StoreError> {
    match (payment.account, payment.amount, payment.state) {
        (Some(account), Some(amount), PaymentState::Succeeded) => tables.purse_balances(account, amount.currency()),
        _ => Ok(Balances::new()),
    }
}

/// What is known of the wearer's money, where the payment is one's.
pub(super) fn held(payment: Option<&Payment>, tables: &mut Tables<'_>, env: &Env) -> Result<Held, StoreError> {
    let partition = tables.partition();
    let wearer = payment.and_then(|payment| Some((payment.account?, payment.amount?, payment.created_ms)));
    let Some((account, amount, created_ms)) = wearer else {
        return Ok(Held { day_use: None, history: None, partition, balances: Balances::new() });
    };
    let mut balances = tables.purse_balances(account, amount.currency())?;
    if payment.is_some_and(|payment| matches!(payment.state, PaymentState::RequiresConfirmation { .. })) {
        let set_aside = ledger::posting::held(account.0, amount.currency());
        balances.extend(tables.balances(&[set_aside])?);
    }
    let made_on = env.settings.day_of(created_ms);
    let day_use = tables.use_of_day(account, made_on)?;
    let token = payment.and_then(|payment| payment.token);
    let history = token.map(|token| tables.history(account, token, made_on)).transpose()?;
    Ok(Held { day_use, history: history.map(|history| (history, made_on)), partition, balances })
}

impl Paid {
    /// Why the payment was declined, where it was.
    pub fn decline(&self) -> Option<Decline> {
        match self {
            Self::Payment(Payment { state: PaymentState::Failed(decline), .. }) => Some(*decline),
            Self::Payment(_) | Self::Wait { .. } => None,
        }
    }
}
