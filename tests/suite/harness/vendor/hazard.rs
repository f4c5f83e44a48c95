//! What goes wrong between a vendor and its clients, and when.

use super::message::Request;

/// Something that HTTP does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hazard {
    /// `Api::throttled` answers.
    Throttle,
    /// `Api::server_error` answers.
    ServerError,
    /// `Api::refused` answers.
    Refuse,
    /// The request is carried out; the connection ends without an answer.
    CutBeforeHeaders,
    /// The declared length, half the body, and the end of the connection.
    CutInBody,
    /// All of HTTP, and the first half of the JSON.
    TruncatedJson,
    /// 200 with a page to sign in.
    NotJson,
    /// No answer until it is disarmed; then the connection ends.
    Stall,
}

/// Which requests are meant.
pub struct When {
    skip: usize,
    times: usize,
    matching: Box<dyn Fn(&Request) -> bool + Send>,
}

impl When {
    /// The next `times` requests in a row.
    pub fn next(times: usize) -> When {
        When { skip: 0, times, matching: Box::new(|_| true) }
    }

    /// The `n`th from now, beginning with 1.
    pub fn nth(n: usize) -> When {
        When { skip: n.saturating_sub(1), ..When::next(1) }
    }

    /// Every one from the `n`th on, beginning with 1, until disarmed.
    pub fn from(n: usize) -> When {
        When { times: usize::MAX, ..When::nth(n) }
    }

    /// Every one that `matching` likes, until disarmed.
    pub fn matching(matching: impl Fn(&Request) -> bool + Send + 'static) -> When {
        When::from(1).only(matching)
    }

    /// Counts, and means, only requests that `matching` likes.
    pub fn only(self, matching: impl Fn(&Request) -> bool + Send + 'static) -> When {
        When { matching: Box::new(matching), ..self }
    }

    /// Ends after so many.
    pub fn times(self, times: usize) -> When {
        When { times, ..self }
    }
}

pub(super) enum Deed<A> {
    Hazard(Hazard),
    Change(Box<dyn FnMut(&mut A) + Send>),
}

/// A deed that waits for its requests.
pub struct Armed<A> {
    pub(super) deed: Deed<A>,
    when: When,
    pub(super) fired: usize,
    pub(super) is_live: bool,
}

impl<A> Armed<A> {
    pub(super) fn new(deed: Deed<A>, when: When) -> Armed<A> {
        Armed { deed, when, fired: 0, is_live: true }
    }

    /// Counts `request`; whether it is one of those that are meant.
    pub(super) fn is_due(&mut self, request: &Request) -> bool {
        if !self.is_live || self.fired >= self.when.times || !(self.when.matching)(request) {
            return false;
        }
        if self.when.skip > 0 {
            self.when.skip -= 1;
            return false;
        }
        true
    }
}
