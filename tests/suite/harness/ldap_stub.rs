//! A scripted LDAP server for what real ones do not do on demand: odd,
//! hostile, limited and silent answers. It speaks plain LDAP on loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One operation that a client asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub number: u16,
    /// The tag of the operation: [`BIND`], [`SEARCH`], …
    pub operation: u8,
    /// Of a search.
    pub base: String,
    pub attributes: Vec<String>,
    /// The numbers of the controls with their values.
    pub controls: Vec<(String, Vec<u8>)>,
}

/// What the server does next.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Protocol operations, each perhaps with controls, in messages of their own.
    Answer(Vec<Vec<u8>>),
    /// Bytes as they are.
    Raw(Vec<u8>),
    Silence,
    Close,
}

pub const BIND: u8 = 0x60;
pub const SEARCH: u8 = 0x63;
pub const EXTENDED: u8 = 0x77;
const BIND_RESPONSE: u8 = 0x61;
const ENTRY: u8 = 0x64;
const DONE: u8 = 0x65;
const REFERENCE: u8 = 0x73;
pub const PAGED: &str = "1.2.840.113556.1.4.319";

/// The server; it serves until the tests end.
#[derive(Clone, Debug)]
pub struct Stub {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Stub {
    /// Answers every operation by `script`.
    pub fn start(script: impl FnMut(&Request) -> Reply + Send + 'static) -> Stub {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let stub = Stub { port, seen: Arc::default() };
        let (seen, script) = (Arc::clone(&stub.seen), Arc::new(Mutex::new(script)));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                std::thread::spawn(move || serve(client, &seen, &script));
            }
        });
        stub
    }

    /// A directory of whole searches: signs everyone in, tells `root` of
    /// itself, and answers other searches by `search`.
    pub fn directory(
        root: &'static [(&'static str, &'static [&'static str])],
        mut search: impl FnMut(&Request) -> Reply + Send + 'static,
    ) -> Stub {
        Stub::start(move |request| match request.operation {
            BIND => Reply::Answer(vec![result(BIND_RESPONSE, 0, "")]),
            SEARCH if request.base.is_empty() => {
                Reply::Answer(vec![entry("", root), done(0, "", &[])])
            }
            SEARCH => search(request),
            _ => Reply::Close,
        })
    }

    pub fn url(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.port)
    }

    /// What was asked so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("nobody panics here").clone()
    }
}

fn serve(
    mut client: TcpStream,
    seen: &Mutex<Vec<Request>>,
    script: &Mutex<impl FnMut(&Request) -> Reply>,
) {
    client.set_nodelay(true).expect("a TCP socket");
    let mut bytes = Vec::new();
    loop {
        let request = loop {
            if let Some((request, length)) = read(&bytes) {
                bytes.drain(..length);
                break request;
            }
            let mut chunk = [0; 4096];
            match client.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            }
        };
        seen.lock().expect("nobody panics here").push(request.clone());
        let reply = (script.lock().expect("a script does not panic"))(&request);
        let out = match reply {
            Reply::Answer(operations) => operations
                .into_iter()
                .flat_map(|operation| message(request.number, &operation))
                .collect(),
            Reply::Raw(bytes) => bytes,
            Reply::Silence => continue,
            Reply::Close => return,
        };
        if client.write_all(&out).is_err() {
            return;
        }
    }
}

/// One message around an operation.
pub fn message(number: u16, operation: &[u8]) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    tlv(0x30, &[&[2, 3, 0, high, low], operation].concat())
}

/// An `LDAPResult` of this kind.
pub fn result(kind: u8, code: u8, text: &str) -> Vec<u8> {
    tlv(kind, &[&[10, 1, code][..], &tlv(4, b""), &tlv(4, text.as_bytes())].concat())
}

pub fn bound(code: u8, text: &str) -> Vec<u8> {
    result(BIND_RESPONSE, code, text)
}

/// The end of a search, with response controls.
pub fn done(code: u8, text: &str, controls: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = result(DONE, code, text);
    if !controls.is_empty() {
        let list = controls.iter().flat_map(|(number, value)| {
            tlv(0x30, &[tlv(4, number.as_bytes()), tlv(4, value)].concat())
        });
        out.extend(tlv(0xa0, &list.collect::<Vec<u8>>()));
    }
    out
}

/// The end of a page; an empty cookie ends the list.
pub fn page_end(cookie: &[u8]) -> Vec<u8> {
    done(0, "", &[(PAGED, tlv(0x30, &[&[2, 1, 0], &tlv(4, cookie)[..]].concat()))])
}

pub fn entry(dn: &str, attributes: &[(&str, &[&str])]) -> Vec<u8> {
    let attributes = attributes.iter().flat_map(|(name, values)| {
        let values: Vec<u8> = values.iter().flat_map(|value| tlv(4, value.as_bytes())).collect();
        tlv(0x30, &[tlv(4, name.as_bytes()), tlv(0x31, &values)].concat())
    });
    let attributes = tlv(0x30, &attributes.collect::<Vec<u8>>());
    tlv(ENTRY, &[tlv(4, dn.as_bytes()), attributes].concat())
}

pub fn reference(url: &str) -> Vec<u8> {
    tlv(REFERENCE, &tlv(4, url.as_bytes()))
}

/// A sequence in a sequence in a sequence, this deep.
pub fn nested(depth: usize) -> Vec<u8> {
    let header = |inner: usize| {
        let length = u32::try_from(inner * 6).expect("short enough").to_be_bytes();
        [&[0x30, 0x84], &length[..]].concat()
    };
    (0..depth).rev().flat_map(header).collect()
}

pub fn tlv(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("short enough").to_be_bytes();
    [&[tag, 0x84], &length[..], body].concat()
}

/// The first whole message, and its length.
fn read(bytes: &[u8]) -> Option<(Request, usize)> {
    let (_, body, length) = split(bytes)?;
    let (_, number, used) = split(body)?;
    let (operation, inner, more) = split(&body[used..])?;
    let mut request = Request {
        number: number.iter().fold(0, |sum, byte| sum << 8 | u16::from(*byte)),
        operation,
        ..Request::default()
    };
    if operation == SEARCH {
        let parts = all(inner);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        request.base = text(parts[0].1);
        request.attributes = all(parts[7].1).iter().map(|part| text(part.1)).collect();
    }
    for (_, control) in all(&body[used + more..]).iter().flat_map(|(_, list)| all(list)) {
        let parts = all(control);
        let value = parts.last().filter(|part| parts.len() > 1 && part.0 == 4);
        let value = value.map(|part| part.1.to_vec()).unwrap_or_default();
        request.controls.push((String::from_utf8_lossy(parts[0].1).into_owned(), value));
    }
    Some((request, length))
}

fn all(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut parts = Vec::new();
    while let Some((tag, body, used)) = split(bytes) {
        parts.push((tag, body));
        bytes = &bytes[used..];
    }
    parts
}

/// Tag, content, and length with the header.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (tag, first) = (*bytes.first()?, *bytes.get(1)?);
    let (start, length) = if first < 0x80 {
        (2, usize::from(first))
    } else {
        let digits = bytes.get(2..2 + usize::from(first & 0x7f))?;
        let length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
        (2 + digits.len(), length)
    };
    Some((tag, bytes.get(start..start + length)?, start + length))
}
