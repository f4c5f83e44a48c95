//! One full crawl: for each organization members, outside collaborators and
//! invitations, then its teams.
//!
//! It can go on after every page: see [`Place`].

mod groups;
mod people;

use super::pause::Pause;
use super::place::{Counts, Place, Step, steps};
use super::ready::{Ready, ready};
use super::{Github, NAME};
use crate::provider::http::{Cursors, Quarantine};
use crate::provider::{PullError, Sink};

pub use self::people::People;

/// Reads everything from `place` on.
///
/// # Errors
/// At the first doubt; the sink got a checkpoint before that.
pub async fn run(
    github: &mut Github,
    mut place: Place,
    sink: &mut dyn Sink,
) -> Result<Counts, PullError> {
    // Should it fail at once, it can still go on there.
    if !place.is_start() {
        sink.checkpoint(place.token());
    }
    github.seen.recall(&place.seen);
    github.access.turn();
    let all = ready(github).await?;
    place.seen = github.seen.clone();
    let kept = github.people.take().filter(|kept| kept.is_of(place.started));
    let mut people = match kept {
        Some(people) => people,
        None => {
            let mut people = People::new(place.started, all.len());
            recover(github, &mut place, &all, &mut people, sink).await?;
            people
        }
    };
    let outcome = read(github, &mut place, &all, &mut people, sink).await;
    github.people = outcome.is_err().then_some(people);
    outcome.map(|()| place.counts)
}

async fn read(
    github: &mut Github,
    place: &mut Place,
    all: &[Ready],
    people: &mut People,
    sink: &mut dyn Sink,
) -> Result<(), PullError> {
    let steps = steps(all.len());
    while let Some(step) = steps.get(place.step).copied() {
        take(github, place, (step, all), people, sink, true).await?;
        place.next_step(step);
        place.seen = github.seen.clone();
        sink.checkpoint(place.token());
    }
    Ok(())
}

/// Of several organizations, who is in more than one has one record of them
/// all, so a crawl that goes on needs the people of the organizations before.
/// They are in memory, unless the process is another one.
async fn recover(
    github: &mut Github,
    place: &mut Place,
    all: &[Ready],
    people: &mut People,
    sink: &mut dyn Sink,
) -> Result<(), PullError> {
    if all.len() < 2 || place.is_start() {
        return Ok(());
    }
    let steps = steps(all.len());
    for step in steps.iter().take(place.step).filter(|step| step.is_of_people()) {
        let mut scratch = Place::start(place.started);
        scratch.riders.give_up();
        take(github, &mut scratch, (*step, all), people, sink, false).await?;
    }
    if steps.get(place.step).is_some_and(|step| step.is_of_people()) {
        place.rewind();
    }
    Ok(())
}

/// One step.
async fn take(
    github: &mut Github,
    place: &mut Place,
    (step, all): (Step, &[Ready]),
    people: &mut People,
    sink: &mut dyn Sink,
    checkpoints: bool,
) -> Result<(), PullError> {
    let mut quarantine = Quarantine::new(NAME);
    let malformed_before = place.counts.malformed;
    let organization = step.organization();
    let Some(ready) = all.get(organization) else { return Ok(()) };
    let mut reading = Reading {
        place: &mut *place,
        organization,
        malformed_before,
        people,
        quarantine: &mut quarantine,
        sink,
        size: &mut github.size,
        pause: Pause::default(),
        checkpoints,
    };
    let noted = match step {
        Step::Members(_) => reading.members(ready).await.map(|()| None)?,
        Step::Outside(_) => Some(("outside collaborators", reading.outside(ready).await?)),
        Step::Invited(_) => Some(("pending invitations", reading.invited(ready).await?)),
        Step::Teams(_) => reading.teams(ready).await.map(|()| None)?,
    };
    place.counts.malformed = malformed_before + quarantine.count();
    match noted {
        Some((part, is)) => github.seen.note(&ready.connection.organization, part, is),
        None => Ok(()),
    }
}

/// One step under way.
struct Reading<'a> {
    place: &'a mut Place,
    /// Its number.
    organization: usize,
    malformed_before: u64,
    people: &'a mut People,
    quarantine: &'a mut Quarantine,
    sink: &'a mut dyn Sink,
    size: &'a mut u32,
    /// Before less is asked for.
    pause: Pause,
    /// The crawl may go on in the middle of this step.
    checkpoints: bool,
}

impl Reading<'_> {
    /// Turns to the next page.
    fn turn(&mut self, cursors: &mut Cursors, next: String) -> Result<(), PullError> {
        cursors.pass(&next)?;
        self.place.after = Some(next);
        self.checkpoint();
        Ok(())
    }

    fn checkpoint(&mut self) {
        self.place.counts.malformed = self.malformed_before + self.quarantine.count();
        if self.checkpoints {
            self.sink.checkpoint(self.place.token());
        }
    }
}
