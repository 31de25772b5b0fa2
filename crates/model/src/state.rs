//! The states of a job.

use crate::error::{Error, Result, SqlState};

/// A job's status; the names are the contract of the view `gpss.jobs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Registered, never started.
    Submitted,
    Running,
    /// Started, but the surroundings are at fault: waits and tries again.
    Retrying,
    /// Ended by the user.
    Stopped,
    /// Reached the end it was told to stop at.
    Success,
    /// Ended by an error that only the user can mend.
    Error,
}

impl Status {
    pub const ALL: [Status; 6] = [
        Status::Submitted,
        Status::Running,
        Status::Retrying,
        Status::Stopped,
        Status::Success,
        Status::Error,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Submitted => "JOB_SUBMITTED",
            Status::Running => "JOB_RUNNING",
            Status::Retrying => "JOB_RETRYING",
            Status::Stopped => "JOB_STOPPED",
            Status::Success => "JOB_SUCCESS",
            Status::Error => "JOB_ERROR",
        }
    }

    /// From the text of `as_str`.
    ///
    /// # Errors
    /// Any other text: the catalog was changed by hand or by a newer version.
    pub fn parse(text: &str) -> Result<Status> {
        Status::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| {
            Error::new(SqlState::INVALID_PARAMETER, format!("unknown job status \"{text}\""))
        })
    }

    /// Whether workers are meant to exist for a job in this state.
    pub const fn is_active(self) -> bool {
        matches!(self, Status::Running | Status::Retrying)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Ok(status));
        }
        assert!(Status::parse("RUNNING").is_err());
    }
}
