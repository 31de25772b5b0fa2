//! Ring 3: the SQL functions. Each checks its arguments and the caller's right, calls one thing,
//! and shapes the answer.

pub mod check;
pub mod control;
pub mod jobs;
pub mod load;
pub mod submit;
pub mod validator;

use crate::catalog::jobs::Job;
use crate::error::{Error, Result, SqlState};
use crate::fdw::options::Privileges;
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

/// What the calling user may have librdkafka do.
fn privileges() -> Privileges {
    let user = acl::current_user();
    Privileges {
        read_server_files: acl::has_privs_of_predefined(user, Predefined::ReadServerFiles),
        execute_server_program: acl::has_privs_of_predefined(
            user,
            Predefined::ExecuteServerProgram,
        ),
    }
}

fn unknown_job(name: &str) -> Error {
    Error::new(SqlState::UNDEFINED_OBJECT, format!("job \"{name}\" does not exist"))
        .hint("SELECT name FROM gpss.jobs lists the jobs you may see.")
}
