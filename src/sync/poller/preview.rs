//! What a poll would change and what is held, in words and page by page.

use std::sync::Arc;

use super::HoldError;
use super::actor::Actor;
use super::recorder::Recorder;
use crate::clock;
use crate::digest::hex;
use crate::index::DirectoryView;
use crate::provider::Start;
use crate::sync::describe::describe;
use crate::sync::plan::Plan;
use crate::sync::split::{self, Outcome};
use crate::sync::status::{Counts, HoldSummary};
use crate::task::{self, Shutdown};

/// Which rows are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The plan or the hold that the rows before were of; the newest when `None`.
    pub of: Option<String>,
    pub offset: usize,
    pub limit: usize,
}

/// What a poll would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Names the plan, for its further pages.
    pub id: String,
    /// What would be applied.
    pub applies: Counts,
    /// What would be held, and why.
    pub hold: Option<HoldSummary>,
    /// What is held first, then the rest in the order of the journal.
    pub rows: Vec<Row>,
    /// Of all pages.
    pub total: u64,
}

/// What is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldPreview {
    pub summary: HoldSummary,
    pub rows: Vec<Row>,
    /// Of all pages.
    pub total: u64,
    /// Why no change can be listed, and how that ends.
    pub unlisted: Option<String>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub held: bool,
    /// `removes user ada (u1) from group ops (g7)`.
    pub text: String,
}

/// Why there is no preview.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("the plan is gone: the directory changed, or another plan was made since")]
    Gone,
    #[error("{0}")]
    Failed(String),
}

/// A plan that is kept for its further pages.
pub(super) struct Planned {
    id: String,
    outcome: Outcome,
    hold: Option<HoldSummary>,
    base: Arc<DirectoryView>,
}

impl Actor {
    /// What a full crawl would change, changing nothing.
    pub(super) async fn preview(
        &mut self,
        page: &Page,
        shutdown: &Shutdown,
    ) -> Result<Preview, PlanError> {
        if page.of.is_some() {
            return self.planned_page(page);
        }
        // A crawl that waits to go on is none of this one's business.
        let paused = self.paused.take();
        let crawled = self.crawl(Start::Full, Recorder::default(), shutdown).await;
        // An approval meanwhile changed what it is compared with; a notice did not.
        let superseded = std::mem::take(&mut self.superseded);
        self.paused = paused.filter(|_| !superseded);
        let base = self.ledger.directory(&self.terms.name);
        let outcome = match crawled {
            Ok(Some(crawled)) => crawled.outcome,
            Ok(None) => return Err(PlanError::Failed("the crawl was interrupted".to_owned())),
            Err(error) => return Err(PlanError::Failed(error.to_string())),
        };
        let now = clock::now();
        let hold = outcome.held.as_ref().map(|part| HoldSummary::from(&self.hold_of(part, now)));
        let id = hex(&fastrand::u64(..).to_be_bytes());
        let planned = Planned { id, outcome, hold, base };
        let preview = planned.page(page);
        self.planned = (preview.total > preview.rows.len() as u64).then_some(planned);
        Ok(preview)
    }

    /// A further page of the newest plan.
    pub(super) fn planned_page(&self, page: &Page) -> Result<Preview, PlanError> {
        let planned = self.planned.as_ref().filter(|planned| Some(&planned.id) == page.of.as_ref());
        planned.map(|planned| planned.page(page)).ok_or(PlanError::Gone)
    }

    /// What is held now.
    pub(super) async fn held_preview(&mut self, page: &Page) -> Result<HoldPreview, HoldError> {
        let hold = self.hold().cloned();
        let hold =
            hold.ok_or_else(|| HoldError::NothingHeld { directory: self.terms.name.clone() })?;
        if let Some(of) = &page.of {
            self.expect_held(of)?;
        }
        let base = self.ledger.directory(&self.terms.name);
        let summary = HoldSummary::from(&hold);
        let (rows, total, unlisted) = match self.held_plan(base.clone()).await {
            Ok(plan) => (rows(true, &plan, &base, page.offset, page.limit), total(&plan), None),
            Err(error @ HoldError::NotReadAgain { .. }) => (Vec::new(), 0, Some(error.to_string())),
            Err(error) => return Err(error),
        };
        Ok(HoldPreview { summary, rows, total, unlisted })
    }

    /// What letting the held set through would change.
    pub(super) async fn held_plan(&mut self, base: Arc<DirectoryView>) -> Result<Plan, HoldError> {
        let directory = self.terms.name.clone();
        let hold = self.hold().ok_or(HoldError::NothingHeld { directory })?;
        if hold.whole.is_some() {
            let part = self.held.as_ref().and_then(|crawled| crawled.outcome.held.as_ref());
            return part
                .map(|part| part.plan.clone())
                .ok_or_else(|| HoldError::NotReadAgain { id: hold.id.clone() });
        }
        if hold.pending.is_empty() {
            return Err(HoldError::NotReadAgain { id: hold.id.clone() });
        }
        let pending = hold.pending.clone();
        let plan = task::blocking("compare", move || split::rest(base, &pending)).await;
        let failed = |error: String| HoldError::Failed(error);
        plan.map_err(|end| failed(end.to_string()))?.map_err(|error| failed(error.to_string()))
    }
}

impl Planned {
    fn page(&self, page: &Page) -> Preview {
        let Outcome { applies, held, .. } = &self.outcome;
        let nothing = Plan::default();
        let held = held.as_ref().map_or(&nothing, |part| &part.plan);
        let held_total = total(held);
        let mut shown = rows(true, held, &self.base, page.offset, page.limit);
        let skipped = usize::try_from(held_total).unwrap_or(usize::MAX);
        let offset = page.offset.saturating_sub(skipped);
        let limit = page.limit - shown.len();
        shown.extend(rows(false, applies, &self.base, offset, limit));
        Preview {
            id: self.id.clone(),
            applies: applies.counts,
            hold: self.hold.clone(),
            rows: shown,
            total: held_total + total(applies),
        }
    }
}

fn rows(held: bool, plan: &Plan, base: &DirectoryView, offset: usize, limit: usize) -> Vec<Row> {
    let sentences = describe(&plan.changes, base, offset, limit);
    sentences.into_iter().map(|text| Row { held, text }).collect()
}

fn total(plan: &Plan) -> u64 {
    plan.changes.iter().map(crate::model::Change::events).sum()
}
