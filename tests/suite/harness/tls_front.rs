//! Ends TLS in front of a plain server of the tests.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use super::tls::Tls;

/// Listens with TLS and leads to a plain port; stopped when dropped.
#[derive(Debug)]
pub struct TlsFront {
    port: u16,
    _runtime: Runtime,
}

impl TlsFront {
    /// In front of `port` of loopback, with the certificate of `tls`.
    pub fn before(port: u16, tls: &Tls) -> TlsFront {
        let acceptor = acceptor(&tls.certificate, &tls.key);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .expect("a free loopback port");
        let front = listener.local_addr().expect("a bound socket has an address").port();
        let handle = runtime.handle().clone();
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                handle.spawn(converse(client, acceptor.clone(), port));
            }
        });
        TlsFront { port: front, _runtime: runtime }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

async fn converse(client: TcpStream, acceptor: TlsAcceptor, port: u16) {
    let Ok(mut client) = acceptor.accept(client).await else { return };
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    let _broken_off = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

fn acceptor(certificate: &Path, key: &Path) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(certificate).expect("a readable file");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of the provider")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate that fits its key");
    TlsAcceptor::from(Arc::new(config))
}
