//! Tries everything that a crawl needs, one step at a time, for
//! `rosterd doctor`.

use super::batch::PARTS_MAX;
use super::config::{EntraConfig, Proof};
use super::crawl::sees_hidden;
use super::graph::{Graph, Page};
use super::map::{Mapped, Mapper};
use super::members::{Members, Wish};
use super::objects::{Kind, group_select};
use super::rounds;
use crate::provider::{Finding, Outcome, PullError};

/// So many users and groups are looked at.
const SAMPLE: usize = 100;

/// What shows users, and what shows groups with their members: the least
/// permission first.
const USER_PERMISSIONS: [&str; 4] =
    ["User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"];
const GROUP_PERMISSIONS: [&str; 6] = [
    "GroupMember.Read.All",
    "GroupMember.ReadWrite.All",
    "Group.Read.All",
    "Group.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
];

/// One line for each step; the first one that fails ends it.
pub(super) async fn examine(config: &EntraConfig, graph: &Graph) -> Vec<Finding> {
    let doctor = Doctor { config, graph };
    let mut findings = Vec::new();
    match doctor.credential().await {
        Ok(found) => findings.push(found),
        Err(error) => return vec![failed("credential", &error)],
    }
    findings.extend(doctor.permissions().await);
    for kind in config.kinds() {
        findings.push(doctor.objects(kind).await);
    }
    findings.extend(doctor.groups().await);
    findings.push(doctor.changes().await);
    findings
}

struct Doctor<'a> {
    config: &'a EntraConfig,
    graph: &'a Graph,
}

impl Doctor<'_> {
    async fn credential(&self) -> Result<Finding, PullError> {
        self.graph.tokens.current().await?;
        let who = match &self.config.proof {
            Proof::Secret { client_id, .. } => format!("{client_id} by its secret"),
            Proof::Certificate { client_id, .. } => format!("{client_id} by its certificate"),
            Proof::Federated { client_id, .. } => format!("{client_id} by a federated token"),
            Proof::Managed(_) => "the managed identity of this machine".to_owned(),
        };
        let detail = format!("{} gives a token to {who}", self.config.authority);
        Ok(finding("credential", Outcome::Good, detail))
    }

    /// What the token says it may.
    async fn permissions(&self) -> Vec<Finding> {
        let roles = match self.graph.roles().await {
            Ok(Some(roles)) => roles,
            Ok(None) => return Vec::new(),
            Err(error) => return vec![failed("permission", &error)],
        };
        let has = |wanted: &[&str]| roles.iter().any(|role| wanted.contains(&role.as_str()));
        let mut findings = Vec::new();
        let mut check = |is_there: bool, permission: &str| {
            findings.push(if is_there {
                let detail = format!("the token carries {permission}, or more");
                finding("permission", Outcome::Good, detail)
            } else {
                let detail = format!("the token lacks {permission}: {}", self.remedy(permission));
                finding("permission", Outcome::Bad, detail)
            });
        };
        check(has(&USER_PERMISSIONS), "User.Read.All");
        check(has(&GROUP_PERMISSIONS), "GroupMember.Read.All");
        if self.config.wanted.service_principals {
            let more = ["Application.Read.All", "Directory.Read.All", "Application.ReadWrite.All"];
            check(has(&more), "Application.Read.All");
        }
        if self.config.wanted.devices {
            check(has(&["Device.Read.All", "Directory.Read.All"]), "Device.Read.All");
        }
        findings
    }

    /// What to click, or to run.
    fn remedy(&self, permission: &str) -> String {
        match &self.config.proof {
            Proof::Managed(_) => format!(
                "grant the application role {permission} of Microsoft Graph to the managed \
                 identity (New-MgServicePrincipalAppRoleAssignment)"
            ),
            proof => format!(
                "in the Entra admin center open App registrations > {} > API permissions > Add a \
                 permission > Microsoft Graph > Application permissions, tick {permission}, and \
                 press Grant admin consent",
                proof.client_id()
            ),
        }
    }

    async fn objects(&self, kind: Kind) -> Finding {
        let select = kind.select(&self.config.wanted);
        let path = format!("{}?$top={SAMPLE}&$select={select}", kind.path());
        let page = match self.page(kind.list_endpoint(), &path).await {
            Ok(page) => page,
            Err(error) => return self.refused(kind.permission(), &error),
        };
        let mut mapper = Mapper::new(&self.config.wanted);
        let (what, listed) = (kind.path(), page.value.len());
        for value in page.value {
            if let Err(error) = mapper.user(kind, value) {
                return failed("visibility", &error);
            }
        }
        if listed == 0 {
            let detail = format!("can see no {what}");
            return finding("visibility", Outcome::Warning, detail);
        }
        let readable = listed as u64 - mapper.bad().min(listed as u64);
        if readable == 0 {
            let permission = kind.permission();
            let detail = format!(
                "can see {listed} {what}, but none of their properties: the token lacks {permission}; {}",
                self.remedy(permission)
            );
            return finding("visibility", Outcome::Bad, detail);
        }
        finding(
            "visibility",
            Outcome::Good,
            format!("can see {readable} of the first {listed} {what}"),
        )
    }

    async fn groups(&self) -> Vec<Finding> {
        let path = format!("groups?$top={SAMPLE}&$select={}", group_select(&self.config.wanted));
        let page = match self.page("GET /groups", &path).await {
            Ok(page) => page,
            Err(error) => return vec![self.refused("GroupMember.Read.All", &error)],
        };
        let mut mapper = Mapper::new(&self.config.wanted);
        let mut wishes = Vec::new();
        let (listed, mut left_out) = (page.value.len(), 0);
        for value in page.value {
            match mapper.group(value) {
                Ok(Mapped::Is(group)) => {
                    wishes.push(Wish { id: group.item.group.id, is_hidden: group.is_hidden });
                }
                Ok(Mapped::LeftOut(_)) => left_out += 1,
                Ok(Mapped::Kept(_)) => {}
                Err(error) => return vec![failed("visibility", &error)],
            }
        }
        if wishes.is_empty() {
            let detail = match listed {
                0 => "can see no groups".to_owned(),
                n if left_out == n => format!(
                    "the first {n} groups are all left out by `group_types` or `security_enabled_only`"
                ),
                n => format!(
                    "can see {n} groups, but none of their properties: the token lacks \
                     GroupMember.Read.All; {}",
                    self.remedy("GroupMember.Read.All")
                ),
            };
            let is_blind = listed > 0 && left_out < listed;
            let outcome = if is_blind { Outcome::Bad } else { Outcome::Warning };
            return vec![finding("visibility", outcome, detail)];
        }
        self.members(wishes).await
    }

    async fn members(&self, mut wishes: Vec<Wish>) -> Vec<Finding> {
        let groups = wishes.len();
        let hidden = wishes.iter().filter(|wish| wish.is_hidden).count();
        let (mut seen, mut refused) = (0, 0);
        while !wishes.is_empty() {
            let chunk = wishes.split_off(wishes.len().saturating_sub(PARTS_MAX));
            match self.graph.members(&self.config.wanted, chunk).await {
                Ok(lists) => {
                    for (_, members) in lists {
                        match members {
                            Members::Listed(list) => seen += list.len(),
                            Members::Refused => refused += 1,
                            Members::Hidden | Members::Absent => {}
                        }
                    }
                }
                Err(error) => return vec![self.refused("GroupMember.Read.All", &error)],
            }
        }
        let mut findings = Vec::new();
        let detail = format!("can see {seen} members of {groups} groups");
        findings.push(if seen > 0 && refused == 0 {
            finding("visibility", Outcome::Good, detail)
        } else if seen > 0 {
            let detail = format!("{detail}; {refused} refuse, and keep their last good members");
            finding("visibility", Outcome::Warning, detail)
        } else {
            let permission = "GroupMember.Read.All";
            let detail =
                format!("{detail}: the token lacks {permission}; {}", self.remedy(permission));
            finding("visibility", self.blindness(refused).await, detail)
        });
        if hidden > 0 && !sees_hidden(self.graph).await.unwrap_or(false) {
            let detail = format!(
                "{hidden} groups hide their members: they are left as they were until the token \
                 has Member.Read.Hidden; {}",
                self.remedy("Member.Read.Hidden")
            );
            findings.push(finding("permission", Outcome::Warning, detail));
        }
        findings
    }

    /// Groups may all be empty, if nothing refuses and the permission is there.
    async fn blindness(&self, refused: usize) -> Outcome {
        let roles = self.graph.roles().await.ok().flatten().unwrap_or_default();
        let may = roles.iter().any(|role| GROUP_PERMISSIONS.contains(&role.as_str()));
        if may && refused == 0 { Outcome::Warning } else { Outcome::Bad }
    }

    async fn changes(&self) -> Finding {
        if !self.config.incremental {
            let detail = "every crawl is full, as configured".to_owned();
            return finding("incremental", Outcome::Good, detail);
        }
        match rounds::latest(self.graph, self.config).await {
            Ok(Some(_)) => {
                let detail = "changes are read by delta queries".to_owned();
                finding("incremental", Outcome::Good, detail)
            }
            Ok(None) => {
                let detail = "every crawl is full: this tenant offers no delta queries \
                              (Azure AD B2C, external tenants and some clouds do not)";
                finding("incremental", Outcome::Warning, detail.to_owned())
            }
            Err(error) => failed("incremental", &error),
        }
    }

    async fn page(&self, endpoint: &'static str, path: &str) -> Result<Page, PullError> {
        self.graph.page(endpoint, self.graph.url(path)?, 1.0).await
    }

    fn refused(&self, permission: &str, error: &PullError) -> Finding {
        match error {
            PullError::Unauthorized { permission: Some(missing), .. } => {
                let detail = format!("{error}; {}", self.remedy(missing));
                finding("permission", Outcome::Bad, detail)
            }
            PullError::Unauthorized { .. } => {
                let detail = format!("{error}; {}", self.remedy(permission));
                finding("permission", Outcome::Bad, detail)
            }
            _ => failed("visibility", error),
        }
    }
}

/// A step that failed, by what its error is about.
fn failed(step: &str, error: &PullError) -> Finding {
    let step = match error {
        PullError::Unreachable { .. } => "network",
        _ => step,
    };
    finding(step, Outcome::Bad, error.to_string())
}

fn finding(step: &str, outcome: Outcome, detail: String) -> Finding {
    Finding { step: step.to_owned(), outcome, detail }
}
