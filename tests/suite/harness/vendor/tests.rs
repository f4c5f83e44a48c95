//! The server does what it is told to: every hazard, to the requests it is for.

use std::time::Duration;

use serde_json::json;

use super::{Api, Body, Hazard, Request, Response, VendorServer, When};

/// Counts, and says so.
#[derive(Default)]
struct Counter(u64);

impl Api for Counter {
    fn answer(&mut self, request: &Request) -> Response {
        self.0 += 1;
        match request.segments().as_slice() {
            ["form"] => Response::json(json!(request.form_value("grant"))),
            ["pages", _] => Response::json(json!([]))
                .link("self", &request.link(&[]))
                .link("next", &request.link(&[("after", "a/b c")])),
            ["text"] => Response::new(202).body(Body::Bytes(b"plain".to_vec())),
            _ => Response::json(json!({ "count": self.0 })),
        }
    }
}

fn client() -> reqwest::Client {
    // The second test finds one installed.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap()
}

#[tokio::test]
async fn requests_are_answered_decoded_and_logged() {
    let server = VendorServer::start(Counter::default());
    server.record();
    let client = client();
    let url = format!("{}/pages/a%2Fb?q=x%20y&q=z", server.url());
    let answer = client.get(&url).bearer_auth("token").send().await.unwrap();
    let links: Vec<_> = answer.headers().get_all("link").iter().collect();
    assert_eq!(links.len(), 2, "two lines");
    let next = format!("<{}/pages/a%2Fb?q=x+y&q=z&after=a%2Fb+c>; rel=\"next\"", server.url());
    assert_eq!(links[1], &next);
    let form = client.post(server.url() + "/form").form(&[("grant", "all")]).send().await.unwrap();
    assert_eq!(form.text().await.unwrap(), "\"all\"");
    let text = client.get(server.url() + "/text").send().await.unwrap();
    assert_eq!((text.status().as_u16(), text.text().await.unwrap().as_str()), (202, "plain"));
    let log = server.log();
    assert_eq!(log[0].line(), "GET /pages/a%2Fb");
    assert_eq!(log[0].request.segments(), ["pages", "a/b"]);
    assert_eq!(log[0].request.raw_query, "q=x%20y&q=z");
    assert_eq!((log[0].request.query("q"), log[0].request.bearer()), (Some("x y"), Some("token")));
    assert_eq!(log.iter().map(|seen| seen.status).collect::<Vec<_>>(), [200, 200, 202]);
    assert_eq!(server.exchanges()[1].body, json!("all"));
    assert_eq!(server.count(|request| request.method == "POST"), 1);
    server.forget();
    assert_eq!(server.log().len(), 0);
}

#[tokio::test]
async fn each_hazard_looks_like_itself_and_ends() {
    let server = VendorServer::start(Counter::default());
    let client = client();
    let get = async || {
        let answer = client.get(server.url()).send().await.map_err(|_| "no answer")?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(|_| "half an answer")?;
        match serde_json::from_slice::<serde_json::Value>(&body) {
            Ok(_) => Ok(status),
            Err(_) if body.is_empty() => Ok(status),
            Err(_) => Err("no JSON"),
        }
    };
    for (hazard, expected) in [
        (Hazard::Throttle, Ok(429)),
        (Hazard::ServerError, Ok(503)),
        (Hazard::Refuse, Ok(401)),
        (Hazard::CutBeforeHeaders, Err("no answer")),
        (Hazard::CutInBody, Err("half an answer")),
        (Hazard::TruncatedJson, Err("no JSON")),
        (Hazard::NotJson, Err("no JSON")),
    ] {
        let armed = server.arm(hazard, When::nth(2));
        assert_eq!(get().await, Ok(200), "{hazard:?} came too early");
        assert_eq!(get().await, expected, "{hazard:?}");
        assert_eq!(get().await, Ok(200), "{hazard:?} stayed");
        assert_eq!(server.fired(armed), 1);
        assert_eq!(server.log()[1].hazard, Some(hazard));
        server.forget();
    }
    let armed = server.arm(Hazard::Refuse, When::from(1));
    assert_eq!((get().await, get().await), (Ok(401), Ok(401)));
    server.disarm();
    assert_eq!((get().await, server.fired(armed)), (Ok(200), 2));
}

#[tokio::test]
async fn a_stalled_request_hangs_alone_until_it_is_disarmed() {
    let server = VendorServer::start(Counter::default());
    let client = client();
    let stalls = |request: &Request| request.path == "/slow";
    server.arm(Hazard::Stall, When::matching(stalls));
    let slow = client.get(server.url() + "/slow").send();
    let others = async {
        while server.count(stalls) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(client.get(server.url()).send().await.unwrap().status(), 200);
        server.disarm();
    };
    let (slow, ()) = tokio::join!(slow, others);
    slow.unwrap_err();
}

#[tokio::test]
async fn the_world_changes_right_before_a_request() {
    let server = VendorServer::start(Counter::default());
    server.meanwhile(When::nth(2), |counter: &mut Counter| counter.0 = 100);
    for expected in ["{\"count\":1}", "{\"count\":101}", "{\"count\":102}"] {
        let answer = client().get(server.url()).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), expected);
    }
    assert_eq!(server.with(|counter| counter.0), 102);
}
