//! A job's statements, one for each of its tables, and running them over batches.

use super::isolate::Failure;
use super::locate::{Decoded, FailureSite, Parts};
use super::unparsable;
use crate::catalog::jobs::Job;
use crate::fdw::batch::Batch;
use crate::fdw::handover::{self, Decoding, Progress, Running};
use crate::fdw::source;
use crate::pg::fdw::{Table, relation_columns};
use crate::pg::spi::{self, Plan, Targets};
use crate::pg::subtx::{subtx, trial};
use crate::pg::tx::Tx;
use gpss_model::block::Side;
use gpss_model::error::{Class, Error, Result, SqlState};
use gpss_model::job::{Mapping, TableName, TargetSpec};
use gpss_model::printable::counted;
use gpss_model::row_counts::RowCounts;
use gpss_model::statement::{self, Trials, qualified};
use pgrx::pg_sys::Oid;
use std::cell::OnceCell;
use std::rc::Rc;

/// Prepared once per session.
pub struct Statement {
    plans: Vec<Plan>,
    /// Where they write to.
    targets: Vec<String>,
    /// How each of them makes its columns.
    mappings: Vec<Vec<Mapping>>,
    /// What tells where a message fails, and made of it when the first one does.
    trials: Vec<Trials>,
    parts: OnceCell<Vec<Parts>>,
    /// What the reader has to decode for them, and how.
    pub decoding: Rc<Decoding>,
}

impl Statement {
    /// The foreign table that a job reads.
    ///
    /// # Errors
    /// There is none of its name.
    pub fn source(tx: &Tx, job: &Job) -> Result<Table> {
        let table = Table::load(relation(tx, &job.spec.source, "foreign table")?);
        source::check_wrapper(&table)?;
        Ok(table)
    }

    /// Builds and prepares the job's statements, by the search path that is set, and learns from their plans
    /// what they need.
    pub fn prepare(tx: &Tx, job: &Job) -> Result<(Statement, Table)> {
        let table = Statement::source(tx, job)?;
        let source: Vec<String> = table.columns.iter().map(|c| c.name.clone()).collect();
        let (mut statements, mut trials, mut targets) = (vec![], vec![], vec![]);
        let mapping = |output: &TargetSpec| output.mapping.clone().unwrap_or_default();
        let mappings = job.spec.outputs.iter().map(mapping).collect();
        for output in &job.spec.outputs {
            let target = relation_columns(relation(tx, &output.target, "table")?);
            statements.push(statement::insert_statement(&job.spec, output, &source, &target)?);
            trials.push(statement::trials(&job.spec, output, &source, &target)?);
            targets.push(qualified(&output.target));
        }
        let (plans, mut decoding) = Decoding::prepare(tx, &table, job.owner, &statements)?;
        // For gpss.errors, whatever the mapping wants.
        decoding.needs.headers = true;
        let (parts, decoding) = (OnceCell::new(), Rc::new(decoding));
        Ok((Statement { plans, targets, mappings, trials, parts, decoding }, table))
    }

    /// Runs over a batch, table after table; the rows written.
    ///
    /// # Errors
    /// 55000: a statement has written rows that its scans have not read.
    ///
    /// Raises: what a statement raises; `progress` then tells how far its scan came.
    pub fn run(&self, tx: &Tx, batch: &Rc<Batch>, progress: &Rc<Progress>) -> Result<RowCounts> {
        self.each(tx, batch, progress, |plan| plan.execute(tx, &[]))
    }

    /// As `run`, but in bulk: an error does not tell which message it is about.
    pub fn run_in_bulk(&self, tx: &Tx, batch: &Rc<Batch>) -> Result<RowCounts> {
        if self.decoding.calls_functions() {
            // They may look at the target, between one row and the next.
            return self.run(tx, batch, &Rc::default());
        }
        self.each(tx, batch, &Rc::default(), |plan| plan.execute_in_bulk(tx))
    }

    /// Which of the tables that the statements write into are not like others, as of now. With the job's search
    /// path set: plans are made again under another.
    ///
    /// Raises: what planning raises.
    pub fn targets(&self, tx: &Tx) -> Result<Targets> {
        let mut all = Targets::default();
        for plan in &self.plans {
            all.add(plan.targets(tx)?);
        }
        Ok(all)
    }

    /// How the `output`-th statement makes a column; None without a mapping.
    pub(super) fn mapping(&self, output: usize, column: &str) -> Option<&Mapping> {
        self.mappings.get(output)?.iter().find(|mapping| mapping.column == column)
    }

    /// Where a statement has failed over a batch of one message; None when that cannot be told.
    ///
    /// # Errors
    /// As `Parts::place`.
    pub(super) fn place(
        &self,
        tx: &Tx,
        message: &Rc<Batch>,
        failure: &Failure,
    ) -> Result<Option<FailureSite>> {
        let Some(parts) = self.parts(tx)?.get(failure.statement) else { return Ok(None) };
        if let Some(place) = parts.known_place(failure) {
            return Ok(Some(place));
        }
        let unsure = message.rows().any(|(rows, row)| {
            let mut records = row.records().filter_map(|number| rows.record(number));
            records.any(|record| Side::BOTH.into_iter().any(|side| record.unsure(side)))
        });
        let by_scan = OnceCell::new();
        let run = |plan: &Plan, decoded: Decoded, progress: &Rc<Progress>| match decoded {
            Decoded::ByScan if unsure => {
                let by_scan = by_scan.get_or_init(|| Rc::new(self.decoding.by_scan()));
                run_part(tx, plan, by_scan, message, progress)
            }
            _ => run_part(tx, plan, &self.decoding, message, progress),
        };
        parts.place(tx, failure, &run).map(Some)
    }

    /// Do the filters let none of the messages pass, to any table? `progress` knows those that count as none.
    ///
    /// # Errors
    /// As `parts`. Raises: what the filters raise.
    pub(super) fn filters_all(
        &self,
        tx: &Tx,
        batch: &Rc<Batch>,
        progress: &Progress,
    ) -> Result<bool> {
        let (parts, others) = (self.parts(tx)?, Rc::new(progress.of_the_others()));
        for part in parts {
            if part.passing(&|plan| run_part(tx, plan, &self.decoding, batch, &others))? > 0 {
                return Ok(false);
            }
        }
        Ok(!parts.is_empty())
    }

    /// The statements' parts; none when they cannot be prepared.
    ///
    /// # Errors
    /// Of class Environment.
    fn parts(&self, tx: &Tx) -> Result<&[Parts]> {
        if let Some(parts) = self.parts.get() {
            return Ok(parts);
        }
        let prepare = || self.trials.iter().map(|trials| Parts::prepare(tx, trials)).collect();
        let parts = match subtx(tx, prepare) {
            // Cancelled, perhaps.
            Err(error) if error.class() == Class::Environment => return Err(error),
            // The table may have changed since.
            parts => parts.unwrap_or_default(),
        };
        Ok(self.parts.get_or_init(|| parts))
    }

    fn each(
        &self,
        tx: &Tx,
        batch: &Rc<Batch>,
        progress: &Rc<Progress>,
        run: impl Fn(&Plan) -> Result<u64>,
    ) -> Result<RowCounts> {
        if !batch.is_empty() && unparsable(batch) == batch.messages() {
            // Nothing of it stays, so that no statement trigger fires for nothing. But it tells whether
            // the foreign table is still the one that the messages do not parse for.
            return trial(tx, || self.run_each(batch, progress, run));
        }
        self.run_each(batch, progress, run)
    }

    fn run_each(
        &self,
        batch: &Rc<Batch>,
        progress: &Rc<Progress>,
        run: impl Fn(&Plan) -> Result<u64>,
    ) -> Result<RowCounts> {
        let mut written = RowCounts::default();
        for (number, plan) in self.plans.iter().enumerate() {
            progress.begin();
            progress.statement.set(number);
            let rows = with_batch(&self.decoding, batch, progress, plan, || run(plan))?;
            let rows = RowCounts::of_inserted(rows);
            if rows.total() > 0 && !progress.asked.get() {
                let target = self.targets.get(number).map_or("its target", String::as_str);
                return Err(unread(target, &self.decoding.source, rows.total()));
            }
            written += rows;
        }
        Ok(written)
    }
}

fn run_part(
    tx: &Tx,
    part: &Plan,
    decoding: &Rc<Decoding>,
    batch: &Rc<Batch>,
    progress: &Rc<Progress>,
) -> Result<u64> {
    progress.begin();
    with_batch(decoding, batch, progress, part, || part.execute(tx, &[]))
}

fn with_batch<R>(
    decoding: &Rc<Decoding>,
    batch: &Rc<Batch>,
    progress: &Rc<Progress>,
    plan: &Plan,
    run: impl FnOnce() -> R,
) -> R {
    let running = Running {
        decoding: Rc::clone(decoding),
        batch: Rc::clone(batch),
        progress: Rc::clone(progress),
        statement: plan.id(),
    };
    handover::with_batch(running, run)
}

/// Rows that are not the batch's would come again with each batch.
fn unread(target: &str, source: &TableName, rows: u64) -> Error {
    let rows = counted(rows, "row");
    Error::new(
        SqlState::NOT_IN_PREREQUISITE_STATE,
        format!("the statement into {target} has written {rows} without reading the batch"),
    )
    .detail(format!(
        "Its rows are not those of foreign table {} in this session. The batch was rolled back.",
        qualified(source)
    ))
    .hint(
        "Look for another relation that has taken the foreign table's name, and for an extension that \
         executes statements in other sessions: Citus does when the foreign table is in its metadata. \
         Drop that table and make it again: undistribute_table does not bring back its columns' options.",
    )
}

/// The OID of a table by its stored name.
fn relation(tx: &Tx, name: &TableName, kind: &str) -> Result<Oid> {
    let qualified = qualified(name);
    let sql = "SELECT pg_catalog.to_regclass($1)::oid";
    let found =
        spi::select(tx, sql, &[qualified.as_str().into()], |row| row.get::<Option<Oid>>(1))?;
    found.into_iter().flatten().next().ok_or_else(|| {
        Error::new(SqlState::UNDEFINED_TABLE, format!("{kind} {qualified} does not exist"))
            .hint("Create it again, or remove the job with gpss.remove_job.")
    })
}
