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
    Payments(Vec<Payment>),
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
        self.run(Requests::Payments(payments), measured, rate)
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
            Requests::Payments(payments) => match payments.get(number) {
                Some(payment) => write_payment(&mut request, payment),
                None => return Ok(()),
            },
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

fn write_payment(request: &mut Vec<u8>, payment: &Payment) {
    let code = String::from_utf8_lossy(&payment.code);
    // The process is in the number: a code that an earlier run has used is refused, not told again as the payment it made there.
    let order = format!("b{:x}-{:016}", std::process::id(), payment.order);
    let body = format!("{{\"order\":\"{order}\",\"code\":\"{code}\",\"amount\":100,\"currency\":\"CNY\"}}");
    let head = format!(
        "POST /v1/payments HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        api_key(payment.merchant),
        body.len()
    );
    request.extend_from_slice(head.as_bytes());
    request.extend_from_slice(body.as_bytes());
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
        let text = answer.get(..length).unwrap_or_default();
        if let Some(head) = text.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = content_length(text.get(..head).unwrap_or_default());
            if length >= head + 4 + body {
                return Ok(length);
            }
        }
    }
}

fn content_length(head: &[u8]) -> usize {
    let name = b"content-length: ";
    let at = head.windows(name.len()).position(|window| window.eq_ignore_ascii_case(name));
    let digits = at.and_then(|at| head.get(at + name.len()..)).unwrap_or_default();
    digits.iter().take_while(|byte| byte.is_ascii_digit()).fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))
}
