//! The stub's REST half.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};

use super::world::{Org, Person, Team, World};
use crate::harness::vendor::{Body, Request, Response};

pub fn answer(world: &mut World, path: &str, request: &Request) -> Response {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments.as_slice() {
        ["orgs", org, rest @ ..] => match world.org_index(org) {
            Some(at) => of_organization(world, at, rest, request),
            None => not_found(),
        },
        ["user"] => {
            let caller = world.people.values().next().unwrap();
            Response::json(user(request, caller, world))
        }
        ["user", "memberships", "orgs", org] => match world.org_index(org) {
            Some(_) if world.caller_is_member && world.hazard != Some("non-member") => {
                let role = if world.caller_is_owner { "admin" } else { "member" };
                Response::json(json!({ "state": "active", "role": role }))
            }
            _ => not_found(),
        },
        _ => not_found(),
    }
}

/// With a tag of the credential and of the body, and of nothing else: it says
/// nothing of the links. 304 for a tag that is still right.
///
/// GitHub never serves fewer than a hundred when so many are asked for; where
/// smaller pages stand for those, links must count, since a full page is not
/// to be known by its length.
pub fn tagged(world: &World, response: Response, request: &Request) -> Response {
    let Body::Json(body) = &response.body else { return response };
    if request.method != "GET" || response.status != 200 {
        return response;
    }
    let mut hasher = DefaultHasher::new();
    (request.header("authorization"), body.to_string()).hash(&mut hasher);
    if world.page < 100 {
        response.headers.hash(&mut hasher);
    }
    let tag = format!("W/\"{:016x}\"", hasher.finish());
    if request.header("if-none-match") == Some(&tag) {
        return Response::new(304).header("etag", tag);
    }
    response.header("etag", tag)
}

fn of_organization(world: &mut World, at: usize, rest: &[&str], request: &Request) -> Response {
    let org = world.orgs[at].clone();
    let is_owner = world.caller_is_owner || world.app.is_some();
    match rest {
        [] => Response::json(organization(request, &org)),
        ["members"] => {
            let sees_all = world.sees_all();
            let owners_only = request.query("role") == Some("admin");
            let all: Vec<Value> = org
                .members
                .iter()
                .filter(|(id, admin)| {
                    (sees_all || org.public.contains(id)) && (**admin || !owners_only)
                })
                .map(|(id, _)| user(request, &world.people[id], world))
                .collect();
            paged(world, request, all)
        }
        ["memberships", _] if !world.sees_all() => not_found(),
        ["memberships", login] => {
            let person = world.people.values().find(|one| one.login == *login);
            match person.and_then(|one| Some((one, org.members.get(&one.id)?))) {
                Some((person, admin)) => Response::json(json!({
                    "url": "https://api.github.com/x", "state": "active",
                    "role": if *admin { "admin" } else { "member" },
                    "organization_url": "https://api.github.com/orgs/x",
                    "organization": organization_simple(request, &org),
                    "user": user(request, person, world),
                })),
                None => not_found(),
            }
        }
        ["teams"] => {
            let all = org.teams.values().map(|one| team(request, &org, one)).collect();
            paged(world, request, all)
        }
        ["teams", slug, "members"] => match org.teams.values().find(|one| one.slug == *slug) {
            Some(one)
                if world.hazard == Some("forbidden team")
                    && org.teams.keys().next() == Some(&one.id) =>
            {
                Response::error(403, json!({ "message": "Resource not accessible by integration" }))
            }
            Some(one) => {
                let mut all = Vec::new();
                for (id, (role, inherited)) in with_inherited(&org, one) {
                    let mut entry = user(request, &world.people[&id], world);
                    if world.tells_inherited {
                        entry["role"] = json!(role);
                        entry["inherited"] = json!(inherited);
                    }
                    all.push(entry);
                }
                paged(world, request, all)
            }
            None => not_found(),
        },
        ["outside_collaborators"] if is_owner => {
            let all =
                org.outside.iter().map(|id| user(request, &world.people[id], world)).collect();
            paged(world, request, all)
        }
        ["invitations"] if is_owner => {
            let boss = world.people.values().next().unwrap();
            let inviter = user(request, boss, world);
            let all = org
                .invitations
                .iter()
                .map(|(id, login, email)| {
                    json!({ "id": id, "node_id": format!("OI_{id}"), "login": login, "email": email,
                        "role": "direct_member", "created_at": "2026-01-01T00:00:00Z",
                        "inviter": inviter, "team_count": 0,
                        "invitation_teams_url": "https://api.github.com/x" })
                })
                .collect();
            paged(world, request, all)
        }
        ["audit-log"] => match &org.log {
            Some(log) if is_owner => {
                let from =
                    request.query("phrase").and_then(|phrase| phrase.strip_prefix("created:>="));
                let from = from.map_or(0, |text| rosterd::clock::Timestamp::parse(text).unwrap().0);
                let recent =
                    log.iter().filter(|entry| entry["@timestamp"].as_u64().unwrap() >= from);
                paged(world, request, recent.cloned().collect())
            }
            _ => not_found(),
        },
        _ => not_found(),
    }
}

/// Everybody in the team or below it: the role, and whether it comes from below.
fn with_inherited(org: &Org, team: &Team) -> BTreeMap<u64, (&'static str, bool)> {
    let mut all = BTreeMap::new();
    for child in org.teams.values().filter(|child| child.parent == Some(team.id)) {
        for id in with_inherited(org, child).into_keys() {
            all.insert(id, ("member", true));
        }
    }
    for (id, maintains) in &team.members {
        all.insert(*id, (if *maintains { "maintainer" } else { "member" }, false));
    }
    all
}

/// GitHub writes all links in one line, with all relations.
fn paged(world: &World, request: &Request, all: Vec<Value>) -> Response {
    let number = |name| request.query(name).and_then(|text| text.parse::<usize>().ok());
    let size = number("per_page").unwrap_or(30).min(100).min(world.page);
    let (page, last) = (number("page").unwrap_or(1), all.len().div_ceil(size).max(1));
    let entries: Vec<Value> = all.into_iter().skip((page - 1) * size).take(size).collect();
    let link = |rel: &str, to: usize| {
        format!("<{}>; rel=\"{rel}\"", request.link(&[("page", &to.to_string())]))
    };
    let mut links = Vec::new();
    if page > 1 {
        links.extend([link("prev", page - 1), link("first", 1)]);
    }
    let loses_next = world.hazard == Some("no next page") && size > 1;
    if page < last && !loses_next {
        links.extend([link("next", page + 1), link("last", last)]);
    }
    let response = Response::json(json!(entries));
    if links.is_empty() { response } else { response.header("link", links.join(", ")) }
}

fn not_found() -> Response {
    Response::error(
        404,
        json!({ "message": "Not Found", "documentation_url": "https://docs.github.com/rest", "status": "404" }),
    )
}

pub fn user(request: &Request, person: &Person, world: &World) -> Value {
    let Person { id, login, .. } = person;
    let at = |path: &str| format!("{}/users/{login}{path}", request.base);
    let mut entry = json!({
        "id": id, "node_id": format!("U_{id}"), "login": login, "gravatar_id": "", "type": "User",
        "site_admin": false, "avatar_url": at("/avatar"), "url": at(""), "html_url": at("/html"),
        "followers_url": at("/followers"), "following_url": at("/following{/other_user}"),
        "gists_url": at("/gists{/gist_id}"), "starred_url": at("/starred{/owner}{/repo}"),
        "subscriptions_url": at("/subscriptions"), "organizations_url": at("/orgs"),
        "repos_url": at("/repos"), "events_url": at("/events{/privacy}"),
        "received_events_url": at("/received_events"),
    });
    if world.hazard == Some("malformed user") && *id == world.victim() {
        entry["login"] = json!(7);
    }
    entry
}

fn organization_simple(request: &Request, org: &Org) -> Value {
    let at = |path: &str| format!("{}/orgs/{}{path}", request.base, org.login);
    json!({
        "id": org.id, "login": org.login, "node_id": format!("O_{}", org.id), "url": at(""),
        "repos_url": at("/repos"), "events_url": at("/events"), "hooks_url": at("/hooks"),
        "issues_url": at("/issues"), "members_url": at("/members{/member}"),
        "public_members_url": at("/public_members{/member}"), "avatar_url": at("/avatar"),
        "description": null,
    })
}

fn organization(request: &Request, org: &Org) -> Value {
    let mut whole = organization_simple(request, org);
    for (key, value) in [
        ("name", json!(org.name)),
        ("has_organization_projects", json!(true)),
        ("has_repository_projects", json!(true)),
        ("public_repos", json!(0)),
        ("public_gists", json!(0)),
        ("followers", json!(0)),
        ("following", json!(0)),
        ("html_url", json!("https://github.com/x")),
        ("type", json!("Organization")),
        ("created_at", json!("2026-01-01T00:00:00Z")),
        ("updated_at", json!("2026-01-01T00:00:00Z")),
        ("archived_at", Value::Null),
    ] {
        whole[key] = value;
    }
    if org.name.is_none() {
        whole.as_object_mut().unwrap().remove("name");
    }
    whole
}

fn team(request: &Request, org: &Org, one: &Team) -> Value {
    let mut entry = team_simple(request, org, one);
    let parent = one.parent.map(|id| team_simple(request, org, &org.teams[&id]));
    entry["parent"] = json!(parent);
    entry
}

fn team_simple(request: &Request, org: &Org, one: &Team) -> Value {
    let at =
        |path: &str| format!("{}/organizations/{}/team/{}{path}", request.base, org.id, one.id);
    json!({
        "id": one.id, "node_id": format!("T_{}", one.id), "slug": one.slug, "name": one.name,
        "description": one.description, "privacy": if one.secret { "secret" } else { "closed" },
        "permission": "pull", "notification_setting": "notifications_enabled", "url": at(""),
        "html_url": at("/html"), "members_url": at("/members{/member}"),
        "repositories_url": at("/repos"), "type": "organization", "organization_id": org.id,
    })
}
