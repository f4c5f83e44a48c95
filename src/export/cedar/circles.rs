//! Groups that contain each other: the strongly connected components of the
//! nesting, by Tarjan's algorithm, without recursion.

use std::collections::{BTreeMap, BTreeSet};

use crate::index::DirectoryView;

/// The circles of one directory.
#[derive(Debug, Default)]
pub(super) struct Circles {
    /// By group, of those that are in one: its circle.
    of: BTreeMap<u32, usize>,
    /// Their groups, ascending.
    all: Vec<Vec<u32>>,
}

/// What is known of a group while it is visited.
#[derive(Clone, Copy)]
struct Mark {
    index: u32,
    low: u32,
    on_stack: bool,
}

#[derive(Default)]
struct Search {
    marks: BTreeMap<u32, Mark>,
    stack: Vec<u32>,
    /// Groups being visited, and which of their parents is next.
    path: Vec<(u32, usize)>,
    found: Circles,
}

impl Circles {
    /// Those among all groups of the directory.
    pub(super) fn of_directory(directory: &DirectoryView) -> Circles {
        let nested =
            directory.group_slots().filter(|group| !directory.subgroups(*group).is_empty());
        Circles::among(nested, directory)
    }

    /// Those among `groups` and the groups that these are in.
    pub(super) fn among(
        groups: impl IntoIterator<Item = u32>,
        directory: &DirectoryView,
    ) -> Circles {
        let mut search = Search::default();
        for group in groups {
            search.visit(group, &|group| directory.parents_of_group(group));
        }
        search.found
    }

    /// The groups that are in the same circle, itself too; itself alone when it
    /// is in none.
    fn with(&self, group: u32) -> Vec<u32> {
        match self.of.get(&group).and_then(|circle| self.all.get(*circle)) {
            Some(circle) => circle.clone(),
            None => vec![group],
        }
    }

    /// The parents that something has whose own are `direct`. Sorted.
    pub(super) fn parents(&self, direct: &[u32]) -> Vec<u32> {
        let circles: BTreeSet<usize> =
            direct.iter().filter_map(|group| self.of.get(group)).copied().collect();
        let alone = direct.iter().filter(|group| !self.of.contains_key(group));
        let mut all: Vec<u32> = alone.copied().collect();
        all.extend(circles.iter().filter_map(|circle| self.all.get(*circle)).flatten());
        all.sort();
        all.dedup();
        all
    }

    /// The parents of a group: those of its circle that are not in it. Sorted.
    pub(super) fn parents_of_group(&self, group: u32, directory: &DirectoryView) -> Vec<u32> {
        let circle = self.with(group);
        let direct = circle.iter().flat_map(|group| directory.parents_of_group(*group)).copied();
        let mut parents = self.parents(&direct.collect::<Vec<u32>>());
        parents.retain(|parent| circle.binary_search(parent).is_err());
        parents
    }
}

impl Search {
    fn visit<'a>(&mut self, start: u32, parents: &dyn Fn(u32) -> &'a [u32]) {
        if self.marks.contains_key(&start) {
            return;
        }
        self.enter(start);
        while let Some((group, next)) = self.path.last_mut() {
            let group = *group;
            let Some(parent) = parents(group).get(*next).copied() else {
                self.leave(group);
                continue;
            };
            *next += 1;
            match self.marks.get(&parent).copied() {
                None => self.enter(parent),
                Some(mark) if mark.on_stack => self.lower(group, mark.index),
                Some(_) => {}
            }
        }
    }

    fn enter(&mut self, group: u32) {
        let index = u32::try_from(self.marks.len()).unwrap_or(u32::MAX);
        self.marks.insert(group, Mark { index, low: index, on_stack: true });
        self.stack.push(group);
        self.path.push((group, 0));
    }

    fn leave(&mut self, group: u32) {
        self.path.pop();
        let Some(mark) = self.marks.get(&group).copied() else { return };
        if let Some((outer, _)) = self.path.last().copied() {
            self.lower(outer, mark.low);
        }
        if mark.low != mark.index {
            return;
        }
        let start = self.stack.iter().rposition(|one| *one == group).unwrap_or_default();
        let mut circle = self.stack.split_off(start);
        for group in &circle {
            self.marks.entry(*group).and_modify(|mark| mark.on_stack = false);
        }
        if circle.len() > 1 {
            circle.sort();
            let number = self.found.all.len();
            self.found.of.extend(circle.iter().map(|group| (*group, number)));
            self.found.all.push(circle);
        }
    }

    fn lower(&mut self, group: u32, low: u32) {
        self.marks.entry(group).and_modify(|mark| mark.low = mark.low.min(low));
    }
}
