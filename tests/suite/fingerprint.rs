//! Whatever alters what can be seen is in a provider's fingerprint, and nothing
//! else is: another account, another filter; not another password, not a proxy.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use rosterd::config::section;
use rosterd::provider::registry;
use serde_json::json;

use crate::harness::process::run;
use crate::harness::write_private;

/// Settings by key, as TOML.
type Block = BTreeMap<String, String>;

/// One provider: a block, what is another directory, and what is the same one.
struct Case {
    kind: &'static str,
    block: &'static [(&'static str, &'static str)],
    /// Keys with another value each; empty: without the key.
    others: &'static [&'static [(&'static str, &'static str)]],
    same: &'static [&'static [(&'static str, &'static str)]],
}

const SECRET: &str = "{ file = \"secret\" }";
const OTHER_SECRET: &str = "{ file = \"other-secret\" }";
const KEY: &str = "{ file = \"key.pem\" }";
const OTHER_KEY: &str = "{ file = \"other-key.pem\" }";
const PROXY: &[(&str, &str)] = &[("proxy", "\"http://127.0.0.1:3128\"")];
const QUOTA: &[(&str, &str)] = &[("quota_share", "0.25")];

const CASES: &[Case] = &[
    Case {
        kind: "bundle",
        block: &[("path", "\"here.json\"")],
        others: &[&[("path", "\"there.json\"")], &[("keep_raw", "true")]],
        same: &[&[("size_max", "\"1GiB\"")]],
    },
    Case {
        kind: "ldap",
        block: &[
            ("url", "\"ldaps://ldap.example.org\""),
            ("base", "\"dc=example,dc=org\""),
            ("bind_dn", "\"cn=reader,dc=example,dc=org\""),
            ("bind_password", SECRET),
            ("schema", "\"rfc2307bis\""),
        ],
        others: &[
            &[("url", "\"ldaps://other.example.org\"")],
            &[("base", "\"dc=example,dc=com\"")],
            &[("bind_dn", "\"cn=other,dc=example,dc=org\"")],
            &[("bind_dn", ""), ("bind_password", "")],
            &[("schema", "\"ad\"")],
            &[("users_filter", "\"(uid=a*)\"")],
            &[("groups_base", "\"ou=groups,dc=example,dc=org\"")],
            &[("attributes", "[\"employeeType\"]")],
            &[("incremental", "\"off\"")],
            &[("keep_raw", "true")],
        ],
        same: &[&[("bind_password", OTHER_SECRET)], &[("page_size", "50")]],
    },
    Case {
        kind: "entra",
        block: &[
            ("tenant_id", "\"contoso.com\""),
            ("client_id", "\"0f8fad5b-d9cb-469f-a165-70867728950e\""),
            ("client_secret", SECRET),
        ],
        others: &[
            &[("tenant_id", "\"fabrikam.com\"")],
            &[("client_id", "\"7c9e6679-7425-40de-944b-e07fc1f90ae7\"")],
            &[("graph", "\"https://graph.microsoft.us\"")],
            &[("guests", "false")],
            &[("attributes", "[\"companyName\"]")],
            &[("incremental", "\"off\"")],
            &[("keep_raw", "true")],
        ],
        same: &[&[("client_secret", OTHER_SECRET)], PROXY, QUOTA],
    },
    Case {
        kind: "google",
        block: &[("impersonate", "\"admin@example.org\""), ("key", "{ file = \"key.json\" }")],
        others: &[
            &[("impersonate", "\"other@example.org\"")],
            &[("key", "{ file = \"other-account.json\" }")],
            &[("customer", "\"C01234567\"")],
            &[("domains", "[\"example.org\"]")],
            &[("external_members", "false")],
            &[("custom_schemas", "[\"HR\"]")],
            &[("incremental", "\"off\"")],
            &[("keep_raw", "true")],
        ],
        same: &[&[("key", "{ file = \"other-key.json\" }")], PROXY, QUOTA],
    },
    Case {
        kind: "okta",
        block: &[("url", "\"https://acme.okta.com\""), ("token", SECRET)],
        others: &[
            &[("url", "\"https://other.okta.com\"")],
            // Only the token says whose it is.
            &[("token", OTHER_SECRET)],
            &[("token", ""), ("client_id", "\"0oa1\""), ("private_key", KEY)],
            &[("active_statuses", "[\"ACTIVE\"]")],
            &[("group_types", "[\"OKTA_GROUP\"]")],
            &[("attributes", "[\"costCenter\"]")],
            &[("incremental", "\"off\"")],
            &[("keep_raw", "true")],
        ],
        same: &[PROXY, QUOTA],
    },
    Case {
        kind: "okta",
        block: &[
            ("url", "\"https://acme.okta.com\""),
            ("client_id", "\"0oa1\""),
            ("private_key", KEY),
        ],
        others: &[&[("client_id", "\"0oa2\"")]],
        same: &[&[("private_key", OTHER_KEY)], PROXY, QUOTA],
    },
    Case {
        kind: "github",
        block: &[("organizations", "[\"acme\"]"), ("token", SECRET)],
        others: &[
            &[("url", "\"https://github.example.org\"")],
            &[("organizations", "[\"acme\", \"other\"]")],
            &[("token", OTHER_SECRET)],
            &[("token", ""), ("app_id", "\"7\""), ("private_key", KEY)],
            &[("api", "\"rest\"")],
            &[("outside_collaborators", "\"off\"")],
            &[("pending_invitations", "\"off\"")],
            &[("saml_identities", "\"off\"")],
            &[("secret_teams", "false")],
            &[("incremental", "\"off\"")],
            &[("keep_raw", "true")],
        ],
        same: &[PROXY, QUOTA],
    },
    Case {
        kind: "github",
        block: &[("organizations", "[\"acme\"]"), ("app_id", "\"7\""), ("private_key", KEY)],
        others: &[&[("app_id", "\"8\"")]],
        same: &[&[("private_key", OTHER_KEY)], PROXY, QUOTA],
    },
];

#[test]
fn a_fingerprint_is_of_what_can_be_seen() {
    let folder = files();
    for case in CASES {
        let changed = |change: &[(&str, &str)]| {
            let mut block: Block =
                case.block.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
            block.extend(change.iter().map(|(key, value)| ((*key).into(), (*value).into())));
            block.retain(|_, value| !value.is_empty());
            fingerprint(folder.path(), case.kind, &block)
        };
        let before = changed(&[]);
        for other in case.others {
            assert_ne!(changed(other), before, "{}: {other:?} is the same directory", case.kind);
        }
        for same in case.same {
            assert_eq!(changed(same), before, "{}: {same:?} is another directory", case.kind);
        }
    }
}

fn fingerprint(folder: &Path, kind: &str, block: &Block) -> String {
    let place =
        |value: &String| value.replace("file = \"", &format!("file = \"{}/", folder.display()));
    let text: String =
        block.iter().map(|(key, value)| format!("{key} = {}\n", place(value))).collect();
    let (_, read) = registry::KINDS.iter().find(|(name, _)| *name == kind).expect("a kind");
    let settings =
        section::read_text(&text, read).unwrap_or_else(|report| panic!("{report}\n{text}"));
    settings.fingerprint()
}

/// Two of each credential; two key files are of one account, one is of another.
fn files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let file = |name: &str, text: &str| {
        write_private(folder.path().join(name), text);
    };
    file("secret", "s3cret-of-one");
    file("other-secret", "s3cret-of-another");
    let (key, other) = (rsa_key(), rsa_key());
    file("key.pem", &key);
    file("other-key.pem", &other);
    let account = |name: &str, key: &str| {
        let email = format!("{name}@project.iam.gserviceaccount.com");
        json!({ "type": "service_account", "client_email": email, "private_key": key }).to_string()
    };
    file("key.json", &account("reader", &key));
    file("other-key.json", &account("reader", &other));
    file("other-account.json", &account("other", &key));
    folder
}

fn rsa_key() -> String {
    let mut openssl = Command::new("openssl");
    run(openssl.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]))
}
