//! Stands between clients and a cloud, and keeps every byte the cloud answers.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What a cloud has said to whoever asked it through [`Recorder::url`].
pub struct Recorder {
    pub url: String,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Recorder {
    /// Before the cloud at this URL.
    pub fn before(cloud: &str) -> Self {
        let cloud = cloud.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A cloud that has ended answers nobody.
                let Ok(server) = TcpStream::connect(&cloud) else { return };
                let (to_server, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || pass(client, to_server, None));
                let heard = Arc::clone(&heard);
                std::thread::spawn(move || pass(server, to_client, Some(&heard)));
            }
        });
        Self { url, said }
    }

    /// Everything it has said.
    pub fn said(&self) -> Vec<u8> {
        self.said.lock().unwrap().clone()
    }

    /// Sends these bytes as they are, and reads until the cloud closes or has nothing more to say.
    pub fn send_raw(&self, bytes: &[u8]) {
        let mut connection = TcpStream::connect(self.url.strip_prefix("http://").unwrap()).unwrap();
        connection.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
        // A cloud that has heard enough closes; both are fine here, what it said is kept.
        let _ = connection.write_all(bytes);
        let _ = connection.read_to_end(&mut Vec::new());
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, heard: Option<&Mutex<Vec<u8>>>) {
    let mut buffer = [0; 8_192];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 {
            break;
        }
        if let Some(heard) = heard {
            heard.lock().unwrap().extend_from_slice(&buffer[..count]);
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
