//! When a job runs (GPSS: SCHEDULE): runs and pauses by the clock, and whether and when it is tried
//! again after a failure. Knows no clock itself.

use super::backoff::Backoff;
use super::job::Schedule;
use crate::error::Class;
use std::time::Duration;

/// What a job does at a moment of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It loads, for this long still; None: for ever.
    Run { left: Option<Duration> },
    /// Stopped by RUNNING_DURATION; starts again after this long.
    Pause { left: Duration },
    /// Stopped by RUNNING_DURATION for good.
    Over,
}

/// Between attempts when MAX_RETRIES is given without RETRY_INTERVAL, as GPSS has it.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// No wait is longer (a century), so that any clock can be added to it.
const LONGEST_MS: u64 = 100 * 366 * 24 * 60 * 60 * 1000;

fn span(ms: u64) -> Duration {
    Duration::from_millis(ms.min(LONGEST_MS))
}

/// The phase of a run that began `elapsed_ms` milliseconds ago.
///
/// Runs and pauses follow each other without any state but the run's beginning: a worker that
/// crashes, or a server that is down for a while, finds its place again. A RUNNING_DURATION of zero
/// is none, because such a job would never load anything.
pub fn phase(schedule: &Schedule, elapsed_ms: u64) -> Phase {
    let Some(duration) = schedule.running_duration_ms.filter(|ms| *ms > 0) else {
        return Phase::Run { left: None };
    };
    let restarts = match (schedule.auto_stop_restart_interval_ms, schedule.max_restart_times) {
        (None, _) => 0,
        (Some(_), times) => u64::try_from(times).unwrap_or(u64::MAX),
    };
    let interval = schedule.auto_stop_restart_interval_ms.unwrap_or(0);
    let period = duration.saturating_add(interval);
    // Not zero: duration is not.
    let (turn, within) = (elapsed_ms / period, elapsed_ms % period);
    if turn > restarts {
        Phase::Over
    } else if within < duration {
        Phase::Run { left: Some(span(duration - within)) }
    } else if turn < restarts {
        Phase::Pause { left: span(period - within) }
    } else {
        Phase::Over
    }
}

/// Failures in a row, and what follows from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retries {
    failures: u64,
    backoff: Backoff,
}

impl Retries {
    /// Counts a failure; how long to wait for the next attempt, or None when there is none.
    ///
    /// Without MAX_RETRIES the surroundings' failures are tried again for ever, those that only the
    /// user can mend never. With it the class does not matter. `jitter`: as `Backoff::failed`; a
    /// RETRY_INTERVAL is kept to the letter.
    pub fn failed(&mut self, schedule: &Schedule, class: Class, jitter: f64) -> Option<Duration> {
        let again = match (schedule.max_retries, class) {
            // Negative: for ever.
            (Some(times), _) => u64::try_from(times).map_or(true, |times| self.failures < times),
            (None, Class::Data | Class::Config) => false,
            (None, Class::Environment | Class::Bug) => true,
        };
        if !again {
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        let backoff = self.backoff.failed(jitter);
        Some(match (schedule.retry_interval_ms, schedule.max_retries) {
            (Some(ms), _) => span(ms),
            (None, Some(_)) => RETRY_INTERVAL,
            (None, None) => backoff,
        })
    }

    /// Attempts after a failure so far.
    pub fn made(&self) -> u64 {
        self.failures
    }

    /// A batch was committed: the next failure is the first one again.
    pub fn succeeded(&mut self) {
        *self = Retries::default();
    }

    /// A session went well for a while, but loaded nothing: the next wait is short again, which does
    /// not count as success.
    pub fn was_healthy(&mut self) {
        self.backoff.succeeded();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn running(duration: u64, interval: Option<u64>, times: i64) -> Schedule {
        Schedule {
            running_duration_ms: Some(duration),
            auto_stop_restart_interval_ms: interval,
            max_restart_times: times,
            ..Schedule::default()
        }
    }

    fn run(ms: u64) -> Phase {
        Phase::Run { left: Some(Duration::from_millis(ms)) }
    }

    fn pause(ms: u64) -> Phase {
        Phase::Pause { left: Duration::from_millis(ms) }
    }

    #[test]
    fn without_a_duration_a_job_runs_for_ever() {
        for schedule in [Schedule::default(), running(0, Some(5), 3)] {
            for elapsed in [0, 1, u64::MAX] {
                assert_eq!(phase(&schedule, elapsed), Phase::Run { left: None });
            }
        }
    }

    #[test]
    fn a_duration_without_restarts_ends_the_job() {
        for schedule in [running(100, None, 0), running(100, None, -1), running(100, Some(50), 0)] {
            assert_eq!(phase(&schedule, 0), run(100));
            assert_eq!(phase(&schedule, 99), run(1));
            assert_eq!(phase(&schedule, 100), Phase::Over);
            assert_eq!(phase(&schedule, u64::MAX), Phase::Over);
        }
    }

    #[test]
    fn restarts_are_counted() {
        let schedule = running(100, Some(50), 2);
        let expected = [
            (0, run(100)),
            (100, pause(50)),
            (149, pause(1)),
            (150, run(100)),
            (250, pause(50)),
            (300, run(100)),
            (399, run(1)),
            (400, Phase::Over),
            (450, Phase::Over),
        ];
        for (elapsed, phase_then) in expected {
            assert_eq!(phase(&schedule, elapsed), phase_then, "{elapsed}");
        }
    }

    #[test]
    fn restarts_may_go_on_for_ever_and_follow_at_once() {
        let schedule = running(100, Some(50), -1);
        assert_eq!(phase(&schedule, 150 * 1_000_000_000), run(100));
        assert_eq!(phase(&schedule, 150 * 1_000_000_000 + 120), pause(30));
        assert_eq!(phase(&running(100, Some(0), -1), 250), run(50));
        assert_eq!(phase(&running(100, Some(0), 1), 200), Phase::Over);
    }

    proptest! {
        #[test]
        fn any_numbers_have_a_phase_that_ends(
            duration: u64, interval: Option<u64>, times: i64, elapsed: u64,
        ) {
            let zero = Duration::ZERO;
            match phase(&running(duration, interval, times), elapsed) {
                Phase::Run { left: None } => prop_assert_eq!(duration, 0),
                Phase::Run { left: Some(left) } | Phase::Pause { left } => prop_assert!(left > zero),
                Phase::Over => prop_assert!(duration > 0),
            }
        }
    }

    #[test]
    fn the_class_decides_only_without_a_number_of_retries() {
        let second = Duration::from_secs(1);
        let schedule = Schedule::default();
        assert_eq!(Retries::default().failed(&schedule, Class::Config, 1.0), None);
        assert_eq!(Retries::default().failed(&schedule, Class::Data, 1.0), None);
        assert_eq!(Retries::default().failed(&schedule, Class::Environment, 1.0), Some(second));
        assert_eq!(Retries::default().failed(&schedule, Class::Bug, 1.0), Some(second));

        let schedule = Schedule { max_retries: Some(2), ..schedule };
        let mut retries = Retries::default();
        for class in [Class::Config, Class::Environment] {
            assert_eq!(retries.failed(&schedule, class, 0.0), Some(RETRY_INTERVAL));
        }
        assert_eq!(retries.failed(&schedule, Class::Environment, 0.0), None);
        assert_eq!(retries.made(), 2);
        retries.was_healthy();
        assert_eq!(retries.failed(&schedule, Class::Environment, 0.0), None);
        retries.succeeded();
        assert_eq!(retries.failed(&schedule, Class::Data, 0.0), Some(RETRY_INTERVAL));

        let schedule = Schedule { max_retries: Some(0), ..schedule };
        assert_eq!(Retries::default().failed(&schedule, Class::Environment, 0.0), None);
    }

    #[test]
    fn an_interval_is_kept_to_the_letter() {
        let schedule = Schedule { retry_interval_ms: Some(1500), ..Schedule::default() };
        let mut retries = Retries::default();
        for _ in 0..5 {
            let wait = retries.failed(&schedule, Class::Environment, 0.3);
            assert_eq!(wait, Some(Duration::from_millis(1500)));
        }
        assert_eq!(retries.failed(&schedule, Class::Config, 0.3), None);
        let schedule = Schedule { max_retries: Some(-1), ..schedule };
        for _ in 0..100 {
            assert!(retries.failed(&schedule, Class::Config, 0.3).is_some());
        }
    }

    #[test]
    fn no_wait_is_too_long_for_a_clock() {
        let schedule =
            Schedule { retry_interval_ms: Some(u64::MAX), ..running(u64::MAX, Some(u64::MAX), -1) };
        let wait = Retries::default().failed(&schedule, Class::Bug, 0.5).unwrap();
        assert!(std::time::Instant::now().checked_add(wait).is_some());
        assert_eq!(phase(&schedule, 5), Phase::Run { left: Some(wait) });
    }
}
