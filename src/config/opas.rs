//! The `[opa.NAME]` blocks: that they do not undo each other's work, and that
//! each is fed something.

use std::collections::BTreeSet;

use super::section::quoted;
use super::{Blocks, Directories, Section, read_blocks};
use crate::export::opa::{OpaConfig, Place, Scope};

pub(super) fn read(root: &mut Section<'_>, directories: &Directories) -> Blocks<OpaConfig> {
    let mut earlier: Vec<OpaConfig> = Vec::new();
    read_blocks(root.sections("opa"), &directories.names, |section| {
        let config = OpaConfig::read(section)?;
        check_place(section, &config, &earlier);
        check_scope(section, &config.scope, directories);
        earlier.push(config.clone());
        Some(config)
    })
}

/// Two that write to one place would replace each other's document for ever.
fn check_place(section: &mut Section<'_>, config: &OpaConfig, earlier: &[OpaConfig]) {
    let Some(other) = earlier.iter().find(|other| other.overlaps(config)) else { return };
    let message = format!("it writes over the document of `opa.{}`", other.name);
    let hint = "give each block of one OPA a `path` of its own, none within another's";
    section.error("path", message, Some(hint.to_owned()));
}

/// An empty document is no use to anybody, and may be a misspelled name.
fn check_scope(section: &mut Section<'_>, scope: &Scope, directories: &Directories) {
    // With a mistake among the directories, or in a name, that is told already.
    let Some(whole) = &directories.whole else { return };
    if scope.directories.iter().flatten().any(|name| !whole.contains_key(name)) {
        return;
    }
    let places = || whole.values().map(|d| Place::new(&d.name, &d.tenant, &d.product, None));
    if places().any(|place| scope.has(&place)) {
        return;
    }
    let tenants: BTreeSet<&str> = whole.values().map(|d| d.tenant.as_str()).collect();
    let products: BTreeSet<&str> = whole.values().map(|d| d.product.as_str()).collect();
    let hint = format!(
        "tenants are {}, products are {}",
        quoted(tenants.into_iter()),
        quoted(products.into_iter())
    );
    section.error_here("no directory is in its scope", Some(hint));
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;

    const DIRECTORIES: &str = "\
        [directory.a]\nprovider.fake.host = \"h\"\ntenant = \"acme\"\nproduct = \"vpn\"\n\
        [directory.b]\nprovider.fake.host = \"h\"\ntenant = \"beta\"\nproduct = \"wiki\"\n";

    fn report(blocks: &str) -> Option<String> {
        read(&format!("{DIRECTORIES}{blocks}")).err().map(|report| report.to_string())
    }

    #[test]
    fn two_blocks_do_not_write_to_one_place() {
        let two =
            |first: &str, second: &str| report(&format!("[opa.a]\n{first}\n[opa.b]\n{second}\n"));
        for (first, second) in [
            ("socket = \"/x\"", "socket = \"/x\""),
            ("socket = \"/x\"", "socket = \"/x\"\npath = \"/v1/data/rosterd/edge\""),
            ("socket = \"/x\"\npath = \"/v1/data/a/b\"", "socket = \"/x\"\npath = \"/v1/data/a\""),
            ("url = \"http://127.0.0.1:80\"", "url = \"http://127.0.0.1/\""),
            (
                "url = \"https://opa.example/a/\"",
                "url = \"https://OPA.example/a\"\ntenants = [\"beta\"]",
            ),
        ] {
            let report = two(first, second).unwrap_or_else(|| panic!("{first}; {second}"));
            assert!(report.contains("it writes over the document of `opa.a`"), "{report}");
            assert!(report.contains("a `path` of its own"), "{report}");
        }
        for (first, second) in [
            ("socket = \"/x\"", "socket = \"/y\""),
            ("socket = \"/x\"", "socket = \"/x\"\npath = \"/v1/data/rosterd_edge\""),
            ("url = \"http://127.0.0.1:81\"", "url = \"http://127.0.0.1\""),
            ("url = \"https://opa.example/a\"", "url = \"https://opa.example/b\""),
        ] {
            assert_eq!(two(first, second), None);
        }
    }

    #[test]
    fn a_scope_names_somebody() {
        for scope in [
            "tenants = [\"acmee\"]",
            "products = [\"vpm\"]",
            "directories = []",
            "tenants = [\"acme\"]\nproducts = [\"wiki\"]",
            "directories = [\"a\"]\ntenants = [\"beta\"]",
        ] {
            let report = report(&format!("[opa.a]\nsocket = \"/x\"\n{scope}\n"));
            let report = report.unwrap_or_else(|| panic!("{scope}"));
            assert!(report.contains("no directory is in its scope"), "{report}");
            assert!(report.contains("tenants are \"acme\" and \"beta\""), "{report}");
        }
        for scope in
            ["", "tenants = [\"acme\", \"other\"]", "directories = [\"a\"]\nproducts = [\"vpn\"]"]
        {
            assert_eq!(report(&format!("[opa.a]\nsocket = \"/x\"\n{scope}\n")), None);
        }
        let unknown = report("[opa.a]\nsocket = \"/x\"\ndirectories = [\"c\"]\n").unwrap();
        assert!(unknown.contains("there is no directory `c`"), "{unknown}");
        assert!(!unknown.contains("scope"), "told once: {unknown}");
    }
}
