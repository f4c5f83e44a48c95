//! When an endpoint is given up, and what is told of it.

use super::*;

fn is_disabled(memory: &Memory) -> bool {
    memory.position_of("audit").disabled.is_some()
}

#[tokio::test]
async fn an_endpoint_is_disabled_when_the_schedule_is_over_and_nothing_is_lost() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let (receiver, controls) = (Receiver::start().await, Controls::default());
    receiver.act(|| Act::Refuse(500, None));
    let config = receiver.config("audit", "retry_schedule = [\"1ms\", \"1ms\", \"1ms\"]");
    let running = run_with(config.clone(), &memory, &statuses, &controls);
    memory.append_users(2);
    until("somebody is told", || memory.notices().len() == 1).await;
    until("that is stored", || {
        memory.position_of("audit").disabled.is_some_and(|disabled| disabled.untold_after.is_none())
    })
    .await;
    // The first attempt, and one after each delay.
    assert_eq!(receiver.attempts(), 4);
    let notice = memory.notices().remove(0);
    assert_eq!(notice["webhook"], Value::from("audit"));
    assert_eq!(notice["seq"], Value::Integer(0));
    // It is stored before it is shown.
    let shown = || status(&statuses, &memory, "audit");
    until("it is shown", || shown().state == State::Disabled).await;
    let status = shown();
    assert!(status.disabled_since.is_some() && status.disabled_reason.unwrap().contains("500"));
    // It stays so, and is told once.
    stop(running).await;
    receiver.act(|| Act::Accept(204));
    let _again = run_with(config, &memory, &statuses, &controls);
    assert!(matches!(controls.order("audit", Order::Test).await, Ok(Done::Tested(_))));
    assert_eq!((receiver.attempts(), memory.notices().len()), (5, 1));
    controls.order("audit", Order::Resume { skip: false }).await.unwrap();
    until("all is told", || memory.stored_seq("audit") == Some(3)).await;
    let bodies = receiver.bodies();
    let seqs: Vec<Option<u64>> = bodies.iter().map(|body| body["seq"].as_u64()).collect();
    assert_eq!(seqs, [None, Some(1), Some(2), Some(3)]);
    assert_eq!(bodies[3]["type"], "webhook.disabled");
    assert!(!is_disabled(&memory));
}

#[tokio::test]
async fn restarts_do_not_use_up_the_schedule() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let receiver = Receiver::start().await;
    receiver.act(|| Act::Refuse(500, None));
    let config = receiver.config("audit", "retry_schedule = [\"1h\", \"2h\"]");
    memory.append_users(1);
    let hour = Duration::from_hours(1);
    let shown = || status(&statuses, &memory, "audit");
    for (failures, hours) in [(1, 1), (2, 2), (3, 2), (4, 2)] {
        let before = clock::now();
        let running = run(config.clone(), &memory, &statuses);
        until("it failed once more", || shown().consecutive_failures == failures).await;
        assert_eq!(shown().state, State::Failing);
        assert!(shown().next_attempt_at.unwrap() >= before.plus(hours * hour));
        stop(running).await;
    }
    // The same when the first failure was longer ago than the whole schedule.
    let mut position = memory.position_of("audit");
    let since = position.failing[0].since;
    position.failing[0].since = since.minus(3 * hour);
    memory.set_position("audit", &position).unwrap();
    let _again = run(config, &memory, &statuses);
    until("somebody is told", || memory.notices().len() == 1).await;
    assert_eq!((receiver.attempts(), is_disabled(&memory)), (5, true));
}

#[tokio::test]
async fn nothing_is_shown_to_be_next_while_an_endpoint_is_held_back() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let (receiver, controls) = (Receiver::start().await, Controls::default());
    receiver.act(|| Act::Refuse(500, None));
    let config = receiver.config("audit", "retry_schedule = [\"1h\"]");
    let _running = run_with(config, &memory, &statuses, &controls);
    memory.append_users(1);
    let shown = || status(&statuses, &memory, "audit");
    until("it failed", || shown().next_attempt_at.is_some()).await;
    controls.order("audit", Order::Pause).await.unwrap();
    assert_eq!((shown().state, shown().next_attempt_at), (State::Paused, None));
    assert_eq!(shown().consecutive_failures, 1);
}

#[tokio::test]
async fn a_410_disables_at_once() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let receiver = Receiver::start().await;
    receiver.act(|| Act::Refuse(410, None));
    let _running = run(receiver.config("audit", ""), &memory, &statuses);
    memory.append_users(3);
    until("somebody is told", || memory.notices().len() == 1).await;
    assert_eq!((receiver.attempts(), is_disabled(&memory)), (1, true));
}

#[tokio::test]
async fn a_notice_that_was_not_surely_committed_is_told_once() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let receiver = Receiver::start().await;
    receiver.act(|| Act::Refuse(410, None));
    memory.append_users(1);
    let running = run(receiver.config("audit", ""), &memory, &statuses);
    until("somebody is told", || memory.notices().len() == 1).await;
    stop(running).await;
    // As after a crash between the notice and what is stored of it.
    let mut position = memory.position_of("audit");
    position.disabled.as_mut().unwrap().untold_after = Some(1);
    memory.set_position("audit", &position).unwrap();
    let _again = run(receiver.config("audit", ""), &memory, &statuses);
    let is_settled = || memory.position_of("audit").disabled.unwrap().untold_after.is_none();
    until("it is found", is_settled).await;
    assert_eq!(memory.notices().len(), 1);
}

#[tokio::test]
async fn a_crash_before_the_notice_does_not_keep_it_back() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let receiver = Receiver::start().await;
    receiver.act(|| Act::Refuse(410, None));
    memory.inner.lock().unwrap().mute = 1;
    memory.append_users(1);
    let running = run(receiver.config("audit", ""), &memory, &statuses);
    until("it is stored", || is_disabled(&memory)).await;
    stop(running).await;
    assert_eq!(memory.notices().len(), 0);
    let _again = run(receiver.config("audit", ""), &memory, &statuses);
    until("somebody is told", || memory.notices().len() == 1).await;
}
