//! Values of the attributes that have no field of their own.

use std::collections::BTreeMap;

/// Extra attributes by the provider's own names, in a stable order.
pub type Attributes = BTreeMap<String, Value>;

/// One attribute's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Bool(bool),
    Integer(i64),
    /// Text; also numbers that are no 64-bit integer, as the provider wrote them.
    Text(String),
    List(Vec<Value>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}
