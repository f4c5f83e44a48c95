//! A commit's cause as stored: it stands behind the fields of each of its blocks.

use serde::{Deserialize, Serialize};

use super::audit::StoredActor;
use super::block::Block;
use super::engine::Row;
use super::error::Trouble;
use super::row;
use crate::model::Cause;

/// [`Cause`] as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum StoredCause {
    #[default]
    Unknown,
    First,
    Crawl {
        full: bool,
    },
    Approval {
        hold: String,
        by: StoredActor,
    },
    Removed,
    Rebuilt,
    Daemon,
}

impl Block {
    /// The payload of its row: the fields, then the cause.
    pub(super) fn encode(&self) -> Result<Vec<u8>, Trouble> {
        let mut bytes = row::encode(self)?;
        bytes.extend(row::encode(&self.cause)?);
        Ok(bytes)
    }

    /// The block in a row.
    pub(super) fn read(found: &Row) -> Result<Block, Trouble> {
        Block::decode(&found.key, found.bytes())
    }

    /// What [`Block::encode`] wrote for the row at `key`. Blocks that end with
    /// their fields are older than the keeping of causes.
    pub(super) fn decode(key: &[u8], payload: &[u8]) -> Result<Block, Trouble> {
        let (mut block, cause): (Block, &[u8]) = postcard::take_from_bytes(payload)
            .map_err(|e| row::damaged(key, &format!("it does not decode: {e}")))?;
        if !cause.is_empty() {
            block.cause = row::decode(key, cause)?;
        }
        Ok(block)
    }
}

impl From<&Cause> for StoredCause {
    fn from(cause: &Cause) -> StoredCause {
        match cause {
            Cause::Unknown => StoredCause::Unknown,
            Cause::First => StoredCause::First,
            Cause::Crawl { full } => StoredCause::Crawl { full: *full },
            Cause::Approval { hold, by } => {
                StoredCause::Approval { hold: hold.clone(), by: by.into() }
            }
            Cause::Removed => StoredCause::Removed,
            Cause::Rebuilt => StoredCause::Rebuilt,
            Cause::Daemon => StoredCause::Daemon,
        }
    }
}

impl From<StoredCause> for Cause {
    fn from(stored: StoredCause) -> Cause {
        match stored {
            StoredCause::Unknown => Cause::Unknown,
            StoredCause::First => Cause::First,
            StoredCause::Crawl { full } => Cause::Crawl { full },
            StoredCause::Approval { hold, by } => Cause::Approval { hold, by: by.into() },
            StoredCause::Removed => Cause::Removed,
            StoredCause::Rebuilt => Cause::Rebuilt,
            StoredCause::Daemon => Cause::Daemon,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Actor;

    fn block(cause: &Cause) -> Block {
        let directory = "corp".to_owned();
        Block { number: 7, commit: 3, directory, cause: cause.into(), ..Block::default() }
    }

    #[test]
    fn every_cause_comes_back() {
        let by = Actor::Process { uid: 0, gid: Some(0), pid: None };
        for cause in [
            Cause::Unknown,
            Cause::First,
            Cause::Crawl { full: true },
            Cause::Crawl { full: false },
            Cause::Approval { hold: "h_1".into(), by },
            Cause::Removed,
            Cause::Rebuilt,
            Cause::Daemon,
        ] {
            let bytes = block(&cause).encode().unwrap();
            let read = Block::decode(b"j", &bytes).unwrap();
            assert_eq!(read, block(&cause));
            assert_eq!(Cause::from(read.cause), cause);
        }
    }

    #[test]
    fn a_block_without_a_cause_is_an_older_one_and_a_broken_cause_is_damage() {
        let mut bytes = row::encode(&block(&Cause::Removed)).unwrap();
        assert_eq!(Block::decode(b"j", &bytes).unwrap(), block(&Cause::Unknown));
        bytes.push(99);
        assert!(matches!(Block::decode(b"j", &bytes), Err(Trouble::Damaged(_))));
    }
}
