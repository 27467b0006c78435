//! What became of a payment reaches the watch, over the real program: told by the cloud in a sync, vouched for by the chip, and
//! by nobody else.

use crate::support::play::{Play, error_code};
use crate::support::{Cloud, watches, watches_named};
use paychip::api::{Api, text};
use paychip::books::{open_account, take_on_merchant, top_up};
use paychip::profile::Place;
use paychip::watch::carry::Link;
use paychip::watch::folder::WatchFolder;
use paychip::watch::{Watch, bind, open, results, sync};
use protocol::script::{Message, ScriptWriter, SessionId};
use serde_json::{Value, json};
use wearable::{CodeForm, PaymentOutcome};

struct Stage {
    cloud: Cloud,
    wallet: Api,
    shop: Api,
    watch: Watch,
    token: String,
}

impl Stage {
    fn begin() -> Self {
        let cloud = Cloud::alone();
        let operator = cloud.operator();
        let (wearer, _) = open_account(&operator, "Li Wei", "CNY").unwrap();
        let (shop, _) =
            take_on_merchant(&operator, "Tea House – 茶馆 – a name that is茶馆 longer than a watch shows", "CNY")
                .unwrap();
        top_up(&operator, &wearer, 1_000_000, "first").unwrap();
        let at = |key: &str| Api::new(cloud.url.clone(), key.to_owned());
        let (wallet, shop) = (at(&wearer.key), at(&shop.key));
        let watch = watches(&cloud, &wallet, 1).remove(0);
        let token = text(&wallet.get("/v1/tokens").unwrap()[0], "id").unwrap();
        Self { cloud, wallet, shop, watch, token }
    }

    /// Pays with a fresh code; the payment.
    fn pay(&mut self, order: &str, amount: u64) -> Value {
        if let Err(wearable::Error::Wait { .. }) = self.watch.next_payment_code(CodeForm::Digits) {
            self.watch.host_mut().set_clock_ahead(30);
            self.watch.next_payment_code(CodeForm::Digits).unwrap();
        }
        let code = self.watch.last_code().unwrap().digits().to_owned();
        let body = json!({"order": order, "code": code, "amount": amount, "currency": "CNY"});
        match self.shop.post("/v1/payments", &body) {
            Ok(paid) => paid,
            Err(declined) => json!({ "declined": declined.code }),
        }
    }

    fn sync(&mut self) {
        let done = sync::sync(&mut self.watch, &self.wallet, |_| ()).unwrap();
        assert_eq!(done["state"], "done");
    }

    fn shown(&self) -> Vec<(PaymentOutcome, u64, u64)> {
        let each =
            |result: wearable::PaymentResult<'_>| (result.outcome(), result.amount_minor(), result.refunded_minor());
        self.watch.results().map(each).collect()
    }

    /// Begins a sync and carries it by hand: every message to the watch, and each of its answers.
    fn carried(&mut self, change: impl FnMut(usize, &[u8]) -> Vec<u8>) -> Vec<(Vec<u8>, Vec<u8>)> {
        let path = format!("/v1/tokens/{}/sync", self.token);
        let view = self.wallet.post(&path, &json!({})).unwrap();
        self.carried_on(view, &path, change)
    }

    /// Carries what has begun.
    fn carried_on(
        &mut self,
        mut view: Value,
        path: &str,
        mut change: impl FnMut(usize, &[u8]) -> Vec<u8>,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (mut link, mut heard) = (Link::new(), Vec::new());
        for number in 1..=16_u8 {
            let message = hex::decode(text(&view, "message").unwrap()).unwrap();
            let sent = change(usize::from(number), &message);
            let answer = link.deliver(&mut self.watch, number, &sent, &mut |_| ()).unwrap();
            heard.push((message, answer.clone().unwrap_or_default()));
            if view["state"] == "done" || view["state"] == "failed" {
                return heard;
            }
            let Some(answer) = answer else { return heard };
            view = self.wallet.post(&format!("{path}/relay"), &json!({ "message": hex::encode(answer) })).unwrap();
        }
        panic!("it does not end");
    }
}

fn folder_of(cloud: &Cloud, name: &str) -> WatchFolder {
    WatchFolder::named(&Place { data: cloud.data.clone(), server: None }, name).unwrap()
}

/// The watch as it would be if it started anew now: all that it keeps, under another name.
fn restarted(cloud: &Cloud, name: &str) -> Watch {
    let copy = folder_of(cloud, name);
    folder_of(cloud, "w0").copy_to(&copy).unwrap();
    open(&copy).unwrap()
}

#[test]
fn an_offer_takes_no_result_away_and_the_next_owner_is_shown_none() {
    let mut stage = Stage::begin();
    stage.pay("1", 700);
    // One that somebody writes down.
    let early = stage.watch.binding_offer().unwrap().as_str().to_owned();
    stage.sync();
    assert_eq!(stage.shown(), [(PaymentOutcome::Paid, 700, 0)]);
    // Of a watch that is bound an offer is worth nothing, and costs nothing: what was told is not told again.
    let refused = bind::bind(&mut stage.watch, &stage.wallet, |_| ()).unwrap_err();
    assert_eq!(refused.code, "chip_bound");
    stage.sync();
    assert_eq!(stage.shown(), [(PaymentOutcome::Paid, 700, 0)]);
    assert_eq!(restarted(&stage.cloud, "bound").results().count(), 1);

    // Sold without being wiped, and bound with an offer from before all that.
    stage.wallet.post(&format!("/v1/tokens/{}/revoke", stage.token), &json!({})).unwrap();
    let (next, _) = open_account(&stage.cloud.operator(), "Wang Fang", "CNY").unwrap();
    stage.wallet = Api::new(stage.cloud.url.clone(), next.key);
    let view = stage.wallet.post("/v1/bindings", &json!({ "offer": early })).unwrap();
    let path = format!("/v1/bindings/{}", text(&view, "id").unwrap());
    stage.carried_on(view, &path, |_, message| message.to_vec());
    assert_eq!(stage.wallet.get(&path).unwrap()["state"], "done");
    assert_eq!(stage.shown(), [], "these were the former owner's");
    assert_eq!(restarted(&stage.cloud, "sold").results().count(), 0);
}

#[test]
fn what_was_paid_declined_given_back_or_waits_is_told_by_the_next_sync_and_kept() {
    let mut stage = Stage::begin();
    stage.sync();
    assert_eq!(stage.shown(), []);
    let paid = stage.pay("1", 1_200);
    assert_eq!(paid["state"], "succeeded");
    assert_eq!(stage.shown(), [], "not told yet");
    let code_is_told = |stage: &mut Stage| {
        let code = stage.watch.last_code().unwrap().clone();
        stage.watch.last_result().is_some_and(|result| result.is_of(&code))
    };
    assert!(!code_is_told(&mut stage));
    let before = stage.watch.last_code().unwrap().clone();
    stage.sync();
    assert_eq!(stage.shown(), [(PaymentOutcome::Paid, 1_200, 0)]);
    let result = stage.watch.last_result().unwrap();
    assert!(result.is_of(&before), "this code was used");
    assert_eq!((result.currency(), result.decimals()), ("CNY", 2));
    assert_eq!(result.merchant(), "Tea House – 茶馆 – a name that is", "forty bytes at most, and no half character");
    assert!(results::lines(&stage.watch)[0].ends_with("12.00 CNY paid at Tea House – 茶馆 – a name that is"));

    // Nothing new: nothing is told, and the sync has two scripts.
    assert_eq!(stage.carried(|_, message| message.to_vec()).len(), 3);
    let refund = format!("/v1/payments/{}/refunds", text(&paid, "id").unwrap());
    stage.shop.post(&refund, &json!({"refund": "r", "amount": 200})).unwrap();
    // Without the passcode, above what a day allows: declined by its rules, and the code is spent.
    assert_eq!(stage.pay("2", 150_000)["declined"], "limit_unverified");
    assert_eq!(stage.carried(|_, message| message.to_vec()).len(), 5);
    assert_eq!(stage.shown(), [(PaymentOutcome::Declined, 150_000, 0), (PaymentOutcome::Paid, 1_200, 200)]);

    // The phone asks the cloud itself, and hears the same.
    let path = format!("/v1/tokens/{}/results", stage.token);
    let told = stage.wallet.get(&path).unwrap();
    let outcomes: Vec<(&str, u64)> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|result| (result["outcome"].as_str().unwrap(), result["refunded"].as_u64().unwrap()))
        .collect();
    assert_eq!(outcomes, [("declined", 0), ("paid", 200)]);
    assert_eq!(told[1]["payment"], paid["id"]);

    // Kept over a restart of the watch, and forgotten when it is given up.
    let Stage { cloud, watch, wallet, .. } = &mut stage;
    assert_eq!(restarted(cloud, "before").results().count(), 2);
    sync::unbind(watch, wallet, "sold", |_| ()).unwrap();
    assert_eq!(stage.watch.results().count(), 0);
    assert_eq!(restarted(&stage.cloud, "after").results().count(), 0, "the next owner hears nothing of them");
}

#[test]
fn only_the_newest_are_told_and_a_stranger_hears_nothing() {
    let mut stage = Stage::begin();
    for number in 1..=6_u64 {
        assert_eq!(stage.pay(&number.to_string(), number)["state"], "succeeded");
    }
    stage.sync();
    let amounts: Vec<u64> = stage.shown().into_iter().map(|(_, amount, _)| amount).collect();
    assert_eq!(amounts, [6, 5, 4, 3]);
    let (other, _) = open_account(&stage.cloud.operator(), "Wang Fang", "CNY").unwrap();
    let other = Api::new(stage.cloud.url.clone(), other.key);
    assert_eq!(other.get(&format!("/v1/tokens/{}/results", stage.token)).unwrap_err().code, "token_not_found");
    // A wrong code is nobody's payment: whoever guesses does not push results out.
    let body = json!({"order": "guess", "code": "71000000000000000000", "amount": 1, "currency": "CNY"});
    stage.shop.post("/v1/payments", &body).unwrap_err();
    assert_eq!(stage.wallet.get(&format!("/v1/tokens/{}/results", stage.token)).unwrap().as_array().unwrap().len(), 4);
}

#[test]
fn a_phone_that_alters_makes_up_or_plays_again_a_notice_is_not_believed() {
    let mut stage = Stage::begin();
    stage.pay("1", 1_200);
    // Every byte of the notice, one sync each in a few places; it stays untold, and the sync is done all the same.
    let place = |message: &[u8]| {
        let at = message.windows(4).position(|bytes| bytes == [0x84, 0x4A, 0x00, 0x01])?;
        Some((at, at + 5 + usize::from(message[at + 4])))
    };
    let mut altered_places = 0;
    for back in [1, 8, 9, 20, 40, 60, 80] {
        let heard = stage.carried(|_, message| {
            let mut sent = message.to_vec();
            if let Some((start, end)) = place(message) {
                assert!(end - back > start + 5);
                sent[end - back] ^= 1;
                altered_places += 1;
            }
            sent
        });
        assert_eq!(heard.len(), 5);
        assert_eq!(stage.shown(), [], "{back} bytes from the end");
    }
    assert_eq!(altered_places, 7);
    // The order was obeyed all the same.
    assert_eq!(stage.watch.status().unwrap().codes_left, Some(500));

    // A phone's own script: the notice in the clear, or with a MAC of its own.
    let honest = stage.carried(|_, message| message.to_vec());
    assert_eq!(stage.shown(), [(PaymentOutcome::Paid, 1_200, 0)]);
    let script = &honest[3].0;
    let (start, end) = place(script).expect("the fourth message has the notice");
    let recorded: Vec<Vec<u8>> = honest.iter().map(|(message, _)| message.clone()).collect();
    // Another watch of the same wearer, which has been told nothing.
    let mut other = watches_named(&stage.cloud, &stage.wallet, "other", 1).remove(0);
    let commands: [Vec<u8>; 3] = [
        script[start..end].to_vec(),
        [&[0x80, 0x4A, 0x00, 0x01, script[start + 4] - 8], &script[start + 5..end - 8]].concat(),
        [&[0x84, 0x4A, 0x00, 0x01, script[start + 4]], &script[start + 5..end - 8], &[7; 8][..]].concat(),
    ];
    for (number, command) in (1..).zip(&commands) {
        let mut buffer = [0; 2_048];
        let mut writer = ScriptWriter::new(&mut buffer, SessionId([number; 16]), 1, 50).unwrap();
        writer.push(command, true).unwrap();
        let message = writer.finish().unwrap().to_vec();
        for watch in [&mut stage.watch, &mut other] {
            let before = watch.results().count();
            Link::new().deliver(watch, number, &message, &mut |_| ()).unwrap();
            assert_eq!(watch.results().count(), before);
        }
    }
    // The whole sync again, as it was: at the watch it was for, once it has forgotten, and at another.
    std::fs::remove_file(folder_of(&stage.cloud, "w0").value("paychip-results")).unwrap();
    let mut again = restarted(&stage.cloud, "again");
    for watch in [&mut again, &mut other] {
        assert_eq!(watch.results().count(), 0);
        let (mut link, status) = (Link::new(), watch.status().unwrap());
        for (number, message) in (1..).zip(&recorded) {
            assert!(Message::decode(message).is_ok());
            link.deliver(watch, number, message, &mut |_| ()).unwrap();
        }
        assert_eq!(watch.results().count(), 0, "a recorded notice is not believed");
        assert!(watch.status().unwrap() == status);
    }
}

#[test]
fn the_program_shows_what_was_paid() {
    let play = Play::begin();
    for command in [
        &["account", "new", "Li Wei"][..],
        &["account", "top-up", "5000"],
        &["merchant", "new", "Tea House"],
        &["watch", "new"],
        &["watch", "bind"],
    ] {
        play.run(command).unwrap();
    }
    assert_eq!(play.run(&["watch", "results"]).unwrap(), json!([]));
    let code = play.run(&["watch", "code"]).unwrap();
    play.run(&["pos", "charge", "12.00", "--code", code["digits"].as_str().unwrap()]).unwrap();
    let picture = play.file("result.png");
    assert_eq!(error_code(play.run(&["watch", "results", "--png", &picture])), "no_result");
    play.run(&["watch", "sync", "--png", &picture]).unwrap();
    let synced = std::fs::read(&picture).unwrap();
    play.run(&["watch", "results", "--png", &picture]).unwrap();
    assert!(std::fs::read(&picture).unwrap() == synced && synced.starts_with(b"\x89PNG"), "what a restart shows");
    let shown = play.run(&["watch", "results"]).unwrap();
    assert_eq!(shown[0]["outcome"], "paid");
    assert_eq!((&shown[0]["amount"], &shown[0]["merchant"]), (&json!(1_200), &json!("Tea House")));
}

#[test]
fn a_payment_that_waits_for_the_phone_is_told_as_such_and_once_it_is_confirmed_as_paid() {
    let mut stage = Stage::begin();
    stage.watch.set_first_passcode("246802").unwrap();
    stage.watch.unlock("246802").unwrap();
    let waiting = stage.pay("1", 210_000);
    assert_eq!(waiting["state"], "requires_confirmation", "{waiting}");
    stage.sync();
    assert_eq!(stage.shown(), [(PaymentOutcome::Waits, 210_000, 0)]);
    let confirm = format!("/v1/confirmations/{}/confirm", text(&waiting, "id").unwrap());
    stage.wallet.post(&confirm, &json!({})).unwrap();
    stage.sync();
    assert_eq!(stage.shown(), [(PaymentOutcome::Paid, 210_000, 0)]);
}
