//! HTTP/2 without TLS, for gRPC and whoever else prefers it.
//!
//! A connection is HTTP/1.1 until its first bytes turn out to be the preface
//! of HTTP/2 (RFC 9113, section 3.3: "prior knowledge"). The HTTP/1.1 server
//! stumbles over exactly these bytes and hands the connection back, so that
//! telling the two apart costs those who speak HTTP/1.1 nothing.
//!
//! All streams of a connection run on the connection's own task. A client
//! costs as many requests as it may have open streams, and each of them what
//! a request costs over HTTP/1.1.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::service::Service;
use super::watched::Watched;
use crate::task::Shutdown;

/// What every client sends first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Requests that one client may have open at a time.
const STREAMS_MAX: u32 = 64;
/// What the head of a request may take, as for HTTP/1.1.
const HEAD_BYTES_MAX: u32 = 16 << 10;
/// What a client may send of one body before it is taken in, and of all.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// What is taken from an answer before the client makes room for it.
const SEND_BYTES_MAX: usize = 64 << 10;
/// Streams that were reset before they were answered, or broke the protocol:
/// more of them end the connection (CVE-2023-44487).
const RESET_STREAMS_MAX: usize = 20;
const FAULTY_STREAMS_MAX: usize = 100;

/// Serves a connection whose first bytes were read already; at shutdown only
/// what is under way.
///
/// # Errors
/// When it breaks off, or breaks the protocol.
pub async fn converse<S>(
    stream: Watched<S>,
    read: Bytes,
    service: Service,
    shutdown: &Shutdown,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    service.activity.share();
    let begun = Begun::default();
    let io = TokioIo::new(ReadAhead { read, stream });
    let mut connection = pin!(builder(&begun).serve_connection(io, service));
    let mut running = FuturesUnordered::new();
    let mut stopping = pin!(shutdown.requested());
    let mut stopped = false;
    std::future::poll_fn(|cx| {
        if !stopped && stopping.as_mut().poll(cx).is_ready() {
            stopped = true;
            connection.as_mut().graceful_shutdown();
        }
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            running.extend(begun.take());
            let mut ended = 0;
            while let Poll::Ready(Some(())) = running.poll_next_unpin(cx) {
                ended += 1;
            }
            if ended == 0 {
                return Poll::Pending;
            }
            // What they left is sent by the connection.
        }
    })
    .await
}

fn builder(begun: &Begun) -> http2::Builder<Begun> {
    let mut builder = http2::Builder::new(begun.clone());
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BYTES_MAX)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .max_local_error_reset_streams(FAULTY_STREAMS_MAX);
    builder
}

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Streams that were opened and not yet looked at.
#[derive(Clone, Default)]
struct Begun(Arc<Mutex<Vec<Running>>>);

impl Begun {
    fn take(&self) -> Vec<Running> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Begun {
    fn execute(&self, stream: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(stream));
    }
}

/// A stream of which some was read already.
struct ReadAhead<S> {
    read: Bytes,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read[..count]);
        self.read.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
