//! Durations as people write them: `90s`, `5m`, `1h30m`, `100ms`.

use std::time::Duration;

/// The units, in falling order, in milliseconds.
const UNITS: [(&str, u64); 6] = [
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads whole numbers with units, each unit once, in falling order.
///
/// # Errors
/// What is wrong with it, as a fragment.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{}` is not a duration", text.escape_debug());
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut millis: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit());
        let (unit, after) = split(after, |c| c.is_ascii_alphabetic());
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let (_, factor) = units.find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let part = number.checked_mul(*factor);
        millis = part
            .and_then(|part| millis.checked_add(part))
            .ok_or_else(|| format!("`{text}` is too long a duration"))?;
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_millis(millis)) }
}

/// Writes what [`parse`] reads.
pub fn format(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, factor) in UNITS.iter().skip(1) {
        if rest >= *factor {
            text.push_str(&format!("{}{unit}", rest / factor));
            rest %= factor;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

fn split(text: &str, matches: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !matches(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_write() {
        let check = |text, millis, written| {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(format(Duration::from_millis(millis)), written);
        };
        check("90s", 90_000, "1m30s");
        check("5m", 300_000, "5m");
        check("1h30m", 5_400_000, "1h30m");
        check("100ms", 100, "100ms");
        check("1m5ms", 60_005, "1m5ms");
        check("1w", 604_800_000, "7d");
        check("0s", 0, "0s");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "5", "m", "5 m", "1.5h", "30m1h", "5m5m", "-5m", "5µs", "5x"] {
            assert_eq!(parse(text), Err(format!("`{text}` is not a duration")), "{text}");
        }
        assert!(parse("99999999999999999999s").is_err());
        assert!(parse("99999999999999w").unwrap_err().contains("too long"));
    }
}
