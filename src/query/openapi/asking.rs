//! Checks, users, groups, and how they were.

use super::operation::Operation;
use super::parameters::{
    at, cursor, directory, group_ref, limit, limit_of, max_age, moment_or_seq, nested, query,
    required, text, user_ref,
};
use super::problems::{GONE, OF_REF, SLOW, STORE_UNAVAILABLE, TOO_LARGE, UNKNOWN};
use crate::query::listing::{GroupsBody, GroupsOfUserBody, MembersBody, UsersBody};
use crate::query::objects::{GroupAnswer, UserAnswer, WhyBody};
use crate::query::{biography, check};

/// The name of this part.
pub const TAG: &str = "ask";

/// The operations of this part.
pub fn operations() -> Vec<Operation> {
    let all = checks().into_iter().chain(users()).chain(groups());
    all.map(|operation| operation.tag(TAG)).collect()
}

fn checks() -> [Operation; 3] {
    let user =
        || required("user", "An id, a username or an email, or `directory/REF`.", reference());
    let group = || required("group", "An id, a name or an email, or `directory/REF`.", reference());
    [
        Operation::get("/v1/check", "check", "Is this user in this group?")
            .with([user(), group(), max_age(), at()])
            .answers::<check::Body<'static>>(200, "Yes or no, of whom, and how old that is.")
            .may(&OF_REF),
        Operation::post("/v1/check", "checkMany", "The same of many pairs at once")
            .describe("All are answered from one picture, each in its place.")
            .takes::<check::Asked<'static>>("Pairs, alone or with what goes for all of them.")
            .answers::<check::Results<'static>>(200, "An answer, or a problem, for each.")
            .may(&[GONE, STORE_UNAVAILABLE, TOO_LARGE, SLOW]),
        Operation::get("/v1/why", "why", "Through which groups is this user in this group?")
            .with([user(), group(), max_age()])
            .with([limit_of(1000, "How many paths at most.")])
            .answers::<WhyBody<'static>>(200, "Every path; none when the user is not in it.")
            .may(&OF_REF),
    ]
}

fn users() -> [Operation; 4] {
    [
        Operation::get("/v1/users", "listUsers", "All users")
            .with([directory(), at(), limit(), cursor()])
            .answers::<UsersBody<'static>>(200, "A page.")
            .may(&[UNKNOWN, GONE, STORE_UNAVAILABLE]),
        Operation::get("/v1/users/{ref}", "getUser", "One user")
            .with([user_ref(), max_age(), at()])
            .answers::<UserAnswer<'static>>(200, "The user.")
            .may(&OF_REF),
        Operation::get("/v1/users/{ref}/groups", "listGroupsOfUser", "The groups a user is in")
            .with([user_ref(), nested(), at(), limit(), cursor(), max_age()])
            .answers::<GroupsOfUserBody<'static>>(200, "A page.")
            .may(&OF_REF),
        history("/v1/users/{ref}/history", "getUserHistory").with([user_ref()]),
    ]
}

fn groups() -> [Operation; 4] {
    [
        Operation::get("/v1/groups", "listGroups", "All groups")
            .with([directory(), at(), limit(), cursor()])
            .answers::<GroupsBody<'static>>(200, "A page.")
            .may(&[UNKNOWN, GONE, STORE_UNAVAILABLE]),
        Operation::get("/v1/groups/{ref}", "getGroup", "One group")
            .with([group_ref(), max_age(), at()])
            .answers::<GroupAnswer<'static>>(200, "The group.")
            .may(&OF_REF),
        Operation::get("/v1/groups/{ref}/members", "listMembers", "The members of a group")
            .with([group_ref(), nested(), at(), limit(), cursor(), max_age()])
            .answers::<MembersBody<'static>>(200, "A page: users, then groups.")
            .may(&OF_REF),
        history("/v1/groups/{ref}/history", "getGroupHistory").with([group_ref()]),
    ]
}

fn history(path: &'static str, id: &'static str) -> Operation {
    Operation::get(path, id, "What happened, oldest first, and why")
        .with([
            query("since", "Only after this moment: a time, or a seq.", moment_or_seq()),
            query("until", "Only up to this moment: a time, or a seq.", moment_or_seq()),
            query("at", "Who was called so at this moment.", moment_or_seq()),
        ])
        .with([limit(), cursor(), max_age()])
        .answers::<biography::Body<'static>>(200, "A page.")
        .may(&OF_REF)
}

fn reference() -> utoipa::openapi::schema::ObjectBuilder {
    text().min_length(Some(1))
}
