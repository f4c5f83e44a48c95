//! Lists, page by page.

use std::marker::PhantomData;

use futures_util::{Stream, StreamExt, stream};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Client, ClientError, Query};

/// How many rows a page has when nobody says.
const ROWS: usize = 1_000;

/// The pages of a list, read one by one.
#[derive(Debug)]
pub struct Pages<T> {
    client: Client,
    query: Query,
    /// The member that holds the rows.
    rows: &'static str,
    /// How the list is asked for.
    posted: bool,
    next: Next,
    row: PhantomData<fn() -> T>,
}

/// One page.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub rows: Vec<T>,
    /// What the answer holds besides its rows.
    pub rest: Value,
}

#[derive(Debug)]
enum Next {
    First,
    From(String),
    Nothing,
}

impl<T: DeserializeOwned> Pages<T> {
    pub(super) fn new(client: &Client, query: Query, rows: &'static str) -> Pages<T> {
        let client = client.clone();
        Pages { client, query, rows, posted: false, next: Next::First, row: PhantomData }
    }

    /// The same, of a list that is asked for by POST.
    pub(super) fn posted(self) -> Pages<T> {
        Pages { posted: true, ..self }
    }

    /// The next page, of up to a thousand rows; `None` behind the last one.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub async fn next_page(&mut self) -> Result<Option<Page<T>>, ClientError> {
        self.next_page_of(ROWS).await
    }

    /// The next page, of so many rows at most.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub async fn next_page_of(&mut self, rows: usize) -> Result<Option<Page<T>>, ClientError> {
        let query = self.query.clone().with("limit", rows.min(ROWS));
        let query = match &self.next {
            Next::First => query,
            Next::From(cursor) => query.with("cursor", cursor),
            Next::Nothing => return Ok(None),
        };
        let mut rest = match self.posted {
            true => self.client.post(query.as_str()).await?,
            false => self.client.get(query.as_str()).await?,
        };
        let mut take = |name: &str| rest.as_object_mut().and_then(|fields| fields.remove(name));
        let rows = take(self.rows).unwrap_or_default();
        self.next = match take("next_cursor") {
            Some(Value::String(cursor)) => Next::From(cursor),
            _ => Next::Nothing,
        };
        let rows = serde_json::from_value(rows).map_err(ClientError::unreadable)?;
        Ok(Some(Page { rows, rest }))
    }

    /// All pages as one: `limit` rows at most.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub async fn read(mut self, limit: usize) -> Result<Page<T>, ClientError> {
        let mut all = Page { rows: Vec::new(), rest: Value::Null };
        while let Some(page) = self.next_page_of(limit.saturating_sub(all.rows.len())).await? {
            all.rows.extend(page.rows);
            all.rest = page.rest;
            if all.rows.len() >= limit {
                break;
            }
        }
        Ok(all)
    }

    /// Row by row. It ends with the first error.
    pub fn stream(self) -> impl Stream<Item = Result<T, ClientError>> {
        let pages = stream::unfold(Some(self), |pages| async move {
            let mut pages = pages?;
            match pages.next_page().await {
                Ok(page) => Some((Ok(page?.rows), Some(pages))),
                Err(error) => Some((Err(error), None)),
            }
        });
        pages.flat_map(|page| match page {
            Ok(rows) => stream::iter(rows.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        })
    }
}
