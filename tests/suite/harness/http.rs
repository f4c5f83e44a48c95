//! A small blocking HTTP/1.1: enough for a client on a unix socket and for a
//! server that the tests control byte by byte.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// A request or an answer: the first line, the headers, the body.
#[derive(Clone, Debug)]
pub struct Message {
    pub start: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Message {
    /// Of an answer; 0 when the first line has none.
    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// One request over a connection of its own.
///
/// # Errors
/// When nobody listens, or the answer does not come whole within a minute.
pub fn request(
    socket: &Path,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> std::io::Result<Message> {
    request_with(socket, method, path, &[], body)
}

/// The same with further headers. What answers a `HEAD` has no body.
///
/// # Errors
/// As for [`request`].
pub fn request_with(
    socket: &Path,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> std::io::Result<Message> {
    let mut stream = connect(socket)?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: rosterd\r\nconnection: close\r\n{more}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    // In one piece: a server that needs no body may have answered and closed before it comes.
    stream.write_all(request.as_bytes())?;
    let mut reader = BufReader::new(stream);
    if method == "HEAD" { read_head(&mut reader) } else { read(&mut reader) }
}

/// An open connection on which a stream of server-sent events has begun;
/// each call of the iterator waits for the next event's data.
///
/// # Errors
/// When nobody listens, or the answer is not a stream.
pub fn event_stream(
    socket: &Path,
    path: &str,
) -> std::io::Result<impl Iterator<Item = Value> + use<>> {
    let mut stream = connect(socket)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: rosterd\r\naccept: text/event-stream\r\n\r\n")?;
    let mut reader = BufReader::new(stream);
    let head = read_head(&mut reader)?;
    if head.status() != 200 {
        return Err(std::io::Error::other(head.start));
    }
    // Lines of the chunked framing never begin like this one.
    let data = |line: String| line.strip_prefix("data:").map(|json| json.trim().to_owned());
    Ok(reader
        .lines()
        .map_while(Result::ok)
        .filter_map(data)
        .filter_map(|json| serde_json::from_str(&json).ok()))
}

fn connect(socket: &Path) -> std::io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(stream)
}

/// Reads one message whole.
///
/// # Errors
/// When the peer is gone before its end.
pub fn read(reader: &mut impl BufRead) -> std::io::Result<Message> {
    let mut message = read_head(reader)?;
    let length = message.header("content-length").and_then(|length| length.parse().ok());
    if let Some(length) = length {
        message.body.resize(length, 0);
        reader.read_exact(&mut message.body)?;
    } else if message.header("transfer-encoding") == Some("chunked") {
        message.body = read_chunks(reader)?;
    } else if message.header("connection") == Some("close") {
        reader.read_to_end(&mut message.body)?;
    }
    Ok(message)
}

/// Reads one request whole: without a length it has no body.
///
/// # Errors
/// When the peer is gone before its end.
pub fn read_request(reader: &mut impl BufRead) -> std::io::Result<Message> {
    let mut message = read_head(reader)?;
    let length = message.header("content-length").and_then(|length| length.parse().ok());
    if let Some(length) = length {
        message.body.resize(length, 0);
        reader.read_exact(&mut message.body)?;
    } else if message.header("transfer-encoding") == Some("chunked") {
        message.body = read_chunks(reader)?;
    }
    Ok(message)
}

fn read_head(reader: &mut impl BufRead) -> std::io::Result<Message> {
    let start = read_line(reader)?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Ok(Message { start, headers, body: Vec::new() });
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
}

fn read_chunks(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let length = usize::from_str_radix(&read_line(reader)?, 16)
            .map_err(|_| std::io::Error::other("a chunk begins with its length"))?;
        let start = body.len();
        body.resize(start + length, 0);
        reader.read_exact(&mut body[start..])?;
        read_line(reader)?;
        if length == 0 {
            return Ok(body);
        }
    }
}

fn read_line(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
