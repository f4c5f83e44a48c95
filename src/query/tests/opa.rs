//! Bundles over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::fixture::{World, world};
use crate::clock::{self, Duration, Timestamp};
use crate::sync::status::DirectoryStatus;
use crate::task::{self, Task};

const PATH: &str = "/v1/opa/bundle.tar.gz";

/// One router for all requests, as in the daemon.
struct Asker {
    world: World,
    router: Router,
}

fn asker() -> Arc<Asker> {
    let world = world();
    let router = world.router();
    Arc::new(Asker { world, router })
}

impl Asker {
    /// The answer to who holds `tag`, with these wishes.
    async fn fetch(&self, path: &str, tag: &str, prefer: &str) -> (StatusCode, HeaderMap) {
        let mut request = Request::get(path);
        if !tag.is_empty() {
            request = request.header("if-none-match", tag);
        }
        if !prefer.is_empty() {
            request = request.header("prefer", prefer);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        body.collect().await.unwrap();
        (parts.status, parts.headers)
    }

    async fn tag_of(&self, path: &str) -> String {
        let (status, headers) = self.fetch(path, "", "").await;
        assert_eq!(status, 200);
        assert_eq!(headers["content-type"], "application/vnd.openpolicyagent.bundles");
        headers["etag"].to_str().unwrap().to_owned()
    }

    /// Waits until `/metrics` says so.
    async fn until_told(&self, line: &str) {
        let deadline = clock::instant() + Duration::from_secs(60);
        loop {
            let request = Request::get("/metrics").body(Body::empty()).unwrap();
            let answer = self.router.clone().oneshot(request).await.unwrap();
            let text = answer.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8_lossy(&text).into_owned();
            if text.lines().any(|told| told == line) {
                return;
            }
            assert!(clock::instant() < deadline, "never told: {line}\n{text}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn waits(self: &Arc<Self>, tag: &str, prefer: &'static str) -> Task<(StatusCode, HeaderMap)> {
        let (asker, tag) = (Arc::clone(self), tag.to_owned());
        task::spawn("opa", async move { asker.fetch(PATH, &tag, prefer).await })
    }
}

#[tokio::test]
async fn who_holds_the_state_gets_304_and_who_holds_another_scope_the_whole() {
    let asker = asker();
    let tag = asker.tag_of(PATH).await;
    let (status, headers) = asker.fetch(PATH, &tag, "").await;
    assert_eq!((status, &headers["etag"]), (StatusCode::NOT_MODIFIED, &tag.parse().unwrap()));
    for path in ["?directory=corp", "?group_prefix=en", "?tenant=acme&product=vpn&directory=corp"] {
        let (status, _) = asker.fetch(&format!("{PATH}{path}"), &tag, "modes=delta").await;
        assert_eq!(status, 200, "{path}");
    }
    for path in ["?socket=%2Frun%2Fx.sock", "?tenant=acme", "?group_prefix="] {
        let path = format!("{PATH}{path}");
        let own = asker.tag_of(&path).await;
        assert_eq!(asker.fetch(&path, &own, "").await.0, StatusCode::NOT_MODIFIED, "{path}");
    }
}

#[tokio::test]
async fn a_scope_of_nothing_known_is_refused() {
    let asker = asker();
    for path in ["?directory=nope", "?tenant=nope"] {
        assert_eq!(asker.fetch(&format!("{PATH}{path}"), "", "").await.0, 404, "{path}");
    }
    for path in ["?group=x", "?group_prefix=a&group_prefix=b", "?directory="] {
        assert_eq!(asker.fetch(&format!("{PATH}{path}"), "", "").await.0, 400, "{path}");
    }
}

#[tokio::test]
async fn a_long_poll_ends_with_what_changed_in_scope() {
    let asker = asker();
    let tag = asker.tag_of(PATH).await;
    let waiting = asker.waits(&tag, "modes=snapshot,delta;wait=60");
    asker.until_told("rosterd_opa_waiting 1").await;
    asker.world.confirm("corp", 3_600);
    let (status, headers) = waiting.join().await.unwrap();
    assert_eq!(status, 200);
    assert_ne!(headers["etag"], tag.as_str());
    asker.until_told("rosterd_opa_bundles_total{kind=\"delta\"} 1").await;
}

#[tokio::test]
async fn a_long_poll_ends_in_time_and_when_the_daemon_stops() {
    let asker = asker();
    let tag = asker.tag_of(PATH).await;
    let (status, _) = asker.fetch(PATH, &tag, "wait=1").await;
    assert_eq!(status, StatusCode::NOT_MODIFIED);
    let waiting = asker.waits(&tag, "wait=60");
    asker.until_told("rosterd_opa_waiting 1").await;
    asker.world.trigger.fire();
    assert_eq!(waiting.join().await.unwrap().0, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn what_happens_elsewhere_is_no_change() {
    let asker = asker();
    let path = format!("{PATH}?directory=partner");
    let tag = asker.tag_of(&path).await;
    asker.world.tell(11);
    let (status, headers) = asker.fetch(&path, &tag, "modes=delta").await;
    assert_eq!((status, &headers["etag"]), (StatusCode::NOT_MODIFIED, &tag.parse().unwrap()));
}

#[tokio::test]
async fn as_of_moves_in_steps_only() {
    let asker = asker();
    let at = |millis| {
        let mut status = DirectoryStatus::new("corp", "acme", "vpn");
        status.as_of = Some(Timestamp(millis));
        asker.world.sources.statuses.insert(status);
    };
    at(60_000);
    let tag = asker.tag_of(PATH).await;
    at(89_999);
    assert_eq!(asker.fetch(PATH, &tag, "").await.0, StatusCode::NOT_MODIFIED);
    at(90_000);
    assert_eq!(asker.fetch(PATH, &tag, "").await.0, StatusCode::OK);
}

#[tokio::test]
async fn only_so_many_wait() {
    let asker = asker();
    let tag = asker.tag_of(PATH).await;
    let waiting: Vec<_> = (0..256).map(|_| asker.waits(&tag, "wait=60")).collect();
    asker.until_told("rosterd_opa_waiting 256").await;
    let (status, headers) = asker.fetch(PATH, &tag, "wait=60").await;
    assert_eq!(
        (status, &headers["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"5".parse().unwrap())
    );
    assert_eq!(asker.fetch(PATH, &tag, "").await.0, StatusCode::NOT_MODIFIED, "who does not wait");
    asker.world.trigger.fire();
    for one in waiting {
        assert_eq!(one.join().await.unwrap().0, StatusCode::NOT_MODIFIED);
    }
}
