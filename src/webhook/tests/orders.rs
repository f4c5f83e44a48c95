//! What operators ask: pause, resume, replay, test.

use super::*;

/// Everything but the endpoint's own task.
struct Stage {
    memory: Memory,
    statuses: Arc<Statuses>,
    controls: Controls,
    receiver: Receiver,
}

impl Stage {
    async fn new() -> Stage {
        Stage {
            memory: Memory::new(),
            statuses: Arc::default(),
            controls: Controls::default(),
            receiver: Receiver::start().await,
        }
    }

    fn run(&self, more: &str) -> (Task, Trigger) {
        let config = self.receiver.config("audit", more);
        run_with(config, &self.memory, &self.statuses, &self.controls)
    }

    async fn order(&self, order: Order) -> Result<Done, OrderError> {
        self.controls.order("audit", order).await
    }

    fn state(&self) -> State {
        status(&self.statuses, &self.memory, "audit").state
    }

    async fn all_is_told(&self) {
        let last = self.memory.last_seq();
        until("all is told", || self.memory.stored_seq("audit") == Some(last)).await;
    }
}

#[tokio::test]
async fn a_paused_endpoint_stays_so_over_a_restart_until_it_is_resumed() {
    let stage = Stage::new().await;
    let running = stage.run("");
    stage.memory.append_users(2);
    stage.all_is_told().await;
    assert_eq!(stage.order(Order::Pause).await, Ok(Done::Paused));
    assert!(stage.memory.position_of("audit").paused);
    stop(running).await;
    stage.memory.append_users(3);
    let _again = stage.run("");
    // An answered order says that the endpoint had its turn.
    assert!(matches!(stage.order(Order::Test).await, Ok(Done::Tested(_))));
    assert_eq!((stage.state(), stage.receiver.attempts()), (State::Paused, 3));
    assert_eq!(stage.order(Order::Resume { skip: false }).await, Ok(Done::Resumed));
    stage.all_is_told().await;
    assert_eq!(stage.memory.position_of("audit"), Position { seq: 5, ..Position::default() });
}

#[tokio::test]
async fn resuming_ends_a_pause_of_hours() {
    let stage = Stage::new().await;
    stage.receiver.act(|| Act::Refuse(500, None));
    let _running = stage.run("retry_schedule = [\"10h\"]");
    stage.memory.append_users(3);
    until("it is failing", || stage.memory.position_of("audit").failing.len() == 1).await;
    assert_eq!(stage.state(), State::Failing);
    stage.receiver.act(|| Act::Accept(204));
    assert_eq!(stage.order(Order::Resume { skip: false }).await, Ok(Done::Resumed));
    stage.all_is_told().await;
    assert_eq!(stage.receiver.seqs(), [1, 2, 3]);
}

#[tokio::test]
async fn skipping_counts_as_delivered() {
    let stage = Stage::new().await;
    stage.receiver.act(|| Act::Refuse(500, None));
    let _running = stage.run("retry_schedule = [\"10h\"]");
    stage.memory.append_users(3);
    until("it is failing", || stage.memory.position_of("audit").failing.len() == 1).await;
    stage.receiver.act(|| Act::Accept(204));
    assert_eq!(stage.order(Order::Resume { skip: true }).await, Ok(Done::Resumed));
    stage.memory.append_users(1);
    stage.all_is_told().await;
    assert_eq!(stage.receiver.seqs(), [4]);
}

#[tokio::test]
async fn a_replay_has_the_same_ids_and_bodies_and_goes_before_what_waits() {
    let stage = Stage::new().await;
    let more = "directories = [\"even\"]";
    let running = stage.run(more);
    stage.memory.append_users(10);
    stage.all_is_told().await;
    stage.order(Order::Pause).await.unwrap();
    stage.memory.append_users(2);
    let replaying = stage.order(Order::Replay { from: 3, to: None }).await;
    assert_eq!(replaying, Ok(Done::Replaying { from: 3, to: 10 }));
    let replays = status(&stage.statuses, &stage.memory, "audit").replaying;
    assert_eq!(replays, [(3, 10)]);
    // It survives, and goes on where it was.
    stop(running).await;
    let _again = stage.run(more);
    stage.order(Order::Resume { skip: false }).await.unwrap();
    stage.all_is_told().await;
    assert_eq!(stage.receiver.told(), [2, 4, 6, 8, 10, 4, 6, 8, 10, 12]);
    // Checks that no id has two bodies.
    assert_eq!(stage.receiver.seqs(), [2, 4, 6, 8, 10, 12]);
    assert_eq!(stage.memory.position_of("audit").replays, []);
}

#[tokio::test]
async fn a_replay_of_what_is_gone_or_yet_to_come_is_refused() {
    let stage = Stage::new().await;
    let _running = stage.run("");
    stage.memory.append_users(10);
    stage.all_is_told().await;
    stage.memory.inner.lock().unwrap().oldest = 4;
    let replay = |from, to| stage.order(Order::Replay { from, to });
    assert_eq!(replay(3, None).await, Err(OrderError::Gone { oldest: 4 }));
    assert!(matches!(replay(11, None).await, Err(OrderError::Refused(_))));
    assert!(matches!(replay(6, Some(5)).await, Err(OrderError::Refused(_))));
    assert_eq!(replay(9, Some(99)).await, Ok(Done::Replaying { from: 9, to: 10 }));
}

#[tokio::test]
async fn a_pause_waits_for_the_delivery_under_way_and_no_other_begins() {
    let stage = Stage::new().await;
    stage.receiver.act(|| Act::AcceptAtTheGate);
    let _running = stage.run("");
    stage.memory.append_users(2);
    until("one is under way", || stage.receiver.attempts() == 1).await;
    let pausing = stage.order(Order::Pause);
    tokio::pin!(pausing);
    let early = tokio::time::timeout(Duration::ZERO, &mut pausing).await;
    assert!(early.is_err(), "the delivery is still under way");
    stage.receiver.open.send_replace(true);
    assert_eq!(pausing.await, Ok(Done::Paused));
    assert_eq!((stage.receiver.attempts(), stage.memory.stored_seq("audit")), (1, Some(1)));
}

#[tokio::test]
async fn a_test_is_signed_and_sent_whatever_the_state() {
    let stage = Stage::new().await;
    stage.receiver.act(|| Act::Refuse(410, None));
    let _running = stage.run("log_deliveries = true");
    stage.memory.append_users(1);
    until("it is disabled", || stage.state() == State::Disabled).await;
    let Ok(Done::Tested(attempt)) = stage.order(Order::Test).await else { panic!("not tested") };
    assert_eq!((attempt.status, attempt.answer.as_str()), (Some(410), "thank you"));
    stage.receiver.act(|| Act::Accept(200));
    let Ok(Done::Tested(attempt)) = stage.order(Order::Test).await else { panic!("not tested") };
    assert_eq!((attempt.status, attempt.error.as_deref()), (Some(200), None));
    assert_eq!(stage.state(), State::Disabled);
    let body = stage.receiver.bodies().pop().unwrap();
    assert_eq!(
        (&body["type"], &body["data"]["webhook"]),
        (&"webhook.test".into(), &"audit".into())
    );
    assert!(body["id"].as_str().unwrap().starts_with("test_"));
    // The first delivery and both tests are in the log.
    let noted = stage.memory.inner.lock().unwrap().attempts.clone();
    let noted: Vec<(u64, Option<u16>)> =
        noted.iter().map(|one| (one.first_seq, one.status)).collect();
    assert_eq!(noted, [(1, Some(410)), (0, Some(410)), (0, Some(200))]);
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_not_steered() {
    let stage = Stage::new().await;
    assert_eq!(stage.order(Order::Pause).await, Err(OrderError::Unknown("audit".into())));
    let running = stage.run("");
    stop(running).await;
    assert!(matches!(stage.order(Order::Pause).await, Err(OrderError::Failed(_))));
}
