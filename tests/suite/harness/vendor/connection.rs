//! One thread a connection: reads requests, answers them one after another.

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, PoisonError};

use rosterd::clock;
use serde_json::Value;

use super::hazard::{Deed, Hazard};
use super::message::{Body, Request, Response, decode};
use super::{Api, Exchange, Seen, Shared};
use crate::harness::http;

pub(super) fn listen<A: Api>(listener: &TcpListener, shared: &Arc<Shared<A>>) {
    for client in listener.incoming().map_while(Result::ok) {
        let mut books = shared.books();
        if books.is_over {
            return;
        }
        client.set_nodelay(true).expect("a TCP socket");
        books.connections.extend(client.try_clone());
        drop(books);
        let shared = Arc::clone(shared);
        std::thread::spawn(move || serve(client, &shared));
    }
}

fn serve<A: Api>(mut client: TcpStream, shared: &Shared<A>) {
    let Ok(reading) = client.try_clone() else { return };
    let mut reader = BufReader::with_capacity(64 << 10, reading);
    while let Ok(message) = http::read_request(&mut reader) {
        let wants_close = message.header("connection").is_some_and(|value| value == "close");
        let request = request(message, shared.base());
        if !answer(&mut client, shared, request) || wants_close {
            break;
        }
    }
    let _already_closed = client.shutdown(std::net::Shutdown::Both);
}

fn request(message: http::Message, base: String) -> Request {
    let mut words = message.start.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    let (path, raw_query) = target.split_once('?').unwrap_or((target, ""));
    Request {
        method,
        base,
        path: path.to_owned(),
        segments: path.split('/').filter(|part| !part.is_empty()).map(decode).collect(),
        raw_query: raw_query.to_owned(),
        query: url::form_urlencoded::parse(raw_query.as_bytes()).into_owned().collect(),
        headers: message.headers,
        body: message.body,
        received: clock::instant(),
    }
}

/// Answers one; false when the connection is to end.
fn answer<A: Api>(client: &mut TcpStream, shared: &Shared<A>, request: Request) -> bool {
    let mut api = shared.api();
    let (hazard, armed) = shared.befalls(&request, &mut api);
    let response = match hazard {
        Some(Hazard::Stall) => None,
        Some(Hazard::Throttle) => Some(api.throttled(&request)),
        Some(Hazard::ServerError) => Some(api.server_error(&request)),
        Some(Hazard::Refuse) => Some(api.refused(&request)),
        Some(Hazard::NotJson) => Some(Response::html(SIGN_IN)),
        _ => Some(api.answer(&request)),
    };
    shared.take_down(&request, response.as_ref(), hazard);
    drop(api);
    let Some(response) = response else {
        shared.stall(armed);
        return false;
    };
    let mut body = response.bytes();
    match hazard {
        Some(Hazard::CutBeforeHeaders) => return false,
        Some(Hazard::TruncatedJson) => body.truncate(body.len() / 2),
        _ => {}
    }
    let sent = match hazard {
        Some(Hazard::CutInBody) => &body[..body.len() / 2],
        _ if request.method == "HEAD" => &[],
        _ => &body[..],
    };
    let mut bytes = head(&response, body.len()).into_bytes();
    bytes.extend_from_slice(sent);
    client.write_all(&bytes).is_ok() && hazard != Some(Hazard::CutInBody)
}

const SIGN_IN: &str = "<!doctype html><title>Sign in</title><form method=\"post\"></form>";

fn head(response: &Response, length: usize) -> String {
    let mut head = format!("HTTP/1.1 {} \r\n", response.status);
    if !matches!(response.status, 204 | 304) {
        head += &format!("content-length: {length}\r\n");
    }
    let named = response.headers.iter().any(|(name, _)| name == "content-type");
    if matches!(response.body, Body::Json(_)) && !named {
        head += "content-type: application/json; charset=utf-8\r\n";
    }
    for (name, value) in &response.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head + "\r\n"
}

impl<A: Api> Shared<A> {
    /// What happens to this request, and the number of what was armed.
    fn befalls(&self, request: &Request, api: &mut A) -> (Option<Hazard>, usize) {
        let mut books = self.books();
        let mut befallen = (None, 0);
        for (number, armed) in books.armed.iter_mut().enumerate() {
            if !armed.is_due(request) {
                continue;
            }
            match &mut armed.deed {
                Deed::Change(change) => change(api),
                Deed::Hazard(hazard) if befallen.0.is_none() => befallen = (Some(*hazard), number),
                Deed::Hazard(_) => continue,
            }
            armed.fired += 1;
        }
        befallen
    }

    fn take_down(&self, request: &Request, response: Option<&Response>, hazard: Option<Hazard>) {
        let mut books = self.books();
        let status = response.map_or(0, |response| response.status);
        let status = if hazard == Some(Hazard::CutBeforeHeaders) { 0 } else { status };
        if let (Some(exchanges), Some(response), None) = (&mut books.exchanges, response, hazard) {
            let body = match &response.body {
                Body::Json(value) => value.clone(),
                Body::Empty | Body::Bytes(_) => Value::Null,
            };
            exchanges.push(Exchange { request: request.clone(), status, body });
        }
        let (request, received) = (request.clone(), request.received);
        books.seen.push(Seen { request, status, received, hazard });
    }

    /// Waits until what was armed under this number is disarmed.
    fn stall(&self, armed: usize) {
        let stalls = |books: &mut super::Books<A>| !books.is_over && books.armed[armed].is_live;
        let waited = self.bell.wait_while(self.books(), stalls);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}
