//! Child processes that never outlive the tests.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A running child; killed by its own pid when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `program` so that the kernel kills it should the tests be killed.
    pub fn start(program: &str, prepare: impl FnOnce(&mut Command)) -> Process {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]);
        prepare(&mut command);
        Process { child: spawn(command) }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("one's own child can be waited for")
    }

    pub fn signal(&self, signal: Signal) {
        // A child that was not waited for keeps its pid, so this never hits a stranger.
        let _gone = kill_process(Pid::from_child(&self.child), signal);
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Asks it to stop and waits; panics when it takes longer than `patience`.
    pub fn stop(&mut self, patience: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(patience)
    }

    /// Waits for the end; panics when it takes longer than `patience`.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        super::wait_until("a process to end", patience, || self.ended().ok_or("it runs"))
    }

    /// SIGKILL, and waits.
    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
        let status = self.child.wait().expect("one's own child can be waited for");
        assert!(
            status.signal() == Some(9) || status.code().is_some(),
            "it ended some other way: {status}"
        );
    }

    /// What the child's standard input, output and error are connected to.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.signal(Signal::KILL);
            let _status = self.child.wait();
        }
    }
}

/// Runs to the end; its standard output, or a panic with what it complained about.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{} ended with {}:\n{}{}",
        command.get_program().to_string_lossy(),
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// The parent-death signal comes when the *thread* that forked ends, so one
/// thread that lives as long as the tests does all the forking.
fn spawn(command: Command) -> Child {
    type Order = (Command, Sender<std::io::Result<Child>>);
    static FORKER: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
        let (orders, inbox) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                let _asker_gone = reply.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (reply, answer) = channel();
    FORKER.lock().expect("nobody panics here").send((command, reply)).expect("the forker lives");
    answer.recv().expect("the forker lives").unwrap_or_else(|e| panic!("cannot start: {e}"))
}
