//! The databroker's messages, as its documentation has them; written apart from
//! those of the daemon, so that one does not confirm the mistakes of the other.

use std::collections::HashMap;

#[derive(Clone, PartialEq, prost::Message)]
pub struct Any {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `google.protobuf.Timestamp` and `Duration` have the same fields.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Time {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Struct {
    #[prost(map = "string, message", tag = "1")]
    pub fields: HashMap<String, Value>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Value {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    pub kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    String(String),
    #[prost(bool, tag = "4")]
    Bool(bool),
    #[prost(message, tag = "5")]
    Struct(Struct),
    #[prost(message, tag = "6")]
    List(List),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct List {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Record {
    #[prost(uint64, tag = "1")]
    pub version: u64,
    #[prost(string, tag = "2")]
    pub r#type: String,
    #[prost(string, tag = "3")]
    pub id: String,
    #[prost(message, optional, tag = "4")]
    pub data: Option<Any>,
    #[prost(message, optional, tag = "5")]
    pub modified_at: Option<Time>,
    #[prost(message, optional, tag = "6")]
    pub deleted_at: Option<Time>,
}

/// `PutRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Put {
    #[prost(message, repeated, tag = "1")]
    pub records: Vec<Record>,
}

/// `PutResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HasPut {
    #[prost(uint64, tag = "1")]
    pub server_version: u64,
    #[prost(message, repeated, tag = "2")]
    pub records: Vec<Record>,
}

/// `SyncRequest`; `SyncLatestRequest` has only the type, at 1.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Sync {
    #[prost(uint64, tag = "1")]
    pub server_version: u64,
    #[prost(uint64, tag = "2")]
    pub record_version: u64,
    #[prost(string, tag = "3")]
    pub r#type: String,
    #[prost(bool, optional, tag = "4")]
    pub wait: Option<bool>,
}

/// `SyncLatestRequest`; also `AcquireLeaseResponse`, which has an id there.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OneText {
    #[prost(string, tag = "1")]
    pub text: String,
}

/// `SyncResponse`, and `SyncLatestResponse` with its versions.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Synced {
    #[prost(message, optional, tag = "1")]
    pub record: Option<Record>,
    #[prost(message, optional, tag = "2")]
    pub versions: Option<Info>,
}

/// `ServerInfo`'s answer; `Versions` has the first two of these.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Info {
    #[prost(uint64, tag = "1")]
    pub server_version: u64,
    #[prost(uint64, tag = "2")]
    pub second: u64,
    #[prost(uint64, tag = "3")]
    pub third: u64,
}

/// `AcquireLeaseRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Acquire {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub duration: Option<Time>,
}

/// `RenewLeaseRequest`, and `ReleaseLeaseRequest` without the duration.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Renew {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub id: String,
    #[prost(message, optional, tag = "3")]
    pub duration: Option<Time>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Nothing {}
