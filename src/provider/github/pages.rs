//! Reads whole lists by REST, whose pages have numbers.
//!
//! Whoever leaves while a list is read moves all behind it up by one: the first
//! of the next page is then on none of them. So a list of several pages is
//! believed only when it is as long as GitHub counts before and behind it, or
//! when all of its pages are those of the time when it was.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use url::Url;

use super::access::Connection;
use super::conditional::{self, Asked, Page};
use super::graphql::{Trouble, incomplete};
use super::vendor::{is_forbidden, message_of};
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
        if let Some(all) = self.unchanged(progress).await? {
            return Ok(all.into_values().collect());
        }
        if !self.is_counted {
            let Asked { answer, .. } = self.ask(self.url(PAGE)).await?;
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
            let (all, pages) = self.read(progress).await?;
            let after = self.count().await?;
            progress();
            let ids: BTreeSet<u64> = all.keys().copied().collect();
            let is_counted = before == after && after == Some(all.len() as u64);
            let is_uncounted = before.is_none() && after.is_none();
            if is_counted || (is_uncounted && known.as_ref() == Some(&ids)) {
                if let Some(pages) = pages {
                    self.connection.memory.note_list(self.url(PAGE).as_str(), pages);
                }
                return Ok(all.into_values().collect());
            }
            (before, known) = (after, Some(ids));
        }
        let (came, counted) = (known.map_or(0, |ids| ids.len()), before.unwrap_or_default());
        let reason =
            format!("GitHub counts {counted}, and {came} came; it was read {ATTEMPTS} times");
        Err(incomplete(&self.what(), reason).into())
    }

    /// The list, when all pages are those that were believed last time.
    async fn unchanged(
        &self,
        progress: Progress<'_>,
    ) -> Result<Option<BTreeMap<u64, Value>>, Trouble> {
        let pages = self.connection.memory.list(self.url(PAGE).as_str());
        let Some(pages) = pages else { return Ok(None) };
        let mut all = BTreeMap::new();
        let mut next = Some(self.url(PAGE));
        for (address, tag) in pages {
            let Some(url) = next.filter(|url| url.as_str() == address) else { return Ok(None) };
            let asked = self.ask(url).await?;
            progress();
            if !asked.is_unchanged || asked.tag != Some(tag) {
                return Ok(None);
            }
            self.take(&asked.answer, &mut all)?;
            next = asked.answer.next_link()?;
        }
        Ok(next.is_none().then_some(all))
    }

    /// All entries, and the addresses and tags of all pages if they have tags.
    async fn read(
        &self,
        progress: Progress<'_>,
    ) -> Result<(BTreeMap<u64, Value>, Option<Vec<Page>>), Trouble> {
        let mut cursors = Cursors::new("GitHub");
        let mut all = BTreeMap::new();
        let mut pages = Some(Vec::new());
        let mut url = self.url(PAGE);
        loop {
            let address = url.to_string();
            let Asked { answer, tag, .. } = self.ask(url).await?;
            progress();
            pages = pages.zip(tag).map(|(mut pages, tag)| {
                pages.push((address, tag));
                pages
            });
            self.take(&answer, &mut all)?;
            match answer.next_link()? {
                Some(next) => {
                    cursors.pass(next.as_str())?;
                    url = next;
                }
                None => return Ok((all, pages)),
            }
        }
    }

    /// How many there are: with one a page, the number of the last page. `None`
    /// where no last page is named.
    async fn count(&self) -> Result<Option<u64>, Trouble> {
        let call = self.connection.follow(self.endpoint, self.url(1));
        // Never by a tag: that of one entry says nothing of how many follow.
        let answer = self.connection.send(call.accept(&[404])).await;
        let answer = self.there(answer)?;
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
            if !self.connection.config.keep_raw {
                conditional::strip(&mut entry);
            }
            all.insert(id, entry);
        }
        Ok(length)
    }

    async fn ask(&self, url: Url) -> Result<Asked, Trouble> {
        let call = self.connection.follow(self.endpoint, url).accept(&[404]);
        let mut asked = self.connection.page_again(call.clone()).await;
        if let Ok(Asked { answer, is_unchanged, .. }) = &mut asked
            && *is_unchanged
            && answer.next_link()?.is_none()
            && answer.json::<Vec<Value>>()?.len() >= PAGE
        {
            // It may be full and have a next page now; tags are of bodies, and
            // where the next page is stands in a header.
            *answer = self.connection.send(call).await?;
        }
        let (is_unchanged, tag) = match &asked {
            Ok(asked) => (asked.is_unchanged, asked.tag.clone()),
            Err(_) => (false, None),
        };
        let answer = self.there(asked.map(|asked| asked.answer))?;
        Ok(Asked { answer, is_unchanged, tag })
    }

    /// The answer, unless the list is not there or may not be read.
    fn there(&self, outcome: Result<Answer, PullError>) -> Result<Answer, Trouble> {
        let answer = match outcome {
            Err(error) if is_forbidden(&error) => {
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
