//! The demonstration: everything the project is for, in one run, with nothing but this program.
//!
//! A real server on a free port with a new SQLite file, a watch whose chip runs the real chip code, a till that
//! reads the *picture* of the screen with a decoder that is not ours; then every way it must refuse.

mod refusals;
mod stage;

use std::time::Instant;

use protocol::applet::CodeForm;
use serde_json::{Value, json};

use crate::api::{number, text};
use crate::books::{audit_lines, book_lines, money};
use crate::cli::{Demo, ScreenView};
use crate::fault::Fault;
use crate::output::Output;
use crate::picture::read_grey;
use crate::pos::receipt;
use crate::scan::{Symbol, scan};
use crate::watch::{self, bind, grouped, results, sdk_fault, sync};
use stage::{Narrator, Stage};

/// What the wearer has at the beginning: 100.00.
const TOP_UP_MINOR: u64 = 10_000;
/// What is charged: 12.50.
const PRICE_MINOR: u64 = 1_250;

pub(crate) fn run(demo: &Demo, output: Output) -> Result<(), Fault> {
    let started = Instant::now();
    let mut narrator = Narrator::new(output);
    let mut stage = Stage::set(&demo.out)?;
    narrator.step(
        &format!("The cloud is up at {}, with a new, empty database.", stage.operator.url()),
        "crates/server/src/lib.rs",
    );

    stage.cast()?;
    narrator.step(
        "Li Wei has opened an account with 100.00 yuan; the Tea House has a till.",
        "crates/platform/src/accounts.rs",
    );

    let chip_id = stage.make_watch()?;
    narrator.step(
        &format!(
            "A factory made a watch. Its chip {}… got its own keys over an encrypted channel.",
            chip_id.get(..8).unwrap_or("")
        ),
        "crates/chip/src/applet.rs, crates/protocol/src/scp03/",
    );

    let bound = bind_watch(&mut stage, output)?;
    let token = text(&bound, "token")?;
    narrator.step(
        "The watch is bound to Li Wei's account: the phone carried the messages and could read none of them.",
        "crates/platform/src/bindings/steps.rs, crates/wearable/src/relay.rs",
    );

    let paid = pay_offline(&mut stage, &mut narrator)?;
    let books = show_books(&stage, &mut narrator)?;
    let told = show_result(&mut stage, &mut narrator, output)?;
    let refused = refusals::show(&mut stage, &mut narrator, &paid, &token)?;

    let audit = stage.operator.get("/v1/audit")?;
    if audit.get("sound").and_then(Value::as_bool) != Some(true) {
        return Err(Fault::new("books_unsound", "the books are not sound"));
    }
    narrator.step(&format!("The books after all this: {}.", audit_lines(&audit)?), "crates/ledger/src/journal.rs");

    let seconds = started.elapsed().as_secs_f64();
    let picture = stage.pictures.join("code.png");
    let closing = format!(
        "\nDone in {seconds:.1} s. Look at the watch: {}\nTo play it yourself, `paychip serve` in one terminal and `paychip --help` in another.",
        picture.display()
    );
    let document = json!({
        "seconds": seconds, "payment": paid.answer, "books": books, "told": told, "refusals": refused, "audit": audit, "picture": picture,
    });
    stage.strike()?;
    output.answer(&closing, &document);
    Ok(())
}

fn bind_watch(stage: &mut Stage, output: Output) -> Result<Value, Fault> {
    let wallet = stage.wallet()?;
    let mut watch = stage.watch()?;
    let bound = bind::bind(&mut watch, &wallet, |percent| output.progress("binding", percent))?;
    watch.set_first_passcode(stage::PASSCODE).map_err(sdk_fault)?;
    Ok(bound)
}

/// The first payment: what was shown and what came of it.
pub(crate) struct PaidOnce {
    pub(crate) digits: String,
    pub(crate) order: String,
    pub(crate) answer: Value,
}

/// The watch is offline from here on: nothing below gives it a link.
fn pay_offline(stage: &mut Stage, narrator: &mut Narrator) -> Result<PaidOnce, Fault> {
    let picture = stage.pictures.join("code.png");
    let mut watch = stage.watch()?;
    watch.unlock(stage::PASSCODE).map_err(sdk_fault)?;
    let now = wearable::Host::unix_time_s(watch.host());
    let code = watch.payment_code(CodeForm::Digits).map_err(sdk_fault)?;
    watch::draw_code(code, ScreenView::Both, now, &picture)?;
    let digits = code.digits().to_owned();
    narrator.step(
        &format!("Offline now. After the passcode the watch shows {}.", grouped(&digits)),
        "crates/chip/src/payment.rs, crates/paycode/src/code.rs",
    );
    drop(watch);

    let scanned = scan(&read_grey(&picture)?)?;
    for symbol in [Symbol::Code128, Symbol::QrCode] {
        let agrees = scanned.iter().any(|code| code.symbol == symbol && code.text == digits);
        if !agrees {
            return Err(Fault::new(
                "scan_differs",
                format!("the {} in {} does not say the code", symbol.name(), picture.display()),
            ));
        }
    }
    narrator.step(
        "The till's scanner read the picture: bar code and QR code both say the same digits.",
        "crates/paychip/src/scan.rs, crates/wearable/src/screen/",
    );

    let order = "tea-0001".to_owned();
    let answer = stage.charge(&order, &digits, PRICE_MINOR)?;
    narrator.step("Paid. The till prints:", "crates/platform/src/payments/pay.rs");
    narrator.block(&receipt(&stage.shop, &answer)?);
    let again = stage.charge(&order, &digits, PRICE_MINOR)?;
    if again != answer {
        return Err(Fault::new("repeat_differs", "the same order number gave another answer"));
    }
    narrator.step(
        "The till lost the answer and asked again with the same order number: same payment, charged once.",
        "crates/platform/src/payments/pay.rs",
    );
    Ok(PaidOnce { digits, order, answer })
}

/// The watch is online for a moment: its owner sees what became of the code.
fn show_result(stage: &mut Stage, narrator: &mut Narrator, output: Output) -> Result<Value, Fault> {
    let (wallet, picture) = (stage.wallet()?, stage.pictures.join("result.png"));
    let mut watch = stage.watch()?;
    sync::sync(&mut watch, &wallet, |percent| output.progress("sync", percent))?;
    results::draw_newest(&watch, &picture)?;
    narrator.step(
        &format!(
            "The watch synced, and shows what became of its code, which its own chip vouches for: {}",
            picture.display()
        ),
        "crates/platform/src/syncs/results.rs, crates/chip/src/applet.rs, crates/wearable/src/screen/result.rs",
    );
    narrator.block(&format!("  {}", results::lines(&watch).join("\n  ")));
    Ok(results::document(&watch))
}

fn show_books(stage: &Stage, narrator: &mut Narrator) -> Result<Value, Fault> {
    stage.wait_for_posting()?;
    let wearer = stage.wallet()?;
    let account = wearer.get(&format!("/v1/accounts/{}", stage.wearer.id))?;
    let book = wearer.get(&format!("/v1/accounts/{}/book", stage.wearer.id))?;
    let till = stage.till()?;
    let merchant = till.get("/v1/merchants/me")?;
    let merchant_book = till.get("/v1/merchants/me/book")?;
    narrator.step("Both sides' books (newest first):", "crates/ledger/src/posting.rs");
    let currency = &stage.shop.currency;
    narrator.block(&format!(
        "  Li Wei's wallet: {}\n{}",
        money(number(&account, "balance")?, currency),
        book_lines(&book, currency)
    ));
    narrator.block(&format!(
        "  Owed to the Tea House: {}\n{}",
        money(number(&merchant, "balance")?, currency),
        book_lines(&merchant_book, currency)
    ));
    Ok(json!({"account": account, "account_book": book, "merchant": merchant, "merchant_book": merchant_book}))
}
