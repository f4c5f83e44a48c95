//! The same questions to OpenLDAP over `ldapi://`: the server a policy engine
//! would otherwise ask, on the same machine, with the indexes it needs.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ldap3::{Ldap, LdapConnAsync, Scope};

use super::common::{self, Size};
use super::questions;

const SLAPD: &str = "/usr/sbin/slapd";
const SLAPADD: &str = "/usr/sbin/slapadd";
const BASE: &str = "dc=corp,dc=example,dc=org";
const PATIENCE: Duration = Duration::from_secs(120);
const QUESTIONS: u32 = 5_000;

/// Loads the directory into a server of its own and prints what questions cost.
pub fn run(size: Size, folder: &Path) {
    let started = Instant::now();
    let server = Slapd::start(size, folder);
    println!("OpenLDAP over ldapi, loaded in {:.0} s", started.elapsed().as_secs_f64());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut ldap = server.connect().await;
        measure(&mut ldap, size, "compare member (both DNs known)", Question::Compare).await;
        measure(&mut ldap, size, "uid and memberOf, by search", Question::Search).await;
        let _ = ldap.unbind().await;
    });
    println!();
}

#[derive(Clone, Copy)]
enum Question {
    /// Does the group's entry have this member?
    Compare,
    /// Is there an entry with this uid and this memberOf?
    Search,
}

async fn measure(ldap: &mut Ldap, size: Size, what: &str, question: Question) {
    let (mut times, mut members) = (Vec::new(), 0);
    for n in 0..QUESTIONS {
        let (user, group) = questions::pair(size, n);
        let (uid, user, group) = (format!("user{user:07}"), common::user_dn(user), group_dn(group));
        let started = Instant::now();
        let is_member = match question {
            Question::Compare => {
                let answer = ldap.compare(&group, "member", &user).await;
                answer.and_then(|answer| answer.equal()).expect("OpenLDAP answers")
            }
            Question::Search => {
                let filter = format!("(&(uid={uid})(memberOf={group}))");
                let found = ldap.search(BASE, Scope::Subtree, &filter, vec!["1.1"]).await;
                let found = found.and_then(|found| found.success());
                !found.expect("OpenLDAP answers").0.is_empty()
            }
        };
        times.push(started.elapsed());
        members += u32::from(is_member);
    }
    times.sort_unstable();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!(
        "  {what:<32} p50 {p50:>9.1?}  p99 {p99:>9.1?}  ({members} of {QUESTIONS} are members)"
    );
}

struct Slapd {
    process: Child,
    socket: PathBuf,
}

impl Slapd {
    fn start(size: Size, folder: &Path) -> Slapd {
        let (socket, conf) = (folder.join("ldapi"), folder.join("slapd.conf"));
        std::fs::create_dir(folder.join("ldap")).expect("a folder");
        std::fs::write(&conf, configuration(folder)).expect("writes");
        load(size, &conf);
        let url = format!("ldapi://{}", socket.display().to_string().replace('/', "%2F"));
        let process = Command::new(SLAPD)
            .args(["-d", "0", "-h", &url, "-f"])
            .arg(&conf)
            .stderr(Stdio::null())
            .spawn()
            .expect("slapd starts");
        Slapd { process, socket }
    }

    async fn connect(&self) -> Ldap {
        let url = format!("ldapi://{}", self.socket.display().to_string().replace('/', "%2F"));
        let started = Instant::now();
        loop {
            if let Ok((connection, ldap)) = LdapConnAsync::new(&url).await {
                ldap3::drive!(connection);
                return ldap;
            }
            assert!(started.elapsed() < PATIENCE, "slapd does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "include /etc/ldap/schema/core.schema\n\
         include /etc/ldap/schema/cosine.schema\n\
         include /etc/ldap/schema/inetorgperson.schema\n\
         modulepath /usr/lib/ldap\n\
         moduleload back_mdb\n\
         moduleload memberof\n\
         pidfile {folder}/slapd.pid\n\
         sizelimit unlimited\n\
         database mdb\n\
         maxsize 34359738368\n\
         suffix \"{BASE}\"\n\
         directory {folder}/ldap\n\
         dbnosync\n\
         sortvals member memberOf\n\
         index objectClass,uid,cn,member,memberOf eq\n\
         access to * by * read\n\
         overlay memberof\n"
    )
}

/// Streams the directory into `slapadd`. It runs no overlays, so `memberOf` is
/// written as the overlay would have.
fn load(size: Size, conf: &Path) {
    let mut slapadd = Command::new(SLAPADD)
        .args(["-q", "-f"])
        .arg(conf)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("slapadd starts");
    let pipe = slapadd.stdin.take().expect("a pipe");
    let mut out = std::io::BufWriter::with_capacity(1 << 20, pipe);
    let mut of = vec![Vec::new(); size.users as usize];
    for group in 0..size.groups {
        for user in common::members(size, group) {
            of[user as usize].push(group);
        }
    }
    let top = format!(
        "dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Corp\ndc: corp\n\n\
         dn: ou=people,{BASE}\nobjectClass: organizationalUnit\nou: people\n\n\
         dn: ou=groups,{BASE}\nobjectClass: organizationalUnit\nou: groups\n\n"
    );
    out.write_all(top.as_bytes()).expect("writes");
    for (user, groups) in of.iter().enumerate() {
        let mut entry = format!(
            "dn: {}\nobjectClass: inetOrgPerson\nuid: user{user:07}\ncn: User {user}\nsn: {user}\n",
            common::user_dn(user as u32)
        );
        for group in groups {
            let _ = writeln!(entry, "memberOf: {}", group_dn(*group));
        }
        writeln!(out, "{entry}").expect("writes");
    }
    drop(of);
    for group in 0..size.groups {
        let mut entry =
            format!("dn: {}\nobjectClass: groupOfNames\ncn: group-{group:06}\n", group_dn(group));
        for user in common::members(size, group) {
            let _ = writeln!(entry, "member: {}", common::user_dn(user));
        }
        writeln!(out, "{entry}").expect("writes");
    }
    drop(out.into_inner().expect("flushes"));
    assert!(slapadd.wait().is_ok_and(|status| status.success()), "slapadd loads");
}

fn group_dn(group: u32) -> String {
    format!("cn=group-{group:06},ou=groups,{BASE}")
}
