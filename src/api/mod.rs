//! Ring 3: the SQL functions. Each checks its arguments and the caller's right, calls one thing,
//! and shapes the answer.

pub mod check;
pub mod control;
pub mod convert;
pub mod dryrun;
pub mod formats;
mod from_config;
pub mod jobs;
pub mod load;
pub mod submit;
pub mod validator;

use crate::catalog::jobs::Job;
use crate::error::{Error, Result, SqlState};
use crate::fdw::options::Privileges;
use crate::fdw::source;
use crate::pg::acl::{self, Predefined};
use crate::pg::caught;

/// Turns an `Err` into an ERROR: the last step of every SQL function.
fn answer<T>(function: impl FnOnce() -> Result<T>) -> T {
    function().unwrap_or_else(|error| caught::raise(error))
}

/// A job may be controlled by its owner and by members of the owning role.
fn check_owner(job: &Job) -> Result<()> {
    if acl::has_privs_of(acl::current_user(), job.owner) {
        return Ok(());
    }
    Err(Error::new(
        SqlState::INSUFFICIENT_PRIVILEGE,
        format!("must be owner of job \"{}\"", job.name),
    ))
}

/// What ends a subtransaction that was only a trial.
fn rolled_back() -> Error {
    Error::new(SqlState::NO_DATA, "rolled back on purpose")
}

/// The outcome of a subtransaction that ends in `rolled_back`.
fn undone(outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(error) if error == rolled_back() => Ok(()),
        other => other,
    }
}

/// What the calling user may have librdkafka do.
fn privileges() -> Privileges {
    let user = acl::current_user();
    Privileges {
        wrapper: acl::may_use_wrapper(source::WRAPPER),
        read_server_files: acl::has_privs_of_predefined(user, Predefined::ReadServerFiles),
        execute_server_program: acl::has_privs_of_predefined(
            user,
            Predefined::ExecuteServerProgram,
        ),
    }
}

/// May the user have the server run a command?
fn check_program_privilege() -> Result<()> {
    if acl::has_privs_of_predefined(acl::current_user(), Predefined::ExecuteServerProgram) {
        return Ok(());
    }
    Err(Error::new(
        SqlState::INSUFFICIENT_PRIVILEGE,
        "permission denied to run a command on the server",
    )
    .detail("ALERT runs a command as the operating system user that the database server runs as.")
    .hint("Remove ALERT, or have a superuser GRANT pg_execute_server_program TO the role."))
}

fn unknown_job(name: &str) -> Error {
    Error::new(SqlState::UNDEFINED_OBJECT, format!("job \"{name}\" does not exist"))
        .hint("SELECT name FROM gpss.jobs lists the jobs you may see.")
}
