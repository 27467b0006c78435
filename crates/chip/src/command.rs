//! What the applet can be asked, as one enum. A [`Command`] that exists is well-formed, and one that needs the
//! secure channel came through it: both are decided here, in one place, before anything runs.

use crate::domain::Domain;
use crate::hardened::Verdict;
use crate::payment;
use protocol::apdu::{self, StatusWord};
use protocol::applet::{
    AID, CHALLENGE_BYTES, CodeRequest, DataObject, Error, Order, PASSCODE_REFERENCE, Passcode, PasscodeChange, Scheme,
    Slot, TimedPasscode, ins, tag,
};

/// What a command's own MAC and encryption prove. A command in the clear has no rights, whatever channel is
/// open beside it.
#[derive(Clone, Copy)]
pub(crate) struct Rights {
    /// It carried a right C-MAC.
    pub(crate) authenticated: Verdict,
    /// Its data field was encrypted as well.
    pub(crate) encrypted: Verdict,
    /// Whose channel it came through; means nothing without the other two.
    pub(crate) domain: Domain,
}

impl Rights {
    /// The rights of a command in the clear.
    pub(crate) const NONE: Self = Self { authenticated: Verdict::NO, encrypted: Verdict::NO, domain: Domain::Root };
}

/// A command APDU without its secure messaging, and the rights that gave it.
pub(crate) struct Received<'a> {
    pub(crate) apdu: apdu::Command<'a>,
    pub(crate) rights: Rights,
}

/// A well-formed command of the applet, allowed by the channel it came through.
pub(crate) enum Command<'a> {
    /// SELECT this applet.
    Select,
    /// INITIALIZE UPDATE, GlobalPlatform Amendment D 7.1.1.
    InitializeUpdate { key_version: u8, host_challenge: &'a [u8] },
    /// PUT KEY, GlobalPlatform Card Specification 11.8.
    PutKey { domain: Domain, replaced_version: u8, data: &'a [u8] },
    /// STORE DATA with one order.
    StoreData(Domain, Order<'a>),
    /// GET DATA of one object.
    GetData(Domain, DataObject),
    /// VERIFY without data: how does the passcode stand?
    AskPasscode,
    /// VERIFY with a passcode.
    Verify { passcode: Passcode<'a>, unix_seconds: Option<u64> },
    /// CHANGE REFERENCE DATA.
    ChangePasscode(PasscodeChange<'a>),
    /// LOCK.
    Lock,
    /// GET PAYMENT CODE.
    GetPaymentCode(CodeRequest),
    /// ATTEST with a challenge of 16 to 32 bytes.
    Attest { challenge: &'a [u8] },
    /// GENERATE KEY.
    GenerateKey(Scheme),
    /// CHOOSE SLOT.
    ChooseSlot(Option<Slot>),
    /// SELF TEST.
    SelfTest,
    /// VOUCH: the data came from whoever rules the slot, which is all there is to say of them.
    Vouch(Domain, Slot),
}

/// GlobalPlatform 11.8.2.2: P2 of PUT KEY for a key set that begins with key 1.
const PUT_KEY_SET: u8 = 0x81;
/// P1 of STORE DATA: the only and last block.
const LAST_BLOCK: u8 = 0x80;

impl<'a> TryFrom<Received<'a>> for Command<'a> {
    type Error = StatusWord;

    fn try_from(received: Received<'a>) -> Result<Self, StatusWord> {
        let Received { apdu, rights } = received;
        match (apdu.class.unsecured().0, apdu.instruction) {
            (0x00, ins::SELECT) => select(&apdu),
            (0x80, ins::INITIALIZE_UPDATE) => initialize_update(&apdu),
            (0x80, ins::PUT_KEY) => put_key(&apdu, rights),
            (0x80, ins::STORE_DATA) => store_data(&apdu, rights),
            (0x00 | 0x80, ins::GET_DATA) => get_data(&apdu, rights),
            (0x00, ins::VERIFY) => verify(&apdu),
            (0x00, ins::CHANGE_REFERENCE_DATA) => change_passcode(&apdu),
            (0x80, ins::LOCK) => lock(&apdu),
            (0x80, ins::GET_PAYMENT_CODE) => get_payment_code(&apdu),
            (0x80, ins::ATTEST) => attest(&apdu),
            (0x80, ins::CHOOSE_SLOT) => choose_slot(&apdu),
            (0x80, ins::SELF_TEST) => self_test(&apdu),
            (0x80, ins::GENERATE_KEY) => generate_key(&apdu, rights),
            (0x80, ins::VOUCH) => vouch(&apdu, rights),
            (_, instruction) => Err(unknown(instruction)),
        }
    }
}

/// Of a command not known in this class: whether the class or the instruction is to blame.
fn unknown(instruction: u8) -> StatusWord {
    match instruction {
        ins::SELECT
        | ins::INITIALIZE_UPDATE
        | ins::EXTERNAL_AUTHENTICATE
        | ins::PUT_KEY
        | ins::STORE_DATA
        | ins::GET_DATA
        | ins::VERIFY
        | ins::CHANGE_REFERENCE_DATA
        | ins::LOCK
        | ins::GET_PAYMENT_CODE
        | ins::ATTEST
        | ins::CHOOSE_SLOT
        | ins::SELF_TEST
        | ins::GENERATE_KEY
        | ins::VOUCH => StatusWord::UNKNOWN_CLASS,
        _ => StatusWord::UNKNOWN_INSTRUCTION,
    }
}

fn select<'a>(apdu: &apdu::Command<'a>) -> Result<Command<'a>, StatusWord> {
    expect_p1_p2(apdu, 0x0400)?;
    if apdu.data == AID { Ok(Command::Select) } else { Err(StatusWord::NOT_FOUND) }
}

fn initialize_update<'a>(apdu: &apdu::Command<'a>) -> Result<Command<'a>, StatusWord> {
    if apdu.p2 != 0 {
        return Err(StatusWord::WRONG_P1_P2);
    }
    Ok(Command::InitializeUpdate { key_version: apdu.p1, host_challenge: apdu.data })
}

fn put_key<'a>(apdu: &apdu::Command<'a>, rights: Rights) -> Result<Command<'a>, StatusWord> {
    expect(rights.encrypted)?;
    if apdu.p2 != PUT_KEY_SET {
        return Err(StatusWord::WRONG_P1_P2);
    }
    Ok(Command::PutKey { domain: rights.domain, replaced_version: apdu.p1, data: apdu.data })
}

fn store_data<'a>(apdu: &apdu::Command<'a>, rights: Rights) -> Result<Command<'a>, StatusWord> {
    expect(rights.encrypted)?;
    expect_p1_p2(apdu, u16::from_be_bytes([LAST_BLOCK, 0]))?;
    let order = Order::decode(apdu.data).map_err(|_| StatusWord::WRONG_DATA)?;
    Ok(Command::StoreData(rights.domain, order))
}

fn get_data<'a>(apdu: &apdu::Command<'a>, rights: Rights) -> Result<Command<'a>, StatusWord> {
    let object = DataObject::from_p1_p2(apdu.p1_p2()).ok_or(StatusWord::REFERENCE_NOT_FOUND)?;
    expect_length(apdu, 0)?;
    if !object.is_public() {
        expect(rights.authenticated)?;
    }
    Ok(Command::GetData(rights.domain, object))
}

fn verify<'a>(apdu: &apdu::Command<'a>) -> Result<Command<'a>, StatusWord> {
    if apdu.p1 == TimedPasscode::P1 && apdu.p2 == PASSCODE_REFERENCE {
        let timed = TimedPasscode::decode(apdu).map_err(|_| StatusWord::WRONG_DATA)?;
        return Ok(Command::Verify { passcode: timed.passcode, unix_seconds: Some(timed.unix_seconds) });
    }
    expect_p1_p2(apdu, u16::from(PASSCODE_REFERENCE))?;
    if apdu.data.is_empty() {
        return Ok(Command::AskPasscode);
    }
    let passcode = Passcode::new(apdu.data).map_err(|_| StatusWord::WRONG_DATA)?;
    Ok(Command::Verify { passcode, unix_seconds: None })
}

fn change_passcode<'a>(apdu: &apdu::Command<'a>) -> Result<Command<'a>, StatusWord> {
    if apdu.p2 != PASSCODE_REFERENCE || apdu.p1 > 1 {
        return Err(StatusWord::WRONG_P1_P2);
    }
    PasscodeChange::decode(apdu).map(Command::ChangePasscode).map_err(|_| StatusWord::WRONG_DATA)
}

fn lock<'a>(apdu: &apdu::Command<'a>) -> Result<Command<'a>, StatusWord> {
    expect_p1_p2(apdu, 0)?;
    Ok(Command::Lock)
}

fn get_payment_code<'a>(apdu: &apdu::Command<'a>) -> Result<Command<'a>, StatusWord> {
    let forms = if payment::MAKES_EMV { 1..=3 } else { 1..=1 };
    if !forms.contains(&apdu.p1) {
        return Err(StatusWord::WRONG_P1_P2);
    }
    CodeRequest::decode(apdu).map(Command::GetPaymentCode).map_err(|error| match error {
        Error::BadValue(tag::SLOT) => StatusWord::REFERENCE_NOT_FOUND,
        Error::BadCommand => StatusWord::WRONG_LENGTH,
        _ => StatusWord::WRONG_DATA,
    })
}

fn attest<'a>(apdu: &apdu::Command<'a>) -> Result<Command<'a>, StatusWord> {
    expect_p1_p2(apdu, 0)?;
    if !CHALLENGE_BYTES.contains(&apdu.data.len()) {
        return Err(StatusWord::WRONG_LENGTH);
    }
    Ok(Command::Attest { challenge: apdu.data })
}

fn choose_slot<'a>(apdu: &apdu::Command<'a>) -> Result<Command<'a>, StatusWord> {
    if apdu.p1 != 0 {
        return Err(StatusWord::WRONG_P1_P2);
    }
    expect_length(apdu, 0)?;
    match apdu.p2 {
        0 => Ok(Command::ChooseSlot(None)),
        number => Slot::new(number).ok_or(StatusWord::REFERENCE_NOT_FOUND).map(|slot| Command::ChooseSlot(Some(slot))),
    }
}

fn self_test<'a>(apdu: &apdu::Command<'a>) -> Result<Command<'a>, StatusWord> {
    expect_p1_p2(apdu, 0)?;
    Ok(Command::SelfTest)
}

fn generate_key<'a>(apdu: &apdu::Command<'a>, rights: Rights) -> Result<Command<'a>, StatusWord> {
    expect(rights.encrypted)?;
    if apdu.p1 != 0 {
        return Err(StatusWord::WRONG_P1_P2);
    }
    if rights.domain != Domain::Root {
        return Err(StatusWord::SECURITY_STATUS);
    }
    let scheme = Scheme::from_byte(apdu.p2).ok_or(StatusWord::WRONG_P1_P2)?;
    expect_length(apdu, 0)?;
    Ok(Command::GenerateKey(scheme))
}

/// What was decrypted here, the device has not seen: there is nothing to vouch for.
fn vouch<'a>(apdu: &apdu::Command<'a>, rights: Rights) -> Result<Command<'a>, StatusWord> {
    expect(rights.authenticated)?;
    if rights.encrypted.is_yes() {
        return Err(StatusWord::SECURITY_STATUS);
    }
    if apdu.p1 != 0 {
        return Err(StatusWord::WRONG_P1_P2);
    }
    let slot = Slot::new(apdu.p2).ok_or(StatusWord::REFERENCE_NOT_FOUND)?;
    Ok(Command::Vouch(rights.domain, slot))
}

fn expect(verdict: Verdict) -> Result<(), StatusWord> {
    if verdict.is_yes() { Ok(()) } else { Err(StatusWord::SECURITY_STATUS) }
}

fn expect_p1_p2(apdu: &apdu::Command<'_>, p1_p2: u16) -> Result<(), StatusWord> {
    if apdu.p1_p2() == p1_p2 { Ok(()) } else { Err(StatusWord::WRONG_P1_P2) }
}

fn expect_length(apdu: &apdu::Command<'_>, bytes: usize) -> Result<(), StatusWord> {
    if apdu.data.len() == bytes { Ok(()) } else { Err(StatusWord::WRONG_LENGTH) }
}
