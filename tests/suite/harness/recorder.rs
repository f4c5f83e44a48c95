//! A receiver that takes everything and keeps it as it came: headers and bytes,
//! for those who verify it later.

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::http::{self, Message};

const PATIENCE: Duration = Duration::from_secs(60);

/// Listens until the tests end.
#[derive(Clone, Debug)]
pub struct Recorder {
    port: u16,
    taken: Arc<Mutex<Vec<Message>>>,
}

impl Recorder {
    pub fn start() -> Recorder {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let recorder = Recorder { port, taken: Arc::default() };
        let serving = recorder.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = serving.clone();
                std::thread::spawn(move || connection.serve(stream));
            }
        });
        recorder
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Waits until `count` deliveries have come; all of them.
    pub fn wait_for(&self, count: usize) -> Vec<Message> {
        super::wait_until(&format!("{count} deliveries"), PATIENCE, || {
            let taken = self.taken.lock().expect("no panic under this lock");
            if taken.len() >= count { Ok(taken.clone()) } else { Err(taken.len()) }
        })
    }

    fn serve(&self, mut stream: TcpStream) {
        let Ok(reading) = stream.try_clone() else { return };
        let mut reader = BufReader::new(reading);
        while let Ok(message) = http::read_request(&mut reader) {
            self.taken.lock().expect("no panic under this lock").push(message);
            if stream.write_all(b"HTTP/1.1 204 x\r\ncontent-length: 0\r\n\r\n").is_err() {
                return;
            }
        }
    }
}

/// A line for `tests/clients/webhooks.{py,mjs}`: each of the secrets must verify
/// the delivery.
pub fn line(format: &str, delivery: &Message, secrets: &[&str]) -> String {
    let headers: Map<String, Value> =
        delivery.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let line = json!({
        "format": format, "headers": headers, "body": delivery.text(), "secrets": secrets,
    });
    format!("{line}\n")
}
