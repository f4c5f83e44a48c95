//! Distinguished names: one spelling for all ways to write the same name.
//!
//! RFC 4514 lets a name be written in many ways; two servers, or a group's
//! member value and the member itself, often differ. [`normalise`] gives all
//! of them one form, fit to be compared byte by byte.

/// The canonical spelling of `dn`: types in lower case and by their short
/// name, values without insignificant spaces and in lower case, one way of
/// escaping, the parts of a multi-valued RDN sorted.
///
/// A text that is no distinguished name comes back trimmed and in lower case.
pub fn normalise(dn: &str) -> String {
    match parse(dn) {
        Some(rdns) => write(rdns),
        None => dn.trim().to_lowercase(),
    }
}

/// Whether `dn` is `base` or lies below it; both normalised.
pub fn is_within(dn: &str, base: &str) -> bool {
    match dn.strip_suffix(base) {
        Some(front) => base.is_empty() || front.is_empty() || ends_in_separator(front),
        None => false,
    }
}

/// The value of the first RDN when its type is `attribute`, as written.
pub fn first_value(dn: &str, attribute: &str) -> Option<String> {
    let first = parse(dn)?.into_iter().next()?;
    first.into_iter().find(|(kind, _)| kind.eq_ignore_ascii_case(attribute)).map(|(_, value)| value)
}

type Rdn = Vec<(String, String)>;

fn ends_in_separator(front: &str) -> bool {
    let Some(rest) = front.strip_suffix(',') else { return false };
    let escapes = rest.bytes().rev().take_while(|byte| *byte == b'\\').count();
    escapes % 2 == 0
}

fn write(rdns: Vec<Rdn>) -> String {
    let mut out = String::new();
    for (index, rdn) in rdns.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        let mut parts: Vec<(String, String)> =
            rdn.into_iter().map(|(kind, value)| (short_name(&kind), fold(&value))).collect();
        parts.sort_unstable();
        for (index, (kind, value)) in parts.iter().enumerate() {
            if index > 0 {
                out.push('+');
            }
            out.push_str(kind);
            out.push('=');
            escape_into(&mut out, value);
        }
    }
    out
}

/// Lower case, no spaces around, runs of spaces as one: what
/// `caseIgnoreMatch` disregards (RFC 4518).
fn fold(value: &str) -> String {
    let words: Vec<&str> = value.split(' ').filter(|word| !word.is_empty()).collect();
    words.join(" ").to_lowercase()
}

fn escape_into(out: &mut String, value: &str) {
    for character in value.chars() {
        if matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' | '#') {
            out.push('\\');
        }
        out.push(character);
    }
}

/// The types that RFC 4514 section 3 names, by their numbers, and long names.
fn short_name(kind: &str) -> String {
    let lower = kind.trim().to_lowercase();
    let bare = lower.trim_start_matches("oid.");
    let short = match bare {
        "2.5.4.3" | "commonname" => "cn",
        "2.5.4.4" | "surname" => "sn",
        "2.5.4.5" => "serialnumber",
        "2.5.4.6" | "countryname" => "c",
        "2.5.4.7" | "localityname" => "l",
        "2.5.4.8" | "stateorprovincename" => "st",
        "2.5.4.9" | "streetaddress" => "street",
        "2.5.4.10" | "organizationname" => "o",
        "2.5.4.11" | "organizationalunitname" => "ou",
        "0.9.2342.19200300.100.1.25" | "domaincomponent" => "dc",
        "0.9.2342.19200300.100.1.1" | "userid" => "uid",
        other => other,
    };
    short.to_owned()
}

/// `keystring` or `numericoid` (RFC 4512 section 1.4), in lower case; some servers
/// have `_` in their names, too.
fn is_type(kind: &str) -> bool {
    let bare = kind.trim_start_matches("oid.");
    !bare.is_empty()
        && bare.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
}

/// The RDNs as type in lower case and unescaped value.
fn parse(dn: &str) -> Option<Vec<Rdn>> {
    let mut rdns = Vec::new();
    if dn.trim().is_empty() {
        return Some(rdns);
    }
    let mut rdn = Rdn::new();
    let mut rest = dn;
    loop {
        let (kind, after) = rest.split_once('=')?;
        let kind = kind.trim().to_lowercase();
        if !is_type(&kind) {
            return None;
        }
        let (value, end, after) = value(after)?;
        rdn.push((kind, value));
        rest = after;
        match end {
            Some('+') => {}
            Some(_) => rdns.push(std::mem::take(&mut rdn)),
            None => {
                rdns.push(rdn);
                return Some(rdns);
            }
        }
    }
}

/// One value: its text, the separator that ended it, and what follows.
fn value(text: &str) -> Option<(String, Option<char>, &str)> {
    let text = text.trim_start_matches(' ');
    if let Some(hex) = text.strip_prefix('#') {
        return hex_value(hex);
    }
    let mut bytes = Vec::new();
    // How much of `bytes` must stay when trailing spaces go.
    let mut kept = 0;
    let mut quoted = false;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => {
                let (escape_at, escaped) = characters.next()?;
                match hex_pair(text.get(escape_at..escape_at + 2)) {
                    Some(byte) => {
                        bytes.push(byte);
                        characters.next();
                    }
                    None => push(&mut bytes, escaped),
                }
                kept = bytes.len();
            }
            '"' => quoted = !quoted,
            ',' | ';' | '+' if !quoted => {
                let after = text.get(at + character.len_utf8()..)?;
                return Some((finish(bytes, kept), Some(character), after));
            }
            _ => {
                push(&mut bytes, character);
                if quoted || character != ' ' {
                    kept = bytes.len();
                }
            }
        }
    }
    (!quoted).then(|| (finish(bytes, kept), None, ""))
}

fn push(bytes: &mut Vec<u8>, character: char) {
    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

fn finish(mut bytes: Vec<u8>, kept: usize) -> String {
    bytes.truncate(kept);
    super::entry::text(bytes)
}

fn hex_pair(pair: Option<&str>) -> Option<u8> {
    let pair = pair?;
    if pair.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        u8::from_str_radix(pair, 16).ok()
    } else {
        None
    }
}

/// `#04…`: the BER of the value. A string of any kind counts as its text;
/// anything else stays as hex.
fn hex_value(text: &str) -> Option<(String, Option<char>, &str)> {
    let end = text.find([',', ';', '+']);
    let (digits, after) = match end {
        Some(at) => (text.get(..at)?, text.get(at + 1..)?),
        None => (text, ""),
    };
    let separator = end.and_then(|at| text.get(at..)?.chars().next());
    let digits = digits.trim();
    let pairs = digits.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = pairs
        .map(|pair| hex_pair(std::str::from_utf8(pair).ok().filter(|p| p.len() == 2)))
        .collect();
    let bytes = bytes?;
    let inner = super::ber::Reader::new(&bytes).next().ok().flatten();
    let value = match inner {
        Some(element) if matches!(element.tag, 0x04 | 0x0c | 0x13 | 0x16) => {
            super::entry::text(element.body.to_vec())
        }
        _ => format!("#{}", digits.to_lowercase()),
    };
    Some((value, separator, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(left: &str, right: &str) {
        assert_eq!(normalise(left), normalise(right), "{left} and {right}");
    }

    #[test]
    fn what_has_no_type_is_no_name_and_stays_as_it_is() {
        for text in ["oid. \t x=a", "a b=c", "\u{7f}=x", "oid.=x"] {
            let normal = normalise(text);
            assert_eq!(normalise(&normal), normal, "{text:?}");
        }
        assert_eq!(normalise("oid.OID.2.5.4.3=A"), "cn=a");
    }

    #[test]
    fn case_and_spaces_do_not_matter() {
        same("UID=Ada,OU=People,DC=Example,DC=Org", "uid=ada, ou=people ,dc=example;dc=org");
        same("cn=Ada  Lovelace", "CN= ada lovelace ");
        assert_eq!(normalise("UID=Ada,DC=Org"), "uid=ada,dc=org");
    }

    #[test]
    fn escapes_are_one() {
        same(r"cn=Doe\, Jane,dc=org", r"cn=Doe\2C Jane,dc=org");
        same(r#"cn="Doe, Jane",dc=org"#, r"cn=Doe\, Jane,dc=org");
        same(r"cn=L\C3\BC\C3\A9,dc=org", "cn=Lüé,dc=org");
        same(r"cn=a\=b", "cn=a=b");
        same(r"cn=#0403414243", "cn=abc");
        same(r"cn=\20a\20", "cn=a");
        assert_ne!(normalise(r"cn=a\,dc=org"), normalise("cn=a,dc=org"));
    }

    #[test]
    fn types_have_many_names() {
        same("2.5.4.3=x,0.9.2342.19200300.100.1.25=org", "cn=x,dc=org");
        same("OID.2.5.4.11=x", "ou=x");
    }

    #[test]
    fn the_order_within_an_rdn_does_not_matter() {
        same("cn=a+uid=b,dc=org", "UID=b + CN=A,dc=org");
        assert_ne!(normalise("cn=a,uid=b"), normalise("uid=b,cn=a"));
    }

    #[test]
    fn what_is_no_name_stays_itself() {
        assert_eq!(normalise(" Jane "), "jane");
        assert_eq!(normalise(""), "");
        assert_eq!(normalise("cn=a\\"), "cn=a\\");
        assert_eq!(normalise("cn=\"a"), "cn=\"a");
        assert_eq!(normalise("=a"), "=a");
        assert_eq!(normalise("cn=#zz"), "cn=#zz");
    }

    #[test]
    fn normalising_twice_changes_nothing() {
        for dn in [r"cn=Doe\, Jane+uid=x,dc=org", "cn=#0500", r"cn=\#a", r"cn=a\+b", "cn=é\\00"] {
            assert_eq!(normalise(&normalise(dn)), normalise(dn), "{dn}");
        }
    }

    #[test]
    fn within_means_whole_rdns() {
        let base = normalise("dc=example,dc=org");
        assert!(is_within(&normalise("ou=a,dc=example,dc=org"), &base));
        assert!(is_within(&base, &base));
        assert!(!is_within(&normalise("dc=myexample,dc=org"), &base));
        assert!(!is_within(&normalise(r"ou=a\,dc=example,dc=org"), &base));
        assert!(is_within(&base, ""));
    }

    #[test]
    fn the_first_value_is_found_by_its_type() {
        assert_eq!(first_value("uid=Ada,dc=org", "UID").as_deref(), Some("Ada"));
        assert_eq!(first_value("cn=Ada,dc=org", "uid"), None);
    }
}
