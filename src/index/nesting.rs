//! Questions that follow nested groups. Groups may contain each other in
//! circles; every walk here enters a group once.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use super::closure::{Bits, Nested, meet};
use super::directory::DirectoryView;

/// How many steps [`DirectoryView::why`] takes at most for every path it may return.
const STEPS_PER_PATH: usize = 256;
/// How many steps go into finding what is nested in the groups that one commit
/// touches: some for every group there is, and some in any case.
/// (Tests run out of them.)
const STEPS_PER_GROUP: usize = if cfg!(test) { 1 } else { 64 };
const STEPS_LEAST: usize = if cfg!(test) { 4 } else { 1 << 16 };

impl DirectoryView {
    /// Whether the user is in the group, directly or through nested groups.
    #[inline]
    pub fn is_member(&self, user: u32, group: u32) -> bool {
        let direct = self.groups_of_user(user);
        if direct.binary_search(&group).is_ok() {
            return true;
        }
        match self.closures.get(group) {
            Nested::None => false,
            Nested::Sorted(nested) => meet(direct, nested),
            Nested::Bits(nested) => direct.iter().any(|group| nested.contains(*group)),
            Nested::TooMany => self.walk(direct, Self::parents_of_group).contains(&group),
        }
    }

    /// All groups the user is in, directly or through nested groups. Sorted.
    pub fn ancestors_of_user(&self, user: u32) -> Vec<u32> {
        self.walk(self.groups_of_user(user), Self::parents_of_group).into_iter().collect()
    }

    /// All groups that contain the group, directly or through others, without
    /// itself. Sorted.
    pub fn ancestors_of_group(&self, group: u32) -> Vec<u32> {
        let above = self.walk(self.parents_of_group(group), Self::parents_of_group);
        above.into_iter().filter(|other| *other != group).collect()
    }

    /// All groups in the group, directly or through others, without itself. Sorted.
    pub fn nested_groups(&self, group: u32) -> Vec<u32> {
        let below = self.walk(self.subgroups(group), Self::subgroups);
        below.into_iter().filter(|other| *other != group).collect()
    }

    /// All users in the group, directly or through nested groups. Sorted.
    pub fn nested_users(&self, group: u32) -> Vec<u32> {
        self.nested_user_bits(group).slots()
    }

    /// How many users are in the group, directly or through nested groups.
    pub fn nested_user_count(&self, group: u32) -> usize {
        let nested = self.nested_groups(group);
        if nested.is_empty() {
            return self.direct_users(group).len();
        }
        self.nested_user_bits(group).count()
    }

    /// Why the user is in the group: paths of groups, each starting with one
    /// the user is directly in and ending with `group`, no group twice in a path.
    ///
    /// All of them when they are at most `limit`, else the first; shortest
    /// first, and in a stable order. Groups can be nested in a way that has
    /// more paths than could ever be listed: the search takes a bounded number
    /// of steps, which grows with `limit`, and finds the shortest path for sure.
    pub fn why(&self, user: u32, group: u32, limit: usize) -> Vec<Vec<u32>> {
        let mut search = Search::new(self, user);
        search.step(group, None);
        let steps_max = limit.saturating_mul(STEPS_PER_PATH);
        let mut paths = Vec::new();
        while paths.len() < limit
            && let Some(at) = search.next()
        {
            let path = search.path(at);
            search.expand(&path, at, steps_max);
            if path.first().is_some_and(|first| search.hops.get(first) == Some(&0)) {
                paths.push(path);
            }
        }
        paths
    }

    /// Finds anew what is nested in these groups and in all that contain them.
    pub(super) fn renew_closures(&mut self, changed: &[u32]) {
        let mut steps = STEPS_PER_GROUP.saturating_mul(self.group_count()) + STEPS_LEAST;
        for group in self.walk(changed, Self::parents_of_group) {
            let nested = self.walk_within(self.subgroups(group), Self::subgroups, &mut steps);
            self.closures.set(group, nested);
        }
    }

    /// The groups that a walk from `start` along `next` comes to.
    fn walk<'a>(
        &'a self,
        start: &[u32],
        next: impl Fn(&'a Self, u32) -> &'a [u32],
    ) -> BTreeSet<u32> {
        self.walk_within(start, next, &mut usize::MAX.clone()).unwrap_or_default()
    }

    /// The same, unless it takes more than these steps, which are used up.
    fn walk_within<'a>(
        &'a self,
        start: &[u32],
        next: impl Fn(&'a Self, u32) -> &'a [u32],
        steps: &mut usize,
    ) -> Option<BTreeSet<u32>> {
        let mut seen: BTreeSet<u32> = start.iter().copied().collect();
        let mut open: Vec<u32> = start.to_vec();
        while let Some(group) = open.pop() {
            let beyond = next(self, group);
            *steps = steps.checked_sub(1 + beyond.len())?;
            open.extend(beyond.iter().filter(|other| seen.insert(**other)));
        }
        Some(seen)
    }

    fn nested_user_bits(&self, group: u32) -> Bits {
        let mut bits = Bits::up_to(self.next_user_slot());
        for group in std::iter::once(group).chain(self.nested_groups(group)) {
            for user in self.direct_users(group).iter() {
                bits.set(*user);
            }
        }
        bits
    }
}

/// From the outer group inwards, over groups that the user is in, nearest to
/// the user first. A path is read off backwards.
struct Search {
    steps: Vec<Step>,
    /// By expected length of the path, then the step nearer to the user.
    open: BinaryHeap<(Reverse<usize>, usize, Reverse<usize>)>,
    /// How many groups lie between each group and the user.
    hops: BTreeMap<u32, usize>,
    /// By group, those of its subgroups that the user is in.
    inner: BTreeMap<u32, Vec<u32>>,
}

struct Step {
    group: u32,
    outer: Option<usize>,
    depth: usize,
}

impl Search {
    fn new(view: &DirectoryView, user: u32) -> Search {
        let direct = view.groups_of_user(user);
        let mut hops: BTreeMap<u32, usize> = direct.iter().map(|group| (*group, 0)).collect();
        let mut inner = BTreeMap::<u32, Vec<u32>>::new();
        let mut open: VecDeque<(u32, usize)> = direct.iter().map(|group| (*group, 0)).collect();
        while let Some((group, distance)) = open.pop_front() {
            for outer in view.parents_of_group(group) {
                inner.entry(*outer).or_default().push(group);
                if let Entry::Vacant(place) = hops.entry(*outer) {
                    place.insert(distance + 1);
                    open.push_back((*outer, distance + 1));
                }
            }
        }
        Search { steps: Vec::new(), open: BinaryHeap::new(), hops, inner }
    }

    fn step(&mut self, group: u32, outer: Option<usize>) {
        // A group the user is not in leads nowhere.
        let Some(hops) = self.hops.get(&group) else { return };
        let outer_depth = outer.and_then(|at| self.steps.get(at)).map(|step| step.depth + 1);
        let depth = outer_depth.unwrap_or(0);
        self.open.push((Reverse(depth + hops), depth, Reverse(self.steps.len())));
        self.steps.push(Step { group, outer, depth });
    }

    fn next(&mut self) -> Option<usize> {
        self.open.pop().map(|(_, _, Reverse(at))| at)
    }

    /// The groups from this step outwards.
    fn path(&self, at: usize) -> Vec<u32> {
        let steps = std::iter::successors(self.steps.get(at), |step| self.steps.get(step.outer?));
        steps.map(|step| step.group).collect()
    }

    fn expand(&mut self, path: &[u32], at: usize, steps_max: usize) {
        let Some(group) = path.first() else { return };
        if self.steps.len() > steps_max {
            return;
        }
        let inner = self.inner.get(group).cloned().unwrap_or_default();
        for group in inner.into_iter().filter(|group| !path.contains(group)) {
            self.step(group, Some(at));
        }
    }
}
