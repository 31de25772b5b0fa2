//! Ring 3: the SQL functions. Each checks its arguments and the caller's right, calls one thing,
//! and shapes the answer.

pub mod check;
mod columns;
mod continued;
pub mod control;
pub mod convert;
mod delivery;
pub mod dryrun;
pub mod errors;
pub mod formats;
mod job_objects;
pub mod jobs;
pub mod load;
mod owner;
mod remarks;
mod schemas;
pub mod submit;
pub mod validator;

use crate::catalog::{self, jobs::Job};
use crate::pg::acl::{self, AsUser, Predefined};
use crate::pg::call::Json;
use crate::pg::caught;
use crate::pg::subtx::trial;
use crate::pg::tx::Tx;
use gpss_model::config::{self, LoadConfig};
use gpss_model::error::{Error, Result, SqlState};

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

/// What a user means by a text that may be either.
enum Named {
    Job(Box<Job>),
    Config(Box<LoadConfig>),
}

/// A job by its name, which the user may control, or a load configuration by its text, whose
/// templates `properties` fill.
fn job_or_config(tx: &Tx, text: &str, properties: Json) -> Result<Named> {
    if let Some(job) = catalog::jobs::find(tx, text)? {
        check_owner(&job)?;
        return Ok(Named::Job(Box::new(job)));
    }
    if config::is_file_name(text) {
        return Err(config::no_text(text));
    }
    // A configuration has at least a colon.
    if !text.contains(':') {
        return Err(unknown_job(text).hint(format!(
            "{JOBS} A load configuration is given by its text, not by the name of its file."
        )));
    }
    let config = submit::parse(text, &jobs::template_values(properties)?)?;
    Ok(Named::Config(Box::new(config)))
}

/// A trial of what is the job's owner's: planning and running a mapping runs its functions.
fn trial_as_owner<T>(tx: &Tx, job: &Job, f: impl FnOnce() -> Result<T>) -> Result<T> {
    job.check_owner_exists()?;
    trial(tx, || {
        let _owner = AsUser::restricted(job.owner);
        job.set_search_path_in_session(tx)?;
        f()
    })
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

const JOBS: &str = "SELECT name FROM gpss.jobs lists the jobs you may see.";

fn unknown_job(name: &str) -> Error {
    Error::new(SqlState::UNDEFINED_OBJECT, format!("job \"{name}\" does not exist")).hint(JOBS)
}
