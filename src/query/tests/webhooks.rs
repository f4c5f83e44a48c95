//! Looking after webhooks over HTTP.

use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::json;

use super::fixture::world;
use crate::clock::Timestamp;
use crate::model::{Attempt, Caller};
use crate::query::journal::JournalError;
use crate::query::sources::{Endpoint, EndpointSettings, Endpoints};
use crate::store::AttemptPage;
use crate::webhook::{Done, EndpointStatus, Order, OrderError, State};

/// Two endpoints: `audit`, which is disabled and has a log of five, and `quiet`.
#[derive(Default)]
pub struct NotingDesk(pub Mutex<Vec<(String, Caller)>>);

fn endpoint(name: &str, log_deliveries: bool) -> Endpoint {
    Endpoint {
        status: EndpointStatus {
            name: name.into(),
            url: format!("https://{name}.example/hook"),
            last_delivered_seq: 7,
            backlog: 3,
            ..EndpointStatus::default()
        },
        settings: EndpointSettings {
            events: vec!["user.deleted".into()],
            format: "polis",
            ordering: "ordered",
            batch_max: 1,
            log_deliveries,
            ..EndpointSettings::default()
        },
    }
}

fn attempt(seq: u64) -> Attempt {
    Attempt {
        at: Timestamp(1_000 * seq),
        id: format!("evt_{seq}"),
        first_seq: seq,
        last_seq: seq,
        events: 1,
        number: 1,
        status: Some(503),
        latency_ms: 4,
        answer: "busy".into(),
        error: Some("it answers 503".into()),
    }
}

#[async_trait]
impl Endpoints for NotingDesk {
    fn all(&self) -> Vec<Endpoint> {
        let mut audit = endpoint("audit", true);
        audit.status.state = State::Disabled;
        audit.status.disabled_since = Some(Timestamp(0));
        audit.status.disabled_reason = Some("it answers 410 Gone".into());
        audit.status.replaying = vec![(2, 5)];
        vec![audit, endpoint("quiet", false)]
    }

    fn attempts(
        &self,
        endpoint: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<AttemptPage, JournalError> {
        if endpoint != "audit" {
            return Ok(AttemptPage::default());
        }
        let seqs = (1..before.unwrap_or(6)).rev().take(limit);
        let attempts: Vec<(u64, Attempt)> = seqs.map(|seq| (seq, attempt(seq))).collect();
        let next = attempts.last().map(|(seq, _)| *seq).filter(|seq| *seq > 1);
        Ok(AttemptPage { attempts, total: 5, next })
    }

    async fn order(&self, endpoint: &str, order: Order, by: Caller) -> Result<Done, OrderError> {
        self.0.lock().unwrap().push((format!("{endpoint} {order:?}"), by));
        match (endpoint, order) {
            ("audit", Order::Pause) => Ok(Done::Paused),
            ("audit", Order::Resume { .. }) => Ok(Done::Resumed),
            ("audit", Order::Test) => Ok(Done::Tested(attempt(0))),
            ("audit", Order::Replay { from: 1, .. }) => Err(OrderError::Gone { oldest: 3 }),
            ("audit", Order::Replay { from: 9.., .. }) => {
                Err(OrderError::Refused("event 9 was not delivered yet".into()))
            }
            ("audit", Order::Replay { from, to }) => {
                Ok(Done::Replaying { from, to: to.unwrap_or(7) })
            }
            ("quiet", _) => Err(OrderError::Failed("the webhook quiet is being stopped".into())),
            _ => Err(OrderError::Unknown(endpoint.into())),
        }
    }

    async fn clear(&self, endpoint: &str, _: Caller) -> Result<u64, OrderError> {
        match endpoint {
            "audit" => Ok(5),
            _ => Err(OrderError::Unknown(endpoint.into())),
        }
    }
}

#[tokio::test]
async fn endpoints_are_shown_with_their_state_and_settings() {
    let world = world();
    let (status, list) = world.get("/v1/webhooks").await;
    assert_eq!((status.as_u16(), &list["total"]), (200, &json!(2)));
    assert_eq!(list["webhooks"][1]["state"], "delivering");
    assert_eq!(list["webhooks"][1]["disabled"], json!(null));
    let (_, audit) = world.get("/v1/webhooks/audit").await;
    assert_eq!((&audit["state"], &audit["backlog"]), (&json!("disabled"), &json!(3)));
    assert_eq!(
        audit["disabled"],
        json!({"since": "1970-01-01T00:00:00Z", "reason": "it answers 410 Gone"})
    );
    assert_eq!(audit["replaying"], json!([{"from": 2, "to": 5}]));
    assert_eq!(audit["settings"]["events"], json!(["user.deleted"]));
    assert_eq!(audit["settings"]["log_deliveries"], true);
    assert_eq!(audit["settings"]["format"], "polis");
}

#[tokio::test]
async fn an_unknown_webhook_is_404_with_the_nearest_name() {
    let world = world();
    for (method, path) in [("GET", "audti"), ("GET", "audti/deliveries"), ("POST", "audti/pause")] {
        let path = format!("/v1/webhooks/{path}");
        let (status, problem) = match method {
            "GET" => world.get(&path).await,
            _ => world.post(&path).await,
        };
        assert_eq!(status, 404, "{path}");
        assert_eq!(problem["hint"], "did you mean audit?", "{path}");
    }
    let (_, problem) = world.get("/v1/webhooks/payroll").await;
    assert_eq!(problem["hint"], "known are audit, quiet");
}

#[tokio::test]
async fn the_delivery_log_is_read_page_by_page() {
    let world = world();
    let (_, first) = world.get("/v1/webhooks/audit/deliveries?limit=3").await;
    assert_eq!((&first["total"], &first["next_cursor"]), (&json!(5), &json!("3")));
    assert_eq!(
        first["deliveries"][0],
        json!({
            "number": 5, "at": "1970-01-01T00:00:05Z", "id": "evt_5", "first_seq": 5,
            "last_seq": 5, "events": 1, "attempt": 1, "accepted": false, "status": 503,
            "latency_ms": 4, "answer": "busy", "error": "it answers 503",
        })
    );
    let (_, second) = world.get("/v1/webhooks/audit/deliveries?limit=3&cursor=3").await;
    assert_eq!(second["deliveries"].as_array().unwrap().len(), 2);
    assert_eq!(second["next_cursor"], json!(null));
    assert_eq!(world.get("/v1/webhooks/audit/deliveries?cursor=x").await.0, 400);
    let (status, problem) = world.get("/v1/webhooks/quiet/deliveries").await;
    assert_eq!((status.as_u16(), &problem["title"]), (409, &json!("not-logged")));
    assert!(problem["hint"].as_str().unwrap().contains("log_deliveries = true"));
}

#[tokio::test]
async fn what_operators_ask_reaches_the_endpoint_with_who_asked() {
    let world = world();
    let (status, paused) = world.post("/v1/webhooks/audit/pause").await;
    assert_eq!((status.as_u16(), &paused["done"]), (200, &json!("paused")));
    world.post("/v1/webhooks/audit/resume").await;
    world.post("/v1/webhooks/audit/resume?skip=true").await;
    let (_, replaying) = world.post("/v1/webhooks/audit/replay?from=2&to=4").await;
    assert_eq!((&replaying["from"], &replaying["to"]), (&json!(2), &json!(4)));
    let (status, tested) = world.post("/v1/webhooks/audit/test").await;
    assert_eq!((status.as_u16(), &tested["delivery"]["accepted"]), (200, &json!(false)));
    assert_eq!(tested["delivery"]["number"], json!(null));
    let (_, cleared) = world.post("/v1/webhooks/audit/clear").await;
    assert_eq!(cleared, json!({"webhook": "audit", "cleared": 5}));
    let asked = world.desk.0.lock().unwrap();
    assert!(asked.iter().all(|(_, by)| *by == Caller::peer(7, 8, Some(9))));
    assert_eq!(
        asked.iter().map(|(what, _)| what.as_str()).collect::<Vec<_>>(),
        [
            "audit Pause",
            "audit Resume { skip: false }",
            "audit Resume { skip: true }",
            "audit Replay { from: 2, to: Some(4) }",
            "audit Test",
        ]
    );
}

#[tokio::test]
async fn what_cannot_be_done_says_why_and_reaches_nobody_when_it_is_nonsense() {
    let world = world();
    for nonsense in
        ["replay", "replay?from=x", "replay?from=4&to=3", "pause?skip=true", "resume?skip=yes"]
    {
        let (status, _) = world.post(&format!("/v1/webhooks/audit/{nonsense}")).await;
        assert_eq!(status, 400, "{nonsense}");
    }
    assert!(world.desk.0.lock().unwrap().is_empty());
    let (status, gone) = world.post("/v1/webhooks/audit/replay?from=1").await;
    assert_eq!((status.as_u16(), &gone["oldest"]), (410, &json!(3)));
    assert!(gone["hint"].as_str().unwrap().contains("from 3"));
    let (status, refused) = world.post("/v1/webhooks/audit/replay?from=9").await;
    assert_eq!((status.as_u16(), &refused["title"]), (409, &json!("refused")));
    assert_eq!(world.post("/v1/webhooks/quiet/pause").await.0, 503);
    assert_eq!(world.post("/v1/webhooks/nobody/clear").await.0, 404);
    assert_eq!(world.get("/v1/webhooks/audit/pause").await.0, 405);
}
