//! How far readers of the journal are that tell others: webhook endpoints, with
//! what people or failures made of them, and writers to databrokers.

use serde::{Deserialize, Serialize};

use super::engine::Batch;
use super::{Store, StoreError, row};
use crate::clock::Timestamp;

/// Where a webhook endpoint is in the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRow {
    /// Every event up to it was accepted or filtered out; 0 before the first.
    pub seq: u64,
    /// What is done beyond it, where events overtake each other.
    pub beyond: Option<Beyond>,
    /// Deliveries that failed and are not done, the oldest first.
    pub failing: Vec<FailingRow>,
    /// Nothing is sent until a person says so.
    pub paused: bool,
    /// The same, and the daemon decided it.
    pub disabled: Option<DisabledRow>,
    /// Ranges that are sent once more, before anything else.
    pub replays: Vec<ReplayRow>,
}

/// Of the events up to `read`, only `unfinished` are still to be delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beyond {
    pub read: u64,
    /// Ascending.
    pub unfinished: Vec<u64>,
}

/// A delivery that is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailingRow {
    /// Its first and last event.
    pub first: u64,
    pub last: u64,
    /// Failures in a row.
    pub failures: u32,
    /// When the first of them was.
    #[serde(with = "moment")]
    pub since: Timestamp,
}

/// Why an endpoint gets nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisabledRow {
    #[serde(with = "moment")]
    pub at: Timestamp,
    /// Since when deliveries had failed.
    #[serde(with = "moment")]
    pub failing_since: Timestamp,
    pub reason: String,
    /// The event about it is yet to be told, or stands after this seq.
    pub untold_after: Option<u64>,
}

/// Events `next..=to` are sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayRow {
    pub next: u64,
    pub to: u64,
}

/// Where a writer to a databroker is: what it wrote equals the directories at
/// `seq`, as of the databroker's `record_version`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabrokerRow {
    pub seq: u64,
    /// Of the databroker's storage: another one holds nothing of this.
    pub server_version: u64,
    pub record_version: u64,
    /// Of the settings that decide what is written.
    pub settings: String,
}

impl Store {
    /// How far a writer to a databroker is; `None` when it never was anywhere.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn databroker(&self, writer: &str) -> Result<Option<DatabrokerRow>, StoreError> {
        self.mend()?;
        self.on_engine(|engine| match engine.get(&row::databroker(writer))? {
            Some(row) => row.decode().map(Some),
            None => Ok(None),
        })
    }

    /// Remembers how far a writer to a databroker is, as
    /// [`Store::set_delivery`] does for webhooks.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_databroker(&self, writer: &str, row: &DatabrokerRow) -> Result<(), StoreError> {
        self.mend()?;
        self.on_engine(|engine| {
            let mut batch = Batch::default();
            batch.put_encoded(row::databroker(writer), row)?;
            engine.write(&mut batch)?;
            engine.flush()
        })
    }

    /// How far a webhook endpoint is; `None` when it never was anywhere.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn delivery(&self, endpoint: &str) -> Result<Option<DeliveryRow>, StoreError> {
        self.mend()?;
        self.on_engine(|engine| match engine.get(&row::delivery(endpoint))? {
            Some(row) => row.decode().map(Some),
            None => Ok(None),
        })
    }

    /// Remembers how far a webhook endpoint is. Survives the process; a power
    /// cut may take back the last ones, so that events are delivered again.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_delivery(&self, endpoint: &str, delivery: &DeliveryRow) -> Result<(), StoreError> {
        self.mend()?;
        self.on_engine(|engine| {
            let mut batch = Batch::default();
            batch.put_encoded(row::delivery(endpoint), delivery)?;
            engine.write(&mut batch)?;
            engine.flush()
        })
    }
}

/// Moments in rows, as milliseconds.
mod moment {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::clock::Timestamp;

    pub fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        at.0.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        u64::deserialize(from).map(Timestamp)
    }
}
