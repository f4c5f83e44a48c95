//! Unix signals as messages, with who sent them.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::iterator::exfiltrator::origin::Origin;
use signal_hook::iterator::{Handle, SignalsInfo};
use tokio::sync::mpsc;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGTERM or SIGINT: drain and stop.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: poll every directory now.
    PollAll,
}

/// Where a signal came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    pub signal: &'static str,
    /// User and process id; `None` when the kernel sent it (a terminal, say).
    pub process: Option<(u32, u32)>,
}

/// Signals as they arrive, until dropped.
#[derive(Debug)]
pub struct Requests {
    inbox: mpsc::UnboundedReceiver<(Request, Sender)>,
    handle: Handle,
}

impl Requests {
    /// Takes over the signals of this process.
    ///
    /// # Errors
    /// When the handlers or their thread cannot be set up.
    pub fn listen() -> io::Result<Requests> {
        let mut signals = SignalsInfo::<WithOrigin>::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
        let handle = signals.handle();
        let (outbox, inbox) = mpsc::unbounded_channel();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for origin in signals.forever() {
                if outbox.send(request(&origin)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Requests { inbox, handle })
    }

    /// The next request. Waits for ever when the signal thread is gone.
    pub async fn next(&mut self) -> (Request, Sender) {
        match self.inbox.recv().await {
            Some(request) => request,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.handle.close();
    }
}

fn request(origin: &Origin) -> (Request, Sender) {
    let (request, signal) = match origin.signal {
        SIGHUP => (Request::Reload, "SIGHUP"),
        SIGUSR1 => (Request::PollAll, "SIGUSR1"),
        SIGINT => (Request::Stop, "SIGINT"),
        _ => (Request::Stop, "SIGTERM"),
    };
    let process = origin.process.and_then(|process| {
        let pid = u32::try_from(process.pid).ok().filter(|pid| *pid > 0)?;
        Some((process.uid, pid))
    });
    (request, Sender { signal, process })
}
