//! A TCP proxy on loopback that does to connections what networks do: toxics in
//! the words of toxiproxy, which hold for connections made while they are set.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What becomes of the bytes that the server sends.
#[derive(Clone, Debug)]
pub enum Toxic {
    /// Every piece comes so much later.
    Latency(Duration),
    /// After so many bytes nothing comes any more, and nothing is closed.
    Stall { after: u64 },
    /// After so many bytes the connection is reset (RST).
    ResetPeer { after: u64 },
    /// After so many bytes the connection is closed in good order (FIN).
    LimitData { after: u64 },
    /// They come in pieces of so many bytes.
    Slicer { size: usize },
    /// What a byte becomes, from its place in the stream.
    Corrupt(Damage),
    /// No connection is made at all: the port is closed.
    Refuse,
}

/// Which byte is damaged, and how.
#[derive(Clone, Copy, Debug)]
pub enum Damage {
    /// One bit of the byte at this place flips.
    Flip { at: u64 },
    /// The first byte like `from` at or after this place becomes `to`.
    Replace { at: u64, from: u8, to: u8 },
    /// The byte at this place is left out.
    Lose { at: u64 },
}

/// The proxy; dropping it closes everything.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    toxic: Mutex<Option<Toxic>>,
    connections: Mutex<Vec<TcpStream>>,
    is_over: AtomicBool,
}

impl FaultProxy {
    /// Listens on a port of its own and leads to `port` of loopback.
    pub fn before(port: u16) -> FaultProxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            upstream: (Ipv4Addr::LOCALHOST, port).into(),
            toxic: Mutex::default(),
            connections: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || serve(&listener, &serving));
        FaultProxy { address, shared }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections of before end; those made from now on suffer from `toxic`.
    pub fn set(&self, toxic: Toxic) {
        *lock(&self.shared.toxic) = Some(toxic);
        self.shared.close_all();
    }

    /// The fault has ended; connections that suffer from it are closed.
    pub fn clear(&self) {
        *lock(&self.shared.toxic) = None;
        self.shared.close_all();
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.shared.close_all();
        // Wakes the thread that accepts.
        let _refused = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn close_all(&self) {
        for connection in lock(&self.connections).drain(..) {
            let _closed_already = connection.shutdown(Shutdown::Both);
        }
    }
}

fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming().map_while(Result::ok) {
        if shared.is_over.load(Ordering::Relaxed) {
            return;
        }
        let toxic = lock(&shared.toxic).clone();
        if matches!(toxic, Some(Toxic::Refuse)) {
            reset(&client);
            continue;
        }
        let Ok(server) = TcpStream::connect(shared.upstream) else { continue };
        let streams = [&client, &server].map(|stream| stream.try_clone().expect("a descriptor"));
        lock(&shared.connections).extend(streams);
        let twin = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
        let (from_client, to_server) = (twin(&client), twin(&server));
        std::thread::spawn(move || pass(from_client, to_server, None));
        std::thread::spawn(move || pass(server, client, toxic));
    }
}

/// Hands bytes on until one side ends.
fn pass(mut from: TcpStream, mut to: TcpStream, toxic: Option<Toxic>) {
    let mut buffer = vec![0; 16 << 10];
    let mut at = 0_u64;
    let mut damage = match toxic {
        Some(Toxic::Corrupt(damage)) => Some(damage),
        _ => None,
    };
    loop {
        let count = match from.read(&mut buffer) {
            Ok(count) if count > 0 => count,
            _ => break,
        };
        let mut piece = buffer[..count].to_vec();
        let end = match toxic {
            Some(
                Toxic::Stall { after } | Toxic::ResetPeer { after } | Toxic::LimitData { after },
            ) => Some(usize::try_from(after.saturating_sub(at)).unwrap_or(usize::MAX)),
            _ => None,
        };
        piece.truncate(end.unwrap_or(usize::MAX));
        if let Some(Toxic::Latency(delay)) = toxic {
            std::thread::sleep(delay);
        }
        corrupt(&mut piece, at, &mut damage);
        at += count as u64;
        let size = if let Some(Toxic::Slicer { size }) = toxic { size } else { usize::MAX };
        if piece.chunks(size).any(|slice| to.write_all(slice).is_err()) {
            break;
        }
        if end.is_some_and(|end| end <= count) {
            return end_with(toxic, &mut from, &to);
        }
    }
    let _closed_already = to.shutdown(Shutdown::Write);
    let _closed_already = from.shutdown(Shutdown::Read);
}

fn end_with(toxic: Option<Toxic>, from: &mut TcpStream, to: &TcpStream) {
    match toxic {
        Some(Toxic::ResetPeer { .. }) => reset(to),
        Some(Toxic::Stall { .. }) => {
            // Swallows the rest until the connection ends.
            let _ended = std::io::copy(from, &mut std::io::sink());
        }
        _ => {
            let _closed_already = to.shutdown(Shutdown::Both);
        }
    }
    let _closed_already = from.shutdown(Shutdown::Both);
}

/// Makes the peer see a reset: closing with nothing to linger for sends one,
/// once the last descriptor is gone; a later write of the peer meets one too.
fn reset(stream: &TcpStream) {
    let _closed_already = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
    // AF_UNSPEC dissolves the association at once, however many descriptors there are.
    let _closed_already = rustix::net::connect_unspec(stream);
}

/// Damages what lies in this piece; each connection is damaged once.
fn corrupt(piece: &mut Vec<u8>, start: u64, damage: &mut Option<Damage>) {
    let Some(what) = *damage else { return };
    let place = |at: u64| {
        let index = usize::try_from(at.checked_sub(start)?).ok()?;
        (index < piece.len()).then_some(index)
    };
    let found = match what {
        Damage::Flip { at } | Damage::Lose { at } => place(at),
        Damage::Replace { at, from, .. } => {
            let skip = usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
            piece.iter().enumerate().skip(skip).find(|(_, byte)| **byte == from).map(|(i, _)| i)
        }
    };
    let Some(index) = found else { return };
    match what {
        Damage::Flip { .. } => piece[index] ^= 0x10,
        Damage::Replace { to, .. } => piece[index] = to,
        Damage::Lose { .. } => drop(piece.remove(index)),
    }
    *damage = None;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `alphabet` to whoever connects, and ends.
    fn alphabet() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                let _reset = client.write_all(b"abcdefghijklmnopqrstuvwxyz");
            }
        });
        port
    }

    fn read_through(proxy: &FaultProxy) -> (Vec<u8>, Option<std::io::ErrorKind>) {
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut bytes = Vec::new();
        let end = stream.read_to_end(&mut bytes).err().map(|error| error.kind());
        (bytes, end)
    }

    #[test]
    fn every_toxic_does_what_its_name_says() {
        use std::io::ErrorKind::{ConnectionReset, WouldBlock};
        let proxy = FaultProxy::before(alphabet());
        let whole: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
        let text = |toxic: Toxic| {
            proxy.set(toxic);
            read_through(&proxy)
        };
        assert_eq!(read_through(&proxy), (whole.to_vec(), None));
        assert_eq!(text(Toxic::Slicer { size: 3 }), (whole.to_vec(), None));
        assert_eq!(text(Toxic::Latency(Duration::from_millis(1))), (whole.to_vec(), None));
        assert_eq!(text(Toxic::LimitData { after: 3 }), (b"abc".to_vec(), None));
        assert_eq!(text(Toxic::Stall { after: 3 }), (b"abc".to_vec(), Some(WouldBlock)));
        // What is on its way when a reset comes may be lost with it.
        assert_eq!(text(Toxic::ResetPeer { after: 3 }).1, Some(ConnectionReset));
        assert_eq!(text(Toxic::Refuse).1, Some(ConnectionReset));
        let damaged = |damage| text(Toxic::Corrupt(damage)).0;
        assert_eq!(damaged(Damage::Flip { at: 1 })[..4], *b"arcd");
        assert_eq!(damaged(Damage::Lose { at: 1 })[..3], *b"acd");
        assert_eq!(damaged(Damage::Replace { at: 1, from: b'd', to: b'!' })[..5], *b"abc!e");
        proxy.clear();
        assert_eq!(read_through(&proxy), (whole.to_vec(), None));
    }
}
