//! A private OpenLDAP server: a directory of its own, random loopback ports,
//! `ldap://` with StartTLS, `ldaps://` and `ldapi://`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::ldif::{self, Shape};
use super::process::{Process, run};
use super::secrets;
use super::tls::Tls;

const PATIENCE: Duration = Duration::from_secs(60);

/// What the server holds and how it behaves.
#[derive(Clone, Debug)]
pub struct Options {
    pub shape: Shape,
    /// The largest page `cn=poller` may ask for; more is error 11.
    /// Without one, nobody is limited.
    pub page_cap: Option<u32>,
    pub syncprov: bool,
    /// Entries that the session log holds; without one, a deletion before the
    /// cursor leads to a present phase.
    pub session_log: Option<u32>,
    pub memberof: bool,
    pub refint: bool,
    /// The server id that the tree is loaded under; the server itself is 1.
    pub loaded_under: u32,
    /// Loaded after the generated tree.
    pub extra_ldif: String,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            shape: Shape { users: 20, groups: 4, groups_per_user: 2, everyone: 0, nested: false },
            page_cap: Some(500),
            syncprov: true,
            session_log: Some(100_000),
            memberof: true,
            refint: true,
            loaded_under: 1,
            extra_ldif: String::new(),
        }
    }
}

/// The running server; killed and removed when dropped.
#[derive(Debug)]
pub struct Slapd {
    dir: tempfile::TempDir,
    tls: Tls,
    ports: Ports,
    passwords: Passwords,
    process: Option<Process>,
}

/// What a server holds: names, and pairs of group name and member (its dn
/// without the base).
#[derive(Debug, Default)]
pub struct Content {
    pub users: BTreeSet<String>,
    pub groups: BTreeSet<String>,
    pub memberships: BTreeSet<(String, String)>,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    ldap: u16,
    ldaps: u16,
}

#[derive(Debug)]
struct Passwords {
    admin: String,
    poller: String,
    sync: String,
}

impl Slapd {
    /// Makes the directory and starts the server; returns when it answers.
    pub fn start(options: Options) -> Slapd {
        let dir = super::scratch("slapd");
        let tls = Tls::make(&dir.path().join("tls"), &[]);
        let passwords = Passwords {
            admin: secrets::password(),
            poller: secrets::password(),
            sync: secrets::password(),
        };
        std::fs::create_dir(dir.path().join("db")).expect("a database directory");
        let ports = Ports { ldap: super::free_port(), ldaps: super::free_port() };
        let mut slapd = Slapd { dir, tls, ports, passwords, process: None };
        super::write(slapd.path("slapd.conf"), slapd.configuration(&options));
        super::write(slapd.path("tree.ldif"), slapd.tree(&options));
        slapd.load(options.loaded_under);
        slapd.launch();
        slapd
    }

    /// `ldap://…`, for StartTLS.
    pub fn url(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.ports.ldap)
    }

    pub fn ldaps_url(&self) -> String {
        format!("ldaps://127.0.0.1:{}", self.ports.ldaps)
    }

    pub fn ldapi_url(&self) -> String {
        format!("ldapi://{}", self.path("ldapi").display().to_string().replace('/', "%2F"))
    }

    pub fn base(&self) -> &'static str {
        "dc=example,dc=org"
    }

    pub fn ca(&self) -> &Path {
        &self.tls.ca
    }

    /// Reads everything, with pages up to the cap. SASL EXTERNAL over
    /// `ldapi://` by the user who runs the tests is this identity too.
    pub fn poller(&self) -> (String, &str) {
        (format!("cn=poller,{}", self.base()), &self.passwords.poller)
    }

    /// Reads everything, without limits.
    pub fn sync(&self) -> (String, &str) {
        (format!("cn=sync,{}", self.base()), &self.passwords.sync)
    }

    /// May do anything.
    pub fn admin(&self) -> (String, &str) {
        (format!("cn=admin,{}", self.base()), &self.passwords.admin)
    }

    /// A file with the password, ready for `bind_password = { file = … }`.
    pub fn password_file(&self, identity: (String, &str)) -> PathBuf {
        let name = identity.0.split([',', '=']).nth(1).unwrap_or("password").to_owned();
        super::write_private(self.path(&name).with_extension("password"), identity.1)
    }

    pub fn user_dn(&self, user: usize) -> String {
        ldif::user_dn(self.base(), user)
    }

    pub fn group_dn(&self, group: usize) -> String {
        ldif::group_dn(self.base(), group)
    }

    /// Applies LDIF change records (`changetype: …`) as the administrator;
    /// records without a `changetype` are added.
    pub fn modify(&self, ldif: &str) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), ldif).expect("room for the changes");
        run(self.tool("ldapmodify").arg("-a").arg("-f").arg(file.path()));
    }

    /// The same, where the server may refuse: whether it took all of them.
    pub fn try_modify(&self, ldif: &str) -> bool {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), ldif).expect("room for the changes");
        let mut tool = self.tool("ldapmodify");
        let output = tool.arg("-a").arg("-f").arg(file.path()).output().expect("ldapmodify starts");
        output.status.success()
    }

    pub fn delete(&self, dn: &str) {
        self.modify(&format!("dn: {dn}\nchangetype: delete\n"));
    }

    /// Adds (`true`) or removes one member of a group.
    pub fn member(&self, group_dn: &str, member_dn: &str, add: bool) {
        let verb = if add { "add" } else { "delete" };
        self.modify(&format!(
            "dn: {group_dn}\nchangetype: modify\n{verb}: member\nmember: {member_dn}\n"
        ));
    }

    /// One attribute's values, read as the administrator.
    pub fn values(&self, dn: &str, attribute: &str) -> Vec<String> {
        let mut tool = self.tool("ldapsearch");
        tool.args(["-LLL", "-o", "ldif-wrap=no", "-s", "base", "-b", dn, "(objectClass=*)"]);
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
        ldif::values(&run(tool.arg(attribute)), attribute).into_iter().map(text).collect()
    }

    /// Everything the tree holds now, as the administrator sees it.
    pub fn people_and_groups(&self) -> Content {
        let mut tool = self.tool("ldapsearch");
        let filter = "(|(objectClass=inetOrgPerson)(objectClass=groupOfNames))";
        tool.args(["-LLL", "-o", "ldif-wrap=no", "-b", self.base(), filter]);
        let text = run(tool.args(["uid", "cn", "member"]));
        let mut content = Content::default();
        for entry in text.split("\n\n") {
            let dn = entry.lines().find_map(|line| line.strip_prefix("dn: ")).unwrap_or_default();
            let name = dn.split([',', '=']).nth(1).unwrap_or_default().to_owned();
            if dn.starts_with("uid=") {
                content.users.insert(name);
            } else if dn.starts_with("cn=") {
                let members = entry.lines().filter_map(|line| line.strip_prefix("member: "));
                for member in members.filter_map(|dn| dn.strip_suffix(&format!(",{}", self.base())))
                {
                    if member != "cn=nobody" {
                        content.memberships.insert((name.clone(), member.to_owned()));
                    }
                }
                content.groups.insert(name);
            }
        }
        content
    }

    /// Ends it in good order.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop(PATIENCE);
        }
    }

    /// Starts it again after [`Slapd::stop`] or [`Slapd::crash`], on the same ports.
    pub fn resume(&mut self) {
        assert!(self.process.is_none(), "it still runs");
        self.launch();
    }

    /// Stops and starts it: the session log is lost.
    pub fn restart(&mut self) {
        self.stop();
        self.resume();
    }

    /// SIGKILL.
    pub fn crash(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill9();
        }
    }

    /// SIGSTOP: connections stay open and nothing is answered any more.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("it runs").signal(signal);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn tool(&self, name: &str) -> Command {
        let (dn, password) = self.admin();
        let mut tool = Command::new(name);
        let password = super::write_private(self.path("admin.secret"), password);
        tool.args(["-x", "-H", &self.url(), "-D", &dn, "-y"]).arg(password);
        tool
    }

    fn tree(&self, options: &Options) -> String {
        let mut tree = ldif::tree(self.base(), options.shape);
        for (name, password) in [("poller", &self.passwords.poller), ("sync", &self.passwords.sync)]
        {
            let base = self.base();
            write!(
                tree,
                "dn: cn={name},{base}\nobjectClass: organizationalRole\nobjectClass: \
                 simpleSecurityObject\ncn: {name}\nuserPassword: {password}\n\n"
            )
            .expect("a string takes all");
        }
        tree + &options.extra_ldif
    }

    /// The offline load. `-S` is the server's own id: entries loaded under
    /// another one make the first change send everything again.
    fn load(&self, server_id: u32) {
        let mut tool = Command::new("/usr/sbin/slapadd");
        tool.args(["-q", "-w", "-S", &server_id.to_string(), "-f"]).arg(self.path("slapd.conf"));
        run(tool.arg("-l").arg(self.path("tree.ldif")));
    }

    fn launch(&mut self) {
        let log = std::fs::File::create(self.path("slapd.log")).expect("a log file");
        let urls = format!("{} {} {}", self.url(), self.ldaps_url(), self.ldapi_url());
        let mut process = Process::start("/usr/sbin/slapd", |command| {
            // `-d 0` keeps it in the foreground, so its pid is ours.
            command.arg("-f").arg(self.path("slapd.conf")).args(["-d", "0", "-h", &urls]);
            command.stderr(log);
        });
        super::wait_until("slapd to answer", PATIENCE, || {
            if let Some(status) = process.ended() {
                let log = std::fs::read_to_string(self.path("slapd.log")).unwrap_or_default();
                panic!("slapd ended with {status}: {log}");
            }
            answers_a_bind(self.ports.ldap)
        });
        self.process = Some(process);
    }

    fn configuration(&self, options: &Options) -> String {
        let (dir, base) = (self.dir.path().display(), self.base());
        let mut conf = String::new();
        for schema in ["core", "cosine", "nis", "inetorgperson"] {
            writeln!(conf, "include /etc/ldap/schema/{schema}.schema").expect("a string takes all");
        }
        conf += "modulepath /usr/lib/ldap\nmoduleload back_mdb\nmoduleload memberof\n\
                 moduleload refint\nmoduleload syncprov\nserverID 1\nthreads 4\n";
        let Tls { ca, certificate, key } = &self.tls;
        conf += &format!(
            "TLSCACertificateFile {}\nTLSCertificateFile {}\nTLSCertificateKeyFile {}\n\
             TLSVerifyClient never\n",
            ca.display(),
            certificate.display(),
            key.display()
        );
        conf += &match options.page_cap {
            Some(cap) => format!(
                "sizelimit size.soft={cap} size.hard={cap} size.pr={cap} size.prtotal=unlimited \
                 size.unchecked=unlimited\n"
            ),
            None => "sizelimit unlimited\n".to_owned(),
        };
        let uid = rustix::process::geteuid().as_raw();
        conf += &format!(
            "authz-regexp \"gidNumber=.*\\\\+uidNumber={uid},cn=peercred,cn=external,cn=auth\" \
             \"cn=poller,{base}\"\n\
             database mdb\nmaxsize 4294967296\nsuffix \"{base}\"\nrootdn \"cn=admin,{base}\"\n\
             rootpw {}\ndirectory {dir}/db\ndbnosync\nsortvals member memberOf\n\
             index objectClass,entryCSN,entryUUID eq\nindex uid,cn,mail,uidNumber eq\n\
             index member,memberOf eq\n\
             limits dn.exact=\"cn=sync,{base}\" size=unlimited time=unlimited\n\
             access to attrs=userPassword by anonymous auth by * none\n\
             access to * by users read by * none\n",
            self.passwords.admin
        );
        conf + &overlays(options, base)
    }
}

fn overlays(options: &Options, base: &str) -> String {
    let mut conf = String::new();
    if options.memberof {
        conf += "overlay memberof\nmemberof-group-oc groupOfNames\nmemberof-member-ad member\n\
                 memberof-memberof-ad memberOf\nmemberof-refint FALSE\n";
    }
    if options.refint {
        conf += &format!(
            "overlay refint\nrefint_attributes member\nrefint_nothing \"cn=nobody,{base}\"\n"
        );
    }
    if options.syncprov {
        conf += "overlay syncprov\nsyncprov-checkpoint 1000 10\nsyncprov-reloadhint TRUE\n";
        if let Some(entries) = options.session_log {
            conf += &format!("syncprov-sessionlog {entries}\n");
        }
    }
    conf
}

/// An anonymous simple bind, RFC 4511 section 4.2: the port is open long
/// before the server can answer one.
fn answers_a_bind(port: u16) -> std::io::Result<()> {
    const BIND: [u8; 14] = [0x30, 12, 2, 1, 1, 0x60, 7, 2, 1, 3, 4, 0, 0x80, 0];
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(&BIND)?;
    stream.read_exact(&mut [0; 14])
}

#[test]
fn a_private_openldap_answers_changes_freezes_and_comes_back() {
    let mut slapd = Slapd::start(Options::default());
    let (dn, password) = slapd.poller();
    let file = slapd.password_file((dn.clone(), password));
    let whoami = |url: &str, more: &[&str]| {
        let mut tool = Command::new("ldapwhoami");
        tool.env("LDAPTLS_CACERT", slapd.ca()).args(["-H", url]).args(more);
        tool
    };
    let simple = ["-x", "-D", &dn, "-w", password];
    assert_eq!(std::fs::read_to_string(file).unwrap(), password);
    let expected = format!("dn:{dn}\n");
    assert_eq!(run(&mut whoami(&slapd.ldaps_url(), &simple)), expected);
    assert_eq!(run(whoami(&slapd.url(), &simple).arg("-ZZ")), expected);
    assert_eq!(run(&mut whoami(&slapd.ldapi_url(), &["-Q", "-Y", "EXTERNAL"])), expected);

    slapd.member(&slapd.group_dn(1), &slapd.user_dn(0), true);
    assert!(slapd.values(&slapd.group_dn(1), "member").contains(&slapd.user_dn(0)));
    slapd.member(&slapd.group_dn(1), &slapd.user_dn(0), false);
    assert!(!slapd.values(&slapd.group_dn(1), "member").contains(&slapd.user_dn(0)));
    slapd.delete(&slapd.user_dn(2));
    assert!(!slapd.values(&slapd.group_dn(2), "member").contains(&slapd.user_dn(2)));

    slapd.freeze();
    slapd.thaw();
    slapd.restart();
    slapd.crash();
    slapd.resume();
    let (dn, password) = slapd.sync();
    let who =
        run(Command::new("ldapwhoami").args(["-x", "-H", &slapd.url(), "-D", &dn, "-w", password]));
    assert_eq!(who, format!("dn:{dn}\n"));
}
