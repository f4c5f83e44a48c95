//! A picture of a directory without what is out of scope.

use super::facts::{GroupFacts, UserFacts};
use super::picture::{Ids, Picture, Read};

/// What an engine is shown of a picture.
pub struct Scoped<'p, P> {
    picture: &'p P,
    /// The groups in scope; `None` for all.
    groups: Option<Ids>,
}

impl<'p, P: Picture> Scoped<'p, P> {
    pub fn new(picture: &'p P, group_prefix: Option<&str>) -> Read<Scoped<'p, P>> {
        let named = group_prefix.map(|prefix| picture.groups_named(prefix)).transpose()?;
        let down = |named: Ids| walk(named, |group| picture.children(group));
        Ok(Scoped { picture, groups: named.map(down).transpose()? })
    }

    /// The groups in scope, when these are not all.
    pub fn groups(&self) -> Option<&Ids> {
        self.groups.as_ref()
    }

    pub fn picture(&self) -> &'p P {
        self.picture
    }

    pub fn user(&self, id: &str) -> Read<Option<UserFacts>> {
        let Some(person) = self.picture.user(id)? else { return Ok(None) };
        let mut groups = self.picture.groups_of(id)?;
        groups.retain(|group| self.has(group));
        let is_shown = self.groups.is_none() || !groups.is_empty();
        Ok(is_shown.then_some(UserFacts { person, groups }))
    }

    pub fn group(&self, id: &str) -> Read<Option<GroupFacts>> {
        if !self.has(id) {
            return Ok(None);
        }
        let Some(team) = self.picture.group(id)? else { return Ok(None) };
        let mut ancestors = walk(self.picture.parents(id)?, |group| self.picture.parents(group))?;
        ancestors.retain(|group| group != id && self.has(group));
        Ok(Some(GroupFacts { team, ancestors }))
    }

    /// A group and all that are in it, however far.
    pub fn below(&self, groups: Ids) -> Read<Ids> {
        walk(groups, |group| self.picture.children(group))
    }

    fn has(&self, group: &str) -> bool {
        self.groups.as_ref().is_none_or(|groups| groups.contains(group))
    }
}

/// Everything that can be reached, the start included. Circles end.
fn walk(start: Ids, next: impl Fn(&str) -> Read<Ids>) -> Read<Ids> {
    let mut open: Vec<String> = start.iter().cloned().collect();
    let mut found = start;
    while let Some(group) = open.pop() {
        for other in next(&group)? {
            if found.insert(other.clone()) {
                open.push(other);
            }
        }
    }
    Ok(found)
}
