//! Token requests against a server that answers as told.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;

use super::*;
use crate::clock::Duration;
use crate::provider::Patience;
use crate::provider::http::HttpConfig;
use crate::provider::http::config::Proxy;
use crate::task::{self, Task};

type Seen = Arc<Mutex<Vec<(HeaderMap, String)>>>;

struct Server {
    url: Url,
    seen: Seen,
    _serving: Task<()>,
}

async fn serve(status: u16, body: &'static str) -> Server {
    let seen = Seen::default();
    let answer = move |State(seen): State<Seen>, headers: HeaderMap, body_in: String| async move {
        seen.lock().unwrap().push((headers, body_in));
        let headers = [("content-type", "application/json"), ("dpop-nonce", "fresh")];
        (StatusCode::from_u16(status).unwrap(), headers, body).into_response()
    };
    let app = Router::new().fallback(answer).with_state(Arc::clone(&seen));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap()).parse().unwrap();
    let serving = task::spawn("tokens", async { axum::serve(listener, app).await.unwrap() });
    Server { url, seen, _serving: serving }
}

async fn ask(
    server: &Server,
    proof: ClientProof<'_>,
    headers: &[(&'static str, String)],
) -> Result<Granted, OauthError> {
    let config = HttpConfig { proxy: Proxy::Direct, ..HttpConfig::default() };
    let patience = Patience {
        request_timeout: Duration::from_secs(20),
        stall_timeout: Duration::from_secs(20),
    };
    let transport = Transport::new(&config, &server.url, patience);
    client_credentials(&transport, &server.url, "me", proof, &["a b", "c"], headers).await
}

fn form(server: &Server) -> Vec<(String, String)> {
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen.len(), 1);
    url::form_urlencoded::parse(seen[0].1.as_bytes()).into_owned().collect()
}

fn has(form: &[(String, String)], name: &str, value: &str) -> bool {
    form.iter().any(|(n, v)| n == name && v == value)
}

fn secret() -> Secret {
    Secret::new("hun+ter 2&".to_owned())
}

#[tokio::test]
async fn a_secret_buys_a_token() {
    let server = serve(200, r#"{"access_token":"T0","token_type":"bEARER","expires_in":60}"#).await;
    let granted = ask(&server, ClientProof::Secret(&secret()), &[]).await.ok().unwrap();
    assert_eq!(granted.token.value.expose(), "T0");
    assert_eq!(granted.token.expires_in, Some(Duration::from_secs(60)));
    assert_eq!(granted.token_type, "Bearer");
    assert!(granted.answer.body.is_empty());
    let form = form(&server);
    assert!(has(&form, "grant_type", "client_credentials"));
    assert!(has(&form, "client_id", "me") && has(&form, "client_secret", "hun+ter 2&"));
    assert!(has(&form, "scope", "a b c"));
}

#[tokio::test]
async fn an_assertion_stands_for_the_secret_and_headers_go_along() {
    let server = serve(200, r#"{"access_token":"T0","token_type":"DPoP"}"#).await;
    let headers = [("dpop", "proof".to_owned())];
    let granted = ask(&server, ClientProof::Assertion("a.b.c"), &headers).await.ok().unwrap();
    assert_eq!((granted.token_type.as_str(), granted.token.expires_in), ("DPoP", None));
    let form = form(&server);
    assert!(has(&form, "client_assertion", "a.b.c") && has(&form, "client_id", "me"));
    assert!(has(&form, "client_assertion_type", ASSERTION_TYPE));
    assert!(!form.iter().any(|(name, _)| name == "client_secret"));
    assert_eq!(server.seen.lock().unwrap()[0].0["dpop"], "proof");
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_headers() {
    let body = r#"{"error":"use_dpop_nonce","error_description":"again\r\nTrace ID: 1"}"#;
    let server = serve(400, body).await;
    let refused = ask(&server, ClientProof::Assertion("a.b.c"), &[]).await.err().unwrap();
    let OauthError::Refused { error, description, answer } = refused else { panic!() };
    assert_eq!((error.as_str(), description.as_deref()), ("use_dpop_nonce", Some("again")));
    assert_eq!(answer.header("dpop-nonce"), Some("fresh"));
}

#[tokio::test]
async fn a_refused_client_is_unauthorized() {
    let server = serve(401, r#"{"error":"invalid_client"}"#).await;
    let refused = ask(&server, ClientProof::Secret(&secret()), &[]).await.err().unwrap();
    let error = PullError::from(refused);
    assert!(matches!(&error, PullError::Unauthorized { reason, .. } if reason == "invalid_client"));
}

#[tokio::test]
async fn an_answer_of_another_shape_is_incomplete_and_not_shown() {
    for body in [
        r#"{"access_token":"hidden"}"#,
        r#"{"access_token":"hidden","token_type":"mac"}"#,
        r#"{"access_token":["hidden"],"token_type":"Bearer"}"#,
        r#"{"access_token":"","token_type":"Bearer"}"#,
        r#"hidden"#,
    ] {
        let server = serve(200, body).await;
        let error = ask(&server, ClientProof::Secret(&secret()), &[]).await.err().unwrap();
        assert!(!format!("{error:?}").contains("hidden"), "{error:?}");
        assert!(matches!(error, OauthError::Pull(PullError::Incomplete { .. })), "{body}");
    }
}

#[tokio::test]
async fn an_assertion_is_never_sent_twice() {
    let server = serve(503, "").await;
    let error = ask(&server, ClientProof::Assertion("a.b.c"), &[]).await.err().unwrap();
    assert!(matches!(error, OauthError::Pull(PullError::Unreachable { .. })), "{error:?}");
    assert_eq!(server.seen.lock().unwrap().len(), 1);
}
