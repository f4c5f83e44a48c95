//! A signed-in connection: operations with a deadline each, counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ldap3::asn1::{PL, StructureTag};
use ldap3::controls::RawControl;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, Scope, StdStream};
use rustls::ClientConfig;
use tracing::debug;

use super::answer::{Done, SUCCESS};
use super::config::{Bind, Place, Security, Server};
use super::connect::{self, within};
use super::entry::Entry;
use super::guard::{self, Fault};
use crate::provider::PullError;
use crate::task::{self, Task};

/// A connection to one server.
pub struct Session {
    server: Server,
    address: Option<SocketAddr>,
    ldap: Ldap,
    fault: Fault,
    carrier: Task,
    driver: Task<Result<(), LdapError>>,
    timeout: Duration,
    requests: BTreeMap<String, u64>,
    references: u64,
}

/// One search.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Under which name it is counted.
    pub label: &'static str,
    pub base: &'a str,
    pub scope: Scope,
    pub filter: &'a str,
    pub attributes: &'a [String],
    pub controls: Vec<RawControl>,
}

/// What a search answers before its end.
#[derive(Debug)]
pub enum Message {
    Entry(Entry, Vec<RawControl>),
    /// An intermediate response (RFC 4511 section 4.13): its name and value.
    Intermediate(Vec<u8>, Vec<u8>),
}

impl Session {
    /// Opens a connection; signs nobody in.
    ///
    /// # Errors
    /// When the server cannot be reached, or not with the protection asked for.
    pub async fn open(
        server: &Server,
        tls: &Arc<ClientConfig>,
        preferred: Option<SocketAddr>,
        timeout: Duration,
    ) -> Result<Session, PullError> {
        let unreachable = |reason| PullError::Unreachable { what: server.url.clone(), reason };
        let dialled =
            connect::dial(&server.place, preferred, timeout).await.map_err(unreachable)?;
        let mut stream = dialled.stream;
        let mut requests = BTreeMap::new();
        if server.security == Security::StartTls {
            requests.insert("starttls".to_owned(), 1);
            connect::ask_for_tls(&mut stream, timeout).await.map_err(unreachable)?;
        }
        if let (Place::Tcp { host, .. }, Security::Tls | Security::StartTls) =
            (&server.place, server.security)
        {
            let protected = connect::protect(stream, host, Arc::clone(tls), timeout).await;
            stream = protected.map_err(unreachable)?;
        }
        debug!(server = %server.url, address = ?dialled.address, "connected");
        Session::over(stream, server, timeout, requests)
            .await
            .map(|session| Session { address: dialled.address, ..session })
            .map_err(unreachable)
    }

    async fn over(
        stream: Box<dyn connect::Stream>,
        server: &Server,
        timeout: Duration,
        requests: BTreeMap<String, u64>,
    ) -> Result<Session, String> {
        let broken = |error: std::io::Error| format!("no inner socket: {error}");
        let (client, near) = std::os::unix::net::UnixStream::pair().map_err(broken)?;
        client.set_nonblocking(true).map_err(broken)?;
        near.set_nonblocking(true).map_err(broken)?;
        let near = tokio::net::UnixStream::from_std(near).map_err(broken)?;
        let fault = Fault::default();
        let carrier = task::spawn(
            format!("ldap guard {}", server.url),
            guard::carry(stream, near, fault.clone()),
        );
        let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(client));
        let (connection, ldap) = LdapConnAsync::with_settings(settings, "ldapi://%2Fguarded")
            .await
            .map_err(|error| error.to_string())?;
        let driver =
            task::spawn(format!("ldap {}", server.url), async move { connection.drive().await });
        Ok(Session {
            server: server.clone(),
            address: None,
            ldap,
            fault,
            carrier,
            driver,
            timeout,
            requests,
            references: 0,
        })
    }

    /// Says who asks.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn bind(&mut self, bind: &Bind) -> Result<(), PullError> {
        let answer = match bind {
            Bind::Anonymous => return Ok(()),
            Bind::Simple { name, password } => {
                self.count("bind");
                within(self.timeout, self.ldap.simple_bind(name, password.expose())).await
            }
            Bind::External => {
                self.count("bind");
                within(self.timeout, self.ldap.sasl_external_bind()).await
            }
        };
        let result = self.settle(answer).await?;
        if result.rc == SUCCESS {
            return Ok(());
        }
        let done = Done {
            code: result.rc,
            text: result.text,
            referrals: result.refs,
            controls: Vec::new(),
        };
        let who = match bind {
            Bind::Simple { name, .. } => format!("signing in as {name}"),
            Bind::External | Bind::Anonymous => "signing in with SASL EXTERNAL".to_owned(),
        };
        Err(done.error(&self.server.url, &who))
    }

    /// Searches, handing every message to `take` as it comes. The deadline is
    /// for each message, since a long answer may well take long.
    ///
    /// # Errors
    /// When the server does not answer, or not in LDAP, or when `take` does. A
    /// result code is no error here.
    pub async fn search(
        &mut self,
        request: Request<'_>,
        take: &mut (dyn FnMut(Message) -> Result<(), PullError> + Send),
    ) -> Result<Done, PullError> {
        self.count(request.label);
        let attributes: Vec<&str> = request.attributes.iter().map(String::as_str).collect();
        if !request.controls.is_empty() {
            self.ldap.with_controls(request.controls);
        }
        let started = within(
            self.timeout,
            self.ldap.streaming_search(request.base, request.scope, request.filter, attributes),
        )
        .await;
        let mut stream = self.settle(started).await?;
        loop {
            let next = within(self.timeout, stream.next()).await;
            match self.settle(next).await? {
                Some(entry) => {
                    let controls = entry.1.into_iter().map(|control| control.1).collect();
                    match self.read(entry.0, controls)? {
                        Some(message) => take(message)?,
                        None => self.references += 1,
                    }
                }
                None => break,
            }
        }
        let result = stream.finish().await;
        Ok(Done {
            code: result.rc,
            text: result.text,
            referrals: result.refs,
            controls: result.ctrls.into_iter().map(|control| control.1).collect(),
        })
    }

    /// Searches for entries that must all come.
    ///
    /// # Errors
    /// Also when the server ends with anything but success.
    pub async fn entries(&mut self, request: Request<'_>) -> Result<Vec<Entry>, PullError> {
        let doing = format!("searching {}", request.base);
        let mut entries = Vec::new();
        let mut take = |message| {
            if let Message::Entry(entry, _) = message {
                entries.push(entry);
            }
            Ok(())
        };
        let done = self.search(request, &mut take).await?;
        match done.code {
            SUCCESS => Ok(entries),
            _ => Err(self.error(&done, &doing)),
        }
    }

    /// The entry itself, or `None` when there is no such entry.
    ///
    /// # Errors
    /// When the server does not tell.
    pub async fn entry(
        &mut self,
        label: &'static str,
        dn: &str,
        attributes: &[String],
        controls: Vec<RawControl>,
    ) -> Result<Option<Entry>, PullError> {
        let filter = "(objectClass=*)";
        let request = Request { label, base: dn, scope: Scope::Base, filter, attributes, controls };
        let mut found = None;
        let mut take = |message| {
            if let Message::Entry(entry, _) = message {
                found = Some(entry);
            }
            Ok(())
        };
        let done = self.search(request, &mut take).await?;
        match done.code {
            SUCCESS => Ok(found),
            super::answer::NO_SUCH_OBJECT => Ok(None),
            _ => Err(self.error(&done, &format!("reading {dn}"))),
        }
    }

    /// The error that `done` is.
    pub fn error(&self, done: &Done, doing: &str) -> PullError {
        done.error(&self.server.url, doing)
    }

    /// An answer that contradicts itself or lacks something.
    pub fn incomplete(&self, reason: impl Into<String>) -> PullError {
        PullError::Incomplete { what: self.server.url.clone(), reason: reason.into() }
    }

    pub fn url(&self) -> &str {
        &self.server.url
    }

    /// Where the connection leads, unless it is a unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Search references that were not followed.
    pub fn references(&self) -> u64 {
        self.references
    }

    /// Says goodbye and returns what was asked, by kind.
    pub async fn close(mut self) -> BTreeMap<String, u64> {
        self.count("unbind");
        // Nothing depends on the goodbye: all that counts was received.
        let _ = within(self.timeout.min(GOODBYE), self.ldap.unbind()).await;
        std::mem::take(&mut self.requests)
    }

    fn count(&mut self, label: &str) {
        *self.requests.entry(label.to_owned()).or_default() += 1;
    }

    /// `None` for a search reference, which is not followed.
    fn read(
        &self,
        tag: StructureTag,
        controls: Vec<RawControl>,
    ) -> Result<Option<Message>, PullError> {
        let malformed = |error: super::ber::Malformed| self.incomplete(error.to_string());
        match tag.id {
            SEARCH_REFERENCE => Ok(None),
            INTERMEDIATE => Ok(Some(read_intermediate(tag))),
            _ => {
                let entry = Entry::read(tag).map_err(malformed)?;
                Ok(Some(Message::Entry(entry, controls)))
            }
        }
    }

    /// Tells why an operation did not come to its end.
    async fn settle<T>(
        &mut self,
        outcome: Result<Result<T, LdapError>, String>,
    ) -> Result<T, PullError> {
        let reason = match outcome {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(LdapError::FilterParsing)) => "the filter cannot be read".to_owned(),
            Ok(Err(error)) => match self.why_closed().await {
                Some(reason) => reason,
                None => error.to_string(),
            },
            Err(timeout) => timeout,
        };
        Err(PullError::Unreachable { what: self.server.url.clone(), reason })
    }

    /// The guard's reason, or the driver's panic.
    async fn why_closed(&mut self) -> Option<String> {
        let stopped = task::spawn("nothing", async { Ok(()) });
        let driver = std::mem::replace(&mut self.driver, stopped);
        let ended = within(GOODBYE, driver.join()).await;
        if let Some(reason) = self.fault.get() {
            return Some(reason);
        }
        match ended {
            Ok(Err(end)) => Some(format!("its answer cannot be read: {end}")),
            Ok(Ok(Err(error))) => Some(error.to_string()),
            Ok(Ok(Ok(()))) if self.carrier.is_finished() => {
                Some("the server closed the connection".to_owned())
            }
            Ok(Ok(Ok(()))) | Err(_) => None,
        }
    }
}

const SEARCH_REFERENCE: u64 = 19;
const INTERMEDIATE: u64 = 25;
const GOODBYE: Duration = Duration::from_secs(1);

/// `IntermediateResponse ::= [APPLICATION 25] SEQUENCE { [0] name OPTIONAL, [1] value OPTIONAL }`
fn read_intermediate(tag: StructureTag) -> Message {
    let (mut name, mut value) = (Vec::new(), Vec::new());
    if let PL::C(parts) = tag.payload {
        for part in parts {
            match (part.id, part.payload) {
                (0, PL::P(bytes)) => name = bytes,
                (1, PL::P(bytes)) => value = bytes,
                _ => {}
            }
        }
    }
    Message::Intermediate(name, value)
}
