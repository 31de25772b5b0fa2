//! Ring 3: the SQL functions. Each checks its arguments and the caller's right, calls one thing,
//! and shapes the answer.
//!
//! | file | owns |
//! | --- | --- |
//! | `submit` | a job from a GPSS configuration or over a foreign table; what both check |
//! | `jobs` | `submit_job`, `remove_job` |
//! | `control` | `start_job`, `stop_job`, `wait_job` |
//! | `load` | `gpss.load` |
//! | `check` | `gpss.check` |
//! | `dryrun` | `gpss.dryrun` |
//! | `convert` | `gpss.convert` |
//! | `errors` | `retry_errors`, `purge_errors` |
//! | `formats` | `gpfmt_gpss`, `gpfmt_protobuf` |
//! | `validator` | the validator of the foreign data wrapper |
//! | `job_objects` | the server, user mapping and foreign table of a job from a configuration |
//! | `columns` | which columns names mean, and which are left alone |
//! | `continued` | where a start without a reset goes on |
//! | `delivery` | what is promised for targets that are kept elsewhere |
//! | `remarks` | what may not do what is wanted |
//! | `schemas` | search path, privileges on schemas |
//! | `owner` | the SQL type `gpss.job_owner` |
//!
//! # Decisions
//!
//! - **A transaction with a `start_job` cannot be prepared.** What happens at its commit happens in
//!   the session that started the job.
//! - **A job keeps the `search_path` of its submission**, and `gpss.check` plans its statement as
//!   the owner, restricted as `REFRESH MATERIALIZED VIEW` is: planning runs functions of the
//!   mapping.
//! - **`gpss.load` works through an agent.** A function's own transaction is not committed while it
//!   waits, so no worker could see the job. A short-lived worker makes, starts and stops it in
//!   transactions of its own. A load inside `BEGIN … ROLLBACK` is therefore not undone.
//! - **`__IGNORED__` fields are columns** of the job's foreign table that nothing reads: so
//!   positions need no options.
//! - **A job without a mapping gets one when it is submitted**, of the columns of the same name:
//!   matched anew at each start, a renamed column would silently stay empty.
//! - **A source column can be asked for in two ways** in a configuration's SQL, by its exact name
//!   in quotes and without: the statement reads a subquery with both names, which the planner pulls
//!   up. A second column of the foreign table would take a place in csv.
//! - **`submit_job` has a form for three texts**, which decides by their contents: PostgreSQL
//!   cannot tell three bare literals apart.
//! - **A mapping makes rows of single messages.** Aggregates and window functions are refused:
//!   their result would depend on where a batch ends. Sub-selects over other tables are not.
//! - **An event trigger on `DROP EXTENSION`** stops the workers first: idle ones would not notice
//!   that their tables are gone.
//! - **A job over a configuration owns its server and foreign table** (`gpss_job_<number>`), so
//!   secrets are in a user mapping and the job definition has none.

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
