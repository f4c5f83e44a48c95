//! A receiver that folds what it gets ends with the directory.

use std::collections::BTreeSet;

use super::*;

/// A directory that changes at random and says so to the journal.
struct World {
    random: fastrand::Rng,
    users: BTreeMap<usize, User>,
    members: BTreeSet<(usize, usize)>,
}

impl World {
    fn step(&mut self, memory: &Memory) {
        let number = self.random.usize(0..6);
        let Some(user) = self.users.get(&number).cloned() else {
            self.users.insert(number, user(number));
            let payload = Payload::User { user: user(number), previous: None };
            return memory.append(EventKind::UserCreated, payload);
        };
        let edge = (self.random.usize(0..3), number);
        match self.random.u8(0..4) {
            0 if !self.members.iter().any(|(_, member)| *member == number) => {
                self.users.remove(&number);
                memory.append(EventKind::UserDeleted, Payload::User { user, previous: None });
            }
            1 => {
                let new = User { title: Some(self.random.u32(..).to_string()), ..user.clone() };
                self.users.insert(number, new.clone());
                let previous = Some(crate::model::Previous(user));
                memory.append(EventKind::UserUpdated, Payload::User { user: new, previous });
            }
            _ => {
                let kind = if self.members.remove(&edge) {
                    EventKind::GroupUserRemoved
                } else {
                    self.members.insert(edge);
                    EventKind::GroupUserAdded
                };
                let member = MemberObject::User(user);
                memory.append(kind, Payload::Membership { group: group(edge.0), member });
            }
        }
    }

    /// What a receiver should know, as it would write it.
    fn told(&self) -> (BTreeMap<String, Json>, BTreeSet<(String, String)>) {
        let users = self.users.values().map(|user| {
            (user.id.clone(), serde_json::to_value(crate::wire::UserBody::from(user)).unwrap())
        });
        let members = self.members.iter();
        (users.collect(), members.map(|(g, u)| (format!("g{g}"), format!("u{u}"))).collect())
    }
}

fn fold(bodies: &[Json]) -> (BTreeMap<String, Json>, BTreeSet<(String, String)>) {
    let (mut users, mut members) = (BTreeMap::new(), BTreeSet::new());
    let id = |object: &Json| object["id"].as_str().unwrap().to_owned();
    for body in bodies {
        let data = &body["data"];
        match body["type"].as_str().unwrap() {
            "user.created" | "user.updated" => {
                users.insert(id(&data["user"]), data["user"].clone());
            }
            "user.deleted" => assert!(users.remove(&id(&data["user"])).is_some()),
            "group.user_added" => assert!(members.insert((id(&data["group"]), id(&data["user"])))),
            "group.user_removed" => {
                assert!(members.remove(&(id(&data["group"]), id(&data["user"]))));
            }
            other => panic!("{other}"),
        }
    }
    (users, members)
}

#[tokio::test]
async fn w7_the_fold_equals_the_directory_whatever_the_receiver_does() {
    for seed in 0..3 {
        let mut world = World {
            random: fastrand::Rng::with_seed(seed),
            users: BTreeMap::new(),
            members: BTreeSet::new(),
        };
        let (memory, statuses) = (Memory::new(), Arc::default());
        let receiver = Receiver::start().await;
        let mut moods = fastrand::Rng::with_seed(seed + 100);
        receiver.act(move || match moods.u8(0..20) {
            0..=2 => Act::Refuse(500, None),
            3 => Act::Refuse(503, Some("0")),
            4 => Act::Refuse(302, None),
            5 if moods.u8(0..6) == 0 => Act::AcceptInSilence,
            6 => Act::Accept(200),
            _ => Act::Accept(204),
        });
        let mut config = receiver.config("audit", "");
        config.timeout = Duration::from_millis(100);
        // Unlucky is not dead.
        config.retry_schedule = vec![Duration::from_millis(1); 60];
        let mut seen = 0;
        for _restart in 0..4 {
            let running = run(config.clone(), &memory, &statuses);
            for _ in 0..40 {
                world.step(&memory);
            }
            // Killed somewhere in the middle, with the cursor as last stored.
            seen += 20;
            until("half of it is there", || receiver.bodies().len() >= seen).await;
            drop(running);
        }
        receiver.act(|| Act::Accept(204));
        let _running = run(config, &memory, &statuses);
        let last = memory.last_seq();
        until("all of it is there", || receiver.bodies().len() as u64 == last).await;
        assert_eq!(receiver.seqs(), (1..=last).collect::<Vec<_>>(), "w5: in order, seed {seed}");
        assert_eq!(fold(&receiver.bodies()), world.told(), "seed {seed}");
        assert_eq!(receiver.ledger.lock().unwrap().redirected, 0);
    }
}
