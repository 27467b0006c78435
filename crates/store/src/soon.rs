//! Waiting for what mostly comes soon: under load the next batch, and the next transaction to sync, are a few hundred
//! microseconds away, and a thread that sleeps is woken by a call of the system's, on a processor that has gone to sleep as well.

use std::sync::mpsc::{Receiver, RecvError, TryRecvError};
use std::time::{Duration, Instant};

/// How long a thread looks again and again before it sleeps.
const LOOKS: Duration = Duration::from_micros(100);

/// The next message, as [`Receiver::recv`]; but for a moment the processor is only left to whoever wants it, and not given up.
pub(crate) fn recv<T>(receiver: &Receiver<T>) -> Result<T, RecvError> {
    let begun = Instant::now();
    loop {
        match receiver.try_recv() {
            Ok(message) => return Ok(message),
            Err(TryRecvError::Disconnected) => return Err(RecvError),
            Err(TryRecvError::Empty) if begun.elapsed() > LOOKS => return receiver.recv(),
            Err(TryRecvError::Empty) => std::thread::yield_now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn messages_come_in_their_order_also_after_a_sleep_and_none_after_the_last_sender() {
        let (sender, receiver) = channel();
        let sending = std::thread::spawn(move || {
            for number in 0..40 {
                // Some wait until the other side sleeps, most do not.
                if number % 10 == 9 {
                    std::thread::sleep(5 * LOOKS);
                }
                assert_eq!(sender.send(number), Ok(()));
            }
        });
        assert_eq!((0..40).map(|_| recv(&receiver)).collect::<Vec<_>>(), (0..40).map(Ok).collect::<Vec<_>>());
        assert_eq!(recv(&receiver), Err(RecvError));
        assert!(sending.join().is_ok());
    }
}
