//! Every route, over the small world.

use http::Request;
use serde_json::{Value, json};

use super::fixture::{World, world, world_of};
use crate::index::View;
use crate::sync::status::DirectoryStatus;

/// `-` for an answer without `member`.
async fn member(world: &World, query: &str) -> (u16, Value) {
    let (status, body) = world.get(&format!("/v1/check?{query}")).await;
    (status.as_u16(), body["member"].clone())
}

#[tokio::test]
async fn a_check_answers_by_id_name_and_email_through_nested_groups() {
    let world = world();
    for query in [
        "user=u1&group=g1",
        "user=u1&group=g2",
        "user=ADA%40example.org&group=corp%2Feng",
        "user=corp/ada&group=eng",
        "user=ada&group=core",
        "user=bob&group=core",
        "user=p1&group=eng",
        "user=u1&group=g1&socket=%2Frun%2Frosterd%2Fquery.sock",
    ] {
        assert_eq!(member(&world, query).await, (200, json!(true)), "{query}");
    }
    assert_eq!(member(&world, "user=u1&group=g3").await, (200, json!(false)));
    assert_eq!(member(&world, "user=eve&group=g1").await, (200, json!(false)));
}

#[tokio::test]
async fn a_check_says_where_it_comes_from_and_how_old_it_is() {
    let (_, body) = world().get("/v1/check?user=u1&group=g1").await;
    assert_eq!(body["seq"], 10);
    assert_eq!(body["directory"], "corp");
    assert!(body["as_of"].as_str().unwrap().ends_with('Z'));
    assert!(body["age_seconds"].as_u64().unwrap() >= 5);
    assert_eq!(body["user"], json!({ "id": "u1", "username": "ada", "active": true }));
    assert_eq!(body["group"], json!({ "id": "g1", "name": "eng" }));
}

#[tokio::test]
async fn unknown_ambiguous_and_apart_are_told_from_no() {
    let world = world();
    let problem = async |query: &str| {
        let (status, body) = world.get(&format!("/v1/check?{query}")).await;
        assert_eq!(body["status"], status.as_u16());
        assert_eq!(body["member"], Value::Null);
        (status.as_u16(), body)
    };
    assert_eq!(problem("user=nobody&group=g1").await.1["unknown"], "user");
    assert_eq!(problem("user=u1&group=nothing").await.1["unknown"], "group");
    let (status, body) = problem("user=partner/ada&group=corp/eng").await;
    assert_eq!((status, &body["unknown"]), (404, &json!("pair")));
    let (status, body) = problem("user=ada&group=eng").await;
    assert_eq!((status, &body["type"]), (409, &json!("urn:rosterd:ambiguous")));
    assert_eq!(body["candidates"].as_array().unwrap().len(), 2);
    // Two users of one directory with the same address.
    assert_eq!(problem("user=bob@example.org&group=g1").await.0, 409);
    assert_eq!(problem("user=u1").await.0, 400);
    assert_eq!(problem("user=u1&group=g1&usr=x").await.0, 400);
}

#[tokio::test]
async fn an_id_wins_over_a_name_that_somebody_took() {
    let world = world_of(View::new(
        [crate::index::DirectoryView::empty("corp", "t", "p")
            .apply(
                &[
                    super::fixture::user(0, "u1", "ada", "ada@x"),
                    super::fixture::user(1, "u2", "u1", "ada@x"),
                    super::fixture::group(0, "g", "g"),
                    super::fixture::edges(0, crate::model::Layer::Listed, &[0]),
                ],
                1,
            )
            .unwrap()],
        4,
    ));
    world.confirm("corp", 0);
    assert_eq!(member(&world, "user=u1&group=g").await, (200, json!(true)));
    assert_eq!(member(&world, "user=ada@x&group=g").await.0, 409);
}

#[tokio::test]
async fn what_was_never_synced_or_is_too_old_is_stale_not_no() {
    let world = world();
    world.confirm("corp", 600);
    assert_eq!(member(&world, "user=u1&group=g1&max_age=5m").await, (503, Value::Null));
    assert_eq!(member(&world, "user=u1&group=g1&max_age=15m").await, (200, json!(true)));
    // Somebody unknown might be in the stale directory.
    assert_eq!(member(&world, "user=nobody&group=g1&max_age=5m").await.0, 503);
    assert_eq!(member(&world, "user=partner/nobody&group=g1&max_age=5m").await.0, 404);
    world.sources.statuses.insert(DirectoryStatus::new("new", "t", "p"));
    let (status, body) = world.get("/v1/check?user=nobody&group=g1").await;
    assert_eq!((status.as_u16(), &body["title"]), (503, &json!("stale")));
    assert_eq!(member(&world, "user=u1&group=g1").await.0, 200);
}

#[tokio::test]
async fn a_batch_answers_each_in_its_place() {
    let world = world();
    let body = r#"{"checks": [{"user": "u1", "group": "g1"}, {"user": "u1", "group": "g3"},
        {"user": "nobody", "group": "g1"}]}"#;
    let (status, _, answer) = world.send(Request::post("/v1/check"), body).await;
    assert_eq!(status, 200);
    assert_eq!(answer["total"], 3);
    assert_eq!(answer["checks"][0]["member"], true);
    assert_eq!(answer["checks"][1]["member"], false);
    assert_eq!(answer["checks"][2]["member"], Value::Null);
    assert_eq!(answer["checks"][2]["problem"]["status"], 404);
    assert!(answer["directories"]["corp"]["age_seconds"].is_u64());
    let list = r#"[{"user": "u1", "group": "g1"}]"#;
    let (_, _, answer) = world.send(Request::post("/v1/check"), list).await;
    assert_eq!(answer["checks"][0]["member"], true);
    for wrong in ["", "{}", "[{}]", r#"{"checks": [], "x": 1}"#] {
        assert_eq!(world.send(Request::post("/v1/check"), wrong).await.0, 400, "{wrong}");
    }
    let long = " ".repeat((1 << 20) + 1);
    assert_eq!(world.send(Request::post("/v1/check"), &long).await.0, 413);
}

#[tokio::test]
async fn the_past_is_answered_from_the_history() {
    let world = world();
    let at = "at=1970-01-01T00:00:03Z";
    assert_eq!(member(&world, &format!("user=u1&group=g3&{at}")).await, (200, json!(true)));
    assert_eq!(member(&world, &format!("user=u1&group=g1&{at}")).await, (200, json!(false)));
    let (_, body) = world.get(&format!("/v1/check?user=u1&group=g3&{at}")).await;
    assert_eq!((&body["at_seq"], &body["seq"]), (&json!(3), &json!(10)));
    let before = "at=1970-01-01T00:00:01Z";
    assert_eq!(member(&world, &format!("user=u1&group=g3&{before}")).await.0, 410);
    assert_eq!(member(&world, "user=u1&group=g3&at=2999-01-01T00:00:00Z").await.0, 400);
    let (_, body) = world.get(&format!("/v1/groups/g3/members?{at}")).await;
    assert_eq!(
        body["members"][0],
        json!({ "kind": "user", "id": "u1", "username": "old0", "active": false })
    );
    let (_, body) = world.get(&format!("/v1/users/u1/groups?{at}&nested=true")).await;
    assert_eq!(body["groups"], json!([{ "id": "g3", "name": "old2" }]));
}

#[tokio::test]
async fn why_names_the_path() {
    let (status, body) = world().get("/v1/why?user=u1&group=g1").await;
    assert_eq!(status, 200);
    assert_eq!(body["member"], true);
    assert_eq!(
        body["paths"],
        json!([[{ "id": "g2", "name": "core" }, { "id": "g1", "name": "eng" }]])
    );
    let (_, body) = world().get("/v1/why?user=u1&group=g3").await;
    assert_eq!((&body["member"], &body["paths"]), (&json!(false), &json!([])));
}

#[tokio::test]
async fn s2_the_total_is_the_true_total_on_every_page() {
    let world = world();
    let mut seen = Vec::new();
    let mut uri = "/v1/users?limit=1".to_owned();
    loop {
        let (status, body) = world.get(&uri).await;
        assert_eq!((status.as_u16(), &body["total"]), (200, &json!(4)));
        let user = &body["users"][0];
        seen.push(format!(
            "{}/{}",
            user["directory"].as_str().unwrap(),
            user["id"].as_str().unwrap()
        ));
        match body["next_cursor"].as_str() {
            Some(cursor) => uri = format!("/v1/users?limit=1&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, ["corp/u1", "corp/u2", "corp/cn=Eve/x,dc=example", "partner/p1"]);
    let (_, body) = world.get("/v1/groups?directory=partner").await;
    assert_eq!((&body["total"], &body["groups"][0]["id"]), (&json!(1), &json!("pg1")));
    assert_eq!(world.get("/v1/users?directory=nowhere").await.0, 404);
    assert_eq!(world.get("/v1/users?cursor=xyz").await.0, 400);
    assert_eq!(world.get("/v1/users?limit=1001").await.0, 400);
}

#[tokio::test]
async fn members_page_through_users_and_groups() {
    let world = world();
    let (_, body) = world.get("/v1/groups/g1/members?limit=1").await;
    assert_eq!(body["total"], 2);
    assert_eq!(body["members"][0]["id"], "u2");
    assert_eq!(body["members"][0]["kind"], "user");
    let cursor = body["next_cursor"].as_str().unwrap();
    let (_, body) = world.get(&format!("/v1/groups/g1/members?limit=1&cursor={cursor}")).await;
    assert_eq!(
        (&body["members"][0]["id"], &body["members"][0]["kind"]),
        (&json!("g2"), &json!("group"))
    );
    assert_eq!(body["next_cursor"], Value::Null);
    let (_, body) = world.get("/v1/groups/g1/members?nested=true").await;
    assert_eq!(body["total"], 3);
    let (_, body) = world.get("/v1/users/u2/groups?nested=true").await;
    assert_eq!(body["total"], 2);
    let (_, body) = world.get("/v1/users/u2/groups").await;
    assert_eq!((&body["total"], &body["groups"][0]["name"]), (&json!(1), &json!("eng")));
    assert_eq!(body["directory"], "corp");
}

#[tokio::test]
async fn ids_with_slashes_go_percent_encoded() {
    let world = world();
    let (status, body) = world.get("/v1/users/cn%3DEve%2Fx%2Cdc%3Dexample").await;
    assert_eq!((status.as_u16(), &body["user"]["username"]), (200, &json!("eve")));
    let (status, body) = world.get("/v1/users/corp%2Fcn=Eve%2Fx,dc=example").await;
    assert_eq!((status.as_u16(), &body["directory"]), (200, &json!("corp")));
    assert_eq!(world.get("/v1/groups/partner%2Feng").await.1["group"]["id"], "pg1");
    assert_eq!(world.get("/v1/users/%ff").await.0, 400);
    let (status, body) = world.get("/v1/users/corp/ada").await;
    assert_eq!((status.as_u16(), &body["title"]), (404, &json!("not-found")));
}

#[tokio::test]
async fn errors_are_problems_with_their_headers() {
    let world = world();
    let (status, headers, body) = world.send(Request::delete("/v1/users"), "").await;
    assert_eq!(status, 405);
    assert_eq!(headers["allow"], "GET,HEAD");
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!(body["title"], "method-not-allowed");
    for path in ["/", "/v2/users", "/v1/opa/bundle", "/v1/cedar", "/v1/pomerium/"] {
        let (status, headers, body) = world.send(Request::get(path), "").await;
        assert_eq!((status.as_u16(), &body["status"]), (404, &json!(404)), "{path}");
        assert_eq!(headers["content-type"], "application/problem+json");
    }
}

#[tokio::test]
async fn directories_show_their_state() {
    let world = world();
    let (_, body) = world.get("/v1/directories").await;
    assert_eq!(body["total"], 2);
    assert_eq!(body["directories"][0]["name"], "corp");
    assert_eq!(body["directories"][0]["state"], "healthy");
    assert_eq!(body["directories"][0]["users"], 3);
    assert_eq!(body["directories"][0]["memberships"], 4);
    world.sources.statuses.update("corp", |status| {
        status.consecutive_failures = 2;
        status.last_error = Some("cannot reach it".into());
    });
    let (_, body) = world.get("/v1/directories/corp").await;
    assert_eq!(
        (&body["state"], &body["last_error"]),
        (&json!("failing"), &json!("cannot reach it"))
    );
    assert_eq!(body["seq"], 10);
    assert_eq!(world.get("/v1/directories/nowhere").await.0, 404);
}

#[tokio::test]
async fn operators_are_heard() {
    let world = world();
    let post = async |path: &str| world.send(Request::post(path), "").await.0.as_u16();
    assert_eq!(post("/v1/directories/corp/sync").await, 202);
    assert_eq!(post("/v1/directories/nowhere/sync").await, 404);
    assert_eq!(post("/v1/directories/corp/sync?now=1").await, 400);
    assert_eq!(post("/v1/directories/corp/hold/h1/approve").await, 200);
    assert_eq!(post("/v1/directories/corp/hold/h0/approve").await, 409);
    assert_eq!(post("/v1/directories/corp/hold/h1/reject").await, 200);
    let (_, body) = world.get("/v1/directories/corp/hold").await;
    assert_eq!(body["hold"]["counts"]["users_deleted"], 7);
    assert_eq!(body["hold"]["removals"], json!({"users": 7, "groups": 0, "memberships": 0}));
    let row = json!({"held": true, "text": "deletes user ada (u1)"});
    assert_eq!((&body["changes"], &body["total"]), (&json!([row]), &json!(1)));
    let (_, _, plan) = world.send(Request::post("/v1/directories/corp/plan"), "").await;
    assert_eq!((&plan["counts"]["users_created"], &plan["held"]), (&json!(2), &Value::Null));
    assert_eq!(plan["changes"][0]["text"], "creates user bob (u2)");
    assert_eq!(post("/v1/directories/partner/plan").await, 502);
    assert_eq!(world.get("/v1/directories/partner/hold").await.1["title"], "nothing-held");
    let heard = world.operator.0.lock().unwrap().clone();
    assert_eq!(heard, ["sync corp", "approve corp h1", "reject corp h1"]);
}

#[tokio::test]
async fn a_plan_is_read_page_by_page() {
    let world = world();
    let path = "/v1/directories/corp/plan?limit=1";
    let post = async |path: String| world.send(Request::post(path), "").await;
    let (_, _, first) = post(path.to_owned()).await;
    let cursor = first["next_cursor"].as_str().unwrap().to_owned();
    let (_, _, second) = post(format!("{path}&cursor={cursor}")).await;
    assert_eq!(second["changes"][0]["text"], "creates user cy (u3)");
    assert_eq!((&second["total"], &second["next_cursor"]), (&json!(2), &Value::Null));
    let (_, hold) = world.get(&format!("/v1/directories/corp/hold?cursor={cursor}")).await;
    assert_eq!(hold["status"], 400, "a cursor of another list: {hold}");
}

#[tokio::test]
async fn s7_it_is_ready_when_every_directory_was_read_or_restored() {
    let world = world();
    assert_eq!(world.get("/readyz").await.0, 200);
    assert_eq!(world.get("/healthz").await.0, 200);
    world.sources.statuses.insert(DirectoryStatus::new("new", "t", "p"));
    let (status, body) = world.get("/readyz").await;
    assert_eq!((status.as_u16(), &body["directories"]), (503, &json!(["new"])));
}

#[tokio::test]
async fn metrics_are_in_the_exposition_format() {
    let world = world();
    let (status, headers, body) = world.send(Request::get("/metrics"), "").await;
    assert_eq!(status, 200);
    assert!(headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = body.as_str().unwrap();
    for line in [
        "rosterd_seq 10\n",
        "rosterd_users{directory=\"corp\"} 3\n",
        "rosterd_directory_failures_in_a_row{directory=\"corp\"} 0\n",
        "rosterd_crawls_total{directory=\"partner\",end=\"sealed\"} 0\n",
        "rosterd_webhook_backlog_events{webhook=\"audit\"} 3\n",
        "rosterd_webhook_disabled{webhook=\"audit\"} 1\n",
        "rosterd_webhook_deliveries_total{webhook=\"audit\"} 2\n",
        "rosterd_webhook_failures_total{webhook=\"audit\"} 0\n",
        "rosterd_webhook_lost_events_total{webhook=\"audit\"} 0\n",
        "rosterd_webhook_latency_seconds_sum{webhook=\"audit\"} 1.5\n",
        "rosterd_webhook_latency_seconds_count{webhook=\"audit\"} 2\n",
        "rosterd_webhook_latency_seconds_bucket{le=\"0.01\",webhook=\"audit\"} 1\n",
        "rosterd_webhook_latency_seconds_bucket{le=\"5.0\",webhook=\"audit\"} 2\n",
        "rosterd_webhook_latency_seconds_bucket{le=\"+Inf\",webhook=\"audit\"} 2\n",
        "rosterd_connections_open 0\n",
        "# EOF\n",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn a_snapshot_is_whole_or_has_no_end() {
    let (status, headers, body) = world().send(Request::get("/v1/snapshot"), "").await;
    assert_eq!(status, 200);
    assert_eq!(headers["content-type"], "application/x-ndjson");
    let lines: Vec<Value> =
        body.as_str().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let types: Vec<&str> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    let memberships = ["membership"; 4];
    let corp = ["user", "user", "user", "group", "group", "group"];
    let partner = ["user", "group", "membership"];
    assert_eq!(types, [&["start"][..], &corp, &memberships, &partner, &["end"]].concat());
    assert_eq!(lines[0]["seq"], 10);
    assert!(lines[0]["directories"]["corp"]["as_of"].is_string());
    assert_eq!(
        lines[7],
        json!({ "type": "membership", "directory": "corp", "group": "g1", "member": { "kind": "user", "id": "u2" } })
    );
    assert_eq!(lines.last().unwrap(), &json!({ "type": "end", "seq": 10, "count": 13 }));
}

#[tokio::test]
async fn a_snapshot_of_many_chunks_leaves_nothing_out() {
    use super::fixture::{edges, group, user};
    let mut changes: Vec<_> =
        (0..3000).map(|n| user(n, &format!("u{n}"), &format!("n{n}"), "x@x")).collect();
    changes.extend((0..20).map(|n| group(n, &format!("g{n}"), "g")));
    let all: Vec<u32> = (0..3000).collect();
    changes.push(edges(3, crate::model::Layer::Listed, &all));
    changes.push(edges(5, crate::model::Layer::Listed, &all[..7]));
    let view = crate::index::DirectoryView::empty("corp", "t", "p").apply(&changes, 1).unwrap();
    let world = world_of(View::new([view], 6027));
    world.confirm("corp", 1);
    let (_, _, body) = world.send(Request::get("/v1/snapshot"), "").await;
    let lines: std::collections::BTreeSet<&str> = body.as_str().unwrap().lines().collect();
    assert_eq!(lines.len(), 2 + 3000 + 20 + 3007);
    assert!(body.as_str().unwrap().ends_with("\"count\":6027}\n"));
}
