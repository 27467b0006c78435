//! A chip as the card in vpcd's virtual reader: pcscd takes it for any other card.
//!
//! The card dials. A frame is a length of two bytes and as many bytes; one byte is an order of the reader (power
//! off, power on, reset, answer to reset), anything longer a command APDU. Only commands and the request for the
//! answer to reset are answered.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::atr::ATR;
use super::{ANSWER_BYTES, Card};
use crate::fault::Fault;

/// How often a reader that does not answer is dialled again.
const DIAL_AGAIN: Duration = Duration::from_millis(500);
/// How long dialling one address may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a frame that are kept. A longer one is read to its end and answered as a command that is too long.
const FRAME_BYTES: usize = ::chip::MAX_COMMAND_BYTES;
/// What a chip answers to a command that is too long.
const TOO_LONG: [u8; 2] = [0x67, 0x00];

/// What happens to the card, for whoever watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// It is in the reader.
    In,
    /// The reader has let it go.
    Out,
}

/// Keeps the card in the reader at this address, dialling again whenever the reader goes away. Returns only when the
/// card itself can't be reached any more.
pub(super) fn keep_in(address: &str, card: &Mutex<Box<dyn Card + Send>>, tell: impl Fn(Event)) -> Fault {
    loop {
        if let Ok(mut stream) = dial(address) {
            tell(Event::In);
            let ended = talk(&mut stream, card);
            tell(Event::Out);
            // Out of the reader there is no power.
            let powered_off = locked(card).reset();
            if let Err(fault) = ended.and(powered_off) {
                return fault;
            }
        }
        std::thread::sleep(DIAL_AGAIN);
    }
}

/// The card, whatever happened to another thread.
pub(super) fn locked(card: &Mutex<Box<dyn Card + Send>>) -> std::sync::MutexGuard<'_, Box<dyn Card + Send>> {
    card.lock().unwrap_or_else(PoisonError::into_inner)
}

fn dial(address: &str) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, DIAL_TIMEOUT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Answers until the reader goes away, which is no fault.
fn talk(stream: &mut (impl Read + Write), card: &Mutex<Box<dyn Card + Send>>) -> Result<(), Fault> {
    while let Ok(frame) = read_frame(stream) {
        if let Some(answer) = answer(&frame, &mut **locked(card))?
            && write_frame(stream, &answer).is_err()
        {
            break;
        }
    }
    Ok(())
}

/// A frame from the reader.
#[derive(Debug, PartialEq, Eq)]
enum Frame {
    PowerOff,
    PowerOn,
    Reset,
    AnswerToReset,
    Apdu(Vec<u8>),
    /// More than a command can have.
    TooLong,
    /// Nothing that means anything.
    Unknown,
}

fn read_frame(stream: &mut impl Read) -> io::Result<Frame> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let length = usize::from(u16::from_be_bytes(length));
    let mut kept = vec![0; length.min(FRAME_BYTES)];
    stream.read_exact(&mut kept)?;
    let rest = (length - kept.len()) as u64;
    if rest > 0 {
        let skipped = io::copy(&mut stream.take(rest), &mut io::sink())?;
        return if skipped == rest { Ok(Frame::TooLong) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
    }
    Ok(match *kept {
        [0x00] => Frame::PowerOff,
        [0x01] => Frame::PowerOn,
        [0x02] => Frame::Reset,
        [0x04] => Frame::AnswerToReset,
        [] | [_] => Frame::Unknown,
        _ => Frame::Apdu(kept),
    })
}

fn write_frame(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat())
}

/// What is answered to a frame, if anything is.
fn answer(frame: &Frame, card: &mut dyn Card) -> Result<Option<Vec<u8>>, Fault> {
    match frame {
        // Sessions live in RAM, and RAM does not outlive any of the three.
        Frame::PowerOff | Frame::PowerOn | Frame::Reset => card.reset().map(|()| None),
        Frame::AnswerToReset => Ok(Some(ATR.to_vec())),
        Frame::Apdu(command) => {
            let mut answer = vec![0; ANSWER_BYTES];
            let length = card.exchange(command, &mut answer)?;
            answer.truncate(length);
            Ok(Some(answer))
        }
        Frame::TooLong => Ok(Some(TOO_LONG.to_vec())),
        Frame::Unknown => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers 9000 and counts its resets.
    #[derive(Default)]
    struct Plain {
        resets: usize,
    }

    impl Card for Plain {
        fn exchange(&mut self, _: &[u8], answer: &mut [u8]) -> Result<usize, Fault> {
            answer[..2].copy_from_slice(&[0x90, 0x00]);
            Ok(2)
        }

        fn reset(&mut self) -> Result<(), Fault> {
            self.resets += 1;
            Ok(())
        }
    }

    fn frame(bytes: &[u8]) -> io::Result<Frame> {
        read_frame(&mut io::Cursor::new(bytes))
    }

    #[test]
    fn orders_and_commands_are_told_apart_by_their_length() {
        assert_eq!(frame(&[0, 1, 0]).unwrap(), Frame::PowerOff);
        assert_eq!(frame(&[0, 1, 1]).unwrap(), Frame::PowerOn);
        assert_eq!(frame(&[0, 1, 2]).unwrap(), Frame::Reset);
        assert_eq!(frame(&[0, 1, 4]).unwrap(), Frame::AnswerToReset);
        assert_eq!(frame(&[0, 1, 3]).unwrap(), Frame::Unknown);
        assert_eq!(frame(&[0, 0]).unwrap(), Frame::Unknown);
        assert_eq!(frame(&[0, 2, 0, 1]).unwrap(), Frame::Apdu(vec![0, 1]));
    }

    #[test]
    fn a_frame_too_long_is_read_to_its_end_and_a_cut_one_is_none() {
        let mut stream = vec![0xFF, 0xFF];
        stream.resize(2 + 0xFFFF, 0xA5);
        stream.extend([0, 1, 4]);
        let mut stream = io::Cursor::new(stream);
        assert_eq!(read_frame(&mut stream).unwrap(), Frame::TooLong);
        assert_eq!(read_frame(&mut stream).unwrap(), Frame::AnswerToReset);
        for cut in [&[][..], &[0], &[0, 2, 0], &[0xFF, 0xFF, 0]] {
            assert!(frame(cut).is_err());
        }
    }

    #[test]
    fn every_loss_of_power_is_a_reset_and_nothing_of_it_is_answered() {
        let mut card = Plain::default();
        for order in [Frame::PowerOff, Frame::PowerOn, Frame::Reset] {
            assert_eq!(answer(&order, &mut card).unwrap(), None);
        }
        assert_eq!(card.resets, 3);
        assert_eq!(answer(&Frame::AnswerToReset, &mut card).unwrap(), Some(ATR.to_vec()));
        assert_eq!(answer(&Frame::Apdu(vec![0; 4]), &mut card).unwrap(), Some(vec![0x90, 0x00]));
        assert_eq!(answer(&Frame::TooLong, &mut card).unwrap(), Some(vec![0x67, 0x00]));
        assert_eq!(card.resets, 3);
    }
}
