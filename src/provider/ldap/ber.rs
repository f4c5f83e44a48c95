//! Reads and writes BER (X.690) one element at a time: no recursion, no
//! copies, no panics, whatever the bytes.

/// Universal and context tags as LDAP uses them (RFC 4511).
pub const BOOLEAN: u8 = 0x01;
pub const INTEGER: u8 = 0x02;
pub const OCTET_STRING: u8 = 0x04;
pub const ENUMERATED: u8 = 0x0a;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;

/// Bytes that are no BER as LDAP restricts it (RFC 4511 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed BER: {0}")]
pub struct Malformed(pub &'static str);

/// The tag and length in front of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub tag: u8,
    /// Bytes that the header itself takes.
    pub size: usize,
    /// Bytes that follow it.
    pub length: usize,
}

impl Header {
    /// Reads a header; `None` while it is not all there.
    ///
    /// # Errors
    /// For a tag of several bytes or an indefinite or overlong length, which
    /// LDAP does not use.
    pub fn read(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
        let [tag, first, rest @ ..] = bytes else { return Ok(None) };
        if tag & 0x1f == 0x1f {
            return Err(Malformed("a tag of several bytes"));
        }
        if *first < 0x80 {
            return Ok(Some(Header { tag: *tag, size: 2, length: usize::from(*first) }));
        }
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 {
            return Err(Malformed("an indefinite or overlong length"));
        }
        let Some(digits) = rest.get(..count) else { return Ok(None) };
        let length = digits.iter().fold(0_usize, |sum, digit| (sum << 8) | usize::from(*digit));
        Ok(Some(Header { tag: *tag, size: 2 + count, length }))
    }

    /// Whether elements follow, not plain bytes.
    pub fn is_constructed(&self) -> bool {
        self.tag & 0x20 != 0
    }

    /// Header and content together.
    pub fn total(&self) -> usize {
        self.size.saturating_add(self.length)
    }
}

/// One element: its tag and what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    pub tag: u8,
    pub body: &'a [u8],
}

/// Walks over the elements of one level.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, or `None` at the end.
    ///
    /// # Errors
    /// When the bytes end within an element.
    pub fn next(&mut self) -> Result<Option<Element<'a>>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let cut = Malformed("an element that ends too early");
        let header = Header::read(self.rest)?.ok_or(cut)?;
        let body = self.rest.get(header.size..header.total()).ok_or(cut)?;
        self.rest = self.rest.get(header.total()..).unwrap_or_default();
        Ok(Some(Element { tag: header.tag, body }))
    }

    /// The content of the next element, which must have this tag.
    ///
    /// # Errors
    /// When it has another, or is not there.
    pub fn expect(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        match self.next()? {
            Some(element) if element.tag == tag => Ok(element.body),
            Some(_) => Err(Malformed("an element of another kind than expected")),
            None => Err(Malformed("a missing element")),
        }
    }

    /// The content of the next element when it has this tag; else it stays.
    ///
    /// # Errors
    /// When the bytes end within an element.
    pub fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, Malformed> {
        if self.rest.first() == Some(&tag) { self.expect(tag).map(Some) } else { Ok(None) }
    }
}

/// A two's complement number of up to eight bytes.
///
/// # Errors
/// When it is empty or longer.
pub fn integer(body: &[u8]) -> Result<i64, Malformed> {
    let (first, rest) = body.split_first().ok_or(Malformed("an empty number"))?;
    if rest.len() > 7 {
        return Err(Malformed("a number of more than 64 bits"));
    }
    let start = i64::from(*first as i8);
    Ok(rest.iter().fold(start, |sum, digit| (sum << 8) | i64::from(*digit)))
}

/// Writes one element.
pub fn write(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 6);
    bytes.push(tag);
    match u8::try_from(body.len()) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
            bytes.push(0x84);
            bytes.extend_from_slice(&length);
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// Writes a number in as few bytes as it takes.
pub fn write_integer(tag: u8, number: i64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let spare = bytes
        .windows(2)
        .take_while(|pair| {
            matches!(pair, [0, next] if *next < 0x80)
                || matches!(pair, [0xff, next] if *next >= 0x80)
        })
        .count();
    write(tag, bytes.get(spare..).unwrap_or(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_went() {
        for number in [0, 1, -1, 127, 128, 255, 256, -128, -129, 2_147_483_649, i64::MAX, i64::MIN]
        {
            let bytes = write_integer(INTEGER, number);
            let body = Reader::new(&bytes).expect(INTEGER).unwrap();
            assert_eq!(integer(body).unwrap(), number);
        }
        assert_eq!(write_integer(INTEGER, 128), [2, 2, 0, 128]);
        assert!(integer(&[]).is_err());
        assert!(integer(&[0; 9]).is_err());
    }

    #[test]
    fn a_long_body_has_a_long_length() {
        let bytes = write(OCTET_STRING, &[7; 300]);
        let header = Header::read(&bytes).unwrap().unwrap();
        assert_eq!((header.length, header.total()), (300, bytes.len()));
        assert_eq!(Reader::new(&bytes).expect(OCTET_STRING).unwrap().len(), 300);
    }

    #[test]
    fn truncated_bytes_are_an_error_not_a_wait() {
        assert!(Reader::new(&[4, 5, 1]).next().is_err());
        assert!(Reader::new(&[4]).next().is_err());
        assert_eq!(Header::read(&[0x30, 0x82, 1]), Ok(None));
        assert!(Header::read(&[0x30, 0x80]).is_err());
        assert!(Header::read(&[0x3f, 0x01]).is_err());
    }
}
