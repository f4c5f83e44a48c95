//! Random stories of changes and trouble.

use proptest::prelude::*;

use super::{Member, Op};
use crate::harness::vendor::Hazard;

const USERS: u8 = 12;
const GROUPS: u8 = 6;
/// Requests are counted up to about what a crawl of such a world sends.
const REQUESTS: usize = 24;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Change(Vec<Op>),
    Poll(Trouble),
    /// At the request of this number the credential, or the connection, is
    /// gone for good, so many polls in a row; perhaps each in another process.
    Interrupt {
        at: Vec<usize>,
        how: Hazard,
        restarts: bool,
    },
    /// The process starts anew; from then on every poll is a full crawl, or
    /// only when need be.
    Restart {
        is_full: bool,
    },
}

/// What happens during one poll.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    None,
    /// To so many requests in a row from this one on.
    Http(Hazard, usize, usize),
    /// One of the vendor's own, by a number.
    Own(usize),
    /// The directory changes before this request.
    Meanwhile(usize, Vec<Op>),
}

/// A story begins with a directory that is not empty.
pub(super) fn story() -> impl Strategy<Value = Vec<Step>> {
    let first = (0..USERS / 2).map(|user| Op::PutUser(user, 0));
    let groups = (0..GROUPS / 2).map(|group| Op::PutGroup(group, 0));
    let members = (0..USERS / 2).map(|user| Op::AddMember(user % 2, Member::User(user)));
    let first: Vec<Op> = first.chain(groups).chain(members).collect();
    prop::collection::vec(step(), 2..12).prop_map(move |steps| {
        let mut all = vec![Step::Change(first.clone())];
        all.extend(steps);
        all
    })
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let member = prop_oneof![
        3 => (0..USERS).prop_map(Member::User),
        1 => (0..GROUPS).prop_map(Member::Group)
    ];
    let op = prop_oneof![
        4 => (0..USERS, 0..3u8).prop_map(|(u, t)| Op::PutUser(u, t)),
        1 => (0..USERS).prop_map(Op::Disable),
        1 => (0..USERS).prop_map(Op::Enable),
        2 => (0..USERS).prop_map(Op::DeleteUser),
        3 => (0..GROUPS, 0..3u8).prop_map(|(g, t)| Op::PutGroup(g, t)),
        1 => (0..GROUPS, 0..3u8).prop_map(|(g, n)| Op::RenameGroup(g, n)),
        1 => (0..GROUPS).prop_map(Op::DeleteGroup),
        6 => (0..GROUPS, member.clone()).prop_map(|(g, m)| Op::AddMember(g, m)),
        3 => (0..GROUPS, member).prop_map(|(g, m)| Op::RemoveMember(g, m)),
    ];
    prop::collection::vec(op, 1..6)
}

fn step() -> impl Strategy<Value = Step> {
    // What ends a poll at once, and what it tries again for some seconds.
    let how = prop_oneof![
        6 => Just(Hazard::Refuse),
        1 => Just(Hazard::CutBeforeHeaders),
    ];
    prop_oneof![
        5 => ops().prop_map(Step::Change),
        6 => trouble().prop_map(Step::Poll),
        2 => (prop::collection::vec(1..REQUESTS, 1..4), how, any::<bool>())
            .prop_map(|(at, how, restarts)| Step::Interrupt { at, how, restarts }),
        1 => any::<bool>().prop_map(|is_full| Step::Restart { is_full }),
    ]
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let passing = prop_oneof![
        1 => Just(Hazard::Throttle),
        2 => Just(Hazard::ServerError),
        2 => Just(Hazard::CutBeforeHeaders),
        2 => Just(Hazard::CutInBody),
    ];
    let deadly =
        prop_oneof![Just(Hazard::Refuse), Just(Hazard::TruncatedJson), Just(Hazard::NotJson)];
    prop_oneof![
        2 => Just(Trouble::None),
        3 => (passing, 1..REQUESTS, 1..3usize).prop_map(|(h, at, n)| Trouble::Http(h, at, n)),
        2 => (deadly, 1..REQUESTS, 1..3usize).prop_map(|(h, at, n)| Trouble::Http(h, at, n)),
        4 => any::<usize>().prop_map(Trouble::Own),
        2 => (1..REQUESTS, ops()).prop_map(|(at, ops)| Trouble::Meanwhile(at, ops)),
    ]
}
