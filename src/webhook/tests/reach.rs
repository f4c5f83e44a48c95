//! Whom deliveries may reach, and whom they trust.

use super::*;

#[tokio::test]
async fn w8_a_destination_on_this_host_is_refused_unless_allowed() {
    let receiver = Receiver::start().await;
    let config = WebhookConfig { reach: address::Reach::Public, ..receiver.config("audit", "") };
    let error = client::Client::new(&config).err().unwrap();
    assert!(error.contains("allow_private") && !error.contains("classified"), "{error}");
    // By name: refused when the name is resolved, at every attempt.
    let mut by_name = config.clone();
    by_name.url.set_host(Some("localhost")).unwrap();
    let client = client::Client::new(&by_name).unwrap();
    let outcome = client.send("evt_1", b"{}".to_vec(), clock::now()).await.outcome;
    let client::Outcome::Failed { reason, .. } = outcome else { panic!("it was sent") };
    assert!(reason.contains("private network") && !reason.contains("classified"), "{reason}");
    assert_eq!(receiver.attempts(), 0);
}

#[tokio::test]
async fn tls_trusts_the_given_authority_and_no_other() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let _serving = task::spawn("TLS receiver", async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _read = stream.read(&mut [0; 4096]).await;
            let _written = stream.write_all(b"HTTP/1.1 204 x\r\nconnection: close\r\n\r\n").await;
        }
    });
    let mut config = config("audit", &url, "allow_private = true");
    config.ca = Some(made.cert.pem().into_bytes());
    let send = async |config: &WebhookConfig| {
        let client = client::Client::new(config).unwrap();
        client.send("evt_1", b"{}".to_vec(), clock::now()).await.outcome
    };
    assert_eq!(send(&config).await, client::Outcome::Accepted);
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    config.ca = Some(other.cert.pem().into_bytes());
    let client::Outcome::Failed { reason, .. } = send(&config).await else { panic!("trusted") };
    assert!(reason.contains("certificate"), "{reason}");
    config.ca = Some(b"none".to_vec());
    assert!(client::Client::new(&config).is_err());
}
