//! A vendor's API in this process: HTTP/1.1 on loopback, a world behind it
//! that tests change, and everything that goes wrong between the two.
//!
//! What the API says is up to an [`Api`]; how HTTP fails is up to
//! [`VendorServer::arm`].

mod connection;
mod hazard;
mod message;

use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use rosterd::clock::Instant;
use serde_json::Value;

pub use self::hazard::{Armed, Hazard, When};
pub use self::message::{Body, Request, Response};

/// What a vendor answers.
pub trait Api: Send + 'static {
    fn answer(&mut self, request: &Request) -> Response;

    /// The vendor's own way to say: too many requests. To announce a short
    /// wait, fractions of a second where the vendor's format knows them.
    fn throttled(&mut self, _request: &Request) -> Response {
        Response::new(429).header("retry-after", "1")
    }

    /// The vendor's own way to fail.
    fn server_error(&mut self, _request: &Request) -> Response {
        Response::new(503)
    }

    /// The vendor's own way to refuse a credential.
    fn refused(&mut self, _request: &Request) -> Response {
        Response::new(401)
    }
}

/// A request that came, and how it was answered.
#[derive(Clone, Debug)]
pub struct Seen {
    pub request: Request,
    /// 0: none.
    pub status: u16,
    /// When it had come whole.
    pub received: Instant,
    /// What was done to it.
    pub hazard: Option<Hazard>,
}

impl Seen {
    /// `GET /users`.
    pub fn line(&self) -> String {
        format!("{} {}", self.request.method, self.request.path)
    }
}

/// A request and the JSON that answered it, for `schema::validate`.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub request: Request,
    pub status: u16,
    pub body: Value,
}

/// The server; dropping it stops it.
pub struct VendorServer<A> {
    shared: Arc<Shared<A>>,
}

struct Shared<A> {
    port: u16,
    /// Where clients find it, when that is somewhere else.
    known_as: OnceLock<String>,
    /// Held while a request is answered: requests see one world after another.
    api: Mutex<A>,
    books: Mutex<Books<A>>,
    /// Rung when hazards are disarmed, and at the end.
    bell: Condvar,
}

struct Books<A> {
    seen: Vec<Seen>,
    armed: Vec<Armed<A>>,
    /// Counts what was armed, ever.
    arms: usize,
    exchanges: Option<Vec<Exchange>>,
    connections: Vec<TcpStream>,
    is_over: bool,
}

impl<A: Api> VendorServer<A> {
    /// Serves `api` on a free port of loopback.
    pub fn start(api: A) -> VendorServer<A> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let books = Books {
            seen: Vec::new(),
            armed: Vec::new(),
            arms: 0,
            exchanges: None,
            connections: Vec::new(),
            is_over: false,
        };
        let shared = Arc::new(Shared {
            port,
            known_as: OnceLock::new(),
            api: Mutex::new(api),
            books: Mutex::new(books),
            bell: Condvar::new(),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || connection::listen(&listener, &serving));
        VendorServer { shared }
    }

    /// `http://127.0.0.1:PORT`, without a slash at its end.
    pub fn url(&self) -> String {
        self.shared.url()
    }

    pub fn port(&self) -> u16 {
        self.shared.port
    }

    /// Clients come through a proxy at `url`: links lead there.
    pub fn known_as(&self, url: String) {
        self.shared.known_as.set(url).expect("it is said once");
    }

    /// Looks at the world, or changes it.
    pub fn with<R>(&self, look: impl FnOnce(&mut A) -> R) -> R {
        look(&mut self.shared.api())
    }

    /// Every request since the start, or since [`VendorServer::forget`].
    pub fn log(&self) -> Vec<Seen> {
        self.shared.books().seen.clone()
    }

    /// How many requests the log holds that `matching` likes.
    pub fn count(&self, matching: impl Fn(&Request) -> bool) -> usize {
        self.shared.books().seen.iter().filter(|seen| matching(&seen.request)).count()
    }

    /// Empties the log.
    pub fn forget(&self) {
        self.shared.books().seen.clear();
    }

    /// From now on `hazard` happens to the requests that `when` means. The
    /// earliest armed that fits a request is the one that fires.
    /// Hands back a number for [`VendorServer::fired`].
    pub fn arm(&self, hazard: Hazard, when: When) -> usize {
        self.shared.arm(hazard::Deed::Hazard(hazard), when)
    }

    /// Changes the world right before the requests that `when` means.
    pub fn meanwhile(&self, when: When, change: impl FnMut(&mut A) + Send + 'static) -> usize {
        self.shared.arm(hazard::Deed::Change(Box::new(change)), when)
    }

    /// How often what was armed has happened; also after it was disarmed.
    pub fn fired(&self, armed: usize) -> usize {
        self.shared.books().armed[armed].fired
    }

    /// Nothing that was armed happens any more; stalled requests are cut off.
    pub fn disarm(&self) {
        self.shared.books().armed.iter_mut().for_each(|armed| armed.is_live = false);
        self.shared.bell.notify_all();
    }

    /// Keeps requests with the JSON that answered them from now on.
    pub fn record(&self) {
        self.shared.books().exchanges = Some(Vec::new());
    }

    /// What was kept, in the order of answering.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.shared.books().exchanges.clone().expect("`record` was called")
    }
}

impl<A> Drop for VendorServer<A> {
    fn drop(&mut self) {
        let mut books = self.shared.books();
        books.is_over = true;
        for connection in &books.connections {
            let _already_closed = connection.shutdown(Shutdown::Both);
        }
        drop(books);
        self.shared.bell.notify_all();
        // Wakes the thread that accepts.
        let _refused = TcpStream::connect((Ipv4Addr::LOCALHOST, self.shared.port));
    }
}

impl<A> Shared<A> {
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What links begin with.
    fn base(&self) -> String {
        self.known_as.get().cloned().unwrap_or_else(|| self.url())
    }

    /// A test that panicked while it held the world shall not hide its reason.
    fn api(&self) -> MutexGuard<'_, A> {
        self.api.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn books(&self) -> MutexGuard<'_, Books<A>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arm(&self, deed: hazard::Deed<A>, when: When) -> usize {
        let mut books = self.books();
        let number = books.arms;
        books.arms += 1;
        books.armed.push(Armed::new(deed, when));
        number
    }
}

#[cfg(test)]
mod tests;
