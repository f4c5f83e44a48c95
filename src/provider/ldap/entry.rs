//! One entry as the server sent it, and the values in it.

use ldap3::asn1::{PL, StructureTag};

use super::ber::Malformed;

/// An entry: its name, and attributes with their values in the server's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    pub dn: String,
    /// Names as the server wrote them, options (`;range=…`) included.
    pub attributes: Vec<(String, Vec<Vec<u8>>)>,
}

impl Entry {
    /// Reads `SearchResultEntry ::= [APPLICATION 4] SEQUENCE { objectName, attributes }`
    /// (RFC 4511 section 4.5.2).
    ///
    /// # Errors
    /// When it has another shape. Names that are not UTF-8 are read with
    /// replacement characters.
    pub fn read(tag: StructureTag) -> Result<Entry, Malformed> {
        let mut parts = constructed(tag)?.into_iter();
        let dn = text(primitive(parts.next())?);
        let attributes = constructed(parts.next().ok_or(SHORT)?)?
            .into_iter()
            .map(read_attribute)
            .collect::<Result<_, _>>()?;
        Ok(Entry { dn, attributes })
    }

    /// All values of an attribute; empty when it is not there.
    pub fn values(&self, name: &str) -> &[Vec<u8>] {
        self.attributes
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map_or(&[], |(_, values)| values)
    }

    /// All values of an attribute as text.
    pub fn texts(&self, name: &str) -> Vec<String> {
        self.values(name).iter().map(|value| text(value.clone())).collect()
    }

    /// The first value of an attribute as text, unless it is empty.
    pub fn text(&self, name: &str) -> Option<String> {
        self.values(name).first().map(|value| text(value.clone())).filter(|text| !text.is_empty())
    }

    /// The first value of an attribute as a number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.trim().parse().ok()
    }

    /// Whether a truth value says `TRUE` (RFC 4517 section 3.3.3).
    pub fn is_true(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// Whether it is of an object class, by the class's short name.
    pub fn is_of_class(&self, class: &str) -> bool {
        self.values("objectClass").iter().any(|value| value.eq_ignore_ascii_case(class.as_bytes()))
    }
}

const SHORT: Malformed = Malformed("an entry with missing parts");

fn read_attribute(tag: StructureTag) -> Result<(String, Vec<Vec<u8>>), Malformed> {
    let mut parts = constructed(tag)?.into_iter();
    let name = text(primitive(parts.next())?);
    let values = constructed(parts.next().ok_or(SHORT)?)?
        .into_iter()
        .map(|value| primitive(Some(value)))
        .collect::<Result<_, _>>()?;
    Ok((name, values))
}

fn constructed(tag: StructureTag) -> Result<Vec<StructureTag>, Malformed> {
    match tag.payload {
        PL::C(parts) => Ok(parts),
        PL::P(_) => Err(Malformed("plain bytes instead of a list in an entry")),
    }
}

fn primitive(tag: Option<StructureTag>) -> Result<Vec<u8>, Malformed> {
    match tag.ok_or(SHORT)?.payload {
        PL::P(bytes) => Ok(bytes),
        PL::C(_) => Err(Malformed("a list instead of plain bytes in an entry")),
    }
}

/// Bytes as text; what is not UTF-8 is replaced.
pub fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_attributes_and_classes_ignore_case() {
        let entry = Entry {
            dn: "cn=a".into(),
            attributes: vec![
                ("objectclass".into(), vec![b"inetOrgPerson".to_vec()]),
                ("Mail".into(), vec![b"a@example.org".to_vec(), b"b@example.org".to_vec()]),
                ("uidNumber".into(), vec![b"7".to_vec()]),
            ],
        };
        assert!(entry.is_of_class("INETORGPERSON"));
        assert_eq!(entry.texts("mail"), ["a@example.org", "b@example.org"]);
        assert_eq!(entry.number("uidnumber"), Some(7));
        assert_eq!(entry.text("sn"), None);
    }
}
