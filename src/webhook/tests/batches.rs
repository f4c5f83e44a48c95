//! Several events in one delivery.

use super::*;

/// The seqs of each batch, in the order of acceptance.
fn batches(receiver: &Receiver) -> Vec<Vec<u64>> {
    let seqs = |body: &Json| {
        assert_eq!(body["type"], "batch");
        let events = body["events"].as_array().unwrap().iter();
        events.map(|event| event["seq"].as_u64().unwrap()).collect()
    };
    receiver.bodies().iter().map(seqs).collect()
}

#[tokio::test]
async fn what_is_there_goes_together_and_nothing_waits_for_more() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let receiver = Receiver::start().await;
    memory.append_users(7);
    let more = "batch_max = 2\ndirectories = [\"odd\"]";
    let _running = run(receiver.config("audit", more), &memory, &statuses);
    until("all is told", || memory.stored_seq("audit") == Some(7)).await;
    memory.append_users(2);
    until("the rest is told", || memory.stored_seq("audit") == Some(9)).await;
    assert_eq!(batches(&receiver), [vec![1, 3], vec![5, 7], vec![9]]);
}

#[tokio::test]
async fn a_failed_batch_is_sent_again_with_the_same_events_also_after_a_restart() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let receiver = Receiver::start().await;
    memory.append_users(3);
    receiver.act(|| Act::Refuse(500, None));
    let more = "batch_max = 100\nretry_schedule = [\"1h\"]";
    let running = run(receiver.config("audit", more), &memory, &statuses);
    until("it failed", || memory.position_of("audit").failing.len() == 1).await;
    memory.append_users(4);
    stop(running).await;
    receiver.act(|| Act::Accept(204));
    let _again = run(receiver.config("audit", more), &memory, &statuses);
    until("all is told", || memory.stored_seq("audit") == Some(7)).await;
    assert_eq!(batches(&receiver), [vec![1, 2, 3], vec![4, 5, 6, 7]]);
    let ledger = receiver.ledger.lock().unwrap();
    assert!(ledger.accepted.iter().all(|(id, _)| id.starts_with("bat_")));
}
