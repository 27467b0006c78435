//! What watches were told of payments, held against what the books say: amount, shop, outcome; of the watch's own token; never a
//! word that was true before the one it has shown; and, once the cloud has heard the chip's word, never again.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use platform::payments::{Decline, MerchantNumber, Payment, PaymentState};
use platform::syncs::{SyncAnswer, Told};
use platform::{MerchantId, PaymentId, TokenId};
use protocol::applet::PaymentOutcome;
use store::Queries;
use wearable::{PaymentCode, PaymentResult};

/// Orders whose payments are looked at after each transaction: of older ones nothing is asked any more.
const LOOKED_AT: usize = 60;
/// The longest name of a shop on a screen, bytes: `spec/relay.md` 7.
const MAX_NAME_BYTES: usize = 40;
/// Results a watch keeps, and the cloud tells.
const KEPT: usize = 4;

/// One word on a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Word {
    outcome: u8,
    refunded_minor: u64,
}

impl From<&Told> for Word {
    fn from(told: &Told) -> Self {
        Self { outcome: told.outcome, refunded_minor: told.refunded_minor }
    }
}

/// What the books say of a payment at a moment.
fn word_of(payment: &Payment) -> Word {
    let outcome = match payment.state {
        PaymentState::Succeeded => PaymentOutcome::Paid,
        PaymentState::Failed(_) => PaymentOutcome::Declined,
        PaymentState::RequiresConfirmation { .. } => PaymentOutcome::Waits,
        PaymentState::Cancelled => PaymentOutcome::Cancelled,
    };
    Word { outcome: outcome as u8, refunded_minor: payment.refunded_minor }
}

/// A code that a device has shown.
#[derive(Debug, Clone)]
pub(super) struct OnScreen {
    pub(super) wrist: usize,
    /// The how manieth it is of all that were shown.
    pub(super) number: u64,
    pub(super) code: Rc<PaymentCode>,
}

/// A payment that was asked for with one.
struct Order {
    merchant: MerchantId,
    number: MerchantNumber,
    shop: String,
    shown: OnScreen,
    /// Those of its words that were durable, in their order.
    words: Vec<Word>,
    row: Option<Payment>,
}

impl Order {
    /// Whether its code was used for it: what came after with the same code, or came too late or too early, used none.
    fn used_its_code(&self) -> bool {
        let Some(row) = &self.row else { return false };
        !matches!(
            row.state,
            PaymentState::Failed(
                Decline::CodeNotOurs
                    | Decline::CodeUnknown
                    | Decline::CodeSpent
                    | Decline::CodeSuperseded
                    | Decline::CodeStale
                    | Decline::CodeEarly
                    | Decline::ChipCloned
            )
        )
    }

    /// Its payment, and the place of this word among its words, where the result says of it what the books said.
    fn said_at(&self, result: &PaymentResult<'_>, word: Word) -> Option<(&Payment, usize)> {
        let row = self.row.as_ref()?;
        let amount = row.amount.map(|amount| (amount.minor(), amount.currency().to_string()));
        let is_right = amount == Some((result.amount_minor(), result.currency().to_owned()))
            && result.decimals() == 2
            && result.merchant() == self.shop
            && result.unix_s() == row.created_ms / 1_000;
        let place = self.words.iter().rposition(|known| *known == word).filter(|_| is_right)?;
        Some((row, place))
    }

    fn look(&mut self, queries: &Queries) -> Result<(), String> {
        let row = queries.payment_by_order(self.merchant, &self.number).map_err(|error| error.to_string())?;
        // A cancel may have closed the number before.
        let Some(row) = row.filter(|row| row.amount.is_some()) else { return Ok(()) };
        let word = word_of(&row);
        if self.words.last() != Some(&word) {
            self.words.push(word);
        }
        self.row = Some(row);
        Ok(())
    }
}

/// What stood on a screen.
type Line = (u8, u64, u64, String, u64);

fn line(result: &PaymentResult<'_>) -> Line {
    let name = result.merchant().to_owned();
    (result.outcome() as u8, result.amount_minor(), result.refunded_minor(), name, result.unix_s())
}

/// Everything that was paid with codes of watches, and everything that was told of it.
#[derive(Default)]
pub(super) struct Tellings {
    orders: Vec<Order>,
    screens: BTreeMap<usize, Vec<Line>>,
    /// How many of a payment's words were durable when this device showed one last.
    newest: BTreeMap<(usize, PaymentId), usize>,
    seen: BTreeSet<(PaymentId, Word)>,
    /// What the cloud knows to be told, and since which sync.
    heard: BTreeMap<(TokenId, PaymentId, Word), [u8; 16]>,
    /// Results that appeared on screens.
    pub(super) shown: u64,
}

impl Tellings {
    /// A payment is asked for with a code that was shown.
    pub(super) fn asked(&mut self, merchant: MerchantId, number: &MerchantNumber, shop: &str, shown: OnScreen) {
        let (number, shop) = (number.clone(), on_screen(shop));
        self.orders.push(Order { merchant, number, shop, shown, words: Vec::new(), row: None });
    }

    /// Payments that something can still be done about, the newest last.
    pub(super) fn payments(&self) -> impl DoubleEndedIterator<Item = (&MerchantNumber, &Payment)> {
        let newest = self.orders.len().saturating_sub(LOOKED_AT / 2);
        self.orders.iter().skip(newest).filter_map(|order| Some((&order.number, order.row.as_ref()?)))
    }

    /// Whether the books have said this of a payment.
    pub(super) fn said(&self, payment: &Payment) -> bool {
        let of = |order: &&Order| order.row.as_ref().is_some_and(|row| row.id == payment.id);
        self.orders.iter().rev().find(of).is_some_and(|order| order.words.contains(&word_of(payment)))
    }

    /// Reads what the disk holds now.
    pub(super) fn look(&mut self, queries: &Queries) -> Result<(), String> {
        let newest = self.orders.len().saturating_sub(LOOKED_AT);
        self.orders.iter_mut().skip(newest).try_for_each(|order| order.look(queries))
    }

    /// Whether a device shows something else than when it was looked at last.
    pub(super) fn is_news<'a>(&self, wrist: usize, results: impl Iterator<Item = PaymentResult<'a>>) -> bool {
        let before = self.screens.get(&wrist).map(Vec::as_slice).unwrap_or_default();
        !results.map(|result| line(&result)).eq(before.iter().cloned())
    }

    /// Holds what a device shows against the books. `held` are the tokens whose keys its chip has.
    pub(super) fn shows<'a>(
        &mut self,
        wrist: usize,
        results: impl Iterator<Item = PaymentResult<'a>>,
        held: &[TokenId],
    ) -> Result<(), String> {
        let before = self.screens.remove(&wrist).unwrap_or_default();
        let (mut lines, mut told) = (Vec::new(), BTreeSet::new());
        for result in results {
            let line = line(&result);
            let payment =
                self.of(wrist, &result, held).map_err(|what| format!("device {wrist} shows {line:?}: {what}"))?;
            if !told.insert(payment) {
                return Err(format!("device {wrist} shows {payment} twice"));
            }
            self.shown += u64::from(!before.contains(&line));
            lines.push(line);
        }
        self.screens.insert(wrist, lines);
        Ok(())
    }

    /// The payment that this result is of, where it is what the books say or said, and nothing newer was shown.
    fn of(&mut self, wrist: usize, result: &PaymentResult<'_>, held: &[TokenId]) -> Result<PaymentId, String> {
        let is_of =
            |order: &&Order| order.shown.wrist == wrist && result.is_of(&order.shown.code) && order.used_its_code();
        let word = Word { outcome: result.outcome() as u8, refunded_minor: result.refunded_minor() };
        // A chip that is bound anew in the same half minute makes a code of the same stamp again, of another token.
        let orders: Vec<&Order> = self.orders.iter().filter(is_of).collect();
        let codes: BTreeSet<&str> = orders.iter().map(|order| order.shown.code.digits()).collect();
        if codes.len() < orders.len() {
            return Err("its code was used twice".to_owned());
        }
        let right = orders.iter().find_map(|order| order.said_at(result, word));
        let said = || orders.iter().map(|order| (&order.words, &order.row, &order.shop)).collect::<Vec<_>>();
        let (row, place) = right.ok_or_else(|| format!("the books said {:?}", said()))?;
        if let ([only], Some(token)) = (held, row.token)
            && *only != token
        {
            return Err(format!("the chip holds {only}, and it is of {token}"));
        }
        let newest = self.newest.entry((wrist, row.id)).or_default();
        if *newest > place {
            return Err(format!("it had shown a newer word than {word:?} of {row:?}"));
        }
        *newest = place;
        self.seen.insert((row.id, word));
        Ok(row.id)
    }

    /// Holds what the cloud says it has told, and is to tell, against what was shown and what it had heard.
    pub(super) fn synced(&mut self, answer: &SyncAnswer) -> Result<(), String> {
        let sync = &answer.sync;
        for notice in &sync.notices {
            let key = (sync.token, notice.told.payment, Word::from(&notice.told));
            if self.heard.get(&key).is_some_and(|session| *session != sync.session) {
                return Err(format!("{key:?} was told, the cloud has heard so, and it is told again"));
            }
        }
        for told in &sync.told {
            if !self.seen.contains(&(told.payment, told.into())) {
                return Err(format!("{told:?} counts as told, and no screen has shown it"));
            }
            self.heard.entry((sync.token, told.payment, told.into())).or_insert(sync.session);
        }
        Ok(())
    }

    /// What a device must show after an honest sync of this token, newest first: the last of its payments, as the books say.
    pub(super) fn must_show(&self, wrist: usize, token: TokenId) -> Vec<Line> {
        let of_token = |order: &&Order| {
            let row = order.row.as_ref();
            order.shown.wrist == wrist && order.used_its_code() && row.is_some_and(|row| row.token == Some(token))
        };
        // A code that is used kills the older ones, so the order of use is that of the codes.
        let mut orders: Vec<&Order> = self.orders.iter().filter(of_token).collect();
        orders.sort_by_key(|order| core::cmp::Reverse(order.shown.number));
        let line = |order: &&Order| {
            let row = order.row.as_ref()?;
            let word = word_of(row);
            let amount = row.amount?.minor();
            Some((word.outcome, amount, word.refunded_minor, order.shop.clone(), row.created_ms / 1_000))
        };
        orders.iter().take(KEPT).filter_map(line).collect()
    }

    /// What a device shows.
    pub(super) fn on_screen(&self, wrist: usize) -> &[Line] {
        self.screens.get(&wrist).map(Vec::as_slice).unwrap_or_default()
    }
}

/// A shop's name as it has room on a screen.
fn on_screen(name: &str) -> String {
    let mut cut = String::new();
    for letter in name.chars() {
        if cut.len() + letter.len_utf8() > MAX_NAME_BYTES {
            break;
        }
        cut.push(letter);
    }
    cut.trim_end().to_owned()
}
