//! Update numbers: objects whose `uSNChanged` is higher than the last one.

use super::touched::{Touched, apply};
use super::{resume, show_deleted};
use crate::provider::ldap::bookmark::{Place, Usn};
use crate::provider::ldap::crawl::{Outcome, Reading};
use crate::provider::ldap::pages::{Pages, subtree};
use crate::provider::{PullError, Sink};

/// Reads what changed since `place` by update numbers.
///
/// # Errors
/// As [`super::dirsync()`].
pub async fn usn(
    reading: &mut Reading<'_>,
    place: Usn,
    sink: &mut dyn Sink,
) -> Result<Outcome, PullError> {
    let (context, at) = resume(reading, &place).await?;
    let mut touched = Touched::default();
    let moved = at.number != place.number;
    if moved {
        let filter = format!("(uSNChanged>={})", place.number.saturating_add(1));
        let wanted = ["objectGUID", "objectClass", "isDeleted"].map(str::to_owned);
        let request = subtree("changes", &context, &filter, &wanted, vec![show_deleted()]);
        let mut pages = Pages::new(request, reading.page_size);
        while let Some(entries) = pages.next(&mut reading.session).await? {
            for entry in &entries {
                touched.add_whole(reading, entry)?;
            }
            sink.page(Vec::new());
        }
    }
    apply(reading, &context, touched, Place::Usn(at), moved, sink).await
}
