//! A till's way to the servers: the same request again and again, at whichever server is there, until it is answered.
//!
//! What may be asked again is what the API says may: no answer, an answer that broke off, and 503, which tells when to
//! come back. Everything else is an answer, and one that says that something failed inside ends the test.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::Agent;

/// How long a request may go unanswered, in all its repeats: longer than the slowest start of a database, and than a server
/// asks it what became of a commit.
const ANSWER_PATIENCE: Duration = Duration::from_secs(120);
/// How long one try may take.
const TRY_PATIENCE: Duration = Duration::from_secs(20);
/// The pause between two tries. A till would wait as long as it is told to; this one is in a hurry to find faults.
const PAUSE: Duration = Duration::from_millis(10);

/// What is asked: GET without a body, POST with one.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Who asks.
    pub key: String,
    pub path: String,
    pub body: Option<Value>,
}

impl Request {
    pub fn get(key: &str, path: String) -> Self {
        Self { key: key.to_owned(), path, body: None }
    }

    pub fn post(key: &str, path: impl Into<String>, body: Value) -> Self {
        Self { key: key.to_owned(), path: path.into(), body: Some(body) }
    }
}

/// An answer that a till may rely on.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// The stable code of an error; empty where it is none.
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }
}

/// Where the servers are, and what has been asked of them.
pub struct Doors {
    /// None where one is dead.
    urls: Vec<Mutex<Option<String>>>,
    turn: AtomicUsize,
    agent: Agent,
    /// Requests that got an answer.
    answers: AtomicU64,
    /// Tries that got none.
    unanswered: AtomicU64,
    /// Tries that were told to come back.
    told_to_wait: AtomicU64,
    /// The last answer, and the longest time without one.
    silence: Mutex<(Option<Instant>, Duration)>,
    /// Somebody has failed: nobody need go on.
    pub is_lost: AtomicBool,
}

impl Doors {
    pub fn new(servers: usize) -> Self {
        let config = Agent::config_builder().timeout_global(Some(TRY_PATIENCE)).http_status_as_error(false).build();
        Self {
            urls: (0..servers).map(|_| Mutex::new(None)).collect(),
            turn: AtomicUsize::new(0),
            agent: config.into(),
            answers: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            told_to_wait: AtomicU64::new(0),
            silence: Mutex::new((None, Duration::ZERO)),
            is_lost: AtomicBool::new(false),
        }
    }

    /// Says where a server is now, or that it is nowhere.
    pub fn set(&self, server: usize, url: Option<String>) {
        *self.urls[server].lock().unwrap() = url;
    }

    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// How hard it was.
    pub fn summary(&self) -> String {
        let [answers, unanswered, waits] =
            [&self.answers, &self.unanswered, &self.told_to_wait].map(|count| count.load(Ordering::Relaxed));
        let longest = self.silence.lock().unwrap().1;
        format!(
            "{answers} requests answered, {unanswered} tries not answered, {waits} told to come back, none answered for \
             {longest:?} at most"
        )
    }

    /// Asks until there is an answer.
    pub fn ask(&self, request: &Request) -> Answer {
        let (begun, mut last) = (Instant::now(), "no server was there".to_owned());
        while begun.elapsed() < ANSWER_PATIENCE {
            assert!(!self.is_lost.load(Ordering::Acquire), "given up: another has failed");
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.urls.len();
            let url = self.urls[turn].lock().unwrap().clone();
            match url.map(|url| self.once(&url, request)) {
                Some(Ok(answer)) => {
                    self.answers.fetch_add(1, Ordering::Relaxed);
                    let mut silence = self.silence.lock().unwrap();
                    let without = silence.0.map_or(Duration::ZERO, |last| last.elapsed());
                    *silence = (Some(Instant::now()), silence.1.max(without));
                    return answer;
                }
                Some(Err(why)) => last = why,
                None => {}
            }
            std::thread::sleep(PAUSE);
        }
        panic!("{} {:?}: no answer for {ANSWER_PATIENCE:?}; the last was: {last}", request.path, request.body)
    }

    /// One try: an answer, or why there is none.
    fn once(&self, url: &str, request: &Request) -> Result<Answer, String> {
        let (to, key) = (format!("{url}{}", request.path), format!("Bearer {}", request.key));
        let sent = match &request.body {
            Some(body) => self.agent.post(to).header("Authorization", key).send_json(body),
            None => self.agent.get(to).header("Authorization", key).call(),
        };
        let read = sent.and_then(|mut answer| {
            let text = answer.body_mut().read_to_string()?;
            let retry_after = answer.headers().get("Retry-After").and_then(|value| value.to_str().ok());
            Ok((answer.status().as_u16(), retry_after.and_then(|value| value.parse::<u64>().ok()), text))
        });
        let (status, retry_after, text) = read.map_err(|error| {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
            error.to_string()
        })?;
        let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{}: {status} without JSON", request.path));
        let answer = Answer { status, body };
        if status == 503 {
            self.told_to_wait.fetch_add(1, Ordering::Relaxed);
            assert!(["busy", "stopped"].contains(&answer.code()), "{}: {answer:?}", request.path);
            assert!(retry_after.is_some(), "{}: 503 does not say when to come back", request.path);
            return Err(format!("{answer:?}"));
        }
        assert!(status < 500 && status != 401, "{} {:?}: {answer:?}", request.path, request.body);
        Ok(answer)
    }
}
