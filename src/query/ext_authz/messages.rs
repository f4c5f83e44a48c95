//! The messages of `envoy.service.auth.v3`, as far as they are read or written
//! here; the numbers are those of Envoy's `external_auth.proto`,
//! `attribute_context.proto` and `base.proto`. Maps are lists of entries, so
//! that a key that comes twice is seen; header values are bytes, so that one
//! that is no UTF-8 does not spoil the whole message.

use prost::Message;

/// `CheckRequest`
#[derive(Clone, PartialEq, Message)]
pub struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    pub attributes: Option<Attributes>,
}

/// `AttributeContext`
#[derive(Clone, PartialEq, Message)]
pub struct Attributes {
    #[prost(message, optional, tag = "4")]
    pub request: Option<Request>,
    /// From the route's configuration; never from the client.
    #[prost(message, repeated, tag = "10")]
    pub context_extensions: Vec<Extension>,
}

/// `AttributeContext.Request`
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    #[prost(message, optional, tag = "2")]
    pub http: Option<HttpRequest>,
}

/// `AttributeContext.HttpRequest`
#[derive(Clone, PartialEq, Message)]
pub struct HttpRequest {
    /// Headers of the same name are joined by commas.
    #[prost(message, repeated, tag = "3")]
    pub headers: Vec<Header>,
    /// In place of them with `encode_raw_headers`; nothing is joined.
    #[prost(message, optional, tag = "13")]
    pub header_map: Option<HeaderMap>,
}

/// `config.core.v3.HeaderMap`
#[derive(Clone, PartialEq, Message)]
pub struct HeaderMap {
    #[prost(message, repeated, tag = "1")]
    pub headers: Vec<Header>,
}

/// An entry of a map of headers, and `config.core.v3.HeaderValue`.
#[derive(Clone, PartialEq, Message)]
pub struct Header {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: bytes::Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: bytes::Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub raw_value: bytes::Bytes,
}

/// An entry of `context_extensions`.
#[derive(Clone, PartialEq, Message)]
pub struct Extension {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `CheckResponse`
#[derive(Clone, PartialEq, Message)]
pub struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    #[prost(oneof = "HttpResponse", tags = "2, 3")]
    pub http_response: Option<HttpResponse>,
    /// For Envoy's own log.
    #[prost(message, optional, tag = "4")]
    pub dynamic_metadata: Option<Struct>,
}

/// What Envoy does to the request, or tells the client.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum HttpResponse {
    #[prost(message, tag = "2")]
    Denied(DeniedResponse),
    #[prost(message, tag = "3")]
    Ok(OkResponse),
}

/// `google.rpc.Status`
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
}

/// `DeniedHttpResponse`
#[derive(Clone, PartialEq, Message)]
pub struct DeniedResponse {
    #[prost(message, optional, tag = "1")]
    pub status: Option<HttpStatus>,
    #[prost(message, repeated, tag = "2")]
    pub headers: Vec<HeaderOption>,
    #[prost(string, tag = "3")]
    pub body: String,
}

/// `type.v3.HttpStatus`
#[derive(Clone, PartialEq, Message)]
pub struct HttpStatus {
    #[prost(int32, tag = "1")]
    pub code: i32,
}

/// `OkHttpResponse`
#[derive(Clone, PartialEq, Message)]
pub struct OkResponse {
    #[prost(message, repeated, tag = "2")]
    pub headers: Vec<HeaderOption>,
}

/// `config.core.v3.HeaderValueOption`: without `append` the header takes the
/// place of what the client sent.
#[derive(Clone, PartialEq, Message)]
pub struct HeaderOption {
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
    #[prost(message, optional, tag = "2")]
    pub append: Option<BoolValue>,
}

/// `google.protobuf.BoolValue`
#[derive(Clone, PartialEq, Message)]
pub struct BoolValue {
    #[prost(bool, tag = "1")]
    pub value: bool,
}

/// `google.protobuf.Struct`
#[derive(Clone, PartialEq, Message)]
pub struct Struct {
    #[prost(message, repeated, tag = "1")]
    pub fields: Vec<Field>,
}

/// An entry of its map.
#[derive(Clone, PartialEq, Message)]
pub struct Field {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<Value>,
}

/// `google.protobuf.Value`, where it is a string.
#[derive(Clone, PartialEq, Message)]
pub struct Value {
    /// Of a oneof: written even when it is empty.
    #[prost(string, optional, tag = "3")]
    pub text: Option<String>,
}
