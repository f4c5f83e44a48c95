//! Bundles as OPA reads them: a tar archive, compressed, with a manifest.
//!
//! Source: "Bundles" in the documentation of OPA: `data.json` at the root of the
//! archive is the root of `data`; `patch.json` makes a bundle a delta; roots
//! say which part of `data` is the bundle's own, so that policies can come from
//! another one, and a delta names the same roots as the snapshot before it.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde_json::json;

use super::document::Document;
use super::feed::State;
use super::patch::{Dialect, Op};
use super::revision::Revision;

/// Writes the whole as a bundle.
///
/// # Errors
/// Those of the writer, or when a record is damaged.
pub fn write_bundle(state: &State, out: impl Write) -> io::Result<()> {
    let data = Data { rosterd: Document(state) };
    // A tar archive says how long a file is before the file: it is written
    // twice, the first time to nowhere. The same view gives the same bytes.
    let mut length = Counted { out: io::sink(), bytes: 0 };
    serde_json::to_writer(&mut length, &data)?;
    let mut out = started(state.revision, out)?;
    out.write_all(header("data.json", length.bytes)?.as_bytes())?;
    let mut body = Counted { out: io::BufWriter::with_capacity(64 << 10, out), bytes: 0 };
    serde_json::to_writer(&mut body, &data)?;
    if body.bytes != length.bytes {
        return Err(io::Error::other("the document came out in two lengths"));
    }
    let out = body.out.into_inner().map_err(io::IntoInnerError::into_error)?;
    ended(out, length.bytes)
}

/// A bundle of what changed.
///
/// # Errors
/// When it cannot be compressed.
pub fn delta_bundle(ops: &[Op], revision: Revision) -> io::Result<Vec<u8>> {
    let ops: Vec<_> = ops.iter().map(|op| op.body(Dialect::Bundle)).collect();
    let patch = serde_json::to_vec(&json!({ "data": ops }))?;
    let mut bytes = Vec::new();
    let mut out = started(revision, &mut bytes)?;
    let length = u64::try_from(patch.len()).map_err(io::Error::other)?;
    out.write_all(header("patch.json", length)?.as_bytes())?;
    out.write_all(&patch)?;
    ended(out, length)?;
    Ok(bytes)
}

#[derive(Serialize)]
struct Data<'s> {
    rosterd: Document<'s>,
}

/// Fast: the listener is on this very host.
fn started<W: Write>(revision: Revision, out: W) -> io::Result<GzEncoder<W>> {
    let mut out = GzEncoder::new(out, Compression::fast());
    let manifest = json!({ "revision": revision.to_string(), "roots": ["rosterd"] }).to_string();
    let length = u64::try_from(manifest.len()).map_err(io::Error::other)?;
    out.write_all(header(".manifest", length)?.as_bytes())?;
    out.write_all(manifest.as_bytes())?;
    pad(&mut out, length)?;
    Ok(out)
}

fn ended<W: Write>(mut out: GzEncoder<W>, length: u64) -> io::Result<()> {
    pad(&mut out, length)?;
    // Two empty blocks end an archive.
    out.write_all(&[0; 1024])?;
    out.finish()?.flush()
}

fn header(name: &str, length: u64) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(length);
    header.set_mode(0o644);
    header.set_cksum();
    Ok(header)
}

/// Files fill blocks of 512 bytes.
fn pad(out: &mut impl Write, length: u64) -> io::Result<()> {
    let over = usize::try_from(length % 512).unwrap_or_default();
    out.write_all(&[0; 512][..(512 - over) % 512])
}

struct Counted<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
