//! An incremental crawl: rounds of changes, and the slice that is due.

use super::apply;
use super::changes::Window;
use super::crawl::Reading;
use super::patrol;
use super::place::Place;
use super::rounds::{self, Drained};
use crate::clock;
use crate::provider::{Cursor, Extent, PullError, Seal, Verified};

/// Reads what changed since `cursor`.
///
/// # Errors
/// When something cannot be read.
pub(super) async fn run(reading: &mut Reading<'_>, cursor: &Cursor) -> Result<Seal, PullError> {
    let mut place = Place::read(cursor)?;
    let now = clock::now();
    place.earlier.pass(&place.rounds, now);
    reading.earlier = place.earlier.clone();
    let drained = rounds::drain(reading, &place.rounds).await?;
    place.rounds = drained.next.clone();
    let within = reading.config.http.verify_within;
    let due = patrol::due(&mut place.patrol, within, now);
    let reads_lists = due.is_any() || asks_for_lists(&drained, &place);
    let window =
        if reads_lists { window(reading, &place, &drained).await? } else { drained.window() };
    let findings = apply::apply(reading, drained, &window, &mut place.pending).await?;
    let before = reading.graph.sent();
    reading.sink.verifying(true);
    let walked = patrol::walk(reading, &mut place, due, &findings, &window).await?;
    reading.sink.verifying(false);
    let verified = Verified {
        users: walked.users as u64,
        groups: walked.groups as u64,
        requests: reading.graph.sent() - before,
    };
    let proof = format!(
        "{findings}, read to their ends; {} users and {} groups read again",
        walked.users, walked.groups
    );
    Ok(Seal {
        extent: Extent::Changes,
        cursor: Some(place.cursor()),
        proof: proof.into(),
        verified,
        requests: reading.graph.take_audit(),
        malformed: reading.mapper.bad(),
    })
}

/// Whether members are read from lists, and not only from what rounds tell.
fn asks_for_lists(drained: &Drained, place: &Place) -> bool {
    drained.groups.has_changed()
        || drained.touched.iter().any(|(_, touched)| touched.has_new())
        || !place.pending.is_empty()
}

/// What lists that are read now do not count against.
async fn window(
    reading: &mut Reading<'_>,
    place: &Place,
    drained: &Drained,
) -> Result<Window, PullError> {
    let earlier = rounds::drain_earlier(reading, &place.earlier.links).await?;
    Ok(earlier.map(|earlier| earlier.window().then(&drained.window())).unwrap_or(drained.window()))
}
