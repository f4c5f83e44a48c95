//! Reads member lists that Active Directory hands out in ranges
//! (MS-ADTS section 3.1.1.3.1.3.3).

use ldap3::controls::RawControl;

use super::entry::Entry;
use super::session::Session;
use crate::provider::PullError;

/// Completes every attribute of `entry` that came as `name;range=0-1499`, so
/// that it holds all its values under its plain name.
///
/// # Errors
/// When a range is refused, or does not follow the one before.
pub async fn complete(
    session: &mut Session,
    entry: &mut Entry,
    controls: &[RawControl],
) -> Result<(), PullError> {
    // AD sends the plain name too, without values.
    let ranged: Vec<Range> =
        entry.attributes.iter().filter_map(|(name, _)| Range::read(name)).collect();
    for range in ranged {
        let mut values = take(entry, &range);
        let mut end = range.end;
        while let Some(last) = end {
            let next = last + 1;
            let wanted = [format!("{};range={next}-*", range.attribute)];
            let part =
                session.entry("range", &entry.dn, &wanted, controls.to_vec()).await?.ok_or_else(
                    || session.incomplete(format!("{} vanished while it was read", entry.dn)),
                )?;
            let (found, more) = part
                .attributes
                .iter()
                .filter_map(|(name, values)| Some((Range::read(name)?, values)))
                .find(|(found, _)| found.attribute.eq_ignore_ascii_case(&range.attribute))
                .filter(|(found, _)| found.start == next)
                .ok_or_else(|| {
                    let reason = format!(
                        "the list {} of {} ends without its end mark",
                        range.attribute, entry.dn
                    );
                    session.incomplete(reason)
                })?;
            values.extend(more.iter().cloned());
            end = found.end;
        }
        entry.attributes.retain(|(name, _)| !name.eq_ignore_ascii_case(&range.attribute));
        entry.attributes.push((range.attribute, values));
    }
    Ok(())
}

/// The option of an attribute `name;range=start-end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub attribute: String,
    pub start: u64,
    /// `None` for `*`: these are the last values.
    pub end: Option<u64>,
}

impl Range {
    /// `None` for an attribute without this option.
    pub fn read(name: &str) -> Option<Range> {
        let (attribute, option) = name.split_once(';')?;
        let (word, bounds) = option.split_once('=')?;
        let (start, end) = bounds.split_once('-')?;
        if !word.eq_ignore_ascii_case("range") {
            return None;
        }
        let end = if end == "*" { None } else { Some(end.parse().ok()?) };
        Some(Range { attribute: attribute.to_owned(), start: start.parse().ok()?, end })
    }
}

fn take(entry: &mut Entry, range: &Range) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    entry.attributes.retain_mut(|(name, found)| {
        let is_it = Range::read(name).as_ref() == Some(range);
        if is_it {
            values.append(found);
        }
        !is_it
    });
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_read() {
        let range = |start, end| Some(Range { attribute: "member".into(), start, end });
        assert_eq!(Range::read("member;range=0-1499"), range(0, Some(1499)));
        assert_eq!(Range::read("member;Range=1500-*"), range(1500, None));
        assert_eq!(Range::read("member"), None);
        assert_eq!(Range::read("userCertificate;binary"), None);
        assert_eq!(Range::read("member;range=x-*"), None);
    }
}
