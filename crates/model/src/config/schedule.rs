//! When a job runs and whom its end is told; the same keys in all versions.

use super::tree::{Location, Value};
use super::value::{clock, duration, filled, limit, not_blank};
use crate::error::Result;
use crate::job::{Alert, Schedule};

/// SCHEDULE
pub(super) fn schedule(value: Value, notices: &mut Vec<String>) -> Result<Schedule> {
    let place = value.place();
    let mut map = value.map()?;
    let schedule = Schedule {
        retry_interval_ms: map.take("RETRY_INTERVAL")?.map(duration).transpose()?,
        max_retries: map.take("MAX_RETRIES")?.map(Value::signed).transpose()?,
        // GPSS: without the key there is no bound; a run of no time would be none.
        running_duration_ms: map
            .take("RUNNING_DURATION")?
            .map(duration)
            .transpose()?
            .filter(|ms| *ms > 0),
        auto_stop_restart_interval_ms: map
            .take("AUTO_STOP_RESTART_INTERVAL")?
            .map(duration)
            .transpose()?,
        max_restart_times: map.take("MAX_RESTART_TIMES")?.map_or(Ok(0), Value::signed)?,
        quit_at_eof_after: map.take("QUIT_AT_EOF_AFTER")?.map(clock).transpose()?,
    };
    map.finish()?;
    notices.extend(half_a_restart(&schedule, &place));
    Ok(schedule)
}

/// The notice for a restart that lacks one of the three keys it takes.
fn half_a_restart(schedule: &Schedule, place: &Location) -> Option<String> {
    let restart = schedule.auto_stop_restart_interval_ms.is_some();
    let times = schedule.max_restart_times != 0;
    let (given, lacking) = match (schedule.running_duration_ms.is_some(), restart, times) {
        (false, true, _) => ("AUTO_STOP_RESTART_INTERVAL", "RUNNING_DURATION"),
        (_, true, false) => ("AUTO_STOP_RESTART_INTERVAL", "MAX_RESTART_TIMES"),
        (_, false, true) => ("MAX_RESTART_TIMES", "AUTO_STOP_RESTART_INTERVAL"),
        _ => return None,
    };
    let (given, lacking) = (place.spelled(given), place.spelled(lacking));
    Some(format!("{given} is not used: {lacking} is absent or 0"))
}

/// ALERT
pub(super) fn alert(value: Value) -> Result<Alert> {
    let mut map = value.map()?;
    let command = not_blank(map.require("COMMAND")?)?;
    let workdir = map.take("WORKDIR")?.map(workdir).transpose()?;
    let timeout_ms = map.take("TIMEOUT")?.map(limit).transpose()?.flatten();
    map.finish()?;
    Ok(Alert { command, workdir, timeout_ms })
}

fn workdir(value: Value) -> Result<String> {
    let place = value.place();
    let path = filled(value)?;
    if !path.starts_with('/') {
        return Err(place.invalid("must be an absolute path on the database server"));
    }
    Ok(path)
}
