//! Lets only harmless LDAP messages through to ldap3.
//!
//! ldap3 parses replies by recursion and with `expect`: a deeply nested reply
//! overflows the stack and aborts the process, before authentication, and an
//! odd one panics. So the bytes of the server pass through here first. Only
//! whole messages are handed on, and only when they are shallow, of bounded
//! size, and shaped as RFC 4511 section 4.2 says in every part that ldap3
//! takes for granted.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

use super::ber::{BOOLEAN, ENUMERATED, Header, INTEGER, Malformed, OCTET_STRING, Reader, SEQUENCE};

/// How deep a message may be nested. The deepest of RFC 4511, an entry with
/// controls, takes 6.
const DEPTH_MAX: usize = 32;
/// How long a message may be: a group of about a million members.
pub const MESSAGE_BYTES_MAX: usize = 128 << 20;
/// How many elements a message may have, since each costs ldap3 some 60 bytes.
const ELEMENTS_MAX: usize = 4_000_000;
/// How much is read from the server at once.
const CHUNK_BYTES: usize = 64 << 10;

const BIND_RESPONSE: u8 = 0x61;
const SEARCH_ENTRY: u8 = 0x64;
const SEARCH_DONE: u8 = 0x65;
const SEARCH_REFERENCE: u8 = 0x73;
pub const EXTENDED_RESPONSE: u8 = 0x78;
const INTERMEDIATE: u8 = 0x79;
const CONTROLS: u8 = 0xa0;
const REFERRAL: u8 = 0xa3;
const RESPONSE_NAME: u8 = 0x8a;

/// A message that is not handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("its answer is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    #[error("its answer is longer than {MESSAGE_BYTES_MAX} bytes")]
    TooLong,
    #[error("its answer has more than {ELEMENTS_MAX} elements")]
    TooMany,
    #[error("its answer is not LDAP ({0})")]
    NotLdap(#[from] Malformed),
}

/// Why the connection was closed from our side, for the one who waits on it.
#[derive(Clone, Debug, Default)]
pub struct Fault(Arc<Mutex<Option<String>>>);

impl Fault {
    /// The reason, once there is one.
    pub fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, reason: String) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert(reason);
    }
}

/// The length of the first message in `bytes`, or `None` while it is not all there.
///
/// # Errors
/// When it must not be handed on, as early as that is known.
pub fn first_message(bytes: &[u8]) -> Result<Option<usize>, Violation> {
    let Some(header) = Header::read(bytes)? else { return Ok(None) };
    if header.tag != SEQUENCE {
        return Err(Malformed("no message starts there").into());
    }
    if header.total() > MESSAGE_BYTES_MAX {
        return Err(Violation::TooLong);
    }
    let Some(message) = bytes.get(..header.total()) else { return Ok(None) };
    check_depth(message)?;
    check_shape(message.get(header.size..).unwrap_or_default())?;
    Ok(Some(message.len()))
}

/// Carries bytes between the server and ldap3 until either side closes or the
/// server breaks the rules, which is then told by `fault`.
pub async fn carry<S>(server: S, client: UnixStream, fault: Fault)
where
    S: AsyncRead + AsyncWrite + Send,
{
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let (mut from_client, mut to_client) = client.into_split();
    let outward = async {
        let copied = tokio::io::copy(&mut from_client, &mut to_server).await;
        if let Err(error) = copied {
            fault.set(format!("sending failed: {error}"));
        }
        // The last message (an unbind) still wants to leave.
        let _ = to_server.shutdown().await;
    };
    let inward = async {
        if let Err(reason) = hand_on(&mut from_server, &mut to_client).await {
            fault.set(reason);
        }
    };
    tokio::select! {
        () = outward => {}
        () = inward => {}
    }
}

async fn hand_on(
    server: &mut (impl AsyncRead + Unpin),
    client: &mut (impl AsyncWrite + Unpin),
) -> Result<(), String> {
    let mut pending = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count =
            server.read(&mut chunk).await.map_err(|error| format!("receiving failed: {error}"))?;
        if count == 0 {
            return Err("the server closed the connection".to_owned());
        }
        pending.extend_from_slice(chunk.get(..count).unwrap_or_default());
        let checked = whole_messages(&pending).map_err(|violation| violation.to_string())?;
        let messages = pending.get(..checked).unwrap_or_default();
        client.write_all(messages).await.map_err(|_| "the reader is gone".to_owned())?;
        pending.drain(..checked);
    }
}

/// How many bytes of `bytes` are whole, harmless messages.
fn whole_messages(bytes: &[u8]) -> Result<usize, Violation> {
    let mut checked = 0;
    while let Some(length) = first_message(bytes.get(checked..).unwrap_or_default())? {
        checked += length;
    }
    Ok(checked)
}

/// Walks every element with a stack of our own.
fn check_depth(message: &[u8]) -> Result<(), Violation> {
    let mut ends = vec![message.len()];
    let mut position = 0;
    let mut elements = 0_usize;
    while let Some(&end) = ends.last() {
        if position == end {
            ends.pop();
            continue;
        }
        elements += 1;
        if elements > ELEMENTS_MAX {
            return Err(Violation::TooMany);
        }
        let within = message.get(position..end).unwrap_or_default();
        let header = Header::read(within)?.ok_or(Malformed("an element that ends too early"))?;
        if header.total() > within.len() {
            return Err(Malformed("an element that reaches beyond the one around it").into());
        }
        if header.is_constructed() {
            if ends.len() > DEPTH_MAX {
                return Err(Violation::TooDeep);
            }
            ends.push(position + header.total());
            position += header.size;
        } else {
            position += header.total();
        }
    }
    Ok(())
}

/// `LDAPMessage ::= SEQUENCE { messageID, protocolOp, controls [0] OPTIONAL }`
fn check_shape(message: &[u8]) -> Result<(), Malformed> {
    let mut parts = Reader::new(message);
    if parts.expect(INTEGER)?.is_empty() {
        return Err(Malformed("an empty message number"));
    }
    let operation = parts.next()?.ok_or(Malformed("a message of nothing"))?;
    match operation.tag {
        BIND_RESPONSE | SEARCH_DONE | EXTENDED_RESPONSE => check_result(operation.body)?,
        SEARCH_ENTRY | SEARCH_REFERENCE | INTERMEDIATE => {}
        _ => return Err(Malformed("an answer of unknown kind")),
    }
    while let Some(part) = parts.next()? {
        match part.tag {
            CONTROLS => check_controls(part.body)?,
            // Active Directory puts the name of its notice of disconnection here.
            RESPONSE_NAME => {}
            _ => return Err(Malformed("an unknown part of a message")),
        }
    }
    Ok(())
}

/// `LDAPResult ::= SEQUENCE { resultCode, matchedDN, diagnosticMessage, referral [3] OPTIONAL … }`
fn check_result(result: &[u8]) -> Result<(), Malformed> {
    let mut parts = Reader::new(result);
    super::ber::integer(parts.expect(ENUMERATED)?)?;
    check_text(parts.expect(OCTET_STRING)?)?;
    check_text(parts.expect(OCTET_STRING)?)?;
    while let Some(part) = parts.next()? {
        match part.tag {
            REFERRAL => {
                let mut addresses = Reader::new(part.body);
                while !addresses.is_empty() {
                    check_text(addresses.expect(OCTET_STRING)?)?;
                }
            }
            RESPONSE_NAME => check_text(part.body)?,
            tag if tag & 0x20 != 0 => return Err(Malformed("an unknown part of a result")),
            _ => {}
        }
    }
    Ok(())
}

/// `Control ::= SEQUENCE { controlType, criticality DEFAULT FALSE, controlValue OPTIONAL }`
fn check_controls(controls: &[u8]) -> Result<(), Malformed> {
    let mut list = Reader::new(controls);
    while !list.is_empty() {
        let mut parts = Reader::new(list.expect(SEQUENCE)?);
        check_text(parts.expect(OCTET_STRING)?)?;
        if parts.optional(BOOLEAN)?.is_some_and(<[u8]>::is_empty) {
            return Err(Malformed("an empty truth value"));
        }
        parts.optional(OCTET_STRING)?;
        if !parts.is_empty() {
            return Err(Malformed("an unknown part of a control"));
        }
    }
    Ok(())
}

fn check_text(bytes: &[u8]) -> Result<(), Malformed> {
    std::str::from_utf8(bytes).map(|_| ()).map_err(|_| Malformed("a text that is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::super::ber::{write, write_integer};
    use super::*;

    fn message(operation: &[u8]) -> Vec<u8> {
        write(SEQUENCE, &[write_integer(INTEGER, 1), operation.to_vec()].concat())
    }

    fn result(tag: u8, text: &[u8]) -> Vec<u8> {
        let parts = [write_integer(ENUMERATED, 0), write(4, b""), write(4, text)].concat();
        message(&write(tag, &parts))
    }

    fn nested(depth: usize) -> Vec<u8> {
        (0..depth).rev().fold(Vec::new(), |inner, _| write(SEQUENCE, &inner))
    }

    #[test]
    fn an_ordinary_answer_passes() {
        let bytes = result(BIND_RESPONSE, b"fine");
        assert_eq!(first_message(&bytes), Ok(Some(bytes.len())));
        assert_eq!(first_message(&bytes[..bytes.len() - 1]), Ok(None));
        assert_eq!(first_message(&[]), Ok(None));
        let two = [bytes.clone(), bytes.clone()].concat();
        assert_eq!(whole_messages(&two), Ok(two.len()));
        assert_eq!(whole_messages(&two[..two.len() - 3]), Ok(bytes.len()));
    }

    #[test]
    fn a_deep_answer_is_refused() {
        assert_eq!(first_message(&nested(5_000)), Err(Violation::TooDeep));
        assert_eq!(first_message(&nested(40)), Err(Violation::TooDeep));
    }

    #[test]
    fn a_long_answer_is_refused_before_it_is_read() {
        assert_eq!(first_message(&[0x30, 0x84, 0x7f, 0, 0, 0]), Err(Violation::TooLong));
    }

    #[test]
    fn what_ldap3_would_panic_on_is_refused() {
        let not_text = result(BIND_RESPONSE, &[0xff, 0xfe]);
        let no_result = message(&write(BIND_RESPONSE, &[]));
        let no_operation = write(SEQUENCE, &write_integer(INTEGER, 1));
        let unknown = message(&write(0x7e, &[]));
        let odd_control = {
            let control = write(SEQUENCE, &write(INTEGER, &[1]));
            let done = result(SEARCH_DONE, b"");
            let inner = Reader::new(&done).expect(SEQUENCE).unwrap().to_vec();
            write(SEQUENCE, &[inner, write(CONTROLS, &control)].concat())
        };
        let beyond = [0x30, 4, 0x30, 9, 2, 1].to_vec();
        for bytes in [not_text, no_result, no_operation, unknown, odd_control, beyond, vec![1, 1]] {
            assert!(matches!(first_message(&bytes), Err(Violation::NotLdap(_))), "{bytes:02x?}");
        }
    }

    #[tokio::test]
    async fn a_violation_is_told_and_nothing_of_it_arrives() {
        let (server, far) = tokio::io::duplex(1 << 20);
        let (client, near) = UnixStream::pair().unwrap();
        let fault = Fault::default();
        let (mut from_far, mut to_far) = tokio::io::split(far);
        let good = result(BIND_RESPONSE, b"");
        to_far.write_all(&[good.clone(), nested(5_000)].concat()).await.unwrap();
        carry(server, near, fault.clone()).await;
        assert!(fault.get().unwrap().contains("nested deeper"));
        let mut client = client;
        let mut arrived = Vec::new();
        client.read_to_end(&mut arrived).await.unwrap();
        assert!(arrived.is_empty() || arrived == good);
        let mut rest = Vec::new();
        from_far.read_to_end(&mut rest).await.unwrap();
    }
}
