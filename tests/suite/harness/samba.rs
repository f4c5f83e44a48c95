//! A private Active Directory domain controller: Samba in namespaces of its
//! own, reached through loopback ports of ours.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use super::ldif;
use super::process::{Process, run};
use super::secrets;
use super::tls::Tls;

const PATIENCE: Duration = Duration::from_secs(120);
const HELPER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/harness/samba_dc.py");
/// The one that Debian's `python3-samba` belongs to.
const PYTHON: &str = "/usr/bin/python3";

/// The running controller; killed and removed when dropped.
#[derive(Debug)]
pub struct SambaAd {
    dir: tempfile::TempDir,
    tls: Tls,
    ldap: u16,
    ldaps: u16,
    password: String,
    process: Option<Process>,
}

impl SambaAd {
    /// Starts a controller of a fresh domain; returns when it answers.
    pub fn start() -> SambaAd {
        let (template, password) = template();
        let dir = super::scratch("samba");
        run(Command::new("cp").arg("-a").arg(template.join(".")).arg(dir.path()));
        let tls = Tls::make(&dir.path().join("tls"), &["dc1.ad.example.org"]);
        let ldap = forward(dir.path().join("389.sock"));
        let ldaps = forward(dir.path().join("636.sock"));
        let mut samba = SambaAd { dir, tls, ldap, ldaps, password, process: None };
        super::write_private(samba.secret(), &samba.password);
        samba.resume();
        samba
    }

    /// `ldap://…`, for StartTLS; a simple bind without TLS is refused.
    pub fn url(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.ldap)
    }

    pub fn ldaps_url(&self) -> String {
        format!("ldaps://127.0.0.1:{}", self.ldaps)
    }

    pub fn base(&self) -> &'static str {
        "DC=ad,DC=example,DC=org"
    }

    pub fn ca(&self) -> &Path {
        &self.tls.ca
    }

    /// The administrator, who may do anything (also DirSync).
    pub fn admin(&self) -> (String, &str) {
        (format!("CN=Administrator,CN=Users,{}", self.base()), &self.password)
    }

    /// The administrator's password in a file of its own.
    pub fn secret(&self) -> PathBuf {
        self.dir.path().join("admin.secret")
    }

    /// Applies LDIF change records (`changetype: …`) as the administrator;
    /// records without a `changetype` are added.
    pub fn modify(&self, ldif: &str) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), ldif).expect("room for the changes");
        run(self.tool("ldapmodify").arg("-a").arg("-f").arg(file.path()));
    }

    pub fn delete(&self, dn: &str) {
        self.modify(&format!("dn: {dn}\nchangetype: delete\n"));
    }

    /// Moves an object: another name, another place, or both.
    pub fn rename(&self, dn: &str, rdn: &str, parent: &str) {
        self.modify(&format!(
            "dn: {dn}\nchangetype: modrdn\nnewrdn: {rdn}\ndeleteoldrdn: 1\nnewsuperior: {parent}\n"
        ));
    }

    /// Adds (`true`) or removes one member of a group.
    pub fn member(&self, group_dn: &str, member_dn: &str, add: bool) {
        let verb = if add { "add" } else { "delete" };
        self.modify(&format!(
            "dn: {group_dn}\nchangetype: modify\n{verb}: member\nmember: {member_dn}\n"
        ));
    }

    /// Replaces one attribute's value.
    pub fn replace(&self, dn: &str, attribute: &str, value: &str) {
        self.modify(&format!(
            "dn: {dn}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n"
        ));
    }

    /// An ordinary, enabled user who can sign in: the dn and the password.
    pub fn create_user(&self, name: &str) -> (String, String) {
        use base64::Engine;
        let (dn, password) = (format!("CN={name},CN=Users,{}", self.base()), secrets::password());
        let quoted: Vec<u8> =
            format!("\"{password}\"").encode_utf16().flat_map(u16::to_le_bytes).collect();
        let encoded = base64::engine::general_purpose::STANDARD.encode(quoted);
        self.modify(&format!(
            "dn: {dn}\nobjectClass: user\nsAMAccountName: {name}\nuserAccountControl: 512\n\
             unicodePwd:: {encoded}\n"
        ));
        (dn, password)
    }

    /// One attribute's values, read as the administrator.
    pub fn values(&self, dn: &str, attribute: &str) -> Vec<String> {
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
        self.raw_values(dn, attribute).into_iter().map(text).collect()
    }

    /// `objectGUID` as people write it.
    pub fn guid(&self, dn: &str) -> String {
        let raw = self.raw_values(dn, "objectGUID").pop().expect("every object has one");
        uuid::Uuid::from_slice_le(&raw).expect("16 bytes").to_string()
    }

    /// The last part of `objectSid`, which `primaryGroupID` refers to.
    pub fn rid(&self, dn: &str) -> u32 {
        let raw = self.raw_values(dn, "objectSid").pop().expect("users and groups have one");
        let last = raw.last_chunk().expect("a SID ends with 32 bits");
        u32::from_le_bytes(*last)
    }

    /// Ends it, with all its connections.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it again after [`SambaAd::stop`], on the same ports.
    pub fn resume(&mut self) {
        let mut process = Process::start("unshare", |command| {
            command.args(["--net", "--pid", "--mount", "--fork", "--kill-child"]);
            if !rustix::process::geteuid().is_root() {
                command.args(["--user", "--map-root-user"]);
            }
            let log = self.log();
            command.args([PYTHON, HELPER, "serve"]).arg(self.dir.path());
            command.stdin(Stdio::piped()).stderr(log.try_clone().expect("a log")).stdout(log);
        });
        super::wait_until("samba to answer", PATIENCE, || {
            if let Some(status) = process.ended() {
                let log = std::fs::read_to_string(self.dir.path().join("helper.log"));
                panic!("samba ended with {status}: {}", log.unwrap_or_default());
            }
            let mut tool = Command::new("ldapsearch");
            tool.args(["-x", "-H", &self.url(), "-s", "base", "-b", "", "defaultNamingContext"]);
            let output = tool.output().expect("ldapsearch starts");
            if output.status.success() { Ok(()) } else { Err("no answer") }
        });
        self.process = Some(process);
    }

    fn log(&self) -> std::fs::File {
        std::fs::File::create(self.dir.path().join("helper.log")).expect("a log file")
    }

    fn raw_values(&self, dn: &str, attribute: &str) -> Vec<Vec<u8>> {
        let mut tool = self.tool("ldapsearch");
        tool.args(["-LLL", "-o", "ldif-wrap=no", "-s", "base", "-b", dn, "(objectClass=*)"]);
        ldif::values(&run(tool.arg(attribute)), attribute)
    }

    fn tool(&self, name: &str) -> Command {
        let mut tool = Command::new(name);
        tool.env("LDAPTLS_CACERT", self.ca());
        tool.args(["-x", "-H", &self.ldaps_url(), "-D", &self.admin().0, "-y"]).arg(self.secret());
        tool
    }
}

/// A domain as provisioning left it, and its administrator's password. Takes
/// ten seconds to make, so it is kept beside the build and copied.
fn template() -> (PathBuf, String) {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    let path = TEMPLATE.get_or_init(|| {
        let kept = super::artifacts().join("samba-domain");
        if !kept.exists() {
            provision(&kept);
        }
        kept
    });
    let password = std::fs::read_to_string(path.join("admin.secret")).expect("kept with it");
    (path.clone(), secrets::note(password))
}

/// Made aside and renamed: another run of the tests may be doing the same.
fn provision(kept: &Path) {
    use std::io::Write;
    let making = tempfile::tempdir_in(super::artifacts()).expect("a directory");
    let password = secrets::password();
    let log = std::fs::File::create(making.path().join("provision.log")).expect("a log file");
    let mut helper = Process::start(PYTHON, |command| {
        command.args([HELPER, "provision"]).arg(making.path()).stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(log);
    });
    let mut stdin = helper.child().stdin.take().expect("piped");
    stdin.write_all(password.as_bytes()).expect("the helper reads");
    drop(stdin);
    let status = helper.wait(PATIENCE);
    let log = std::fs::read_to_string(making.path().join("provision.log")).unwrap_or_default();
    assert!(status.success(), "provisioning failed: {log}");
    super::write_private(making.path().join("admin.secret"), password);
    let making = making.keep();
    if std::fs::rename(&making, kept).is_err() {
        assert!(kept.exists(), "cannot keep {}", kept.display());
        std::fs::remove_dir_all(making).expect("one's own directory");
    }
}

/// A loopback port that leads to a unix socket.
fn forward(socket: PathBuf) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            if let Ok(server) = UnixStream::connect(&socket) {
                bridge(client, server);
            }
        }
    });
    port
}

fn bridge(client: TcpStream, server: UnixStream) {
    let (Ok(mut from_client), Ok(mut to_server)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    std::thread::spawn(move || {
        let _broken = std::io::copy(&mut from_client, &mut to_server);
        let _gone = to_server.shutdown(std::net::Shutdown::Both);
    });
    let (mut to_client, mut from_server) = (client, server);
    std::thread::spawn(move || {
        let _broken = std::io::copy(&mut from_server, &mut to_client);
        let _gone = to_client.shutdown(std::net::Shutdown::Both);
    });
}

#[test]
fn a_private_active_directory_answers_over_tls_and_takes_changes() {
    let mut samba = SambaAd::start();
    let users = format!("CN=Users,{}", samba.base());
    let (ada, password) = samba.create_user("ada");
    let bind = |url: &str, more: &[&str]| {
        let mut tool = Command::new("ldapsearch");
        tool.env("LDAPTLS_CACERT", samba.ca()).args(["-x", "-LLL", "-H", url, "-D", &ada]);
        tool.args(["-w", &password, "-s", "base", "-b", &ada, "cn"]).args(more);
        tool
    };
    assert!(run(&mut bind(&samba.ldaps_url(), &[])).contains("cn: ada"));
    assert!(run(&mut bind(&samba.url(), &["-ZZ"])).contains("cn: ada"));
    assert!(!bind(&samba.url(), &[]).status().unwrap().success(), "no simple bind without TLS");

    let group = format!("CN=crew,{users}");
    samba.modify(&format!("dn: {group}\nobjectClass: group\nsAMAccountName: crew\n"));
    samba.member(&group, &ada, true);
    assert_eq!(samba.values(&group, "member"), std::slice::from_ref(&ada));
    samba.member(&group, &ada, false);
    assert_eq!(samba.values(&group, "member"), [""; 0]);
    samba.replace(&ada, "displayName", "Ada");
    samba.rename(&group, "CN=team", &users);
    assert_ne!(samba.rid(&ada), samba.rid(&format!("CN=team,{users}")));
    samba.delete(&format!("CN=team,{users}"));
    let guid = samba.guid(&ada);
    samba.stop();
    samba.resume();
    assert_eq!(samba.guid(&ada), guid);
    assert_eq!(samba.values(&ada, "displayName"), ["Ada"]);
}
