//! Whole crawls over files on disk.

use std::io::Write;
use std::path::Path;

use super::*;
use crate::model::Reference;
use crate::provider::Settings;

const USERS: &str =
    r#"[{"id":"u1","username":"ada","email":"ada@x"},{"id":"u2","username":"grace"}]"#;
const GROUPS: &str = r#"[{"id":"g1","name":"Ops"},{"id":"g2","name":"All"}]"#;
const MEMBERSHIPS: &str = "group,user,member_group\ng1,u1,\ng2,,g1\ng2,u2,\n";

#[derive(Default)]
struct Collected(Vec<Item>);

impl Sink for Collected {
    fn page(&mut self, items: Vec<Item>) {
        self.0.extend(items);
    }
}

struct Fixture {
    root: tempfile::TempDir,
    bundle: Bundle,
}

impl Fixture {
    fn directory() -> Fixture {
        let root = tempfile::tempdir().unwrap();
        let fixture = Fixture { bundle: bundle(root.path()), root };
        fixture.write("users.json", USERS);
        fixture.write("groups.json", GROUPS);
        fixture.write("memberships.csv", MEMBERSHIPS);
        fixture
    }

    fn file(name: &str, bytes: &[u8]) -> Fixture {
        let root = tempfile::tempdir().unwrap();
        let fixture = Fixture { bundle: bundle(&root.path().join(name)), root };
        std::fs::write(fixture.root.path().join(name), bytes).unwrap();
        fixture
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.root.path().join(name), text).unwrap();
    }

    async fn crawl(&mut self, start: Start) -> Result<(Vec<String>, Seal), PullError> {
        let mut collected = Collected::default();
        let seal = self.bundle.crawl(start, &mut collected).await?;
        Ok((collected.0.iter().map(line).collect(), seal))
    }

    async fn full(&mut self) -> (Vec<String>, Seal) {
        self.crawl(Start::Full).await.unwrap()
    }

    async fn error(&mut self) -> String {
        self.crawl(Start::Full).await.unwrap_err().to_string()
    }
}

fn bundle(path: &Path) -> Bundle {
    Bundle::new(BundleConfig { path: path.to_owned(), size_max_bytes: 1 << 20, keep_raw: false })
}

fn line(item: &Item) -> String {
    match item {
        Item::User(item) => format!("{} {}", item.user.id, item.user.username),
        Item::Group(item) => format!("{} {}", item.group.id, item.group.name),
        Item::Members { group: Reference::Group(group), members } => {
            format!("{group}: {members:?}").replace('"', "")
        }
        other => format!("{other:?}"),
    }
}

const WHOLE: [&str; 6] =
    ["u1 ada", "u2 grace", "g1 Ops", "g2 All", "g1: [User(u1)]", "g2: [User(u2), Group(g1)]"];

#[tokio::test]
async fn a_directory_of_lists_is_read_whole() {
    let (items, seal) = Fixture::directory().full().await;
    assert_eq!(items, WHOLE);
    assert_eq!(seal.extent, Extent::Whole);
    assert!(
        seal.proof.ends.starts_with("2 users, 2 groups and 3 memberships"),
        "{}",
        seal.proof.ends
    );
}

#[tokio::test]
async fn one_json_file_says_the_same() {
    let text = format!(
        r#"{{"groups": {GROUPS}, "users": {USERS}, "memberships": [{{"group": "g1", "users": ["u1"]}},
            {{"group": "g2", "groups": ["g1"], "users": ["u2"]}}]}}"#
    );
    assert_eq!(Fixture::file("bundle.json", text.as_bytes()).full().await.0, WHOLE);
}

#[tokio::test]
async fn a_zip_in_pomeriums_format_says_the_same() {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    let users = r#"[{"id":"u1","group_ids":["g1","gone"],"email":"ada"},{"id":"u2","group_ids":["g2"],"email":"grace"}]"#;
    zip.start_file("pomerium.io/DirectoryGroup.json", options).unwrap();
    zip.write_all(GROUPS.as_bytes()).unwrap();
    zip.start_file("pomerium.io/DirectoryUser.json", options).unwrap();
    zip.write_all(users.as_bytes()).unwrap();
    let bytes = zip.finish().unwrap().into_inner();
    let (items, seal) = Fixture::file("bundle.zip", &bytes).full().await;
    let [ref first @ .., _] = WHOLE;
    assert_eq!(items[..5], *first);
    assert_eq!(items[5], "g2: [User(u2)]");
    assert!(seal.proof.ends.contains("(1 more name nobody)"), "{}", seal.proof.ends);
    let half = &bytes[..bytes.len() / 2];
    assert!(Fixture::file("bundle.zip", half).error().await.starts_with("incomplete answer"));
}

#[tokio::test]
async fn an_idle_poll_hands_over_nothing() {
    let mut fixture = Fixture::directory();
    let cursor = fixture.full().await.1.cursor.unwrap();
    let (items, seal) = fixture.crawl(Start::Incremental(cursor.clone())).await.unwrap();
    assert_eq!((items.len(), seal.extent), (0, Extent::Changes));
    assert_eq!(seal.cursor, Some(cursor.clone()));
    // A restart knows the cursor only.
    fixture.bundle = bundle(fixture.root.path());
    let (items, seal) = fixture.crawl(Start::Incremental(cursor.clone())).await.unwrap();
    assert_eq!((items.len(), seal.extent), (0, Extent::Changes));
    fixture.write("users.json", &USERS.replace("ada", "Ada"));
    let (items, seal) = fixture.crawl(Start::Incremental(cursor.clone())).await.unwrap();
    assert_eq!((items.len(), seal.extent), (6, Extent::Whole));
    assert_ne!(seal.cursor, Some(cursor));
}

#[tokio::test]
async fn references_to_nobody_are_kept_and_counted() {
    let mut fixture = Fixture::directory();
    fixture.write("memberships.csv", "group,member\ng1,u1\ng1,u9\ng9,u1\ng1,u1\n");
    let (items, seal) = fixture.full().await;
    assert_eq!(items[4..], ["g1: [User(u1), Id(u9)]", "g2: []"]);
    assert!(
        seal.proof.ends.starts_with("2 users, 2 groups and 1 memberships (2 more"),
        "{}",
        seal.proof.ends
    );
}

#[tokio::test]
async fn an_id_used_twice_is_an_error_naming_both_places() {
    let mut fixture = Fixture::directory();
    fixture.write("users.json", "[\n{\"id\":\"u1\"},\n{\"id\":\"u2\"},\n {\"id\":\"u1\"}]");
    let error = fixture.error().await;
    assert!(error.contains("users.json:4:2: the id `u1` was used before, at "), "{error}");
    assert!(error.ends_with("users.json:2:1"), "{error}");
}

#[tokio::test]
async fn a_half_written_file_is_an_error_with_its_place() {
    let mut fixture = Fixture::directory();
    fixture.write("users.json", "[\n{\"id\":\"u1\"},\n{\"id\":");
    let error = fixture.error().await;
    assert!(error.contains("users.json:3:"), "{error}");
    fixture.write("users.json", "null");
    assert!(fixture.error().await.contains("users.json:1:1: a list is expected"));
    fixture.write("users.json", USERS);
    std::fs::write(fixture.root.path().join("groups.json"), b"[\n{\"id\":\"\xff\"}]").unwrap();
    assert!(fixture.error().await.contains("groups.json:2:8: this is not UTF-8"));
    fixture.write("groups.json", GROUPS);
    assert_eq!(fixture.full().await.0.len(), 6);
}

#[tokio::test]
async fn r13_a_vanished_list_of_memberships_fails_the_crawl() {
    let mut fixture = Fixture::directory();
    std::fs::remove_file(fixture.root.path().join("memberships.csv")).unwrap();
    let error = fixture.error().await;
    assert!(error.contains("there is no list of memberships"), "{error}");
    fixture.write("groups.json", r#"[{"id":"g1","members":["u1"]},{"id":"g2"}]"#);
    assert_eq!(fixture.full().await.0[4..], ["g1: [User(u1)]", "g2: []"]);
    fixture.write("memberships.json", "[]");
    assert!(fixture.error().await.contains("lists `members`"));
}

#[tokio::test]
async fn r3_empty_lists_are_legitimate_when_written_out() {
    let mut fixture = Fixture::directory();
    fixture.write("users.json", "[]");
    fixture.write("groups.json", " [ ]\n");
    fixture.write("memberships.csv", "group,user\n");
    assert!(fixture.full().await.0.is_empty());
    fixture.write("memberships.csv", "\n");
    assert!(fixture.error().await.contains("memberships.csv: the file is empty"));
}

#[tokio::test]
async fn doctor_names_what_is_missing() {
    let mut fixture = Fixture::directory();
    fixture.write("memberships.csv", "group,user\ng1,nobody\n");
    let outcomes = |findings: Vec<Finding>| {
        findings.into_iter().map(|finding| (finding.step, finding.outcome)).collect::<Vec<_>>()
    };
    let found = outcomes(fixture.bundle.examine().await);
    assert_eq!(found[1], ("format".to_owned(), Outcome::Good));
    assert_eq!(found[2], ("references".to_owned(), Outcome::Warning));
    std::fs::remove_file(fixture.root.path().join("users.json")).unwrap();
    let found = outcomes(fixture.bundle.examine().await);
    assert_eq!(found, [("files".to_owned(), Outcome::Bad)]);
}

#[tokio::test]
async fn the_example_directory_is_read_whole() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/acme");
    let seal = bundle(&path).crawl(Start::Full, &mut Nowhere).await.unwrap();
    assert!(seal.proof.ends.contains("memberships read to the end"), "{}", seal.proof.ends);
}

#[test]
fn the_block_is_read() {
    let read = |text: &str| {
        crate::config::section::read_text(text, |section| {
            BundleConfig::read(&mut section.section("bundle")?)
        })
    };
    let config = read("bundle = { path = \"/x\", size_max = \"1MiB\" }").unwrap();
    assert_eq!((config.origin().as_str(), config.size_max_bytes), ("/x", 1 << 20));
    assert!(read("bundle = { pth = \"/x\" }").is_err());
}
