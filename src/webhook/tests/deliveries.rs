//! One after the other, each until it is accepted; the place is kept.

use super::*;

#[tokio::test]
async fn w1_w2_a_dead_endpoint_delays_nobody_else() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let (dead, alive) = (Receiver::start().await, Receiver::start().await);
    dead.act(|| Act::Refuse(500, None));
    let more = "retry_schedule = [\"1ms\", \"1ms\", \"1h\"]";
    let _dead = run(dead.config("dead", more), &memory, &statuses);
    let _alive = run(alive.config("alive", ""), &memory, &statuses);
    memory.append_users(50);
    until("the living one has it all", || alive.bodies().len() == 50).await;
    until("the dead one was tried again", || dead.attempts() > 2).await;
    assert!(dead.bodies().is_empty());
    let status = |name: &str| status(&statuses, &memory, name);
    until("the statuses say so", || status("alive").backlog == 0).await;
    until("the failures are counted", || status("dead").consecutive_failures == 3).await;
    let status = status("dead");
    assert_eq!((status.backlog, status.last_delivered_seq), (50, 0));
    assert!(status.next_attempt_at.is_some());
    assert_eq!(status.last_error.as_deref(), Some("it answers 500 Internal Server Error"));
    assert!(!format!("{status:?}").contains("classified"));
}

#[tokio::test]
async fn w3_a_204_is_not_sent_again() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let receiver = Receiver::start().await;
    let (task, trigger) = run(receiver.config("audit", ""), &memory, &statuses);
    memory.append_users(3);
    until("all is there", || memory.stored_seq("audit") == Some(3)).await;
    trigger.fire();
    task.join().await.unwrap();
    assert_eq!(receiver.attempts(), 3);
}

#[tokio::test]
async fn filters_skip_without_losing_the_place() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let receiver = Receiver::start().await;
    let more = "events = [\"user.*\"]\ndirectories = [\"even\"]";
    let (task, trigger) = run(receiver.config("audit", more), &memory, &statuses);
    memory.append_users(9);
    until("the cursor is at the end", || memory.stored_seq("audit") == Some(9)).await;
    assert_eq!(receiver.seqs(), [2, 4, 6, 8]);
    trigger.fire();
    task.join().await.unwrap();
    let _again = run(receiver.config("audit", more), &memory, &statuses);
    memory.append_users(1);
    until("the next one is there", || receiver.seqs() == [2, 4, 6, 8, 10]).await;
    assert_eq!(receiver.attempts(), 5);
}

#[tokio::test]
async fn what_the_journal_dropped_is_counted_and_passed_over() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let receiver = Receiver::start().await;
    memory.append_users(10);
    memory.set_position("audit", &Position { seq: 2, ..Position::default() }).unwrap();
    memory.inner.lock().unwrap().oldest = 6;
    let _late = run(receiver.config("audit", ""), &memory, &statuses);
    let _new = run(receiver.config("new", ""), &memory, &statuses);
    until("both are at the end", || receiver.ledger.lock().unwrap().accepted.len() == 10).await;
    assert_eq!(receiver.seqs(), [6, 7, 8, 9, 10]);
    let lost: Vec<u64> = statuses.snapshot(10).iter().map(|status| status.lost_total).collect();
    assert_eq!(lost, [3, 0]);
}

#[tokio::test]
async fn shutdown_stores_the_cursor_and_does_not_wait_for_the_dead() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let receiver = Receiver::start().await;
    let mut config = receiver.config("audit", "");
    config.retry_schedule = vec![Duration::from_secs(3600)];
    let mut answers = [Act::Accept(200), Act::Accept(200), Act::Refuse(400, None)].into_iter();
    receiver.act(move || answers.next().unwrap_or(Act::Accept(204)));
    let (task, trigger) = run(config.clone(), &memory, &statuses);
    memory.append_users(3);
    until("the third was refused", || receiver.attempts() == 3).await;
    trigger.fire();
    task.join().await.unwrap();
    let position = memory.position("audit").unwrap().unwrap();
    assert_eq!((position.seq, position.failing[0].failures), (2, 1));
    // A new start does not wait for what is left of the hour.
    let _again = run(config, &memory, &statuses);
    until("the third is there", || receiver.seqs() == [1, 2, 3]).await;
    assert_eq!(receiver.attempts(), 4);
}

#[tokio::test]
async fn a_store_that_fails_shows_in_the_status() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let receiver = Receiver::start().await;
    memory.inner.lock().unwrap().fails = true;
    let (task, trigger) = run(receiver.config("audit", ""), &memory, &statuses);
    let shown = || statuses.snapshot(0).first().and_then(|status| status.last_error.clone());
    until("the status shows it", || shown().as_deref() == Some("the disk is gone")).await;
    trigger.fire();
    task.join().await.unwrap();
}
