//! A first sync told as one summary.

use super::*;

#[tokio::test]
async fn the_first_sync_is_one_event_and_what_follows_is_told() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let receiver = Receiver::start().await;
    let create = |directory: &str, number| {
        let payload = Payload::User { user: user(number), previous: None };
        memory.append_to(directory, EventKind::UserCreated, payload);
    };
    let synced = || {
        let details = Attributes::from([("users".to_owned(), Value::Integer(2))]);
        let payload = Payload::Directory { details };
        memory.append_to("corp", EventKind::DirectorySynced, payload);
    };
    create("corp", 1);
    create("corp", 2);
    synced();
    create("other", 1);
    create("corp", 3);
    create("gone", 1);
    {
        let mut kept = memory.inner.lock().unwrap();
        kept.first_syncs.insert("corp".into(), 3);
        kept.first_syncs.insert("gone".into(), u64::MAX);
    }
    let _all = run(receiver.config("all", ""), &memory, &statuses);
    until("all is told", || memory.stored_seq("all") == Some(6)).await;
    assert_eq!(receiver.told(), [1, 2, 3, 4, 5, 6]);
    let summed = Receiver::start().await;
    let config = summed.config("summed", "on_first_sync = \"summary\"");
    let _summed = run(config, &memory, &statuses);
    until("all is told", || memory.stored_seq("summed") == Some(6)).await;
    assert_eq!(summed.told(), [3, 4, 5]);
}
