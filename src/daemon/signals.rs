//! Unix signals as messages.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::{Handle, Signals};
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

/// Signals as they arrive, until dropped.
#[derive(Debug)]
pub struct Requests {
    inbox: mpsc::UnboundedReceiver<Request>,
    handle: Handle,
}

impl Requests {
    /// Takes over the signals of this process.
    ///
    /// # Errors
    /// When the handlers or their thread cannot be set up.
    pub fn listen() -> io::Result<Requests> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
        let handle = signals.handle();
        let (outbox, inbox) = mpsc::unbounded_channel();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                if outbox.send(request(signal)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Requests { inbox, handle })
    }

    /// The next request. Waits for ever when the signal thread is gone.
    pub async fn next(&mut self) -> Request {
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

fn request(signal: i32) -> Request {
    match signal {
        SIGHUP => Request::Reload,
        SIGUSR1 => Request::PollAll,
        _ => Request::Stop,
    }
}
