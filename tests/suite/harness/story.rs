//! Events in one short line each, to compare what was told with what happened.

use serde_json::Value;

/// Each event as `user.updated ada` or `group.user_added crew ada`, sorted:
/// within one commit the order among equals is free.
pub fn story(events: &[Value]) -> Vec<String> {
    let mut lines: Vec<String> = events.iter().map(line).collect();
    lines.sort();
    lines
}

fn line(event: &Value) -> String {
    let (kind, data) = (event["type"].as_str().unwrap_or_default(), &event["data"]);
    let mut words = vec![kind.to_owned()];
    words.extend(["group", "user", "member"].iter().filter_map(|field| {
        let object = &data[field];
        object["username"].as_str().or(object["name"].as_str()).map(str::to_owned)
    }));
    words.join(" ")
}

/// Panics unless the events tell exactly this, in any order.
#[track_caller]
pub fn assert_story(events: &[Value], expected: &[&str]) {
    let mut expected: Vec<String> = expected.iter().map(|&line| line.to_owned()).collect();
    expected.sort();
    assert_eq!(story(events), expected, "{events:#?}");
}
