//! How long to wait before the next attempt: doubles with each failure up to a cap. Knows no clock.

use std::time::Duration;

/// The wait before the next attempt after failures in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// `first` is the wait after the first failure, `cap` the longest ever.
    pub const fn new(first: Duration, cap: Duration) -> Self {
        Backoff { first, cap, failures: 0 }
    }

    /// Counts a failure and returns the wait before the next attempt.
    ///
    /// `jitter` (0 to 1, random) spreads the wait over the upper half of its length, so that
    /// workers which failed together do not come back together.
    pub fn failed(&mut self, jitter: f64) -> Duration {
        let factor = 2u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        let longest = self.first.saturating_mul(factor).min(self.cap);
        let jitter = if jitter.is_nan() { 1.0 } else { jitter.clamp(0.0, 1.0) };
        longest.mul_f64(0.5 + jitter / 2.0)
    }

    /// An attempt succeeded: the next failure waits `first` again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

impl Default for Backoff {
    /// One second at first, a minute at most: soon back after a broker's restart, no load on a
    /// broker that stays away.
    fn default() -> Self {
        Backoff::new(Duration::from_secs(1), Duration::from_secs(60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap_and_starts_again_after_success() {
        let mut backoff = Backoff::default();
        let seconds: Vec<u64> = (0..8).map(|_| backoff.failed(1.0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        for _ in 0..100 {
            assert_eq!(backoff.failed(1.0), Duration::from_secs(60));
        }
        backoff.succeeded();
        assert_eq!(backoff.failed(1.0), Duration::from_secs(1));
    }

    #[test]
    fn jitter_takes_at_most_half() {
        let delay = |jitter| Backoff::default().failed(jitter);
        assert_eq!(delay(0.0), Duration::from_millis(500));
        assert_eq!(delay(0.5), Duration::from_millis(750));
        assert_eq!(delay(-7.0), Duration::from_millis(500));
        assert_eq!(delay(f64::INFINITY), Duration::from_secs(1));
        assert_eq!(delay(f64::NAN), Duration::from_secs(1));
    }
}
