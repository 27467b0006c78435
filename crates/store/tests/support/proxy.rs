//! Between a server and its database: a connection that is cut at the worst moment.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to the next COMMIT, or statement that is a transaction by itself, and to nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// It arrives and is done; its answer does not come back.
    Answer,
    /// It never arrives.
    Commit,
    /// Its sender is cut off, and it arrives this much later.
    Late(Duration),
}

/// A proxy in front of a database's socket.
pub struct Proxy {
    pub port: u16,
    next: Arc<Mutex<Option<(usize, Cut)>>>,
}

impl Proxy {
    pub fn start(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let next = Arc::new(Mutex::new(None));
        let theirs = Arc::clone(&next);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, UnixStream::connect(&socket)) else { continue };
                forward(client, server, Arc::clone(&theirs));
            }
        });
        Self { port, next }
    }

    /// Cuts at the next COMMIT.
    pub fn cut(&self, cut: Cut) {
        self.cut_after(0, cut);
    }

    /// Cuts at a COMMIT after letting so many pass.
    pub fn cut_after(&self, passed: usize, cut: Cut) {
        *self.next.lock().unwrap() = Some((passed, cut));
    }

    /// Whether the cut has been made.
    pub fn has_cut(&self) -> bool {
        self.next.lock().unwrap().is_none()
    }
}

fn forward(client: TcpStream, server: UnixStream, next: Arc<Mutex<Option<(usize, Cut)>>>) {
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    // Answers go back until the client is cut off.
    let (mut from_server, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let is_silent = Arc::new(Mutex::new(false));
    let silent = Arc::clone(&is_silent);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from_server.read(&mut buffer) {
            if !*silent.lock().unwrap() && to_client.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(std::net::Shutdown::Both);
    });
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        let mut transactions = Transactions::default();
        while let Ok(length @ 1..) = from_client.read(&mut buffer) {
            let bytes = &buffer[..length];
            let is_commit = transactions.commits(bytes);
            let cut = if is_commit { take(&next) } else { None };
            if let Some(cut) = cut {
                *is_silent.lock().unwrap() = true;
                if let Cut::Late(pause) = cut {
                    let _ = client.shutdown(std::net::Shutdown::Both);
                    std::thread::sleep(pause);
                }
                if cut != Cut::Commit {
                    to_server.write_all(bytes).unwrap();
                    // Long enough for it to be done.
                    std::thread::sleep(Duration::from_millis(300));
                }
                break;
            }
            if to_server.write_all(bytes).is_err() {
                break;
            }
        }
        let _ = (client.shutdown(std::net::Shutdown::Both), server.shutdown(std::net::Shutdown::Both));
    });
}

/// The statements of one connection that are transactions by themselves.
#[derive(Default)]
struct Transactions {
    /// As a message names them that gives them their parameters: between two zeros.
    names: Vec<Vec<u8>>,
}

impl Transactions {
    /// Whether these bytes, from a client that sends each statement at once, commit something; those that prepare a
    /// transaction are remembered.
    fn commits(&mut self, bytes: &[u8]) -> bool {
        let says = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        let is_commit = says(b"COMMIT\0") || self.names.iter().any(|name| says(name));
        let query = b"\0WITH c0 AS (UPDATE paychip.partitions";
        if let Some(end) = bytes.windows(query.len()).position(|window| window == query) {
            let start =
                bytes[..end].iter().rposition(|byte| *byte == b's').expect("a statement's name is s and a number");
            self.names.push([b"\0", &bytes[start..end], b"\0"].concat());
        }
        is_commit
    }
}

/// The cut to make at this COMMIT, where it is its turn.
fn take(next: &Mutex<Option<(usize, Cut)>>) -> Option<Cut> {
    let mut next = next.lock().unwrap();
    let (passed, cut) = (*next)?;
    *next = if passed == 0 { None } else { Some((passed - 1, cut)) };
    (passed == 0).then_some(cut)
}
