//! A webhook receiver that checks signatures with the published crate, answers
//! as it is told to, and keeps a ledger of what it accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::http::{self, Message};
use super::secrets;

/// What to do with one delivery.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A status and further header lines (`retry-after: 1`). 2xx accepts.
    Status(u16, Vec<String>),
    /// Say nothing until the sender gives up.
    Silence,
    /// Close the connection. What was delivered is forgotten.
    HangUp,
    /// Accept it, and close the connection without saying so.
    AcceptAndHangUp,
    /// Accept it, and say nothing until the sender gives up.
    AcceptInSilence,
}

/// In which order events must come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordering {
    /// One after the other, by seq.
    BySeq,
    /// By seq for each user and each group.
    PerObject,
    /// In the format of Polis, which has no seq: they are numbered as they come.
    Polis,
}

impl Answer {
    pub fn accept() -> Answer {
        Answer::Status(204, Vec::new())
    }
}

/// Listens until the tests end.
#[derive(Clone, Debug)]
pub struct Receiver {
    port: u16,
    secret: String,
    ordering: Ordering,
    /// The sender's clock is not this one.
    any_time: bool,
    ledger: Arc<Mutex<Ledger>>,
}

type Script = Box<dyn FnMut(&Value) -> Answer + Send>;

struct Ledger {
    script: Script,
    /// What every `webhook-id` was sent with, accepted or not.
    bodies: BTreeMap<String, Vec<u8>>,
    /// The ids of accepted events.
    ids: BTreeSet<String>,
    /// Events by seq.
    accepted: BTreeMap<u64, Value>,
    /// Seqs in the order of their first acceptance.
    arrivals: Vec<u64>,
    /// The last seq of each thing that has an order of its own.
    last: BTreeMap<String, u64>,
    attempts: usize,
    complaints: Vec<String>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} accepted of {} attempts", self.accepted.len(), self.attempts)
    }
}

impl Receiver {
    /// Starts one with a secret of its own that accepts everything.
    pub fn start() -> Receiver {
        Receiver::start_with(Ordering::BySeq)
    }

    /// The same, for a sender whose clock is another.
    pub fn start_at_any_time() -> Receiver {
        Receiver::start_as(Ordering::BySeq, true)
    }

    /// The same, for an endpoint that keeps another order.
    pub fn start_with(ordering: Ordering) -> Receiver {
        Receiver::start_as(ordering, false)
    }

    fn start_as(ordering: Ordering, any_time: bool) -> Receiver {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let receiver = Receiver {
            port: listener.local_addr().expect("a bound socket has an address").port(),
            secret: secrets::webhook(),
            ordering,
            any_time,
            ledger: Arc::new(Mutex::new(Ledger {
                script: Box::new(|_| Answer::accept()),
                bodies: BTreeMap::new(),
                ids: BTreeSet::new(),
                accepted: BTreeMap::new(),
                arrivals: Vec::new(),
                last: BTreeMap::new(),
                attempts: 0,
                complaints: Vec::new(),
            })),
        };
        let serving = receiver.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = serving.clone();
                std::thread::spawn(move || connection.serve(stream));
            }
        });
        receiver
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/roster", self.port)
    }

    /// `whsec_…`
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// From now on answers as `script` says.
    pub fn answer(&self, script: impl FnMut(&Value) -> Answer + Send + 'static) {
        self.ledger.lock().expect("no panic under this lock").script = Box::new(script);
    }

    /// Everything accepted, once each, in the order of their seqs.
    pub fn events(&self) -> Vec<Value> {
        let ledger = self.ledger.lock().expect("no panic under this lock");
        ledger.accepted.values().cloned().collect()
    }

    /// The same in the order in which they were first accepted.
    pub fn arrivals(&self) -> Vec<Value> {
        let ledger = self.ledger.lock().expect("no panic under this lock");
        ledger.arrivals.iter().map(|seq| ledger.accepted[seq].clone()).collect()
    }

    /// How many events were accepted.
    pub fn count(&self) -> usize {
        self.ledger.lock().expect("no panic under this lock").accepted.len()
    }

    /// Deliveries tried, whatever the answer.
    pub fn attempts(&self) -> usize {
        self.ledger.lock().expect("no panic under this lock").attempts
    }

    /// Panics when any delivery was badly signed, out of order, or gave an id or
    /// a seq a second body.
    pub fn assert_no_complaints(&self) {
        let ledger = self.ledger.lock().expect("no panic under this lock");
        assert!(ledger.complaints.is_empty(), "{:#?}", ledger.complaints);
    }

    fn serve(&self, stream: TcpStream) {
        let Ok(reading) = stream.try_clone() else { return };
        let (mut reader, mut stream) = (BufReader::new(reading), stream);
        while let Ok(message) = http::read(&mut reader) {
            let answer = self.take(&message);
            match answer {
                Answer::Status(status, headers) => {
                    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
                    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n{lines}\r\n");
                    if stream.write_all(head.as_bytes()).is_err() {
                        return;
                    }
                }
                Answer::Silence | Answer::AcceptInSilence => {
                    let _patience = stream.set_read_timeout(Some(Duration::from_secs(600)));
                    let _gave_up = std::io::copy(&mut reader, &mut std::io::sink());
                    return;
                }
                Answer::HangUp | Answer::AcceptAndHangUp => return,
            }
        }
    }

    fn take(&self, message: &Message) -> Answer {
        let event = message.json();
        let mut ledger = self.ledger.lock().expect("no panic under this lock");
        ledger.attempts += 1;
        let verified = match self.ordering {
            Ordering::Polis => self.verify_polis(message),
            Ordering::BySeq | Ordering::PerObject => self.verify(message, &event),
        };
        ledger.complaints.extend(verified.err());
        ledger.note_body(message);
        let answer = (ledger.script)(&event);
        let accepts = match answer {
            Answer::Status(status, _) => (200..300).contains(&status),
            Answer::AcceptAndHangUp | Answer::AcceptInSilence => true,
            Answer::Silence | Answer::HangUp => false,
        };
        if accepts {
            match self.ordering {
                Ordering::Polis => ledger.accept_polis(message, &event),
                ordering => events_of(&event).for_each(|event| ledger.accept(event, ordering)),
            }
        }
        answer
    }

    fn verify_polis(&self, message: &Message) -> Result<(), String> {
        let header = message.header("boxyhq-signature").unwrap_or_default();
        let said = header.strip_prefix("t=").and_then(|rest| rest.split_once(",s="));
        let (time, signature) = said.ok_or_else(|| format!("no signature: {header}"))?;
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, self.secret.as_bytes());
        let mut signed = format!("{time}.").into_bytes();
        signed.extend(&message.body);
        let tag = ring::hmac::sign(&key, &signed);
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        if hex == signature { Ok(()) } else { Err(format!("badly signed: {header}")) }
    }

    fn verify(&self, message: &Message, event: &Value) -> Result<(), String> {
        let mut headers = ::http::HeaderMap::new();
        for (name, value) in &message.headers {
            if let (Ok(name), Ok(value)) =
                (name.parse::<::http::HeaderName>(), value.parse::<::http::HeaderValue>())
            {
                headers.insert(name, value);
            }
        }
        let webhook = standardwebhooks::Webhook::new(&self.secret).map_err(|e| e.to_string())?;
        if self.any_time {
            verify_at_any_time(&webhook, message)?;
        } else {
            webhook.verify(&message.body, &headers).map_err(|e| format!("{e}: {event}"))?;
        }
        if message.header("webhook-id") != event["id"].as_str() {
            return Err(format!("webhook-id is not the event's id: {event}"));
        }
        Ok(())
    }
}

/// The crate holds the time that was signed against its own.
fn verify_at_any_time(
    webhook: &standardwebhooks::Webhook,
    message: &Message,
) -> Result<(), String> {
    let header = |name| message.header(name).unwrap_or_default();
    let at = header("webhook-timestamp").parse().map_err(|e| format!("no time: {e}"))?;
    let signature = webhook.sign(header("webhook-id"), at, &message.body);
    let signature = signature.map_err(|e| e.to_string())?;
    let said = header("webhook-signature");
    let is_signed = said.split(' ').any(|one| one == signature);
    if is_signed { Ok(()) } else { Err(format!("badly signed: {said}")) }
}

impl Ledger {
    fn note_body(&mut self, message: &Message) {
        let id = message.header("webhook-id").unwrap_or_default();
        let first = self.bodies.entry(id.to_owned()).or_insert_with(|| message.body.clone());
        if *first != message.body {
            let (first, text) = (String::from_utf8_lossy(first), message.text());
            self.complaints.push(format!("{id} was {first} and now is {text}"));
        }
    }

    /// With the `webhook-id` as `id`, and a seq of our own.
    fn accept_polis(&mut self, message: &Message, event: &Value) {
        let id = json!(message.header("webhook-id"));
        if self.ids.insert(id.to_string()) {
            let seq = self.arrivals.len() as u64 + 1;
            let mut event = event.clone();
            (event["id"], event["seq"]) = (id, json!(seq));
            self.accepted.insert(seq, event);
            self.arrivals.push(seq);
        }
    }

    fn accept(&mut self, event: &Value, ordering: Ordering) {
        let Some(seq) = event["seq"].as_u64() else {
            self.complaints.push(format!("an event without seq: {event}"));
            return;
        };
        match self.accepted.get(&seq) {
            Some(known) if known != event => {
                self.complaints.push(format!("seq {seq} was {known} and now is {event}"));
            }
            Some(_) => {}
            None => {
                for key in ordered_by(event, ordering) {
                    let last = self.last.entry(key.clone()).or_default();
                    if seq < *last {
                        self.complaints.push(format!("{seq} of {key:?} came after {last}"));
                    }
                    *last = seq;
                }
                if !self.ids.insert(event["id"].to_string()) {
                    self.complaints.push(format!("this id stands for two events: {event}"));
                }
                self.accepted.insert(seq, event.clone());
                self.arrivals.push(seq);
            }
        }
    }
}

/// One event, or those of a batch.
fn events_of(body: &Value) -> impl Iterator<Item = &Value> {
    let batch = body["events"].as_array().filter(|_| body["type"] == "batch");
    batch.map_or(std::slice::from_ref(body), Vec::as_slice).iter()
}

/// What an event must come in order for.
fn ordered_by(event: &Value, ordering: Ordering) -> Vec<String> {
    let data = &event["data"];
    let known = |field: &&str| data[*field]["id"].is_string();
    let named = |field: &str| format!("{} {field} {}", event["directory"], data[field]["id"]);
    match ordering {
        Ordering::BySeq | Ordering::Polis => vec![String::new()],
        Ordering::PerObject => ["user", "group"]
            .into_iter()
            .filter(known)
            .map(named)
            .chain(
                // The inner group of a membership has an order of its own as a group, too.
                data["member"]["id"]
                    .is_string()
                    .then(|| format!("{} group {}", event["directory"], data["member"]["id"])),
            )
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(receiver: &Receiver, body: &str, signature: &str, id: &str, at: u64) -> u16 {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, receiver.port)).unwrap();
        write!(
            stream,
            "POST /roster HTTP/1.1\r\nwebhook-id: {id}\r\nwebhook-timestamp: {at}\r\n\
             webhook-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        http::read(&mut BufReader::new(stream)).map_or(0, |answer| answer.status())
    }

    #[test]
    fn the_receiver_checks_signatures_and_answers_as_told() {
        let receiver = Receiver::start();
        let at = rosterd::clock::now().0 / 1000;
        let body = json!({"id": "evt_1", "seq": 1}).to_string();
        let webhook = standardwebhooks::Webhook::new(receiver.secret()).unwrap();
        let signature = webhook.sign("evt_1", i64::try_from(at).unwrap(), body.as_bytes()).unwrap();
        receiver.answer(|_| Answer::Status(503, vec!["retry-after: 1".to_owned()]));
        assert_eq!(post(&receiver, &body, &signature, "evt_1", at), 503);
        receiver.answer(|_| Answer::HangUp);
        assert_eq!(post(&receiver, &body, &signature, "evt_1", at), 0);
        assert!(receiver.events().is_empty());
        receiver.answer(|_| Answer::AcceptAndHangUp);
        assert_eq!(post(&receiver, &body, &signature, "evt_1", at), 0);
        receiver.answer(|_| Answer::accept());
        assert_eq!(post(&receiver, &body, &signature, "evt_1", at), 204);
        assert_eq!(receiver.events().len(), 1);
        assert_eq!(receiver.attempts(), 4);
        receiver.assert_no_complaints();
        post(&receiver, &body, "v1,Zm9v", "evt_1", at);
        assert_eq!(receiver.ledger.lock().unwrap().complaints.len(), 1);
    }
}
