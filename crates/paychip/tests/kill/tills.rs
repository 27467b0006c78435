//! What tills, wearers and their watches do: orders of every kind, one after the other, each until it has ended. Whatever
//! may happen at the same time does: two tills with one order number, one code under two orders, a cancel that overtakes its
//! payment, refunds that together are more than the payment, a wearer who confirms what the till cancels.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use paychip::api::Api;
use paychip::books::{open_account, take_on_merchant, top_up};
use paychip::watch::Watch;
use serde_json::{Value, json};
use wearable::CodeForm;

use crate::client::{Answer, Doors, Request};
use crate::order::{Order, Seen, Told};
use crate::support::{CODES_A_WATCH, Cloud, STEP_S, operator_key, watches_named};

/// Where money is at the beginning, minor units.
pub const MONEY_MINOR: u64 = 100_000_000;
/// Above this the wearer confirms on the phone, minor units.
const ASKS_ABOVE_MINOR: u64 = 500;
/// Why a payment of this campaign may be declined: its code was spent, or died while no server was there; or too many
/// payments of one wearer wait for the phone.
const DECLINES: [&str; 4] = ["code_spent", "code_superseded", "code_stale", "too_many_waiting"];
/// How long a till waits where no watch shows a code.
const CODE_PAUSE: Duration = Duration::from_millis(100);
/// Refund requests at once, of which only some fit.
const REFUNDERS: u64 = 4;

/// A shop or a wearer.
pub struct Party {
    pub id: String,
    pub key: String,
}

/// A watch, and whose it is.
struct Worn {
    watch: Watch,
    wearer: usize,
}

/// A code that was shown. Its watch shows no other until this one is done with.
struct Shown {
    worn: Worn,
    digits: String,
}

/// Everybody who takes part, and what they were told.
pub struct Stage {
    pub shops: Vec<Party>,
    pub wearers: Vec<Party>,
    operator_key: String,
    watches: Mutex<VecDeque<Worn>>,
    /// Codes that were shown, and whose.
    shown: Mutex<HashMap<String, usize>>,
    number: AtomicU64,
    /// What was put into each wallet since the beginning, minor units.
    pub topped_up: Mutex<BTreeMap<usize, u64>>,
    /// Orders that have ended.
    pub orders: Mutex<Vec<Order>>,
    /// What was asked of them, and what will be answered for ever.
    pub settled: Mutex<Vec<(Request, Answer)>>,
}

impl Stage {
    /// Takes on shops and wearers, gives these money and watches.
    pub fn new(cloud: &Cloud, shops: usize, wearers: usize, watches_each: usize) -> Self {
        let operator = cloud.operator();
        let rules = json!({"rules": [
            {"name": "single", "effect": "decline", "kind": "payment", "currency": "CNY", "max": MONEY_MINOR},
            {"name": "day", "effect": "decline", "kind": "sum", "per": "day", "of": "account", "currency": "CNY",
                "max": MONEY_MINOR},
            {"name": "ask-above", "effect": "confirm", "kind": "payment", "currency": "CNY", "max": ASKS_ABOVE_MINOR},
        ]});
        let file = cloud.data.join("rules.json");
        std::fs::write(&file, rules.to_string()).unwrap();
        cloud.run(&["risk", "set", file.to_str().unwrap(), "--why", "a campaign"]).unwrap();
        let shop = |number| {
            let (shop, _) = take_on_merchant(&operator, &format!("Shop {number}"), "CNY").unwrap();
            Party { id: shop.id, key: shop.key }
        };
        let mut watches = VecDeque::new();
        let mut wearer = |number| {
            let (wearer, _) = open_account(&operator, &format!("Wearer {number}"), "CNY").unwrap();
            top_up(&operator, &wearer, MONEY_MINOR, "first").unwrap();
            let wallet = Api::new(cloud.url.clone(), wearer.key.clone());
            let bound = watches_named(cloud, &wallet, &format!("w{number}-"), watches_each * CODES_A_WATCH);
            watches.extend(bound.into_iter().map(|watch| Worn { watch, wearer: number }));
            Party { id: wearer.id, key: wearer.key }
        };
        Self {
            shops: (0..shops).map(shop).collect(),
            wearers: (0..wearers).map(&mut wearer).collect(),
            operator_key: operator_key(cloud),
            watches: Mutex::new(watches),
            shown: Mutex::default(),
            number: AtomicU64::new(0),
            topped_up: Mutex::default(),
            orders: Mutex::default(),
            settled: Mutex::default(),
        }
    }

    /// A code of the watch that has rested longest; none where every watch has shown its four of this half minute.
    fn show(&self) -> Option<Shown> {
        let count = self.watches.lock().unwrap().len();
        for _ in 0..count {
            let mut worn = self.watches.lock().unwrap().pop_front()?;
            // A fast clock: the code lives half a minute longer.
            worn.watch.host_mut().set_clock_ahead(STEP_S);
            match worn.watch.next_payment_code(CodeForm::Digits).map(|code| code.digits().to_owned()) {
                Ok(digits) => {
                    self.shown.lock().unwrap().insert(digits.clone(), worn.wearer);
                    return Some(Shown { worn, digits });
                }
                Err(wearable::Error::Wait { .. }) => self.watches.lock().unwrap().push_back(worn),
                Err(error) => panic!("a watch shows no code: {error}"),
            }
        }
        None
    }

    fn put_away(&self, shown: Shown) {
        self.watches.lock().unwrap().push_back(shown.worn);
    }

    fn new_order(&self) -> Order {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        Order { shop: fastrand::usize(..self.shops.len()), number: format!("o-{number}"), told: Vec::new() }
    }
}

/// Does two things at once.
fn both<A: Send, B: Send>(one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B + Send) -> (A, B) {
    std::thread::scope(|scope| {
        let other = scope.spawn(other);
        (one(), other.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause)))
    })
}

/// An order at the till: what is asked, and what was told.
struct Till<'a> {
    stage: &'a Stage,
    doors: &'a Doors,
    order: Order,
    asked: Vec<Request>,
}

impl<'a> Till<'a> {
    fn new(stage: &'a Stage, doors: &'a Doors) -> Self {
        Self { stage, doors, order: stage.new_order(), asked: Vec::new() }
    }

    fn key(&self) -> &str {
        &self.stage.shops[self.order.shop].key
    }

    fn payment(&self, code: &str, amount: u64) -> Request {
        let body = json!({"order": self.order.number, "code": code, "amount": amount, "currency": "CNY"});
        Request::post(self.key(), "/v1/payments", body)
    }

    fn cancel(&self) -> Request {
        Request::post(self.key(), "/v1/payments/cancel", json!({"order": self.order.number}))
    }

    fn refund(&self, payment: &str, part: u64, amount: u64) -> Request {
        let number = format!("r-{}-{part}", self.order.number);
        Request::post(
            self.key(),
            format!("/v1/payments/{payment}/refunds"),
            json!({"refund": number, "amount": amount}),
        )
    }

    fn ask(&self, request: &Request) -> Told {
        told(&self.doors.ask(request), request, self.stage)
    }

    /// Asks, and keeps what was told.
    fn does(&mut self, request: Request) -> Told {
        let told = self.ask(&request);
        self.keep([(request, told.clone())]);
        told
    }

    /// Asks two things at once.
    fn does_both(&mut self, one: Request, other: Request) -> (Told, Told) {
        let told = both(|| self.ask(&one), || self.ask(&other));
        self.keep([(one, told.0.clone()), (other, told.1.clone())]);
        told
    }

    fn keep(&mut self, told: impl IntoIterator<Item = (Request, Told)>) {
        for (request, told) in told {
            self.order.told.push(told);
            if !self.asked.contains(&request) {
                self.asked.push(request);
            }
        }
    }

    /// The order has ended: everything is asked once more, and what is answered now is answered for ever.
    fn end(mut self) {
        let mut settled = Vec::new();
        for request in std::mem::take(&mut self.asked) {
            let answer = self.doors.ask(&request);
            self.order.told.push(told(&answer, &request, self.stage));
            settled.push((request, answer));
        }
        let outcome = self.order.outcome();
        for (request, answer) in settled.iter().filter(|(request, _)| request.path == "/v1/payments") {
            let state = match told(answer, request, self.stage) {
                Told::Paid { .. } => "succeeded",
                Told::Declined { .. } => "failed",
                Told::NotPaid { reason } if reason == "order_cancelled" => "cancelled",
                // Another payment has this number.
                _ => continue,
            };
            assert_eq!(state, outcome.seen.state, "{answer:?} of {:#?}", self.order);
        }
        let found = self.doors.ask(&by_order(self.key(), &self.order.number));
        assert_eq!(seen_of_list(&found.body), [outcome.seen], "{:#?}", self.order);
        self.stage.orders.lock().unwrap().push(self.order);
        self.stage.settled.lock().unwrap().extend(settled);
    }
}

/// Orders of every kind until it is over.
pub fn serve(stage: &Stage, doors: &Doors, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Acquire) {
        let Some(shown) = stage.show() else {
            repeat_what_is_settled(stage, doors);
            std::thread::sleep(CODE_PAUSE);
            continue;
        };
        if fastrand::u8(..8) == 0 {
            money_comes_in(stage, doors);
        }
        let till = Till::new(stage, doors);
        match fastrand::u8(..9) {
            0 => plain(till, &shown.digits),
            1 => sent_twice_at_once(till, &shown.digits),
            2 => two_tills_with_one_number(till, &shown.digits),
            3 => one_code_under_two_numbers(till, Till::new(stage, doors), &shown.digits),
            4 => refunds_beyond_the_payment(till, &shown.digits),
            5 => cancelled_before_it_arrived(till, &shown.digits),
            6 => cancelled_while_it_is_paid(till, &shown.digits),
            7 => cancelled_while_it_is_refunded(till, &shown.digits),
            _ => waits_for_the_phone(till, &shown.digits),
        }
        stage.put_away(shown);
    }
}

/// Something of an order that has ended is asked again: the answer is the same as ever.
fn repeat_what_is_settled(stage: &Stage, doors: &Doors) {
    let any = {
        let settled = stage.settled.lock().unwrap();
        fastrand::choice(settled.iter()).cloned()
    };
    if let Some((request, answer)) = any {
        assert_eq!(doors.ask(&request), answer, "{request:?}: answered otherwise than before");
    }
}

/// A wallet is topped up, twice at once under one reference: it is done once.
fn money_comes_in(stage: &Stage, doors: &Doors) {
    let (number, amount) = (stage.number.fetch_add(1, Ordering::Relaxed), some_amount());
    let wearer = fastrand::usize(..stage.wearers.len());
    let path = format!("/v1/accounts/{}/top-ups", stage.wearers[wearer].id);
    let body = json!({"amount": amount, "currency": "CNY", "reference": format!("t-{number}")});
    let request = Request::post(&stage.operator_key, path, body);
    let (one, other) = both(|| doors.ask(&request), || doors.ask(&request));
    assert_eq!((one.status, &one.body["id"]), (other.status, &other.body["id"]), "{one:?} {other:?}");
    assert_eq!((one.status, one.body["amount"].as_u64()), (200, Some(amount)), "{one:?}");
    *stage.topped_up.lock().unwrap().entry(wearer).or_default() += amount;
}

fn some_amount() -> u64 {
    fastrand::u64(20..ASKS_ABOVE_MINOR)
}

/// The id of a payment that was paid.
fn paid(told: &Told) -> Option<String> {
    match told {
        Told::Paid { seen, .. } if seen.state == "succeeded" => Some(seen.id.clone()),
        _ => None,
    }
}

fn plain(mut till: Till<'_>, code: &str) {
    till.does(till.payment(code, some_amount()));
    till.end();
}

fn sent_twice_at_once(mut till: Till<'_>, code: &str) {
    let payment = till.payment(code, some_amount());
    till.does_both(payment.clone(), payment);
    till.end();
}

/// Two tills of a shop with one order number, each with a customer of its own.
fn two_tills_with_one_number(mut till: Till<'_>, code: &str) {
    let Some(other) = till.stage.show() else { return plain(till, code) };
    let amount = some_amount();
    let (one, two) = till.does_both(till.payment(code, amount), till.payment(&other.digits, amount));
    let refused = [&one, &two].into_iter().filter(|told| matches!(told, Told::NotPaid { .. })).count();
    assert_eq!(refused, 1, "{one:?} {two:?}");
    till.stage.put_away(other);
    till.end();
}

/// One code under two order numbers: one is paid. The one that is not stays declined, also when it is cancelled.
fn one_code_under_two_numbers<'a>(mut till: Till<'a>, mut other: Till<'a>, code: &str) {
    let amount = some_amount();
    let (one, two) = both(|| till.does(till.payment(code, amount)), || other.does(other.payment(code, amount)));
    assert!(paid(&one).is_none() || paid(&two).is_none(), "one code paid twice: {one:?} {two:?}");
    for (till, told) in [(&mut till, one), (&mut other, two)] {
        if matches!(told, Told::Declined { .. }) {
            till.does(till.cancel());
        }
    }
    till.end();
    other.end();
}

/// Refunds at once, each of two fifths of the payment: two of them fit, whatever is killed.
fn refunds_beyond_the_payment(till: Till<'_>, code: &str) {
    let amount = some_amount();
    give_back_at_once(till, code, amount, amount * 2 / 5, REFUNDERS, 2);
}

/// One payment, and clients who each give a part of it back at the same time: together twice of what it is.
pub fn give_back_from_many_clients(stage: &Stage, doors: &Doors, clients: u64) {
    const PART_MINOR: u64 = 7;
    let fitting = clients / 2;
    let shown = stage.show().expect("the watches are fresh");
    give_back_at_once(Till::new(stage, doors), &shown.digits, fitting * PART_MINOR, PART_MINOR, clients, fitting);
    stage.put_away(shown);
}

/// Pays, and gives parts back at once, of which so many fit.
fn give_back_at_once(mut till: Till<'_>, code: &str, amount: u64, part: u64, clients: u64, fitting: u64) {
    let Some(id) = paid(&till.does(till.payment(code, amount))) else { return till.end() };
    let refunds: Vec<Request> = (0..clients).map(|number| till.refund(&id, number, part)).collect();
    let told: Vec<Told> = std::thread::scope(|scope| {
        let asking: Vec<_> = refunds.iter().map(|refund| scope.spawn(|| till.ask(refund))).collect();
        asking.into_iter().map(|asked| asked.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause))).collect()
    });
    let given = told.iter().filter(|told| matches!(told, Told::Refunded { .. })).count();
    assert_eq!(given as u64, fitting, "{told:?}");
    till.keep(refunds.into_iter().zip(told));
    till.end();
}

fn cancelled_before_it_arrived(mut till: Till<'_>, code: &str) {
    till.does(till.cancel());
    let late = till.does(till.payment(code, some_amount()));
    assert!(matches!(late, Told::NotPaid { .. }), "paid after its cancel was acknowledged: {late:?}");
    till.end();
}

fn cancelled_while_it_is_paid(mut till: Till<'_>, code: &str) {
    till.does_both(till.payment(code, some_amount()), till.cancel());
    till.end();
}

fn cancelled_while_it_is_refunded(mut till: Till<'_>, code: &str) {
    let amount = some_amount();
    let Some(id) = paid(&till.does(till.payment(code, amount))) else { return till.end() };
    till.does(till.refund(&id, 0, amount / 4));
    till.does_both(till.refund(&id, 1, amount / 4), till.cancel());
    let late = till.does(till.refund(&id, 2, 1));
    assert!(matches!(late, Told::NotRefunded { .. }), "given back after all was given back: {late:?}");
    till.end();
}

/// A payment that the wearer confirms or refuses on the phone, or the till cancels, or both at once.
fn waits_for_the_phone(mut till: Till<'_>, code: &str) {
    let Told::Paid { seen, wearer, .. } = till.does(till.payment(code, 2 * ASKS_ABOVE_MINOR)) else {
        return till.end();
    };
    let wallet = &till.stage.wearers[wearer].key;
    let answers = |what: &str| Request::post(wallet, format!("/v1/confirmations/{}/{what}", seen.id), json!({}));
    match fastrand::u8(..4) {
        0 => drop(till.does(answers("confirm"))),
        1 => drop(till.does(answers("refuse"))),
        2 => drop(till.does(till.cancel())),
        _ => drop(till.does_both(answers("confirm"), till.cancel())),
    }
    till.end();
}

/// The request for one order.
pub fn by_order(key: &str, number: &str) -> Request {
    Request::get(key, format!("/v1/payments?order={number}"))
}

/// The payments of a list.
pub fn seen_of_list(list: &Value) -> Vec<Seen> {
    list.as_array().unwrap_or_else(|| panic!("no list: {list}")).iter().map(Seen::of).collect()
}

/// What an answer means. Everything that this campaign cannot bring about is refused here.
fn told(answer: &Answer, request: &Request, stage: &Stage) -> Told {
    let (body, asked) = (&answer.body, request.body.as_ref().unwrap_or(&Value::Null));
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let reason = answer.code().to_owned();
    let may_be = |reasons: &[&str]| assert!(reasons.contains(&reason.as_str()), "{request:?}: {answer:?}");
    match (request.path.as_str(), answer.status) {
        ("/v1/payments", 200 | 202) => {
            let seen = Seen::of(body);
            let state = if answer.status == 200 { "succeeded" } else { "requires_confirmation" };
            assert_eq!((seen.state.as_str(), seen.amount), (state, asked["amount"].as_u64()), "{request:?}");
            let code = text(asked, "code");
            let wearer = stage.shown.lock().unwrap()[&code];
            Told::Paid { wearer, code, seen }
        }
        ("/v1/payments", 402) => {
            may_be(&[&DECLINES[..], &["refused_by_wearer", "not_confirmed"]].concat());
            Told::Declined { reason, seen: Seen::of(&body["payment"]) }
        }
        ("/v1/payments", 409) => {
            may_be(&["order_parameters_differ", "order_cancelled"]);
            Told::NotPaid { reason }
        }
        ("/v1/payments/cancel", 200) => Told::Cancelled(Seen::of(body)),
        (path, 200) if path.ends_with("/confirm") || path.ends_with("/refuse") => {
            Told::Answered { state: text(body, "state") }
        }
        (path, 409) if path.ends_with("/confirm") || path.ends_with("/refuse") => {
            may_be(&["confirmation_over"]);
            Told::AnsweredLate
        }
        (path, 200) if path.ends_with("/refunds") => {
            assert_eq!((&body["refund"], &body["amount"]), (&asked["refund"], &asked["amount"]), "{request:?}");
            let amount = body["amount"].as_u64().unwrap_or_default();
            Told::Refunded { number: text(body, "refund"), amount, id: text(body, "id") }
        }
        (path, 409) if path.ends_with("/refunds") => {
            may_be(&["refund_exceeds_payment", "payment_not_refundable"]);
            Told::NotRefunded { number: text(asked, "refund") }
        }
        _ => panic!("{request:?}: {answer:?}"),
    }
}
