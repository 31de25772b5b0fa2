//! `gpss.job`: what jobs are.

use super::{exec, one, run, select, select_latest};
use crate::pg::acl;
use crate::pg::spi::{Arg, Row};
use crate::pg::tx::Tx;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::job::JobSpec;
use pgrx::pg_sys::Oid;

/// Before the name of an owner that has been dropped: no role can have such a name, so that none of the
/// old name inherits the job, be it through a dump.
pub const DROPPED: &str = "pg_dropped ";

/// A job that has not been removed.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: i64,
    pub name: String,
    /// Invalid for a role that does not exist.
    pub owner: Oid,
    /// The owner's name, or what is left of it, for messages.
    pub owner_name: String,
    pub spec: JobSpec,
}

impl Job {
    /// Names in the job's SQL are looked up, in this transaction, as they were in the session that
    /// submitted it.
    pub fn set_search_path(&self, tx: &Tx) -> Result<()> {
        set_path(tx, &self.spec.search_path)
    }

    /// The same in a user's session, whose temporary tables are none of the job's: PostgreSQL would look
    /// there first.
    pub fn set_search_path_in_session(&self, tx: &Tx) -> Result<()> {
        match self.spec.search_path.as_str() {
            "" => set_path(tx, "pg_temp"),
            path => set_path(tx, &format!("{path}, pg_temp")),
        }
    }

    /// A job of the current user that is about to be made.
    pub fn new(id: i64, name: &str, spec: JobSpec) -> Job {
        let owner = acl::current_user();
        Job { id, name: name.to_owned(), owner, owner_name: acl::role_name(owner), spec }
    }

    /// Does the owner still exist? A job records no dependency on its owner, so the role can be dropped;
    /// and a dump may be restored where the role never was.
    pub fn check_owner_exists(&self) -> Result<()> {
        if acl::role_exists(self.owner) {
            return Ok(());
        }
        let error = Error::new(
            SqlState::UNDEFINED_OBJECT,
            format!("the owner of job \"{}\" does not exist", self.name),
        );
        let Job { owner_name, .. } = self;
        let again = "note next_offset in gpss.progress, remove the job, submit it as another role, and \
                     start it there: gpss.start_job(..., reset => '{\"0\": 1234}')";
        Err(if self.owner == Oid::INVALID && !owner_name.starts_with(DROPPED) {
            error
                .detail(format!(
                    "The job was restored from a dump, and there is no role \"{owner_name}\"."
                ))
                .hint(format!(
                    "Create the role with LOGIN and with the privileges that the job needs: it is \
                     the owner then. Or {again}."
                ))
        } else {
            error
                .detail(
                    "The role was dropped. A job's worker connects to the database as its owner.",
                )
                .hint(format!("As a superuser, {again}."))
        })
    }

    /// May a worker of the job be started?
    pub fn check_can_run(&self) -> Result<()> {
        self.check_owner_exists()?;
        let (sqlstate, what, hint) = if !acl::can_login(self.owner) {
            (SqlState::NOT_IN_PREREQUISITE_STATE, "cannot log in", "ALTER ROLE ... LOGIN.")
        } else if !acl::may_connect(self.owner) {
            let hint = "GRANT CONNECT ON DATABASE ... TO ...";
            (SqlState::INSUFFICIENT_PRIVILEGE, "may not connect to the database", hint)
        } else {
            return Ok(());
        };
        Err(Error::new(sqlstate, format!("the owner of job \"{}\" {what}", self.name))
            .detail("A job's worker connects to the database as its owner.")
            .hint(hint))
    }
}

fn set_path(tx: &Tx, path: &str) -> Result<()> {
    tx.set_local_text(c"search_path", path)?;
    // The check of the expressions' quotes (model::fragment) takes this for granted.
    tx.set_local(c"standard_conforming_strings", c"on");
    Ok(())
}

const COLUMNS: &str = "id, name, gpss.owner_oid(owner), spec::text, owner::text";

fn job(row: &Row<'_>) -> Result<Job> {
    let name: String = row.get(2)?;
    let spec: String = row.get(4)?;
    let spec = serde_json::from_str(&spec).map_err(|e| {
        Error::new(SqlState::INTERNAL, format!("the definition of job \"{name}\" cannot be read"))
            .detail(e.to_string())
    })?;
    Ok(Job { id: row.get(1)?, name, owner: row.get(3)?, owner_name: row.get(5)?, spec })
}

pub fn find(tx: &Tx, name: &str) -> Result<Option<Job>> {
    let sql = format!("SELECT {COLUMNS} FROM gpss.job WHERE name = $1 AND removed_at IS NULL");
    select(tx, &sql, &[Arg::from(name)], job).map(|mut jobs| jobs.pop())
}

/// As `find`, and sees a job that another process has committed during this statement.
pub fn find_latest(tx: &Tx, name: &str) -> Result<Option<Job>> {
    let sql = format!("SELECT {COLUMNS} FROM gpss.job WHERE name = $1 AND removed_at IS NULL");
    select_latest(tx, &sql, &[Arg::from(name)], job).map(|mut jobs| jobs.pop())
}

pub fn by_id(tx: &Tx, id: i64) -> Result<Option<Job>> {
    let sql = format!("SELECT {COLUMNS} FROM gpss.job WHERE id = $1 AND removed_at IS NULL");
    select(tx, &sql, &[Arg::from(id)], job).map(|mut jobs| jobs.pop())
}

/// As `by_id`, and finds a job that has been removed too.
pub fn by_id_even_removed(tx: &Tx, id: i64) -> Result<Option<Job>> {
    let sql = format!("SELECT {COLUMNS} FROM gpss.job WHERE id = $1");
    select(tx, &sql, &[Arg::from(id)], job).map(|mut jobs| jobs.pop())
}

/// All jobs that have or had the name.
pub fn all_named(tx: &Tx, name: &str) -> Result<Vec<Job>> {
    select(tx, &format!("SELECT {COLUMNS} FROM gpss.job WHERE name = $1"), &[Arg::from(name)], job)
}

/// Locks the job's row: start, stop, removal and the scheduler exclude each other by it.
pub fn lock(tx: &Tx, name: &str) -> Result<Option<Job>> {
    let sql =
        format!("SELECT {COLUMNS} FROM gpss.job WHERE name = $1 AND removed_at IS NULL FOR UPDATE");
    exec(tx, &sql, &[Arg::from(name)], job).map(|mut jobs| jobs.pop())
}

/// The same without waiting; None when it is locked or removed.
pub fn try_lock(tx: &Tx, id: i64) -> Result<Option<Job>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM gpss.job WHERE id = $1 AND removed_at IS NULL
         FOR UPDATE SKIP LOCKED"
    );
    exec(tx, &sql, &[Arg::from(id)], job).map(|mut jobs| jobs.pop())
}

/// A number for a job that is about to be made: its own objects are named after it.
pub fn next_id(tx: &Tx) -> Result<i64> {
    one(exec(tx, "SELECT pg_catalog.nextval('gpss.job_id_seq')", &[], |row| row.get(1))?)
}

/// Raises: 42710 when a job of the name exists.
pub fn insert(tx: &Tx, job: &Job) -> Result<()> {
    let sql = "INSERT INTO gpss.job (id, name, owner, spec)
               VALUES ($1, $2, pg_catalog.pg_get_userbyid($3)::text::gpss.job_owner, $4::jsonb)
               ON CONFLICT (name) WHERE removed_at IS NULL DO NOTHING";
    let spec = spec_text(&job.spec)?;
    let args = [
        Arg::from(job.id),
        Arg::from(job.name.as_str()),
        Arg::from(job.owner),
        Arg::from(spec.as_str()),
    ];
    if run(tx, sql, &args)? == 1 {
        return Ok(());
    }
    Err(Error::new(SqlState::DUPLICATE_OBJECT, format!("job \"{}\" already exists", job.name))
        .hint("Choose another name, or remove the job with gpss.remove_job first."))
}

pub fn update_spec(tx: &Tx, id: i64, spec: &JobSpec) -> Result<()> {
    let sql = "UPDATE gpss.job SET spec = $2::jsonb WHERE id = $1";
    run(tx, sql, &[Arg::from(id), Arg::from(spec_text(spec)?.as_str())])?;
    Ok(())
}

/// The owner of a job that is about to run is the role that has the name now, and no later one. The row is
/// written only when that changes it.
pub fn settle_owner(tx: &Tx, id: i64) -> Result<()> {
    // The type has no operators but those that compare how rows are stored.
    let sql = "UPDATE gpss.job SET owner = owner::text::gpss.job_owner
        WHERE id = $1 AND ROW(owner)::record *<> ROW(owner::text::gpss.job_owner)::record";
    run(tx, sql, &[Arg::from(id)])?;
    Ok(())
}

/// The row stays, so that a later load of the same topic and table finds the offsets.
pub fn mark_removed(tx: &Tx, id: i64) -> Result<()> {
    let sql = "UPDATE gpss.job SET removed_at = pg_catalog.now() WHERE id = $1";
    run(tx, sql, &[Arg::from(id)])?;
    Ok(())
}

fn spec_text(spec: &JobSpec) -> Result<String> {
    serde_json::to_string(spec).map_err(|e| Error::new(SqlState::INTERNAL, e.to_string()))
}
