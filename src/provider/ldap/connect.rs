//! From an address to a protected stream: name, socket, TLS, StartTLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::ber::{
    ENUMERATED, INTEGER, OCTET_STRING, Reader, SEQUENCE, integer, write, write_integer,
};
use super::config::Place;
use super::guard::{EXTENDED_RESPONSE, first_message};
use crate::tls::{self, Trust};

/// A stream to the server, protected or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// StartTLS (RFC 4511 section 4.14).
const STARTTLS_NUMBER: &str = "1.3.6.1.4.1.1466.20037";
/// `ExtendedRequest`, and its `requestName`.
const EXTENDED_REQUEST: u8 = 0x77;
const REQUEST_NAME: u8 = 0x80;

/// An open socket, and the address it leads to (empty for a unix socket).
pub struct Dialled {
    pub stream: Box<dyn Stream>,
    pub address: Option<SocketAddr>,
}

/// For one address. A name may have several, and a crawl that gets nowhere at
/// all is given up, so dead ones must not use up the patience for a good one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens a socket. `preferred` is tried first when the name has that address,
/// since a name may stand for several servers.
///
/// # Errors
/// In words, when no address answers within `timeout` each.
pub async fn dial(
    place: &Place,
    preferred: Option<SocketAddr>,
    timeout: Duration,
) -> Result<Dialled, String> {
    let (host, port) = match place {
        Place::Unix(path) => {
            let connecting = UnixStream::connect(path);
            let stream = within(timeout, connecting)
                .await?
                .map_err(|error| format!("cannot open {}: {error}", path.display()))?;
            return Ok(Dialled { stream: Box::new(stream), address: None });
        }
        Place::Tcp { host, port } => (host.as_str(), *port),
    };
    let mut addresses: Vec<SocketAddr> = within(timeout, tokio::net::lookup_host((host, port)))
        .await?
        .map_err(|error| format!("the name {host} has no address: {error}"))?
        .collect();
    addresses.sort_by_key(|address| Some(*address) != preferred);
    let mut last = format!("the name {host} has no address");
    for address in addresses {
        match within(timeout.min(CONNECT_TIMEOUT), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Requests are small and each waits for its answer.
                let _ = stream.set_nodelay(true);
                return Ok(Dialled { stream: Box::new(stream), address: Some(address) });
            }
            Ok(Err(error)) => last = format!("{address}: {error}"),
            Err(reason) => last = format!("{address}: {reason}"),
        }
    }
    Err(last)
}

/// The trust to verify servers by: `ca` alone, or what the system trusts.
///
/// # Errors
/// In words, when `ca` holds no certificate.
pub fn tls_config(ca: Option<&[u8]>) -> Result<Arc<ClientConfig>, String> {
    tls::client_config(ca.map_or(Trust::Platform, Trust::Only), None).map(Arc::new)
}

/// Asks the server to go on with TLS on this connection.
///
/// # Errors
/// In words, when it refuses, answers anything else, or says more than that:
/// what came in the clear must not count once protected.
pub async fn ask_for_tls(stream: &mut dyn Stream, timeout: Duration) -> Result<(), String> {
    let request = write(EXTENDED_REQUEST, &write(REQUEST_NAME, STARTTLS_NUMBER.as_bytes()));
    let message = write(SEQUENCE, &[write_integer(INTEGER, 1), request].concat());
    let exchange = async {
        stream.write_all(&message).await.map_err(|error| format!("sending failed: {error}"))?;
        stream.flush().await.map_err(|error| format!("sending failed: {error}"))?;
        read_one(stream).await
    };
    let answer = within(timeout, exchange).await??;
    let (code, text) = read_result(&answer).ok_or("the answer to StartTLS is malformed")?;
    match code {
        0 => Ok(()),
        _ => Err(format!("the server refuses StartTLS (result {code}: {text})")),
    }
}

/// Negotiates TLS and verifies the server's name.
///
/// # Errors
/// In words, also when the certificate is not good.
pub async fn protect(
    stream: Box<dyn Stream>,
    host: &str,
    config: Arc<ClientConfig>,
    timeout: Duration,
) -> Result<Box<dyn Stream>, String> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| format!("`{host}` cannot be the name in a certificate"))?;
    let stream = within(timeout, TlsConnector::from(config).connect(name, stream))
        .await?
        .map_err(|error| format!("TLS failed: {error}"))?;
    Ok(Box::new(stream))
}

/// `future`, or a sentence once `timeout` is over.
pub async fn within<F: Future>(timeout: Duration, future: F) -> Result<F::Output, String> {
    tokio::time::timeout(timeout, future)
        .await
        .map_err(|_| format!("no answer within {} s", timeout.as_secs_f64()))
}

async fn read_one(stream: &mut dyn Stream) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count =
            stream.read(&mut chunk).await.map_err(|error| format!("receiving failed: {error}"))?;
        if count == 0 {
            return Err("the server closed the connection".to_owned());
        }
        bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
        match first_message(&bytes).map_err(|violation| violation.to_string())? {
            Some(length) if length == bytes.len() => return Ok(bytes),
            Some(_) => return Err("the server says more than StartTLS allows".to_owned()),
            None => {}
        }
    }
}

/// The result code and text of an extended response to message 1.
fn read_result(message: &[u8]) -> Option<(i64, String)> {
    let mut parts = Reader::new(Reader::new(message).expect(SEQUENCE).ok()?);
    let number = integer(parts.expect(INTEGER).ok()?).ok()?;
    let mut result = Reader::new(parts.expect(EXTENDED_RESPONSE).ok()?);
    let code = integer(result.expect(ENUMERATED).ok()?).ok()?;
    result.expect(OCTET_STRING).ok()?;
    let text = super::entry::text(result.expect(OCTET_STRING).ok()?.to_vec());
    // Number 0 is a notice of disconnection: also no consent.
    (number == 1 || code != 0).then_some((code, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(number: i64, code: i64) -> Vec<u8> {
        let parts = [write_integer(ENUMERATED, code), write(4, b""), write(4, b"no")].concat();
        let parts = [write_integer(INTEGER, number), write(EXTENDED_RESPONSE, &parts)].concat();
        write(SEQUENCE, &parts)
    }

    async fn ask(answer: Vec<u8>) -> Result<(), String> {
        let (mut near, mut far) = tokio::io::duplex(1024);
        far.write_all(&answer).await.unwrap();
        ask_for_tls(&mut near, Duration::from_secs(5)).await
    }

    #[tokio::test]
    async fn starttls_takes_a_plain_yes_only() {
        assert_eq!(ask(answer(1, 0)).await, Ok(()));
        assert!(ask(answer(1, 52)).await.unwrap_err().contains("result 52: no"));
        assert!(ask(answer(2, 0)).await.is_err());
        let injected = [answer(1, 0), answer(2, 0)].concat();
        assert!(ask(injected).await.unwrap_err().contains("more than"));
    }

    #[test]
    fn a_ca_without_certificates_is_refused() {
        assert!(tls_config(Some(b"nothing")).unwrap_err().contains("no certificate"));
    }
}
