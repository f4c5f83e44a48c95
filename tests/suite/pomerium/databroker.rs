//! What a databroker keeps and insists on: tokens, leases, records, versions.
//! What a client does wrong is refused, and fails the test.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use ring::hmac;
use rosterd::clock::{self, Duration, Instant};
use serde_json::{Map, Value as Json};

use super::wire::{
    Acquire, Any, HasPut, Info, Kind, Nothing, OneText, Put, Record, Renew, Struct, Sync, Synced,
    Time, Value,
};

pub const USER: &str = "pomerium.io/DirectoryUser";
pub const GROUP: &str = "pomerium.io/DirectoryGroup";

const REQUEST_BYTES_MAX: usize = 1 << 20;
const STRUCT_URL: &str = "type.googleapis.com/google.protobuf.Struct";
/// As the reference client has it, and a minute for clocks.
const TOKEN_SECONDS_MAX: u64 = 3600 + 60;

/// Codes of gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    InvalidArgument = 3,
    NotFound = 5,
    AlreadyExists = 6,
    ResourceExhausted = 8,
    Aborted = 10,
    Unimplemented = 12,
    Unavailable = 14,
    Unauthenticated = 16,
}

/// Messages, or a status.
pub type Answer = Result<Vec<Vec<u8>>, (Code, String)>;

/// The data of one test.
#[derive(Debug)]
pub struct Databroker {
    key: Vec<u8>,
    server_version: u64,
    last_version: u64,
    records: BTreeMap<(String, String), Record>,
    /// Every version of every record, deletions too.
    log: Vec<Record>,
    lease: Option<Lease>,
    /// The one that was lost with all else: who had it cannot know yet.
    lost: Option<Lease>,
    /// How many leases there have been.
    leases: u64,
    pub complaints: Vec<String>,
    /// The records of every accepted `Put`, in order, with who put them.
    pub puts: Vec<(usize, Vec<Record>)>,
    /// Records that were put or deleted though they were so already.
    pub needless: u64,
    /// Calls by name.
    pub calls: BTreeMap<String, u64>,
    /// The next so many calls of a name fail like this.
    faults: Vec<(String, Code, bool)>,
}

#[derive(Debug)]
struct Lease {
    name: String,
    id: String,
    until: Instant,
    client: usize,
    /// It is not renewed, and then somebody else has it for so long.
    promised: Option<Duration>,
}

impl Databroker {
    pub fn new(key: Vec<u8>) -> Databroker {
        Databroker {
            key,
            server_version: fastrand::u64(1..),
            last_version: 0,
            records: BTreeMap::new(),
            log: Vec::new(),
            lease: None,
            lost: None,
            leases: 0,
            complaints: Vec::new(),
            puts: Vec::new(),
            needless: 0,
            calls: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    /// The storage is memory: it ends with the process.
    pub fn lose_everything(&mut self) {
        self.server_version = fastrand::u64(1..);
        self.last_version = 0;
        self.records.clear();
        self.log.clear();
        self.lost = self.lease.take();
    }

    /// The lease is not renewed; when it ends, somebody else has it for so long.
    pub fn give_lease_away(&mut self, duration: Duration) {
        if let Some(lease) = &mut self.lease {
            lease.promised = Some(duration);
        }
    }

    /// The next call of this name fails; `done` if only the answer is lost.
    pub fn fail(&mut self, call: &str, code: Code, done: bool) {
        self.faults.push((call.to_owned(), code, done));
    }

    /// Who holds the lease now.
    pub fn holder(&self) -> Option<usize> {
        self.held().map(|lease| lease.client)
    }

    /// The data of all records of a type, by id.
    pub fn data(&self, kind: &str) -> BTreeMap<String, Json> {
        let of_kind = self.records.iter().filter(|((own, _), _)| own == kind);
        of_kind.map(|((_, id), record)| (id.clone(), json_of(record))).collect()
    }

    /// Another program puts a record.
    pub fn plant(&mut self, kind: &str, id: &str, fields: &[(&str, &str)]) {
        let text = |text: &str| Value { kind: Some(Kind::String(text.to_owned())) };
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), text(value)));
        let value = Struct { fields: fields.collect() }.encode_to_vec();
        let data = Some(Any { type_url: STRUCT_URL.to_owned(), value });
        let (r#type, id) = (kind.to_owned(), id.to_owned());
        self.store(Record { r#type, id, data, ..Record::default() });
    }

    /// Answers one request.
    pub fn call(&mut self, client: usize, path: &str, token: &[String], message: &[u8]) -> Answer {
        let name = path.strip_prefix("/databroker.DataBrokerService/").unwrap_or(path).to_owned();
        *self.calls.entry(name.clone()).or_default() += 1;
        self.check_token(token)?;
        if message.len() > REQUEST_BYTES_MAX {
            let what = format!("{name} of {} bytes", message.len());
            return Err(self.complain(Code::ResourceExhausted, what));
        }
        let fault = self.faults.iter().position(|(call, ..)| *call == name);
        let fault = fault.map(|at| self.faults.remove(at));
        if let Some((_, code, false)) = fault {
            return Err((code, "told to fail".to_owned()));
        }
        let answer = self.dispatch(client, &name, message)?;
        match fault {
            Some((_, code, _)) => Err((code, "told to fail".to_owned())),
            None => Ok(answer),
        }
    }

    fn dispatch(&mut self, client: usize, name: &str, message: &[u8]) -> Answer {
        match name {
            "Put" => {
                let put = self.decode(message)?;
                self.put(client, put)
            }
            "SyncLatest" => {
                let OneText { text } = self.decode(message)?;
                self.sync_latest(&text)
            }
            "Sync" => {
                let sync = self.decode(message)?;
                self.sync(&sync)
            }
            "ServerInfo" => {
                let earliest = self.log.first().map_or(0, |record| record.version);
                let version = self.server_version;
                one(&Info { server_version: version, second: earliest, third: self.last_version })
            }
            "AcquireLease" => {
                let request = self.decode(message)?;
                self.acquire(client, request)
            }
            "RenewLease" => {
                let request = self.decode(message)?;
                self.renew(&request)
            }
            "ReleaseLease" => {
                let request: Renew = self.decode(message)?;
                self.check_lease(&request)?;
                // What is promised begins at once.
                self.lease = self.lease.take().filter(|lease| lease.promised.is_some());
                self.lease.iter_mut().for_each(|lease| lease.until = clock::instant());
                one(&Nothing {})
            }
            _ => Err(self.complain(Code::Unimplemented, format!("a call of {name}"))),
        }
    }

    fn decode<M: Message + Default>(&mut self, message: &[u8]) -> Result<M, (Code, String)> {
        M::decode(message).map_err(|e| self.complain(Code::InvalidArgument, e.to_string()))
    }

    fn check_token(&mut self, tokens: &[String]) -> Result<(), (Code, String)> {
        let why = match tokens {
            [token] => token_fault(&self.key, token),
            _ => Some(format!("{} tokens", tokens.len())),
        };
        match why {
            None => Ok(()),
            Some(why) => Err(self.complain(Code::Unauthenticated, why)),
        }
    }

    fn put(&mut self, client: usize, put: Put) -> Answer {
        let lost = || self.lost.as_ref().filter(|lease| lease.until > clock::instant());
        match self.held().or_else(lost) {
            Some(lease) if lease.client == client => {}
            held => {
                let what = format!("client {client} puts, and the lease is {held:?}");
                return Err(self.complain(Code::InvalidArgument, what));
            }
        }
        if put.records.is_empty() {
            return Err(self.complain(Code::InvalidArgument, "puts nothing".to_owned()));
        }
        for record in &put.records {
            if let Err(what) = check_record(record) {
                let what = format!("{what}: {record:?}");
                return Err(self.complain(Code::InvalidArgument, what));
            }
            let key = (record.r#type.clone(), record.id.clone());
            let is_needless = match (self.records.get(&key), record.deleted_at) {
                (Some(before), None) => json_of(before) == json_of(record),
                (before, Some(_)) => before.is_none(),
                (None, None) => false,
            };
            self.needless += u64::from(is_needless);
        }
        self.puts.push((client, put.records.clone()));
        let records = put.records.into_iter().map(|record| self.store(record)).collect();
        one(&HasPut { server_version: self.server_version, records })
    }

    fn store(&mut self, mut record: Record) -> Record {
        self.last_version += 1;
        record.version = self.last_version;
        let seconds = i64::try_from(clock::now().0 / 1000).unwrap();
        record.modified_at = Some(Time { seconds, nanos: 0 });
        let key = (record.r#type.clone(), record.id.clone());
        match record.deleted_at {
            Some(_) => drop(self.records.remove(&key)),
            None => drop(self.records.insert(key, record.clone())),
        }
        self.log.push(record.clone());
        record
    }

    fn sync_latest(&mut self, kind: &str) -> Answer {
        self.check_type(kind)?;
        let records = self.records.values().filter(|record| record.r#type == kind);
        let mut messages: Vec<Vec<u8>> = records
            .map(|record| Synced { record: Some(record.clone()), versions: None }.encode_to_vec())
            .collect();
        let (server_version, second) = (self.server_version, self.last_version);
        let versions = Some(Info { server_version, second, third: 0 });
        messages.push(Synced { record: None, versions }.encode_to_vec());
        Ok(messages)
    }

    fn sync(&mut self, sync: &Sync) -> Answer {
        self.check_type(&sync.r#type)?;
        if sync.wait != Some(false) {
            return Err(self.complain(Code::Unimplemented, "waits for changes".to_owned()));
        }
        if sync.server_version != self.server_version {
            return Err((Code::Aborted, "invalid server version".to_owned()));
        }
        if sync.record_version > self.last_version {
            let what = format!("a version of the future: {}", sync.record_version);
            return Err(self.complain(Code::Aborted, what));
        }
        // Only the last version of each record.
        let mut latest = BTreeMap::new();
        let since =
            |record: &&Record| record.version > sync.record_version && record.r#type == sync.r#type;
        for record in self.log.iter().filter(since) {
            latest.insert(record.id.clone(), record.clone());
        }
        let mut latest: Vec<Record> = latest.into_values().collect();
        latest.sort_by_key(|record| record.version);
        let message = |record| Synced { record: Some(record), versions: None }.encode_to_vec();
        Ok(latest.into_iter().map(message).collect())
    }

    fn check_type(&mut self, kind: &str) -> Result<(), (Code, String)> {
        match kind {
            USER | GROUP => Ok(()),
            _ => Err(self.complain(Code::InvalidArgument, format!("the type {kind:?}"))),
        }
    }

    fn acquire(&mut self, client: usize, request: Acquire) -> Answer {
        let duration = self.duration(request.duration)?;
        if request.name.is_empty() {
            return Err(self.complain(Code::InvalidArgument, "a lease with no name".to_owned()));
        }
        let now = clock::instant();
        let is_taken = |lease: &Lease| {
            lease.name == request.name && lease.until + lease.promised.unwrap_or_default() > now
        };
        if self.lease.as_ref().is_some_and(is_taken) {
            return Err((Code::AlreadyExists, "the lease is taken".to_owned()));
        }
        self.leases += 1;
        let id = format!("lease-{}", self.leases);
        let until = now + duration;
        let name = request.name;
        self.lease = Some(Lease { name, id: id.clone(), until, client, promised: None });
        one(&OneText { text: id })
    }

    fn renew(&mut self, request: &Renew) -> Answer {
        let duration = self.duration(request.duration)?;
        self.check_lease(request)?;
        if self.lease.as_ref().is_some_and(|lease| lease.promised.is_some()) {
            return Err((Code::AlreadyExists, "another holds the lease".to_owned()));
        }
        let until = clock::instant() + duration;
        self.lease.iter_mut().for_each(|lease| lease.until = until);
        one(&Nothing {})
    }

    fn check_lease(&self, request: &Renew) -> Result<(), (Code, String)> {
        match self.held() {
            Some(lease) if (&lease.name, &lease.id) == (&request.name, &request.id) => Ok(()),
            Some(_) => Err((Code::AlreadyExists, "another holds the lease".to_owned())),
            None => Err((Code::NotFound, "no such lease".to_owned())),
        }
    }

    fn duration(&mut self, duration: Option<Time>) -> Result<Duration, (Code, String)> {
        let seconds = duration.map_or(0, |duration| duration.seconds);
        match u64::try_from(seconds) {
            Ok(seconds @ 1..=600) => Ok(Duration::from_secs(seconds)),
            _ => Err(self.complain(Code::InvalidArgument, format!("a lease for {duration:?}"))),
        }
    }

    fn held(&self) -> Option<&Lease> {
        self.lease.as_ref().filter(|lease| lease.until > clock::instant())
    }

    fn complain(&mut self, code: Code, what: String) -> (Code, String) {
        self.complaints.push(what.clone());
        (code, what)
    }
}

fn one(message: &impl Message) -> Answer {
    Ok(vec![message.encode_to_vec()])
}

fn token_fault(key: &[u8], token: &str) -> Option<String> {
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let json = |part: &str| serde_json::from_slice::<Map<String, Json>>(&decode(part)?).ok();
    let parts: Vec<&str> = token.split('.').collect();
    let &[head, claims, signature] = parts.as_slice() else { return Some("no token".to_owned()) };
    let (Some(header), Some(body), Some(signature)) = (json(head), json(claims), decode(signature))
    else {
        return Some("no token".to_owned());
    };
    if header.get("alg") != Some(&"HS256".into()) {
        return Some(format!("a token signed by {:?}", header.get("alg")));
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    if hmac::verify(&key, format!("{head}.{claims}").as_bytes(), &signature).is_err() {
        return Some("a token with a wrong signature".to_owned());
    }
    let now = clock::now().0 / 1000;
    match (body.len(), body.get("exp").and_then(Json::as_u64)) {
        (1, Some(expiry)) if expiry > now && expiry <= now + TOKEN_SECONDS_MAX => None,
        _ => Some(format!("a token with the claims {body:?} at {now}")),
    }
}

fn check_record(record: &Record) -> Result<(), String> {
    if ![USER, GROUP].contains(&record.r#type.as_str()) || record.id.is_empty() {
        return Err("puts a record without type and id".to_owned());
    }
    let data = record.data.as_ref().ok_or("puts a record without data")?;
    if data.type_url != STRUCT_URL {
        return Err("puts what is no Struct".to_owned());
    }
    let data = Struct::decode(data.value.as_slice()).map_err(|e| e.to_string())?;
    if record.deleted_at.is_some() {
        return Ok(());
    }
    let text = |name: &str| match data.fields.get(name)?.kind.as_ref()? {
        Kind::String(text) => Some(text.as_str()),
        _ => None,
    };
    if text("id") != Some(&record.id) {
        return Err("puts a record whose data has another id".to_owned());
    }
    let texts = match record.r#type.as_str() {
        USER => ["display_name", "email"],
        _ => ["name", "email"],
    };
    for name in texts.into_iter().filter(|name| data.fields.contains_key(*name)) {
        text(name).filter(|text| !text.is_empty()).ok_or(format!("`{name}` is no text"))?;
    }
    if record.r#type == USER {
        let Some(Value { kind: Some(Kind::List(list)) }) = data.fields.get("group_ids") else {
            return Err("puts a user without a list of groups".to_owned());
        };
        let id = |value: &Value| match &value.kind {
            Some(Kind::String(id)) if !id.is_empty() => Ok(id.clone()),
            _ => Err("a group's id is no text".to_owned()),
        };
        let ids: Vec<String> = list.values.iter().map(id).collect::<Result<_, _>>()?;
        if !ids.is_sorted_by(|a, b| a < b) {
            return Err("puts groups that are not sorted".to_owned());
        }
    }
    Ok(())
}

/// A record's data.
pub fn json_of(record: &Record) -> Json {
    let data = record.data.as_ref().expect("checked");
    json_of_struct(&Struct::decode(data.value.as_slice()).expect("checked"))
}

fn json_of_struct(data: &Struct) -> Json {
    data.fields.iter().map(|(name, value)| (name.clone(), json_of_value(value))).collect()
}

fn json_of_value(value: &Value) -> Json {
    match value.kind.as_ref() {
        None | Some(Kind::Null(_)) => Json::Null,
        Some(Kind::Number(number)) => (*number).into(),
        Some(Kind::String(text)) => text.as_str().into(),
        Some(Kind::Bool(value)) => (*value).into(),
        Some(Kind::Struct(data)) => json_of_struct(data),
        Some(Kind::List(list)) => list.values.iter().map(json_of_value).collect(),
    }
}
