//! The pause before less is asked for: GitHub was too busy for more, and
//! asking again at once keeps it so.

use super::graphql::Trouble;
use crate::clock::Duration;
use crate::provider::pulse;
use crate::retry::Growing;

const FIRST: Duration = Duration::from_millis(500);
const MAX: Duration = Duration::from_secs(10);

/// Longer with each failure in a row.
pub struct Pause(Growing);

impl Default for Pause {
    fn default() -> Pause {
        Pause(Growing::new(FIRST, MAX))
    }
}

impl Pause {
    /// Waits, when it was too much that was asked for.
    pub async fn after(&mut self, trouble: &Trouble) {
        if matches!(trouble, Trouble::Heavy(_)) {
            tokio::time::sleep(self.0.next(fastrand::f64())).await;
            pulse::beat();
        }
    }

    /// All went well.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}
