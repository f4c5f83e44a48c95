//! How fast one credential may ask: at most `quota_share` of what the vendor
//! allows, in turn, and never before a time that the vendor named.
//!
//! The vendor's limit is taken over a sliding window, so whenever its own
//! window starts, no more than the share falls into it. The first half of the
//! share may go at once; then requests are spaced so that the rest lasts.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use url::Url;

use super::call::Call;
use super::config::HttpConfig;
use super::vendor::{Quota, Scope};
use crate::clock::{self, Duration, Instant, Timestamp};
use crate::provider::pulse;

/// What the vendor documents, until its headers say otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowance {
    pub bucket: &'static str,
    /// In the vendor's units.
    pub units: f64,
    pub per: Duration,
}

/// Shared by all who use one credential at one origin, also in several
/// directories: the vendor counts them together.
#[derive(Clone)]
pub struct Budget {
    shared: Arc<Shared>,
    share: f64,
}

#[derive(Default)]
struct Shared {
    buckets: Mutex<BTreeMap<&'static str, Arc<Bucket>>>,
    /// Nothing goes anywhere before this.
    closed_until: Mutex<Option<Instant>>,
    allowances: Vec<Allowance>,
}

struct Bucket {
    /// Those who wait, in the order of their coming.
    turn: tokio::sync::Mutex<()>,
    meter: Mutex<Meter>,
}

/// Every budget in use, by a digest of origin and credential.
static BUDGETS: LazyLock<Mutex<HashMap<[u8; 32], Weak<Shared>>>> = LazyLock::new(Mutex::default);

impl Budget {
    /// The budget of a credential at `base`. `credential` are any bytes that
    /// tell it from others; only a digest of them is kept.
    pub fn of(
        config: &HttpConfig,
        base: &Url,
        credential: &[u8],
        allowances: &[Allowance],
    ) -> Budget {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        context.update(base.origin().ascii_serialization().as_bytes());
        context.update(&[0]);
        context.update(credential);
        let key = context.finish().as_ref().first_chunk().copied().unwrap_or_default();
        let mut budgets = lock(&BUDGETS);
        budgets.retain(|_, shared| shared.strong_count() > 0);
        let shared = budgets.get(&key).and_then(Weak::upgrade).unwrap_or_else(|| {
            Arc::new(Shared { allowances: allowances.to_vec(), ..Shared::default() })
        });
        budgets.insert(key, Arc::downgrade(&shared));
        Budget { shared, share: config.quota_share }
    }

    /// Waits until `call` may go, and counts it.
    ///
    /// # Errors
    /// When it may go, if that is further away than `patience`.
    pub(super) async fn admit(&self, call: &Call, patience: Duration) -> Result<(), Timestamp> {
        let bucket = self.bucket(call.bucket);
        let _turn = bucket.turn.lock().await;
        loop {
            let now = clock::instant();
            let wait = self
                .closed_for(now)
                .or_else(|| lock(&bucket.meter).admit(now, call.cost, self.share));
            match wait {
                None => return Ok(()),
                Some(wait) if wait > patience => return Err(clock::now().plus(wait)),
                Some(wait) => {
                    tokio::time::sleep(wait).await;
                    pulse::beat();
                }
            }
        }
    }

    /// Takes in what an answer said about the quota.
    pub(super) fn learn(&self, call: &Call, quota: &Quota) {
        let bucket = self.bucket(call.bucket);
        let (now, wall) = (clock::instant(), clock::now());
        lock(&bucket.meter).learn(now, wall, call.cost, quota, self.share);
    }

    /// Lets nothing through before `until`.
    pub(super) fn close(&self, call: &Call, until: Timestamp, scope: Scope) {
        let wait = Duration::from_millis(until.0.saturating_sub(clock::now().0));
        let until = clock::instant() + wait;
        match scope {
            Scope::All => {
                let mut closed = lock(&self.shared.closed_until);
                *closed = (*closed).max(Some(until));
            }
            Scope::Bucket => {
                let bucket = self.bucket(call.bucket);
                let mut meter = lock(&bucket.meter);
                meter.closed_until = meter.closed_until.max(Some(until));
            }
        }
        let bucket = self.bucket(call.bucket);
        lock(&bucket.meter).ease(clock::instant());
    }

    fn closed_for(&self, now: Instant) -> Option<Duration> {
        let until = (*lock(&self.shared.closed_until))?;
        until.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    fn bucket(&self, name: &'static str) -> Arc<Bucket> {
        let mut buckets = lock(&self.shared.buckets);
        let allowance = || self.shared.allowances.iter().find(|known| known.bucket == name);
        let make = || {
            let limit = allowance().map(|known| (known.units, known.per));
            Arc::new(Bucket {
                turn: tokio::sync::Mutex::default(),
                meter: Mutex::new(Meter::new(limit)),
            })
        };
        buckets.entry(name).or_insert_with(make).clone()
    }
}

/// The count of one bucket: pure, with the time handed in.
#[derive(Debug)]
struct Meter {
    /// Units a window, if anybody said.
    limit: Option<(f64, Duration)>,
    /// What we took in the running window, in slots of a part of it.
    spent: VecDeque<(Instant, f64)>,
    last: Option<Instant>,
    closed_until: Option<Instant>,
    /// Spaced out more than usual: by this factor, until then.
    eased: Option<(f64, Instant)>,
}

/// The window is cut into so many slots.
const SLOTS: u32 = 60;
/// The window of a limit that a vendor tells without having documented one.
const WINDOW: Duration = Duration::from_mins(1);
/// Of what the share leaves to others, this part is never touched, should they
/// have used up the rest.
const RESERVE: f64 = 0.2;
/// From this part of the limit on we slow down (Graph tells it from 0.8 on).
const PRESSURE_MIN: f64 = 0.8;

impl Meter {
    fn new(limit: Option<(f64, Duration)>) -> Meter {
        Meter { limit, spent: VecDeque::new(), last: None, closed_until: None, eased: None }
    }

    /// Counts a call that may go now; else says how long to wait.
    fn admit(&mut self, now: Instant, cost: f64, share: f64) -> Option<Duration> {
        if let Some(wait) = self.closed_until.and_then(|until| until.checked_duration_since(now))
            && !wait.is_zero()
        {
            return Some(wait);
        }
        if let Some((units, window)) = self.limit {
            self.forget(now, window);
            // A single call that is dearer than the share must still go some time.
            let cap = (units * share).max(cost);
            if let Some(wait) = self.until_room(now, window, cap - cost) {
                return Some(wait);
            }
            if let Some(wait) = self.until_spaced(now, window, cap, cost) {
                return Some(wait);
            }
            self.count(now, window / SLOTS, cost);
        }
        self.last = Some(now);
        None
    }

    fn learn(&mut self, now: Instant, wall: Timestamp, cost: f64, quota: &Quota, share: f64) {
        let window = self.limit.map_or(WINDOW, |(_, window)| window);
        if let Some(limit) = quota.limit.filter(|limit| *limit > 0.0) {
            self.limit = Some((limit, window));
        }
        if let Some(charged) = quota.charged.filter(|charged| *charged > cost) {
            self.count(now, window / SLOTS, charged - cost);
        }
        if quota.charged == Some(0.0) {
            self.give_back(cost);
        }
        if quota.pressure.is_some_and(|pressure| pressure >= PRESSURE_MIN) {
            self.ease(now);
        }
        let (Some((limit, _)), Some(remaining)) = (self.limit, quota.remaining) else { return };
        if remaining <= limit * (1.0 - share) * RESERVE
            && let Some(reset) = quota.reset
        {
            let wait = Duration::from_millis(reset.0.saturating_sub(wall.0));
            self.closed_until = self.closed_until.max(Some(now + wait));
        }
    }

    /// Goes at half the pace for a while.
    fn ease(&mut self, now: Instant) {
        let window = self.limit.map_or(WINDOW, |(_, window)| window.min(WINDOW));
        let factor = self.eased.filter(|(_, until)| *until > now).map_or(2.0, |(factor, _)| factor);
        self.eased = Some(((factor * 1.5).min(8.0), now + window));
    }

    fn forget(&mut self, now: Instant, window: Duration) {
        while self.spent.front().is_some_and(|(at, _)| *at + window <= now) {
            self.spent.pop_front();
        }
    }

    fn count(&mut self, now: Instant, slot: Duration, cost: f64) {
        match self.spent.back_mut() {
            // Counted at the end of its slot, so never forgotten too early.
            Some((at, units)) if *at >= now => *units += cost,
            _ => self.spent.push_back((now + slot, cost)),
        }
    }

    /// What was counted for a call that cost nothing after all.
    fn give_back(&mut self, mut cost: f64) {
        for (_, units) in self.spent.iter_mut().rev() {
            let part = cost.min(*units);
            *units -= part;
            cost -= part;
        }
    }

    /// Until no more than `room` is spent within the window.
    fn until_room(&self, now: Instant, window: Duration, room: f64) -> Option<Duration> {
        let mut spent: f64 = self.spent.iter().map(|(_, units)| units).sum();
        let mut wait = None;
        for (at, units) in &self.spent {
            if spent <= room + f64::EPSILON {
                break;
            }
            spent -= units;
            wait = Some((*at + window).saturating_duration_since(now));
        }
        wait
    }

    /// Until the last call is long enough ago.
    fn until_spaced(
        &self,
        now: Instant,
        window: Duration,
        cap: f64,
        cost: f64,
    ) -> Option<Duration> {
        let spent: f64 = self.spent.iter().map(|(_, units)| units).sum();
        let eased = self.eased.filter(|(_, until)| *until > now).map(|(factor, _)| factor);
        if spent + cost <= cap / 2.0 && eased.is_none() {
            return None;
        }
        let space = window.mul_f64((cost / cap).min(1.0) * eased.unwrap_or(1.0));
        let wait = (self.last? + space).saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const SECOND: Duration = Duration::from_secs(1);

    /// Asks all the time for `duration`; when each call went.
    fn greedy(meter: &mut Meter, cost: f64, share: f64, duration: Duration) -> Vec<Duration> {
        let start = clock::instant();
        let mut now = start;
        let mut went = Vec::new();
        while now < start + duration {
            match meter.admit(now, cost, share) {
                Some(wait) => now += wait,
                None => went.push(now - start),
            }
        }
        went
    }

    fn most_in_a_window(went: &[Duration], window: Duration) -> usize {
        let mut first = 0;
        let counts = went.iter().enumerate().map(|(last, at)| {
            while went[first] + window <= *at {
                first += 1;
            }
            last + 1 - first
        });
        counts.max().unwrap_or(0)
    }

    #[test]
    fn r17_no_window_sees_more_than_our_share_and_it_is_used() {
        let mut meter = Meter::new(Some((600.0, MINUTE)));
        let went = greedy(&mut meter, 1.0, 0.5, 10 * MINUTE);
        assert!(most_in_a_window(&went, MINUTE) <= 300);
        assert!(went.len() > 2800, "{} of 3000", went.len());
        // Half of the share at once, then evenly: it slows down before it is told to.
        assert_eq!(went[149], Duration::ZERO);
        assert!(went[151] >= Duration::from_millis(200));
    }

    #[test]
    fn a_closed_bucket_lets_nothing_through_before_the_time() {
        let now = clock::instant();
        let mut meter = Meter::new(None);
        meter.closed_until = Some(now + 7 * SECOND);
        assert_eq!(meter.admit(now, 1.0, 0.5), Some(7 * SECOND));
        assert_eq!(meter.admit(now + 7 * SECOND, 1.0, 0.5), None);
    }

    #[test]
    fn r17_what_others_left_is_not_taken_to_the_last() {
        let (now, wall) = (clock::instant(), Timestamp(1_000_000));
        let mut meter = Meter::new(Some((600.0, MINUTE)));
        let quota = |remaining| Quota {
            limit: Some(600.0),
            remaining: Some(remaining),
            reset: Some(wall.plus(20 * SECOND)),
            ..Quota::default()
        };
        meter.learn(now, wall, 1.0, &quota(61.0), 0.5);
        assert_eq!(meter.admit(now, 1.0, 0.5), None);
        meter.learn(now, wall, 1.0, &quota(60.0), 0.5);
        assert_eq!(meter.admit(now, 1.0, 0.5), Some(20 * SECOND));
    }

    #[test]
    fn a_limit_that_the_vendor_tells_replaces_the_documented_one() {
        let (now, wall) = (clock::instant(), Timestamp(0));
        let mut meter = Meter::new(Some((600.0, MINUTE)));
        let quota = Quota { limit: Some(50.0), ..Quota::default() };
        meter.learn(now, wall, 1.0, &quota, 0.5);
        assert!(most_in_a_window(&greedy(&mut meter, 1.0, 0.5, 5 * MINUTE), MINUTE) <= 25);
    }

    #[test]
    fn what_cost_nothing_is_given_back() {
        let (now, wall) = (clock::instant(), Timestamp(0));
        let mut meter = Meter::new(Some((20.0, MINUTE)));
        let free = Quota { charged: Some(0.0), ..Quota::default() };
        for _ in 0..100 {
            assert_eq!(meter.admit(now, 1.0, 0.5), None);
            meter.learn(now, wall, 1.0, &free, 0.5);
        }
        assert!(greedy(&mut meter, 1.0, 0.5, MINUTE).len() <= 10);
    }

    #[test]
    fn pressure_slows_down_and_passes() {
        let (now, wall) = (clock::instant(), Timestamp(0));
        let mut meter = Meter::new(Some((8000.0, 10 * SECOND)));
        assert_eq!(meter.admit(now, 1.0, 0.5), None);
        let quota = Quota { pressure: Some(0.8), ..Quota::default() };
        meter.learn(now, wall, 1.0, &quota, 0.5);
        assert!(meter.admit(now, 1.0, 0.5).is_some());
        assert_eq!(meter.admit(now + 11 * SECOND, 1.0, 0.5), None);
    }

    #[test]
    fn dear_calls_take_their_price() {
        let mut meter = Meter::new(Some((100.0, MINUTE)));
        let went = greedy(&mut meter, 10.0, 0.5, 5 * MINUTE);
        assert!(most_in_a_window(&went, MINUTE) <= 5);
        // Dearer than the share: one at a time, but not never.
        let went = greedy(&mut Meter::new(Some((4.0, MINUTE))), 3.0, 0.5, 5 * MINUTE);
        assert_eq!(most_in_a_window(&went, MINUTE), 1);
        assert!(went.len() >= 4);
    }

    proptest! {
        #[test]
        fn no_window_sees_more_than_our_share(
            units in 10.0..500.0f64, seconds in 1..3600u64, share in 0.1..=1.0f64, cost in 1..4u8
        ) {
            let window = Duration::from_secs(seconds);
            let mut meter = Meter::new(Some((units, window)));
            let went = greedy(&mut meter, f64::from(cost), share, 3 * window);
            let most = most_in_a_window(&went, window) as f64 * f64::from(cost);
            prop_assert!(most <= (units * share).max(f64::from(cost)) + 0.001);
        }
    }

    #[test]
    fn one_credential_has_one_budget_and_two_have_two() {
        let base = Url::parse("https://api.example.org").unwrap();
        let other = Url::parse("https://api.example.net").unwrap();
        let config = HttpConfig::default();
        let of = |base, key: &[u8]| Budget::of(&config, base, key, &[]).shared;
        let first = of(&base, b"a");
        assert!(Arc::ptr_eq(&first, &of(&base, b"a")));
        assert!(!Arc::ptr_eq(&first, &of(&base, b"b")));
        assert!(!Arc::ptr_eq(&first, &of(&other, b"a")));
    }

    #[tokio::test]
    async fn those_who_wait_go_in_the_order_of_their_coming() {
        let base = Url::parse("https://order.example.org").unwrap();
        let allowance = Allowance { bucket: "", units: 4.0, per: Duration::from_millis(20) };
        let budget = Budget::of(&HttpConfig::default(), &base, b"", &[allowance]);
        let call = Call::get("GET /", base);
        let order = Mutex::new(Vec::new());
        let ask = async |n: u32| {
            budget.admit(&call, 10 * MINUTE).await.unwrap();
            lock(&order).push(n);
        };
        tokio::join!(ask(0), ask(1), ask(2), ask(3));
        assert_eq!(*lock(&order), [0, 1, 2, 3]);
    }

    #[tokio::test]
    async fn a_long_wait_is_told_instead_of_waited() {
        let base = Url::parse("https://long.example.org").unwrap();
        let budget = Budget::of(&HttpConfig::default(), &base, b"", &[]);
        let call = Call::get("GET /", base);
        let until = clock::now().plus(MINUTE);
        budget.close(&call, until, Scope::All);
        let told = budget.admit(&call, SECOND).await.unwrap_err();
        assert!(told.0.abs_diff(until.0) < 5_000);
    }
}
