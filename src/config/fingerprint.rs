//! A digest that tells whether a part of the configuration changed.

use ring::digest::{Context, SHA256};
use subtle::ConstantTimeEq;
use toml::de::{DeTable, DeValue};

/// A digest of settings with their secrets. Never shown: a weak secret could
/// be guessed from it.
#[derive(Clone)]
pub struct Fingerprint(Vec<u8>);

impl Fingerprint {
    pub(super) fn of_bytes(bytes: &[u8]) -> Fingerprint {
        Fingerprint(ring::digest::digest(&SHA256, bytes).as_ref().to_vec())
    }

    pub(super) fn of_value(value: &DeValue<'_>) -> Fingerprint {
        let mut context = Context::new(&SHA256);
        feed_value(&mut context, value);
        Fingerprint(context.finish().as_ref().to_vec())
    }

    /// `contents` are the digests of what the table names, by key.
    pub(super) fn of_table<'a>(
        table: &DeTable<'_>,
        contents: impl Iterator<Item = (&'a str, &'a Fingerprint)>,
    ) -> Fingerprint {
        let mut context = Context::new(&SHA256);
        feed_table(&mut context, table);
        for (key, content) in contents {
            feed(&mut context, b'c', key.as_bytes());
            feed(&mut context, b'd', &content.0);
        }
        Fingerprint(context.finish().as_ref().to_vec())
    }
}

impl PartialEq for Fingerprint {
    fn eq(&self, other: &Fingerprint) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Fingerprint {}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fingerprint(…)")
    }
}

/// Tables iterate in the order of their keys, so the order and the layout of
/// the file do not matter.
fn feed_table(context: &mut Context, table: &DeTable<'_>) {
    context.update(b"{");
    for (key, value) in table.iter() {
        feed(context, b'k', key.get_ref().as_bytes());
        feed_value(context, value.get_ref());
    }
    context.update(b"}");
}

fn feed_value(context: &mut Context, value: &DeValue<'_>) {
    match value {
        DeValue::String(text) => feed(context, b's', text.as_bytes()),
        DeValue::Integer(number) => feed(context, b'i', number.to_string().as_bytes()),
        DeValue::Float(number) => feed(context, b'f', number.as_str().as_bytes()),
        DeValue::Boolean(value) => feed(context, b'b', &[u8::from(*value)]),
        DeValue::Datetime(moment) => feed(context, b'm', moment.to_string().as_bytes()),
        DeValue::Array(items) => {
            context.update(b"[");
            items.iter().for_each(|item| feed_value(context, item.get_ref()));
            context.update(b"]");
        }
        DeValue::Table(table) => feed_table(context, table),
    }
}

/// The length goes in front, so that no two settings run together.
fn feed(context: &mut Context, kind: u8, bytes: &[u8]) {
    context.update(&[kind]);
    context.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
    context.update(bytes);
}
