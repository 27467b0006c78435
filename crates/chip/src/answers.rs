//! GET DATA: what the chip tells of itself. Nothing here is secret; the tokens' counters are told to the cloud
//! only, since they show how much somebody pays.

use crate::attestation;
use crate::domain::Domain;
use crate::hal::Flash;
use crate::hardened::Verdict;
use crate::keys;
use crate::log;
use crate::orders::{read_counters, read_grant};
use crate::passcode;
use crate::records;
use crate::store::Store;
use crate::token::TokenRecord;
use paycode::Stamp;
use protocol::apdu::StatusWord;
use protocol::applet::{
    ChipStatus, CodeStamp, DataObject, Error, SelectAnswer, Slot, TokenStatus, TokenStatusWriter, Versions,
    encode_chip_id, encode_lifecycle,
};

/// The version of this applet.
pub const VERSIONS: Versions = Versions { major: 0, minor: 2, patch: 0 };
/// The longest command data field, in bytes: a short APDU's.
const MAX_COMMAND_DATA_BYTES: u16 = 255;

/// The answer to SELECT.
pub(crate) fn select(out: &mut [u8]) -> Result<usize, StatusWord> {
    written(SelectAnswer { max_command_data_bytes: MAX_COMMAND_DATA_BYTES }.encode(out))
}

/// The answer to GET DATA.
pub(crate) fn get_data<F: Flash>(
    store: &mut Store<F>,
    session: Verdict,
    domain: Domain,
    object: DataObject,
    out: &mut [u8],
) -> Result<usize, StatusWord> {
    match object {
        DataObject::Lifecycle => written(encode_lifecycle(records::lifecycle(store)?, out)),
        DataObject::ChipId => {
            let chip_id = records::chip_id(store)?.ok_or(StatusWord::REFERENCE_NOT_FOUND)?;
            written(encode_chip_id(&chip_id, out))
        }
        DataObject::Versions => written(VERSIONS.encode(out)),
        DataObject::Status => status(store, session, out),
        DataObject::TokenStatus => token_statuses(store, domain, out),
        DataObject::CodeLog(slot) => code_log(store, domain, slot, out),
        DataObject::KeyInformation => keys::information(store, out),
        DataObject::DeviceKey => attestation::device_key(store, out),
        DataObject::Certificate(part) => attestation::certificate_part(store, part, out),
    }
}

#[inline(never)]
fn status<F: Flash>(store: &mut Store<F>, session: Verdict, out: &mut [u8]) -> Result<usize, StatusWord> {
    let (passcode, tries_left) = passcode::state(store, session)?;
    let mut status = ChipStatus {
        lifecycle: records::lifecycle(store)?,
        passcode,
        tries_left,
        default_slot: records::default_slot(store)?,
        account_label: None,
        codes_left: None,
    };
    let Some(slot) = status.default_slot else {
        return written(status.encode(out));
    };
    let mut record = TokenRecord::empty();
    record.read(store, slot)?;
    status.account_label = Some(record.label()?);
    status.codes_left = Some(read_counters(store, slot)?.codes_left);
    written(status.encode(out))
}

/// Whether a domain speaks for the token in a slot: 6982 where it does not, 6A88 where there is none.
#[inline(never)]
pub(crate) fn vouch<F: Flash>(store: &mut Store<F>, domain: Domain, slot: Slot) -> Result<usize, StatusWord> {
    if !domain.owns(store, slot)? {
        return Err(StatusWord::SECURITY_STATUS);
    }
    if !records::is_occupied(store, slot)? {
        return Err(StatusWord::REFERENCE_NOT_FOUND);
    }
    Ok(0)
}

/// The log of a token, for its domain only.
#[inline(never)]
fn code_log<F: Flash>(store: &mut Store<F>, domain: Domain, slot: Slot, out: &mut [u8]) -> Result<usize, StatusWord> {
    vouch(store, domain, slot)?;
    let newest = read_counters(store, slot)?.transactions;
    log::tell(store, slot, newest, out)
}

/// How the tokens of a domain stand.
#[inline(never)]
fn token_statuses<F: Flash>(store: &mut Store<F>, domain: Domain, out: &mut [u8]) -> Result<usize, StatusWord> {
    let mut statuses = TokenStatusWriter::new(out);
    let mut record = TokenRecord::empty();
    for slot in Slot::all() {
        if records::is_occupied(store, slot)? && domain.owns(store, slot)? {
            record.read(store, slot)?;
            let counters = read_counters(store, slot)?;
            let status = TokenStatus {
                slot,
                token_id: record.token_id(),
                transaction_counter: counters.transactions,
                last_stamp: counters.last.map(code_stamp).transpose()?,
                codes_left: counters.codes_left,
                time_anchor_unix_seconds: read_grant(store, slot)?.anchor_unix_seconds,
            };
            statuses.put(&status).map_err(|_| StatusWord::INTERNAL)?;
        }
    }
    written(statuses.finish())
}

/// The stamp in the applet's vocabulary.
pub(crate) fn code_stamp(stamp: Stamp) -> Result<CodeStamp, StatusWord> {
    CodeStamp::new(stamp.step.0, stamp.sequence.get()).ok_or(StatusWord::INTERNAL)
}

/// How much of the answer's buffer was written. An answer that can't be is the chip's fault.
pub(crate) fn written(answer: Result<&[u8], Error>) -> Result<usize, StatusWord> {
    answer.map(<[u8]>::len).map_err(|_| StatusWord::INTERNAL)
}
