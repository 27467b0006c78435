//! What became of payments: notices of the cloud, taken only where the device's own chip has vouched for them
//! (`spec/relay.md` 7). A notice travels readable, under the MAC of a channel that ends in the chip; the chip's success says
//! that the cloud wrote it, for this chip, now. What a phone makes up, alters or plays again the chip refuses, and it is not
//! looked at.

use protocol::apdu::Command;
use protocol::applet::{CodeStamp, MAX_NOTICE_BYTES, PaymentNotice, PaymentOutcome, ins};
use protocol::scp03::Level;

use crate::code::PaymentCode;
use crate::host::{Host, Key};
use crate::screen::ResultFace;

/// Results that are kept: the newest.
pub const MAX_RESULTS: usize = 4;
/// The data object that says which tokens the chip holds.
const TOKENS: u16 = 0xDF23;
/// First byte of what is kept across a reboot.
const RECORD_VERSION: u8 = 1;
const RECORD_BYTES: usize = 1 + MAX_RESULTS * (1 + MAX_NOTICE_BYTES);

/// What became of one payment, as the cloud said it last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaymentResult<'a> {
    notice: PaymentNotice<'a>,
}

impl<'a> PaymentResult<'a> {
    /// What became of it.
    pub const fn outcome(&self) -> PaymentOutcome {
        self.notice.outcome
    }

    /// How much, in minor units.
    pub const fn amount_minor(&self) -> u64 {
        self.notice.amount_minor
    }

    /// How much of it has been given back, in minor units.
    pub const fn refunded_minor(&self) -> u64 {
        self.notice.refunded_minor
    }

    /// The currency, as three letters of ISO 4217.
    pub const fn currency(&self) -> &'a str {
        self.notice.currency
    }

    /// Digits behind the point of that currency, 0 to 4.
    pub const fn decimals(&self) -> u8 {
        self.notice.decimals
    }

    /// Who was paid: 1 to 40 bytes of UTF-8 without control characters; a longer name is cut.
    pub const fn merchant(&self) -> &'a str {
        self.notice.merchant
    }

    /// When, Unix seconds.
    pub const fn unix_s(&self) -> u64 {
        self.notice.unix_seconds
    }

    /// The result as a page for [`crate::screen::Screen::draw`], its time as the wearer's clock shows it: so many minutes beyond
    /// UTC.
    pub const fn face(&self, utc_offset_minutes: i16) -> ResultFace<'a> {
        ResultFace {
            outcome: self.outcome(),
            amount_minor: self.amount_minor(),
            refunded_minor: self.refunded_minor(),
            currency: self.currency(),
            decimals: self.decimals(),
            merchant: self.merchant(),
            unix_s: self.unix_s(),
            utc_offset_minutes,
        }
    }

    /// Whether it was this code that was used.
    pub fn is_of(&self, code: &PaymentCode) -> bool {
        self.notice.stamp == code.stamp()
    }
}

/// A notice as it came; a length of 0 where there is none.
#[derive(Clone, Copy)]
struct Kept {
    bytes: [u8; MAX_NOTICE_BYTES],
    length: u8,
}

impl Kept {
    const NONE: Self = Self { bytes: [0; MAX_NOTICE_BYTES], length: 0 };

    fn of(bytes: &[u8]) -> Self {
        let mut kept = Self::NONE;
        if let (Some(room), Ok(length)) = (kept.bytes.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            room.copy_from_slice(bytes);
            kept.length = length;
        }
        kept
    }

    fn notice(&self) -> Option<PaymentNotice<'_>> {
        PaymentNotice::decode(self.bytes.get(..usize::from(self.length))?).ok()
    }

    fn stamp(&self) -> Option<CodeStamp> {
        self.notice().map(|notice| notice.stamp)
    }
}

/// The channel that is open between cloud and chip, as far as it can be seen from outside.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Channel {
    /// None, or one in which nothing counts.
    None,
    /// Whose commands can be read and not made up; so many bytes of each are its MAC.
    Readable { mac_bytes: usize },
    /// Whose commands cannot be read. Has the cloud asked which tokens the chip holds?
    Sealed { has_asked: bool },
}

/// The newest results, and the channel that is open.
pub(crate) struct Results {
    kept: [Kept; MAX_RESULTS],
    channel: Channel,
}

impl Results {
    pub(crate) const fn new() -> Self {
        Self { kept: [Kept::NONE; MAX_RESULTS], channel: Channel::None }
    }

    /// The results, newest code first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = PaymentResult<'_>> {
        self.kept.iter().filter_map(|kept| kept.notice().map(|notice| PaymentResult { notice }))
    }

    /// Looks at a command of the cloud's that the chip has just carried out. Says whether there is a new result.
    pub(crate) fn carried_out(&mut self, apdu: &[u8]) -> bool {
        let Ok(command) = Command::parse(apdu) else { return false };
        match command.instruction {
            ins::EXTERNAL_AUTHENTICATE => {
                self.channel = match Level::from_byte(command.p1) {
                    Some(level) if level.has_c_enc() => Channel::Sealed { has_asked: false },
                    // It carries a cryptogram and a MAC of one length.
                    Some(level) if level.has_c_mac() => Channel::Readable { mac_bytes: command.data.len() / 2 },
                    _ => Channel::None,
                };
                false
            }
            ins::SELECT | ins::INITIALIZE_UPDATE => {
                self.channel = Channel::None;
                false
            }
            ins::GET_DATA if command.class.is_gp_secured() && command.p1_p2() == TOKENS => {
                if let Channel::Sealed { has_asked } = &mut self.channel {
                    *has_asked = true;
                }
                false
            }
            ins::VOUCH if command.class.is_gp_secured() => match self.channel {
                Channel::Readable { mac_bytes } => {
                    let length = command.data.len().checked_sub(mac_bytes);
                    length.and_then(|length| command.data.get(..length)).is_some_and(|notice| self.keep(notice))
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether this command of the cloud's gives the chip another token, once it is carried out: a sync asks first which tokens
    /// the chip holds, and a binding does not (`spec/relay.md` 7.5).
    pub(crate) fn is_of_another_token(&self, apdu: &[u8]) -> bool {
        self.channel == Channel::Sealed { has_asked: false }
            && Command::parse(apdu).is_ok_and(|command| command.instruction == ins::STORE_DATA)
    }

    /// Puts a notice where its code's is, or before those of older codes; the oldest goes where there is no room.
    fn keep(&mut self, notice: &[u8]) -> bool {
        let news = Kept::of(notice);
        let Some(stamp) = news.stamp() else { return false };
        let age = |stamp: CodeStamp| (stamp.step(), stamp.sequence());
        let Some(at) = self.kept.iter().position(|kept| kept.stamp().is_none_or(|kept| age(kept) <= age(stamp))) else {
            return false;
        };
        let Some(rest) = self.kept.get_mut(at..) else { return false };
        if rest.first().and_then(Kept::stamp) != Some(stamp) {
            rest.rotate_right(1);
        }
        if let Some(place) = rest.first_mut() {
            *place = news;
        }
        true
    }

    /// They were another wearer's.
    pub(crate) fn forget<H: Host>(&mut self, host: &mut H) {
        if self.iter().next().is_some() {
            self.kept = [Kept::NONE; MAX_RESULTS];
            self.save(host);
        }
    }

    /// Keeps what `load` reads. Failing costs the results after a reboot, so it only goes to the log.
    pub(crate) fn save<H: Host>(&self, host: &mut H) {
        let mut record = [0; RECORD_BYTES];
        let kept = self.kept.iter().flat_map(|kept| core::iter::once(kept.length).chain(kept.bytes));
        record.iter_mut().zip(core::iter::once(RECORD_VERSION).chain(kept)).for_each(|(to, from)| *to = from);
        if host.store(Key::Results, &record).is_err() {
            host.log("paychip: results could not be stored");
        }
    }

    pub(crate) fn load<H: Host>(&mut self, host: &mut H) {
        let mut record = [0; RECORD_BYTES];
        match host.load(Key::Results, &mut record) {
            Ok(RECORD_BYTES) => {}
            Ok(_) => return,
            Err(_) => return host.log("paychip: results could not be read"),
        }
        let [RECORD_VERSION, rest @ ..] = record else { return };
        for (kept, bytes) in self.kept.iter_mut().zip(rest.chunks_exact(1 + MAX_NOTICE_BYTES)) {
            let Some((length, bytes)) = bytes.split_first() else { continue };
            *kept = bytes.get(..usize::from(*length)).map_or(Kept::NONE, Kept::of);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    fn notice(step: u32, sequence: u8, outcome: PaymentOutcome) -> Vec<u8> {
        let notice = PaymentNotice {
            outcome,
            amount_minor: u64::from(step),
            refunded_minor: 0,
            currency: "CNY",
            decimals: 2,
            merchant: "Tea House",
            unix_seconds: 1,
            stamp: CodeStamp::new(step, sequence).unwrap(),
        };
        notice.encode(&mut [0; MAX_NOTICE_BYTES]).unwrap().to_vec()
    }

    fn command(class: u8, instruction: u8, p1: u8, data: &[u8]) -> Vec<u8> {
        [&[class, instruction, p1, 1, data.len() as u8], data].concat()
    }

    fn steps(results: &Results) -> Vec<u64> {
        results.iter().map(|result| result.amount_minor()).collect()
    }

    #[test]
    fn the_newest_codes_are_kept_and_a_later_word_takes_the_place_of_an_earlier_one() {
        let mut results = Results::new();
        for step in [5, 3, 9, 7, 8] {
            results.keep(&notice(step, 0, PaymentOutcome::Waits));
        }
        assert_eq!(steps(&results), [9, 8, 7, 5]);
        assert!(!results.keep(&notice(2, 0, PaymentOutcome::Paid)), "older than all that are kept");
        assert!(results.keep(&notice(8, 0, PaymentOutcome::Paid)));
        assert!(results.keep(&notice(8, 1, PaymentOutcome::Paid)), "another code of the same half minute");
        assert_eq!(steps(&results), [9, 8, 8, 7]);
        let outcomes: Vec<_> = results.iter().map(|result| result.outcome()).collect();
        assert_eq!(outcomes[..3], [PaymentOutcome::Waits, PaymentOutcome::Paid, PaymentOutcome::Paid]);
        assert!(!results.keep(&[1, 2, 3]));
    }

    #[test]
    fn a_notice_counts_only_in_a_channel_that_can_be_read_and_without_its_mac() {
        let told = notice(5, 0, PaymentOutcome::Paid);
        let vouched = |mac: usize| command(0x84, ins::VOUCH, 0, &[&told[..], &vec![0xAA; mac]].concat());
        let opened = |level, mac: usize| command(0x84, ins::EXTERNAL_AUTHENTICATE, level, &vec![1; 2 * mac]);
        for (level, mac, counts) in
            [(0x01, 8, true), (0x11, 8, true), (0x11, 16, true), (0x00, 8, false), (0x03, 8, false), (0x33, 8, false)]
        {
            let mut results = Results::new();
            assert!(!results.carried_out(&vouched(mac)), "no channel");
            results.carried_out(&opened(level, mac));
            assert_eq!(results.carried_out(&vouched(mac)), counts, "{level:02X}");
            for closing in [command(0x00, ins::SELECT, 4, &[1]), command(0x80, ins::INITIALIZE_UPDATE, 0, &[1; 8])] {
                results.carried_out(&opened(0x11, mac));
                results.carried_out(&closing);
                assert!(!results.carried_out(&vouched(mac)));
            }
        }
        let mut results = Results::new();
        results.carried_out(&opened(0x11, 8));
        assert!(!results.carried_out(&command(0x80, ins::VOUCH, 0, &told)), "in the clear");
        assert!(!results.carried_out(&command(0x84, ins::VOUCH, 0, &[1; 4])), "shorter than its MAC");
    }

    #[test]
    fn what_gives_the_chip_another_token_is_told_from_a_sync() {
        let opened = |level| command(0x84, ins::EXTERNAL_AUTHENTICATE, level, &[1; 16]);
        let asked = |tag: u16| {
            let [p1, p2] = tag.to_be_bytes();
            [&[0x04, ins::GET_DATA, p1, p2, 8][..], &[2; 8]].concat()
        };
        let order = command(0x84, ins::STORE_DATA, 0, &[3; 24]);
        let after = |commands: &[Vec<u8>]| {
            let mut results = Results::new();
            for command in commands {
                results.carried_out(command);
            }
            results.is_of_another_token(&order)
        };
        assert!(after(&[opened(0x33)]), "a binding");
        assert!(after(&[opened(0x33), asked(0xDF22)]), "it has asked something else");
        assert!(after(&[opened(0x33), asked(TOKENS), opened(0x33)]), "in the channel before");
        assert!(after(&[opened(0x33), asked(TOKENS)[..5].to_vec(), opened(0x33)]));
        assert!(!after(&[opened(0x33), asked(TOKENS)]), "a sync");
        let in_the_clear = command(0x00, ins::GET_DATA, 0, &[]);
        assert!(after(&[opened(0x33), [&[0x00, ins::GET_DATA, 0xDF, 0x23], &in_the_clear[4..]].concat()]));
        assert!(!after(&[]), "no channel");
        assert!(!after(&[opened(0x11)]), "nobody gives a token in a channel that can be read");
        assert!(!after(&[opened(0x33), command(0x80, ins::INITIALIZE_UPDATE, 0, &[1; 8])]), "closed");
        let mut results = Results::new();
        results.carried_out(&opened(0x33));
        assert!(!results.is_of_another_token(&asked(TOKENS)));
    }
}
