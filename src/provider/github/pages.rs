//! Reads whole lists by REST, whose pages have numbers.
//!
//! Whoever leaves while a list is read moves all behind it up by one: the first
//! of the next page is then on none of them. So a list of several pages is
//! believed only when it is as long as GitHub counts before and behind it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use url::Url;

use super::access::Connection;
use super::graphql::{Trouble, incomplete};
use super::vendor::message_of;
use crate::provider::PullError;
use crate::provider::http::{Answer, Cursors, links};

/// How often a list is read that changes all the time.
const ATTEMPTS: usize = 3;
/// Objects a page: as many as GitHub allows.
const PAGE: usize = 100;

/// Called after every answer.
pub type Progress<'a> = &'a mut (dyn FnMut() + Send);

pub struct List<'a> {
    pub connection: &'a Connection,
    pub endpoint: &'static str,
    pub path: String,
    pub query: &'a [(&'a str, &'a str)],
    /// It is counted also when it seems to have one page only.
    pub is_counted: bool,
}

impl List<'_> {
    /// All entries, each once, in the order of their ids.
    ///
    /// # Errors
    /// [`Trouble::Gone`] when it is not there, [`Trouble::Hidden`] when it may
    /// not be read.
    pub async fn whole(&self, progress: Progress<'_>) -> Result<Vec<Value>, Trouble> {
        if !self.is_counted {
            let answer = self.ask(self.url(PAGE)).await?;
            progress();
            let mut all = BTreeMap::new();
            let length = self.take(&answer, &mut all)?;
            // One answer shows one moment.
            if answer.next_link()?.is_none() && length < PAGE {
                return Ok(all.into_values().collect());
            }
        }
        let mut before = self.count().await?;
        let mut known: Option<BTreeSet<u64>> = None;
        for _ in 0..ATTEMPTS {
            let all = self.read(progress).await?;
            let after = self.count().await?;
            progress();
            if before == after && after == Some(all.len() as u64) {
                return Ok(all.into_values().collect());
            }
            let ids: BTreeSet<u64> = all.keys().copied().collect();
            if before.is_none() && after.is_none() && known.as_ref() == Some(&ids) {
                return Ok(all.into_values().collect());
            }
            (before, known) = (after, Some(ids));
        }
        let (came, counted) = (known.map_or(0, |ids| ids.len()), before.unwrap_or_default());
        let reason =
            format!("GitHub counts {counted}, and {came} came; it was read {ATTEMPTS} times");
        Err(incomplete(&self.what(), reason).into())
    }

    async fn read(&self, progress: Progress<'_>) -> Result<BTreeMap<u64, Value>, Trouble> {
        let mut cursors = Cursors::new("GitHub");
        let mut all = BTreeMap::new();
        let mut url = self.url(PAGE);
        loop {
            let answer = self.ask(url).await?;
            progress();
            self.take(&answer, &mut all)?;
            match answer.next_link()? {
                Some(next) => {
                    cursors.pass(next.as_str())?;
                    url = next;
                }
                None => return Ok(all),
            }
        }
    }

    /// How many there are: with one a page, the number of the last page. `None`
    /// where no last page is named.
    async fn count(&self) -> Result<Option<u64>, Trouble> {
        let answer = self.ask(self.url(1)).await?;
        let lines = answer.headers.get_all(http::header::LINK).iter();
        let last = links::target(lines.filter_map(|line| line.to_str().ok()), "last");
        let last = last.and_then(|last| answer.url.join(&last).ok());
        let number = last.and_then(|url| {
            let page = url.query_pairs().find(|(name, _)| name == "page");
            page.and_then(|(_, page)| page.parse().ok())
        });
        match (number, answer.next_link()?) {
            (Some(number), _) => Ok(Some(number)),
            (None, Some(_)) => Ok(None),
            (None, None) => Ok(Some(answer.json::<Vec<Value>>()?.len() as u64)),
        }
    }

    /// How many entries the answer has.
    fn take(&self, answer: &Answer, all: &mut BTreeMap<u64, Value>) -> Result<usize, PullError> {
        let entries: Vec<Value> = answer.json()?;
        let length = entries.len();
        for mut entry in entries {
            let id = entry["id"].as_u64();
            let id = id.ok_or_else(|| incomplete(&self.what(), "an entry has no id".to_owned()))?;
            if let (Value::Object(fields), false) = (&mut entry, self.connection.config.keep_raw) {
                // Most of it, and of no use.
                fields.retain(|name, _| !name.ends_with("url"));
            }
            all.insert(id, entry);
        }
        Ok(length)
    }

    async fn ask(&self, url: Url) -> Result<Answer, Trouble> {
        let call = self.connection.follow(self.endpoint, url).accept(&[404]);
        let answer = match self.connection.send(call).await {
            Err(error @ PullError::Unauthorized { .. }) => {
                let message = error.to_string();
                return Err(Trouble::Hidden(error, message));
            }
            answer => answer?,
        };
        if answer.status.as_u16() == 404 {
            return Err(Trouble::Gone(incomplete(&self.what(), message_of(&answer))));
        }
        Ok(answer)
    }

    fn url(&self, size: usize) -> Url {
        let mut url = self.connection.config.rest(&self.path);
        url.query_pairs_mut().append_pair("per_page", &size.to_string()).extend_pairs(self.query);
        url
    }

    fn what(&self) -> String {
        format!("GitHub, {}", self.path)
    }
}
