//! The load: connections that each send a request, wait for its answer, and send the next; or, at a fixed rate, send when
//! their time has come, so that a slow server is not spared the requests it delays.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use super::codes::{Payment, Supply};
use super::seed::api_key;
use crate::fault::Fault;

/// The most payments prepared for one run.
const MAX_PAYMENTS: usize = 2_000_000;
/// Bytes of an answer, at most.
const ANSWER_BYTES: usize = 4_096;

/// A payment's body, around its order number and its code.
const BODY_START: &str = "{\"order\":\"";
const CODE_START: &str = "\",\"code\":\"";
const BODY_END: &str = "\",\"amount\":100,\"currency\":\"CNY\"}";
/// An order's number: what stands for the process, and digits.
const ORDER_START_LEN: usize = 10;
const ORDER_DIGITS: usize = 16;
/// Digits of a code.
const CODE_LEN: usize = 20;

/// How the load is put on.
pub(super) struct Load {
    pub(super) address: String,
    pub(super) clients: usize,
    pub(super) warm_up: Duration,
}

/// What a run came to.
pub(super) struct Measured {
    pub(super) per_second: f64,
    /// Requests answered, those that were not measured included.
    pub(super) answered: usize,
    /// Microseconds, in order.
    latencies_us: Vec<u32>,
}

impl Measured {
    /// The latency that this share of requests was answered within, milliseconds.
    pub(super) fn percentile_ms(&self, percent: f64) -> f64 {
        let last = self.latencies_us.len().saturating_sub(1);
        let place = (last as f64 * percent / 100.0).round() as usize;
        f64::from(self.latencies_us.get(place).copied().unwrap_or(0)) / 1_000.0
    }
}

/// What a run shares between its connections.
struct Run {
    requests: Requests,
    next: Cell<usize>,
    begun: Instant,
    measured: (Duration, Duration),
    /// Between two requests of the whole run; none where each connection sends when it is free.
    interval: Option<Duration>,
    latencies_us: RefCell<Vec<u32>>,
    refused: RefCell<Option<String>>,
    last: Cell<Duration>,
    answered: Cell<usize>,
}

enum Requests {
    Empty,
    /// The payments, and what the requests to each merchant begin with, from 1.
    Payments(Vec<Payment>, Vec<Vec<u8>>),
}

impl Load {
    /// Empty POST requests.
    pub(super) fn empty(&self, measured: Duration) -> Result<Measured, Fault> {
        self.run(Requests::Empty, measured, None)
    }

    /// Payments, as many as go, or at this rate.
    pub(super) fn payments(&self, supply: &Supply, measured: Duration, rate: Option<f64>) -> Result<Measured, Fault> {
        let seconds = (self.warm_up + measured).as_secs_f64();
        let wanted = rate.map_or(MAX_PAYMENTS, |rate| (rate * seconds * 1.1) as usize).min(MAX_PAYMENTS);
        let cap = (seconds * 120_000.0) as usize;
        let payments = supply.payments(wanted.min(cap));
        let begun = (1..=supply.merchants()).map(begin_request).collect();
        self.run(Requests::Payments(payments, begun), measured, rate)
    }

    fn run(&self, requests: Requests, measured: Duration, rate: Option<f64>) -> Result<Measured, Fault> {
        let failed = |text: String| Fault::new("bench_load", text);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| failed(e.to_string()))?;
        let run = Rc::new(Run {
            requests,
            next: Cell::new(0),
            begun: Instant::now(),
            measured: (self.warm_up, self.warm_up + measured),
            interval: rate.map(|rate| Duration::from_secs_f64(1.0 / rate.max(1.0))),
            latencies_us: RefCell::default(),
            refused: RefCell::default(),
            last: Cell::new(Duration::ZERO),
            answered: Cell::new(0),
        });
        let local = LocalSet::new();
        local.block_on(&runtime, async {
            let connections: Vec<_> = (0..self.clients)
                .map(|_| tokio::task::spawn_local(connection(self.address.clone(), Rc::clone(&run))))
                .collect();
            for connection in connections {
                connection.await.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?;
            }
            Ok::<(), Fault>(())
        })?;
        if let Some(answer) = run.refused.borrow_mut().take() {
            return Err(failed(format!("not measured, for something was answered that is no payment: {answer}")));
        }
        let mut latencies_us = run.latencies_us.take();
        latencies_us.sort_unstable();
        // Where the codes ran out before the time did, only the time they lasted counts.
        let lasted = run.last.get().saturating_sub(self.warm_up).min(measured);
        if lasted < Duration::from_secs(1) {
            return Err(failed("not measured, for there were too few fresh codes: take more tokens".to_owned()));
        }
        let answered = run.answered.get();
        Ok(Measured { per_second: latencies_us.len() as f64 / lasted.as_secs_f64(), answered, latencies_us })
    }
}

async fn connection(address: String, run: Rc<Run>) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let mut request = Vec::with_capacity(512);
    let mut answer = vec![0; ANSWER_BYTES];
    loop {
        let number = run.next.get();
        run.next.set(number + 1);
        let due = run.interval.map(|interval| run.begun + interval.mul_f64(number as f64));
        if let Some(due) = due {
            tokio::time::sleep_until(due.into()).await;
        }
        let begun = Instant::now();
        if begun.duration_since(run.begun) >= run.measured.1 || run.refused.borrow().is_some() {
            return Ok(());
        }
        request.clear();
        match &run.requests {
            Requests::Empty => {
                request.extend_from_slice(b"POST /ping HTTP/1.1\r\nhost: bench\r\ncontent-length: 0\r\n\r\n")
            }
            Requests::Payments(payments, begun) => {
                let Some(payment) = payments.get(number) else { return Ok(()) };
                let Some(begun) = begun.get((payment.merchant as usize).wrapping_sub(1)) else { return Ok(()) };
                write_payment(&mut request, begun, payment);
            }
        }
        stream.write_all(&request).await?;
        let length = read_answer(&mut stream, &mut answer).await?;
        let ended = run.begun.elapsed();
        run.answered.set(run.answered.get() + 1);
        let status = answer.get(9..12).unwrap_or_default();
        if status != b"200" && status != b"204" {
            let text = String::from_utf8_lossy(answer.get(..length).unwrap_or_default());
            let (sent_ms, took_ms) = ((begun - run.begun).as_millis(), begun.elapsed().as_millis());
            *run.refused.borrow_mut() = Some(format!(
                "request {number}, sent {sent_ms} ms into the run and answered after {took_ms} ms: {text}"
            ));
            return Ok(());
        }
        if ended >= run.measured.0 && ended < run.measured.1 {
            let from = due.unwrap_or(begun);
            let latency_us = u32::try_from(from.elapsed().as_micros()).unwrap_or(u32::MAX);
            run.latencies_us.borrow_mut().push(latency_us);
            run.last.set(ended);
        }
    }
}

/// What the requests to one merchant begin with, made before the run: what the load computes is missing to the server.
fn begin_request(merchant: u64) -> Vec<u8> {
    let body = BODY_START.len() + ORDER_START_LEN + ORDER_DIGITS + CODE_START.len() + CODE_LEN + BODY_END.len();
    // The process is in the number: a code that an earlier run has used is refused, not told again as the payment it made there.
    let order_start = format!("b{:08x}-", std::process::id());
    format!(
        "POST /v1/payments HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {body}\r\n\r\n{BODY_START}{order_start}",
        api_key(merchant),
    )
    .into_bytes()
}

fn write_payment(request: &mut Vec<u8>, begun: &[u8], payment: &Payment) {
    request.extend_from_slice(begun);
    let mut order = [b'0'; ORDER_DIGITS];
    let mut rest = payment.order;
    for digit in order.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    for part in [&order[..], CODE_START.as_bytes(), &payment.code, BODY_END.as_bytes()] {
        request.extend_from_slice(part);
    }
}

/// Reads one answer; its length in bytes.
async fn read_answer(stream: &mut TcpStream, answer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    loop {
        let rest = answer.get_mut(length..).unwrap_or_default();
        let read = stream.read(rest).await?;
        if read == 0 {
            return Err(std::io::Error::other("the server closed the connection"));
        }
        length += read;
        if answer_length(answer.get(..length).unwrap_or_default()).is_some_and(|whole| length >= whole) {
            return Ok(length);
        }
    }
}

/// How long the answer that begins so is, once its headers are there.
fn answer_length(text: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length: ";
    let (mut at, mut body) = (0, 0);
    loop {
        let line = text.get(at..)?;
        let line = line.get(..line.iter().position(|byte| *byte == b'\n')?)?;
        at += line.len() + 1;
        if line == b"\r" {
            return Some(at + body);
        }
        if let Some((name, value)) = line.split_at_checked(NAME.len())
            && name.eq_ignore_ascii_case(NAME)
        {
            let digits = value.iter().take_while(|byte| byte.is_ascii_digit());
            body = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_how_long_it_is_and_names_order_code_and_merchant() {
        let mut request = Vec::new();
        let payment = Payment { code: *b"71234567890123456789", merchant: 7, order: 42 };
        write_payment(&mut request, &begin_request(payment.merchant), &payment);
        let text = String::from_utf8(request).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("head and body");
        assert!(head.contains(&format!("\r\nauthorization: Bearer {}\r\n", api_key(7))), "{head}");
        assert!(head.ends_with(&format!("\r\ncontent-length: {}", body.len())), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["code"], "71234567890123456789");
        assert_eq!(body["order"], format!("b{:08x}-0000000000000042", std::process::id()));
    }

    #[test]
    fn an_answer_is_as_long_as_its_headers_say() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\ndate: today\r\n\r\n{\"a\":\"bcde\"}";
        for cut in 0..answer.len() - 12 {
            assert_eq!(answer_length(&answer[..cut]), None, "{cut}");
        }
        for cut in answer.len() - 12..=answer.len() {
            assert_eq!(answer_length(&answer[..cut]), Some(answer.len()), "{cut}");
        }
        assert_eq!(answer_length(b"HTTP/1.1 204 No Content\r\n\r\n"), Some(27));
    }
}
