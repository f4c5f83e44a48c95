//! A world of a given size, the same every time.

/// So many users, groups, and memberships of users in groups.
#[derive(Clone, Copy, Debug)]
pub struct Population {
    pub users: usize,
    pub groups: usize,
    pub memberships: usize,
}

impl Population {
    pub const BIG: Population = Population { users: 20_000, groups: 2_000, memberships: 200_000 };

    /// The users in one group, each once. The first group has half of all
    /// users, as far as memberships allow; the others share the rest evenly.
    pub fn members(&self, group: usize) -> impl Iterator<Item = usize> + use<> {
        let users = self.users;
        let first = (users / 2).min(self.memberships);
        let others = (self.groups - 1).max(1);
        let rest = self.memberships - first;
        let (start, count) = match group {
            0 => (0, first),
            _ => (group * 7, rest / others + usize::from(group <= rest % others)),
        };
        assert!(count <= users, "a group has each user once");
        (start..start + count).map(move |at| at % users)
    }
}

#[test]
fn a_population_has_the_size_that_it_says() {
    for population in [
        Population::BIG,
        Population { users: 7, groups: 3, memberships: 11 },
        Population { users: 10, groups: 1, memberships: 5 },
    ] {
        let lists: Vec<Vec<usize>> =
            (0..population.groups).map(|group| population.members(group).collect()).collect();
        assert_eq!(lists.iter().map(Vec::len).sum::<usize>(), population.memberships);
        for mut list in lists {
            let length = list.len();
            list.sort_unstable();
            list.dedup();
            assert_eq!(list.len(), length, "a user twice");
            assert!(list.iter().all(|user| *user < population.users));
        }
    }
}
