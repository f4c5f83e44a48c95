//! Events that overtake each other, but not those of the same user or group.

use super::*;

const MORE: &str = "ordering = \"per_user\"\nconcurrency = 4\n";

fn update(memory: &Memory, number: usize) {
    let payload = Payload::User { user: user(number), previous: None };
    memory.append_to("corp", EventKind::UserUpdated, payload);
}

#[tokio::test]
async fn a_failing_user_holds_back_only_their_own() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let receiver = Receiver::start().await;
    receiver.act_on(|body| match body["data"]["user"]["id"].as_str() {
        Some("u1") => Act::Refuse(500, None),
        _ => Act::Accept(204),
    });
    let config = receiver.config("audit", &format!("{MORE}retry_schedule = [\"10h\"]"));
    let running = run(config.clone(), &memory, &statuses);
    for number in [1, 2, 3, 1, 2] {
        update(&memory, number);
    }
    until("the others have theirs", || receiver.bodies().len() == 3).await;
    let shown = || status(&statuses, &memory, "audit");
    until("it is shown", || shown().backlog == 2).await;
    assert_eq!((shown().state, shown().last_delivered_seq), (State::Failing, 0));
    stop(running).await;
    // After a restart nothing is repeated that was told beyond the cursor.
    let beyond = memory.position_of("audit").beyond.unwrap();
    assert_eq!((beyond.read, beyond.unfinished), (5, vec![1, 4]));
    receiver.act(|| Act::Accept(204));
    let _again = run(config, &memory, &statuses);
    until("all is told", || memory.stored_seq("audit") == Some(5)).await;
    let mut told = receiver.told();
    assert_eq!(told.split_off(3), [1, 4]);
    told.sort_unstable();
    assert_eq!(told, [2, 3, 5]);
}

#[tokio::test]
async fn a_paused_endpoint_remembers_over_a_restart_what_overtook() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let (receiver, controls) = (Receiver::start().await, Controls::default());
    let config = receiver.config("audit", MORE);
    for number in [1, 2, 3] {
        update(&memory, number);
    }
    let position = Position {
        paused: true,
        beyond: Some(crate::store::Beyond { read: 3, unfinished: vec![1] }),
        failing: vec![crate::store::FailingRow {
            first: 1,
            last: 1,
            failures: 1,
            since: Timestamp(1),
        }],
        ..Position::default()
    };
    memory.set_position("audit", &position).unwrap();
    stop(run_with(config.clone(), &memory, &statuses, &controls)).await;
    assert_eq!(memory.position_of("audit"), position);
    let _again = run_with(config, &memory, &statuses, &controls);
    controls.order("audit", Order::Resume { skip: false }).await.unwrap();
    until("all is told", || memory.stored_seq("audit") == Some(3)).await;
    assert_eq!(receiver.told(), [1]);
}

#[tokio::test]
async fn a_dead_endpoint_is_tried_one_by_one_and_disabled() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let receiver = Receiver::start().await;
    receiver.act(|| Act::Refuse(500, None));
    let config = receiver.config("audit", &format!("{MORE}retry_schedule = [\"1ms\", \"1ms\"]"));
    for number in 0..50 {
        update(&memory, number);
    }
    let _running = run(config, &memory, &statuses);
    until("somebody is told", || memory.notices().len() == 1).await;
    // All at once, then the oldest after each delay.
    assert!(receiver.attempts() <= 4 + 4, "{} attempts", receiver.attempts());
    assert_eq!(memory.position_of("audit").seq, 0);
}

#[tokio::test]
async fn a_replay_to_the_end_is_followed_by_what_had_overtaken() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let (receiver, controls) = (Receiver::start().await, Controls::default());
    for number in [2, 1, 2] {
        update(&memory, number);
    }
    receiver.act_on(|body| match body["data"]["user"]["id"].as_str() {
        Some("u1") => Act::Refuse(500, None),
        _ => Act::Accept(204),
    });
    let config = receiver.config("audit", &format!("{MORE}retry_schedule = [\"10h\"]"));
    let _running = run_with(config, &memory, &statuses, &controls);
    until("it overtook", || receiver.told() == [1, 3]).await;
    receiver.act(|| Act::Accept(204));
    let replaying = controls.order("audit", Order::Replay { from: 1, to: None }).await;
    assert_eq!(replaying, Ok(Done::Replaying { from: 1, to: 1 }));
    until("all is told", || memory.stored_seq("audit") == Some(3)).await;
    let told = receiver.told();
    let last_of_two =
        told.iter().rposition(|seq| *seq == 1) < told.iter().rposition(|seq| *seq == 3);
    assert!(last_of_two, "{told:?}");
}
