//! `[query.allow.NAME]` and `[query.tokens.NAME]`: who may do what.

use super::permission::{Permission, Permissions};
use crate::config::nearest::nearest;
use crate::config::{Account, Section, check_name};
use crate::secret::Secret;

/// What the one token of `query.token` is called in the audit trail.
const SOLE_TOKEN: &str = "query.token";

/// Who may do what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessConfig {
    /// Of those who may open the unix socket. `None`: all of them everything.
    pub peers: Option<Vec<PeerRule>>,
    /// Of those who come over TCP.
    pub tokens: Vec<TokenRule>,
}

/// What some users and groups of this machine may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRule {
    /// The key of its block: `query.allow.NAME`.
    pub name: String,
    pub users: Vec<u32>,
    pub groups: Vec<u32>,
    pub permissions: Permissions,
}

/// What whoever has a token may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRule {
    /// The key that names it: `query.token`, `query.tokens.NAME`.
    pub name: String,
    pub secret: Secret,
    pub permissions: Permissions,
}

impl AccessConfig {
    /// Reads `allow`, `token` and `tokens` of `[query]`; `None` when any of it
    /// has a mistake.
    pub fn read(section: &mut Section<'_>) -> Option<AccessConfig> {
        let peers = read_peers(section);
        let tokens = read_tokens(section);
        Some(AccessConfig { peers: peers?, tokens: tokens? })
    }
}

/// `Some(None)` when there are no such blocks.
fn read_peers(section: &mut Section<'_>) -> Option<Option<Vec<PeerRule>>> {
    if !section.has("allow") {
        return Some(None);
    }
    let blocks = blocks(section, "allow", "users = [\"…\"], permissions = [\"ask\"]");
    let rules: Vec<Option<PeerRule>> =
        blocks.into_iter().map(|(_, mut block)| read_peer(&mut block)).collect();
    let rules: Option<Vec<PeerRule>> = rules.into_iter().collect();
    // Without any rule at all the socket would be open, which nobody wrote.
    rules.filter(|rules| !rules.is_empty()).map(Some)
}

fn read_peer(block: &mut Section<'_>) -> Option<PeerRule> {
    let has_any = block.has("users") | block.has("groups");
    if !has_any {
        let hint = "name those who may: users = [\"…\"], groups = [\"…\"]".to_owned();
        block.missing("users", Some(hint));
    }
    let users = read_accounts(block, "users", Account::User);
    let groups = read_accounts(block, "groups", Account::Group);
    let permissions = read_permissions(block);
    has_any.then_some(())?;
    let name = format!("query.allow.{}", block.name());
    Some(PeerRule { name, users: users?, groups: groups?, permissions: permissions? })
}

fn read_accounts(block: &mut Section<'_>, key: &str, kind: Account) -> Option<Vec<u32>> {
    if !block.has(key) {
        return Some(Vec::new());
    }
    let names = block.texts_or_numbers(key)?;
    let ids: Vec<Option<u32>> = names
        .iter()
        .map(|name| {
            let id = kind.id(name);
            if id.is_none() {
                unknown_account(block, key, kind, name);
            }
            id
        })
        .collect();
    ids.into_iter().collect()
}

fn unknown_account(block: &mut Section<'_>, key: &str, kind: Account, name: &str) {
    let known = kind.names();
    let (word, path) = (kind.word(), kind.path());
    let hint = match nearest(name, known.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("names are looked up in {path}; of all others, give the number"),
    };
    block.error(key, format!("there is no {word} `{}`", name.escape_debug()), Some(hint));
}

fn read_permissions(block: &mut Section<'_>) -> Option<Permissions> {
    let words = Permission::ALL.map(Permission::word);
    let known = "the permissions are \"ask\", \"list\", \"watch\" and \"operate\"";
    if !block.has("permissions") {
        block.missing("permissions", Some(known.to_owned()));
        return None;
    }
    let given = block.texts("permissions")?;
    if given.is_empty() {
        block.error("permissions", "`permissions` is empty", Some(known.to_owned()));
        return None;
    }
    let mut found = Some(Permissions::NONE);
    for word in given {
        let one = Permission::ALL.into_iter().find(|one| one.word() == word);
        if one.is_none() {
            let meant = nearest(&word, words).map(|meant| format!("did you mean \"{meant}\"?"));
            let message = format!("there is no permission `{}`", word.escape_debug());
            block.error("permissions", message, meant.or_else(|| Some(known.to_owned())));
        }
        found = found.zip(one).map(|(found, one)| found.and(one.into()));
    }
    found
}

fn read_tokens(section: &mut Section<'_>) -> Option<Vec<TokenRule>> {
    let mut rules = Vec::new();
    if section.has("token") {
        let (name, permissions) = (SOLE_TOKEN.to_owned(), Permissions::ALL);
        let secret = section.secret("token");
        rules.push(secret.map(|secret| TokenRule { name, secret, permissions }));
    }
    if section.has("tokens") {
        let blocks = blocks(section, "tokens", "token = { file = \"…\" }, permissions = [\"ask\"]");
        if blocks.is_empty() {
            rules.push(None);
        }
        for (name, mut block) in blocks {
            let rule = read_token(&mut block, &name, &rules);
            rules.push(rule);
        }
    }
    rules.into_iter().collect()
}

fn read_token(
    block: &mut Section<'_>,
    name: &str,
    others: &[Option<TokenRule>],
) -> Option<TokenRule> {
    let secret = block.required_secret("token");
    let permissions = read_permissions(block);
    let secret = secret?;
    if let Some(twin) = others.iter().flatten().find(|other| other.secret == secret) {
        let hint = "give each a secret of its own: who asks is told by the token".to_owned();
        block.error("token", format!("it is the same token as `{}`", twin.name), Some(hint));
        return None;
    }
    Some(TokenRule { name: format!("query.tokens.{name}"), secret, permissions: permissions? })
}

/// The named blocks below `key`, each with a name that is one.
fn blocks<'a>(section: &mut Section<'a>, key: &str, example: &str) -> Vec<(String, Section<'a>)> {
    let Some(table) = section.section(key) else { return Vec::new() };
    let mut blocks = table.into_sections();
    if blocks.is_empty() {
        let hint = format!("write query.{key}.NAME = {{ {example} }}, or leave it out");
        section.error(key, format!("`{key}` has no blocks"), Some(hint));
    }
    for (_, block) in &mut blocks {
        check_name(block);
    }
    blocks
}
