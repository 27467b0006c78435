//! The virtual watch: a round watch of 466 pixels whose chip runs the real chip code on a flash file.
//!
//! Each command powers the watch's processor up and down again; the chip's passcode session lives on between
//! commands (see `session.rs`), as it does in a watch that stays on the wrist.

pub mod bind;
pub mod carry;
pub mod factory;
pub mod folder;
pub mod host;
mod inside;
pub mod results;
pub(crate) mod session;
pub mod sync;

use std::path::Path;

use serde_json::json;
use wearable::screen::{Page, Screen, ScreenShape, View};
use wearable::{CodeForm, Lifecycle, PasscodeState, PaymentCode, Wearable};

use crate::api::{Api, text};
use crate::books::moment;
use crate::cli::{ChipKind, ScreenView, WatchCommand};
use crate::fault::Fault;
use crate::output::Output;
use crate::picture::FrameBuffer;
use crate::profile::Place;
use folder::WatchFolder;
use host::VirtualHost;
pub use inside::WatchChip;

/// Pixels of a side of the round screen.
const SCREEN_SIDE: u32 = 466;

/// The virtual watch, with the SDK in it.
pub type Watch = Wearable<VirtualHost>;

/// Powers a watch up.
pub fn open(folder: &WatchFolder) -> Result<Watch, Fault> {
    let mut chip = folder.open()?;
    session::resume(folder, &mut chip)?;
    let mut watch = Wearable::new(VirtualHost::new(chip, folder.clone()));
    watch.pre_init().map_err(sdk_fault)?;
    Ok(watch)
}

pub(crate) fn run(place: &Place, name: &str, command: WatchCommand, output: Output) -> Result<(), Fault> {
    let folder = WatchFolder::named(place, name)?;
    match command {
        WatchCommand::New { factory: Some(maker), .. } => {
            folder.create_with_chip_of(&crate::factory::folder(place, &maker)?)?;
            let chip_id = hex::encode(open(&folder)?.chip_id().map_err(sdk_fault)?);
            let line =
                format!("Made the watch '{name}' with chip {chip_id} of {maker}, in {}", folder.path().display());
            output.answer(&line, &json!({"watch": name, "chip_id": chip_id, "maker": maker, "folder": folder.path()}));
            Ok(())
        }
        WatchCommand::New { chip, image, factory: None } => new(place, &folder, name, (chip, &image), output),
        WatchCommand::Bind { account, direct, png } => {
            let account = place.account(account.as_deref())?;
            let mut watch = open(&folder)?;
            if let Some(png) = &png {
                let offer = watch.binding_offer().map_err(sdk_fault)?;
                draw(&Page::Offer { text: offer.as_str() }, png)?;
            }
            let (wallet, progress) = (place.as_party(&account)?, |percent| output.progress("binding", percent));
            let bound = if direct {
                bind::bind_directly(&mut watch, &wallet, &Api::new(place.url()?, String::new()), progress)?
            } else {
                bind::bind(&mut watch, &wallet, progress)?
            };
            let line = format!(
                "Bound to {}: {}. It now makes codes with no network: `paychip watch code`",
                account.name,
                text(&bound, "token")?
            );
            output.answer(&line, &bound);
            Ok(())
        }
        WatchCommand::Sync { account, png } => {
            let wallet = place.as_party(&place.account(account.as_deref())?)?;
            let mut watch = open(&folder)?;
            let done = sync::sync(&mut watch, &wallet, |percent| output.progress("sync", percent))?;
            let line = match text(&done, "work")?.as_str() {
                "wipe" => "Wiped: the token was revoked, and has left the chip.".to_owned(),
                _ => {
                    let left = watch.status().map_err(sdk_fault)?.codes_left.unwrap_or(0);
                    format!("Synced: {left} codes until the next sync.")
                }
            };
            let told: Vec<String> = results::lines(&watch);
            let lines = std::iter::once(line).chain(told).collect::<Vec<_>>().join("\n");
            if let Some(png) = &png {
                results::draw_newest(&watch, png)?;
            }
            output.answer(&lines, &done);
            session::keep(&folder, watch)
        }
        WatchCommand::Results { png } => {
            let watch = open(&folder)?;
            if let Some(png) = &png {
                results::draw_newest(&watch, png)?;
            }
            let lines = results::lines(&watch);
            let nothing = "The cloud has told nothing of payments yet: `paychip watch sync`";
            let shown = if lines.is_empty() { nothing.to_owned() } else { lines.join("\n") };
            output.answer(&shown, &results::document(&watch));
            Ok(())
        }
        WatchCommand::Unbind { account, why } => {
            let wallet = place.as_party(&place.account(account.as_deref())?)?;
            let mut watch = open(&folder)?;
            let done = sync::unbind(&mut watch, &wallet, &why, |percent| output.progress("unbinding", percent))?;
            output.answer("Unbound: no code of it pays any more, and its keys have left the chip.", &done);
            session::keep(&folder, watch)
        }
        WatchCommand::Code { png, view } => code(&folder, png.as_deref(), view, output),
        WatchCommand::Passcode { new, old } => {
            let new = passcode_or_ask(new, "New passcode")?;
            let mut watch = open(&folder)?;
            match old {
                Some(old) => watch.change_passcode(&old, &new).map_err(sdk_fault)?,
                None => watch.set_first_passcode(&new).map_err(sdk_fault)?,
            }
            output.answer("The passcode is set.", &json!({"passcode": "set"}));
            session::keep(&folder, watch)
        }
        WatchCommand::Unlock { passcode } => {
            let passcode = passcode_or_ask(passcode, "Passcode")?;
            let mut watch = open(&folder)?;
            let opened = watch.unlock(&passcode).map_err(sdk_fault);
            // A wrong passcode closes a session that was open.
            session::keep(&folder, watch)?;
            opened?;
            output.answer(
                "Unlocked: codes made now count as verified, until the watch is taken off.",
                &json!({"passcode": "open"}),
            );
            Ok(())
        }
        WatchCommand::Lock => {
            let mut watch = open(&folder)?;
            watch.lock().map_err(sdk_fault)?;
            output
                .answer("Locked: the passcode is needed again for the higher limits.", &json!({"passcode": "closed"}));
            session::keep(&folder, watch)
        }
        WatchCommand::Status => status(&folder, output),
    }
}

fn new(
    place: &Place,
    folder: &WatchFolder,
    name: &str,
    (kind, image): (ChipKind, &Path),
    output: Output,
) -> Result<(), Fault> {
    let operator = place.operator()?;
    // Ask before making anything: a watch without the cloud's keys could never be bound.
    operator.get("/v1/audit").map(drop)?;
    let mut chip = match kind {
        ChipKind::Virtual => folder.create()?,
        ChipKind::Qemu => folder.create_in_qemu(image).inspect_err(|fault| {
            if fault.code != "watch_exists" {
                discard(folder);
            }
        })?,
    };
    let made = factory::personalise(&mut chip, &operator, &[]).inspect_err(|_| discard(folder))?;
    let chip_id = made.chip_id;
    let line = format!("Made the watch '{name}' with chip {chip_id}, in {}", folder.path().display());
    output.answer(
        &line,
        &json!({"watch": name, "chip_id": chip_id, "device_key": made.device_key, "folder": folder.path()}),
    );
    Ok(())
}

/// A chip whose factory run failed is scrap.
fn discard(folder: &WatchFolder) {
    if let Err(error) = std::fs::remove_dir_all(folder.path()) {
        tracing::warn!(%error, "a chip whose personalisation failed could not be removed");
    }
}

fn code(folder: &WatchFolder, png: Option<&Path>, view: ScreenView, output: Output) -> Result<(), Fault> {
    let mut watch = open(folder)?;
    let form = if view == ScreenView::Emv { CodeForm::Both } else { CodeForm::Digits };
    let now = wearable::Host::unix_time_s(watch.host());
    let code = watch.payment_code(form).map_err(sdk_fault)?;
    if let Some(png) = png {
        draw_code(code, view, now, png)?;
    }
    let picture = png.map_or_else(String::new, |png| format!("\n  picture    {}", png.display()));
    let emv = if code.emv().is_empty() { String::new() } else { format!("\n  EMV QR     {}", code.emv()) };
    let lines = format!(
        "{}{emv}\n  account    {}\n  passcode   {}\n  dies in    {} s\n  codes left {} before the next sync{picture}",
        grouped(code.digits()),
        code.account(),
        if code.verified() { "entered" } else { "not entered (lower limits)" },
        code.seconds_left(now),
        code.codes_left(),
    );
    let document = json!({
        "digits": code.digits(), "emv": code.emv(), "account": code.account(), "verified": code.verified(),
        "valid_until_s": code.valid_until_unix_s(), "codes_left": code.codes_left(), "picture": png,
    });
    output.answer(&lines, &document);
    Ok(())
}

fn status(folder: &WatchFolder, output: Output) -> Result<(), Fault> {
    let mut watch = open(folder)?;
    let chip_id = hex::encode(watch.chip_id().map_err(sdk_fault)?);
    let status = watch.status().map_err(sdk_fault)?;
    let state = match status.lifecycle {
        Lifecycle::Blank => "blank",
        Lifecycle::Ready => "ready to be bound",
        Lifecycle::Bound => "bound",
        Lifecycle::Suspended => "suspended",
        Lifecycle::Terminated => "terminated",
    };
    let passcode = match status.passcode {
        PasscodeState::None => "not set",
        PasscodeState::Closed => "set, not entered",
        PasscodeState::Open => "entered",
        PasscodeState::Blocked => "blocked",
    };
    let codes = status.codes_left.map_or_else(|| "-".to_owned(), |left| left.to_string());
    let now = moment(wearable::Host::unix_time_s(watch.host()).cast_signed() * 1_000);
    let account = if status.account().is_empty() { "-" } else { status.account() };
    let lines = format!(
        "chip       {chip_id}\nstate      {state}\naccount    {account}\npasscode   {passcode}, {} tries left\ncodes left {codes}\nclock      {now}",
        status.tries_left
    );
    let document = json!({
        "chip_id": chip_id, "state": state, "account": status.account(), "passcode": passcode,
        "tries_left": status.tries_left, "codes_left": status.codes_left,
    });
    output.answer(&lines, &document);
    Ok(())
}

/// Draws a code as the watch shows it, and saves the picture.
pub(crate) fn draw_code(code: &PaymentCode, view: ScreenView, now_unix_s: u64, png: &Path) -> Result<(), Fault> {
    let view = match view {
        ScreenView::Both => View::Combined,
        ScreenView::Bar => View::BarOnly,
        ScreenView::Qr => View::QrOnly,
        ScreenView::Emv => View::EmvQr,
    };
    draw(&Page::Code { view, face: code.face(now_unix_s) }, png)
}

fn draw(page: &Page<'_>, png: &Path) -> Result<(), Fault> {
    let mut display = FrameBuffer::new(SCREEN_SIDE, SCREEN_SIDE);
    let drawn = Screen::new(ScreenShape::round(SCREEN_SIDE)).draw(&mut display, page);
    drawn.map_err(|error| Fault::new("screen", format!("the screen could not be drawn: {error:?}")))?;
    display.write(png)
}

/// Digits in groups of four, as they are read aloud.
pub fn grouped(digits: &str) -> String {
    let groups: Vec<&str> = digits.as_bytes().chunks(4).filter_map(|group| core::str::from_utf8(group).ok()).collect();
    groups.join(" ")
}

/// The SDK's error as a fault: its sentence, its number, its advice.
pub fn sdk_fault(error: wearable::Error) -> Fault {
    Fault::new(format!("wearable_{}", error.code()), error.to_string()).hint(error.advice())
}

fn passcode_or_ask(given: Option<String>, prompt: &str) -> Result<String, Fault> {
    if let Some(passcode) = given {
        return Ok(passcode);
    }
    Output::new(false).prompt(prompt);
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| Fault::new("passcode", error.to_string()))?;
    Ok(line.trim().to_owned())
}
