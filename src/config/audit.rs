//! `[audit]`: how long the audit trail is kept.

use std::time::Duration;

use super::Section;

const DAY: Duration = Duration::from_hours(24);

/// Settings of the audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// Entries younger than this are kept.
    pub retention: Duration,
    /// But no more than so many, the newest.
    pub entries_max: u64,
}

impl AuditConfig {
    pub(super) fn read(section: &mut Section<'_>) -> AuditConfig {
        let defaults = AuditConfig::default();
        let retention = section.duration_within("retention", DAY..=36_500 * DAY);
        let entries_max = section.integer("entries_max", 1_000..=10_000_000);
        AuditConfig {
            retention: retention.unwrap_or(defaults.retention),
            entries_max: entries_max
                .and_then(|max| u64::try_from(max).ok())
                .unwrap_or(defaults.entries_max),
        }
    }
}

impl Default for AuditConfig {
    /// Two years: longer than the time between two audits, and than a clock
    /// that is wrong by a year.
    fn default() -> AuditConfig {
        AuditConfig { retention: 730 * DAY, entries_max: 100_000 }
    }
}
