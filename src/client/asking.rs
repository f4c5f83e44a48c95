//! Checks, users and groups.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::connections::Ask;
use super::{
    Answer, Check, Checks, Client, ClientError, Group, GroupAnswer, Member, Pages, Query, User,
    UserAnswer, Why,
};

/// On what terms an answer will do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Rather none than an older one: `5m`.
    pub max_age: Option<String>,
    /// As of this time (`2026-11-20T10:15:00Z`) or seq, instead of now.
    pub at: Option<String>,
}

/// Which users or groups a list has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Of one directory only.
    pub directory: Option<String>,
    /// As of this time or seq, instead of now.
    pub at: Option<String>,
}

impl Client {
    /// Whether a user is in a group, directly or through nested groups.
    ///
    /// # Errors
    /// [`ClientError`]; *unknown* is not *no*.
    pub async fn check(
        &self,
        user: &str,
        group: &str,
        terms: &Terms,
    ) -> Result<Answer<Check>, ClientError> {
        let query = Query::of(&["check"]).with("user", user).with("group", group);
        self.get_as(query.on(terms)).await
    }

    /// Many checks at once, answered from one picture, each in its place.
    ///
    /// # Errors
    /// [`ClientError`]; what is wrong with one pair is told in its place.
    pub async fn check_many(
        &self,
        pairs: &[(&str, &str)],
        terms: &Terms,
    ) -> Result<Answer<Checks>, ClientError> {
        let pair = |(user, group): &(&str, &str)| json!({ "user": user, "group": group });
        let checks: Vec<Value> = pairs.iter().map(pair).collect();
        let mut body = json!({ "checks": checks });
        for (name, value) in [("max_age", &terms.max_age), ("at", &terms.at)] {
            if let Some(value) = value {
                body[name] = value.as_str().into();
            }
        }
        let body = Some(Bytes::from(body.to_string()));
        let ask = Ask { repeatable: true, ..Ask::post("/v1/check", body) };
        Answer::read(self.json(&ask).await?)
    }

    /// Through which groups a user is in a group, now.
    ///
    /// # Errors
    /// As for [`Client::check`].
    pub async fn why(
        &self,
        user: &str,
        group: &str,
        max_age: Option<&str>,
    ) -> Result<Answer<Why>, ClientError> {
        let query = Query::of(&["why"]).with("user", user).with("group", group);
        self.get_as(query.with_some("max_age", max_age)).await
    }

    /// One user.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn user(
        &self,
        reference: &str,
        terms: &Terms,
    ) -> Result<Answer<UserAnswer>, ClientError> {
        self.get_as(Query::of(&["users", reference]).on(terms)).await
    }

    /// One group.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn group(
        &self,
        reference: &str,
        terms: &Terms,
    ) -> Result<Answer<GroupAnswer>, ClientError> {
        self.get_as(Query::of(&["groups", reference]).on(terms)).await
    }

    /// All users.
    pub fn users(&self, listing: &Listing) -> Pages<User> {
        self.rows(Query::of(&["users"]).of_listing(listing), "users")
    }

    /// All groups.
    pub fn groups(&self, listing: &Listing) -> Pages<Group> {
        self.rows(Query::of(&["groups"]).of_listing(listing), "groups")
    }

    /// The groups a user is in; also through nested ones, where that is wanted.
    pub fn groups_of(&self, user: &str, nested: bool, terms: &Terms) -> Pages<Group> {
        let query = Query::of(&["users", user, "groups"]).with("nested", nested);
        self.rows(query.on(terms), "groups")
    }

    /// The members of a group; also through nested ones, where that is wanted.
    pub fn members(&self, group: &str, nested: bool, terms: &Terms) -> Pages<Member> {
        let query = Query::of(&["groups", group, "members"]).with("nested", nested);
        self.rows(query.on(terms), "members")
    }

    /// Any list whose rows are in the member `rows`.
    pub fn rows<T: for<'de> Deserialize<'de>>(&self, query: Query, rows: &'static str) -> Pages<T> {
        Pages::new(self, query, rows)
    }
}

impl Query {
    fn on(self, terms: &Terms) -> Query {
        self.with_some("max_age", terms.max_age.as_ref()).with_some("at", terms.at.as_ref())
    }

    fn of_listing(self, listing: &Listing) -> Query {
        self.with_some("directory", listing.directory.as_ref()).with_some("at", listing.at.as_ref())
    }
}
