//! The messages of `databroker.DataBrokerService`, of `google.protobuf.Struct`
//! and of `google.protobuf.Any`, as far as they are needed.

use std::collections::BTreeMap;

/// Of the `Any` that a record's data is.
pub(super) const STRUCT_URL: &str = "type.googleapis.com/google.protobuf.Struct";

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Moment {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Span {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// With its fields in a stable order, so that equal ones have equal bytes.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    pub fields: BTreeMap<String, Value>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Value {
    #[prost(oneof = "ValueKind", tags = "1, 2, 3, 4, 5, 6")]
    pub kind: Option<ValueKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum ValueKind {
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Bool(bool),
    #[prost(message, tag = "5")]
    Struct(Struct),
    #[prost(message, tag = "6")]
    List(List),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct List {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Record {
    #[prost(uint64, tag = "1")]
    pub version: u64,
    #[prost(string, tag = "2")]
    pub kind: String,
    #[prost(string, tag = "3")]
    pub id: String,
    #[prost(message, optional, tag = "4")]
    pub data: Option<Any>,
    #[prost(message, optional, tag = "5")]
    pub modified_at: Option<Moment>,
    #[prost(message, optional, tag = "6")]
    pub deleted_at: Option<Moment>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PutRequest {
    #[prost(message, repeated, tag = "1")]
    pub records: Vec<Record>,
}

/// The records that come back are not read: they are as large as what was put.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct PutResponse {
    #[prost(uint64, tag = "1")]
    pub server_version: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SyncLatestRequest {
    #[prost(string, tag = "1")]
    pub kind: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SyncLatestResponse {
    #[prost(oneof = "Latest", tags = "1, 2")]
    pub response: Option<Latest>,
}

/// `options` (3) is of no interest, and so passed over.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Latest {
    #[prost(message, tag = "1")]
    Record(Record),
    #[prost(message, tag = "2")]
    Versions(Versions),
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Versions {
    #[prost(uint64, tag = "1")]
    pub server_version: u64,
    #[prost(uint64, tag = "2")]
    pub latest_record_version: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SyncRequest {
    #[prost(uint64, tag = "1")]
    pub server_version: u64,
    #[prost(uint64, tag = "2")]
    pub record_version: u64,
    #[prost(string, tag = "3")]
    pub kind: String,
    #[prost(bool, optional, tag = "4")]
    pub wait: Option<bool>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SyncResponse {
    #[prost(message, optional, tag = "1")]
    pub record: Option<Record>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Empty {}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct ServerInfo {
    #[prost(uint64, tag = "1")]
    pub server_version: u64,
    #[prost(uint64, tag = "2")]
    pub earliest_record_version: u64,
    #[prost(uint64, tag = "3")]
    pub latest_record_version: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AcquireLeaseRequest {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub duration: Option<Span>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AcquireLeaseResponse {
    #[prost(string, tag = "1")]
    pub id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RenewLeaseRequest {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub id: String,
    #[prost(message, optional, tag = "3")]
    pub duration: Option<Span>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ReleaseLeaseRequest {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub id: String,
}

impl Value {
    pub(super) fn text(text: impl Into<String>) -> Value {
        Value { kind: Some(ValueKind::Text(text.into())) }
    }

    pub(super) fn texts(texts: impl IntoIterator<Item = String>) -> Value {
        let values = texts.into_iter().map(Value::text).collect();
        Value { kind: Some(ValueKind::List(List { values })) }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Some(ValueKind::Text(text)) => Some(text),
            _ => None,
        }
    }
}
