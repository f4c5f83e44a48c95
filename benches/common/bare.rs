//! The floor of every answer over a socket: hyper alone.

use std::convert::Infallible;
use std::os::unix::net::UnixListener;
use std::path::Path;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

/// What hyper alone costs: reads a request, answers with bytes that are there.
pub fn start_bare(socket: &Path, length: usize) {
    let listener = UnixListener::bind(socket).expect("binds");
    listener.set_nonblocking(true).expect("nonblocking");
    let body = Bytes::from(vec![b'x'; length]);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let thread = std::thread::Builder::new().name("bare".to_owned());
    let serve = move || {
        runtime.block_on(async move {
            let listener = tokio::net::UnixListener::from_std(listener).expect("a listener");
            loop {
                let (stream, _) = listener.accept().await.expect("accepts");
                let body = body.clone();
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                        let body = body.clone();
                        async move {
                            // A body that is not read costs the connection.
                            let _ = request.into_body().collect().await;
                            let response =
                                Response::builder().header("content-type", "application/json");
                            Ok::<_, Infallible>(response.body(Full::new(body)).expect("a response"))
                        }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
    };
    thread.spawn(serve).expect("a thread");
}
