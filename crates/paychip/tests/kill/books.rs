//! After the kills: what the platform shows, compared with what its own answers said. Nothing acknowledged is missing, nothing
//! is there twice or that nobody asked for, and every wallet and every shop has the money that the answers come to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{Doors, Request};
use crate::order::{Outcome, Seen};
use crate::tills::{MONEY_MINOR, Stage, by_order, seen_of_list};

/// How long the clearing of a server that is gone may wait: its lease, two looks of another, and a posting.
const POSTING_PATIENCE: Duration = Duration::from_secs(40);
/// The most payments in one page.
const PAGE: usize = 100;
/// The most pages of one shop.
const MAX_PAGES: usize = 10_000;

/// Compares everything. Returns how many payments were paid.
pub fn compare(stage: &Stage, doors: &Doors) -> usize {
    let orders = stage.orders.lock().unwrap();
    let outcomes: Vec<(usize, Outcome)> = orders.iter().map(|order| (order.shop, order.outcome())).collect();
    for (shop, outcome) in &outcomes {
        compare_order(&stage.shops[*shop].key, outcome, doors);
    }
    for (request, answer) in stage.settled.lock().unwrap().iter() {
        assert_eq!(&doors.ask(request), answer, "{request:?}: answered otherwise than before");
    }
    let mut codes = BTreeSet::new();
    let mut spent: BTreeMap<usize, u64> = BTreeMap::new();
    let mut earned: BTreeMap<usize, u64> = BTreeMap::new();
    for (shop, outcome) in &outcomes {
        *earned.entry(*shop).or_default() += outcome.kept;
        if let Some((wearer, code)) = &outcome.payer {
            assert!(codes.insert(code), "one code paid twice: {outcome:?}");
            *spent.entry(*wearer).or_default() += outcome.kept;
        }
    }
    for (number, shop) in stage.shops.iter().enumerate() {
        let known: BTreeSet<&Seen> =
            outcomes.iter().filter(|(of, _)| *of == number).map(|(_, outcome)| &outcome.seen).collect();
        let listed = all_payments(&shop.key, doors);
        assert_eq!(
            listed.iter().collect::<BTreeSet<_>>(),
            known,
            "shop {number} has other payments than it was told of"
        );
        assert_eq!(listed.len(), known.len(), "shop {number} has a payment twice");
        let kept = earned.get(&number).copied().unwrap_or_default();
        has_been_posted(&shop.key, kept, doors);
    }
    for (number, wearer) in stage.wearers.iter().enumerate() {
        let account = doors.ask(&Request::get(&wearer.key, format!("/v1/accounts/{}", wearer.id))).body;
        let more = stage.topped_up.lock().unwrap().get(&number).copied().unwrap_or_default();
        let left = MONEY_MINOR + more - spent.get(&number).copied().unwrap_or_default();
        assert_eq!(account["balance"].as_u64(), Some(left), "wearer {number}: {account}");
    }
    outcomes.iter().filter(|(_, outcome)| outcome.payer.is_some()).count()
}

fn compare_order(key: &str, outcome: &Outcome, doors: &Doors) {
    let found = doors.ask(&by_order(key, &outcome.seen.order)).body;
    assert_eq!(seen_of_list(&found), std::slice::from_ref(&outcome.seen), "what was acknowledged is what is stored");
    let by_id = doors.ask(&Request::get(key, format!("/v1/payments/{}", outcome.seen.id))).body;
    assert_eq!(Seen::of(&by_id), outcome.seen);
    let listed = doors.ask(&Request::get(key, format!("/v1/payments/{}/refunds", outcome.seen.id))).body;
    let mut refunds = BTreeMap::new();
    for refund in listed.as_array().unwrap() {
        let text = |name: &str| refund[name].as_str().unwrap().to_owned();
        let before = refunds.insert(text("refund"), (refund["amount"].as_u64().unwrap(), text("id")));
        assert_eq!(before, None, "a refund is there twice: {listed}");
    }
    let sum: u64 = refunds.values().map(|(amount, _)| amount).sum();
    assert_eq!(sum, outcome.seen.refunded, "{listed} {outcome:?}");
    // What a cancel gives back has a number of its own.
    refunds.retain(|number, _| !number.starts_with("cancel "));
    assert_eq!(refunds, outcome.refunds, "refunds that were acknowledged, and no others");
}

/// All payments of a shop, page by page.
fn all_payments(key: &str, doors: &Doors) -> Vec<Seen> {
    let mut all: Vec<Seen> = Vec::new();
    for _ in 0..MAX_PAGES {
        let before = all.last().map_or_else(String::new, |last| format!("&before={}", last.id));
        let page = seen_of_list(&doors.ask(&Request::get(key, format!("/v1/payments?limit={PAGE}{before}"))).body);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
    panic!("more than {MAX_PAGES} pages of payments")
}

/// Waits until nothing of a shop's is in clearing any more, also of servers that never came back.
fn has_been_posted(key: &str, kept: u64, doors: &Doors) {
    let begun = Instant::now();
    loop {
        let shop = doors.ask(&Request::get(key, "/v1/merchants/me".to_owned())).body;
        if shop["pending"] == 0 && shop["balance"] == kept {
            return;
        }
        assert!(begun.elapsed() < POSTING_PATIENCE, "kept {kept}, and not all of it was posted: {shop}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// That the journal is whole and the books balance.
pub fn assert_sound(audit: &Value) {
    assert_eq!(audit["sound"], true, "{audit}");
    let trial = audit["trial_balance"].as_array().unwrap();
    assert!(!trial.is_empty() && trial.iter().all(|sums| sums["debit"] == sums["credit"]), "{audit}");
}
