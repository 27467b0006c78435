//! GET PAYMENT CODE: the counters go into flash, then the code is made, then it leaves. Power lost anywhere
//! between costs a code of the budget and never makes one twice.

use crate::answers::{code_stamp, written};
use crate::hal::Flash;
use crate::log;
use crate::orders::{read_counters, read_grant};
use crate::records::{self, PASSCODE};
use crate::rules::Rules;
use crate::scratch::Scratch;
use crate::session::Session;
use crate::store::{Store, Update};
use crate::token::LoadedToken;
use paycode::emv;
use protocol::apdu::StatusWord;
use protocol::applet::{AID, CodeRequest, LoggedCode, PaymentCode, Slot};

/// Whether this image makes EMV QR codes.
pub(crate) const MAKES_EMV: bool = cfg!(feature = "emv");

/// Makes the next code of a token and writes the answer to `out`. `loaded` keeps the token's key schedules
/// from one code to the next.
///
/// # Errors
/// 6A88 where there is no such token; those of [`crate::counters::Counters::next`]; 9306 where the token asks for
/// a passcode and none is set; 6F00, and then a code of
/// the budget may be gone.
#[inline(never)]
pub(crate) fn make<F: Flash>(
    store: &mut Store<F>,
    loaded: &mut Option<LoadedToken>,
    session: &mut Session,
    request: &CodeRequest,
    out: &mut [u8],
) -> Result<usize, StatusWord> {
    let slot = slot_of(store, request)?;
    let (stamp, counters) = read_counters(store, slot)?.next(read_grant(store, slot)?, request.unix_seconds)?;
    let rules = Rules::read(store, slot)?;
    if rules.passcode_required && !store.contains(PASSCODE)? {
        return Err(StatusWord::PASSCODE_REQUIRED);
    }
    let token = load(store, loaded, slot)?;
    let (after, verified) = session.at(request.unix_seconds, rules.session_seconds);
    let verified = verified.is_yes();
    let logged = LoggedCode { stamp: code_stamp(stamp)?, verified };
    let mut chunk = log::Chunk::EMPTY;
    let log_key = chunk.add(store, slot, counters.transactions, logged)?;
    store.transact(&[
        Update::Put(records::counters(slot), &counters.to_bytes()),
        Update::Put(log_key, chunk.as_bytes()),
    ])?;
    // What is in flash is what counts; a store that says so and did not do so makes no code.
    if read_counters(store, slot)? != counters {
        return Err(StatusWord::INTERNAL);
    }

    *session = after;
    let code = paycode::make(&token.format, &token.mask_key, &token.pay_key, token.index, stamp, verified)
        .map_err(|_| StatusWord::INTERNAL)?;
    // Room for it is made where it is wanted: filling it with zeros takes time.
    let mut text: Option<Scratch<{ emv::MAX_PAYMENT_TEXT }>> = None;
    let emv = if MAKES_EMV && request.form.wants_emv() {
        let payment =
            emv::Payment::new(&AID, &token.pay_key, token.index, code.clone(), stamp, verified, counters.transactions);
        let shown = payment.and_then(|payment| payment.encode(text.insert(Scratch::new()).whole()));
        Some(shown.map_err(|_| StatusWord::INTERNAL)?)
    } else {
        None
    };
    let answer = PaymentCode {
        digits: request.form.wants_digits().then(|| code.as_str()),
        emv,
        stamp: code_stamp(stamp)?,
        codes_left: counters.codes_left,
        verified,
        valid_until_unix_seconds: stamp.expires_unix_seconds(),
    };
    written(answer.encode(out))
}

/// The slot asked for, or the default one; it holds a token.
fn slot_of<F: Flash>(store: &mut Store<F>, request: &CodeRequest) -> Result<Slot, StatusWord> {
    match request.slot {
        Some(slot) if records::is_occupied(store, slot)? => Ok(slot),
        Some(_) => Err(StatusWord::REFERENCE_NOT_FOUND),
        None => records::default_slot(store)?.ok_or(StatusWord::REFERENCE_NOT_FOUND),
    }
}

fn load<'a, F: Flash>(
    store: &mut Store<F>,
    loaded: &'a mut Option<LoadedToken>,
    slot: Slot,
) -> Result<&'a LoadedToken, StatusWord> {
    match loaded {
        Some(token) if token.slot == slot => {}
        _ => *loaded = Some(LoadedToken::load(store, slot)?),
    }
    loaded.as_ref().ok_or(StatusWord::INTERNAL)
}
