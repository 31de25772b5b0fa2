//! Where a message that cannot be loaded has failed: in the mapping or in the table, and at which
//! column. Asked of PostgreSQL by running the statement's parts over this one message.

use super::isolate::Failure;
use crate::catalog::errors::{self, Stage};
use crate::fdw::handover::Progress;
use crate::pg::fdw::Conversion;
use crate::pg::spi::Plan;
use crate::pg::subtx::subtx;
use crate::pg::tx::Tx;
use gpss_model::error::{Class, Error, Result, SqlState, Subject};
use gpss_model::statement::{Alone, Trials};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Where a message has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureSite {
    pub stage: Stage,
    pub column: Option<String>,
    /// In the job's filter.
    pub filter: bool,
}

/// Which fields a part is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Those that the statement was given.
    AsLoaded,
    /// Those that the part itself asks for: another field's escape does not concern it.
    ByScan,
}

/// Runs a part over a message; the number of rows.
pub type Run<'a> = dyn Fn(&Plan, Decoded, &Rc<Progress>) -> Result<u64> + 'a;

/// The parts of the statement that loads one table.
pub struct Parts {
    select: Plan,
    filter: Plan,
    columns: Vec<Column>,
    filtered: bool,
    /// Which column errors of an SQLSTATE were about last.
    last: RefCell<HashMap<SqlState, Found>>,
    /// What the scan was making where.
    converted: RefCell<HashMap<Conversion, FailureSite>>,
    /// What has been found in the system's catalog.
    constrained: RefCell<HashMap<Subject, Option<String>>>,
}

/// A column whose value could not be made.
#[derive(Clone, Copy)]
struct Found {
    /// Among the columns.
    number: usize,
    /// On the way into the table, not in its expression.
    on_insert: bool,
}

struct Column {
    name: String,
    select: Plan,
    insert: Plan,
}

impl Parts {
    /// Raises: what preparing the statements raises.
    pub fn prepare(tx: &Tx, trials: &Trials) -> Result<Parts> {
        let column = |alone: &Alone| {
            Ok(Column {
                name: alone.column.clone(),
                select: Plan::prepare(tx, &alone.select, &[])?,
                insert: Plan::prepare(tx, &alone.insert, &[])?,
            })
        };
        Ok(Parts {
            select: Plan::prepare(tx, &trials.select, &[])?,
            filter: Plan::prepare(tx, &trials.filter, &[])?,
            columns: trials.columns.iter().map(column).collect::<Result<_>>()?,
            filtered: trials.filtered,
            last: RefCell::default(),
            converted: RefCell::default(),
            constrained: RefCell::default(),
        })
    }

    /// The number of messages that the filters let pass. `run` runs a part over them.
    ///
    /// Raises: what the filters raise.
    pub fn passing(&self, run: &dyn Fn(&Plan) -> Result<u64>) -> Result<u64> {
        run(&self.filter)
    }

    /// As `place`, if it has found that out for another message.
    pub fn known_place(&self, failure: &Failure) -> Option<FailureSite> {
        self.converted.borrow().get(failure.conversion.as_deref()?).cloned()
    }

    /// Where the statement has failed. `run` runs a part over the message.
    ///
    /// Expressions are evaluated in the columns' order, so the first that fails in the same way is
    /// the one. Nothing of this stays: each part runs in a subtransaction that is rolled back.
    ///
    /// # Errors
    /// What the look into the system's catalog raises; one of class Environment that a part met.
    pub fn place(&self, tx: &Tx, failure: &Failure, run: &Run<'_>) -> Result<FailureSite> {
        let progress = Rc::default();
        let place =
            self.find(tx, &failure.error, &|plan, decoded| run(plan, decoded, &progress))?;
        // What the found part has failed with. Another column might have had the same value.
        if let Some(conversion) = failure.conversion.as_deref()
            && progress.conversion.take().as_ref() == Some(conversion)
        {
            self.converted.borrow_mut().insert(conversion.clone(), place.clone());
        }
        Ok(place)
    }

    fn find(
        &self,
        tx: &Tx,
        error: &Error,
        run: &dyn Fn(&Plan, Decoded) -> Result<u64>,
    ) -> Result<FailureSite> {
        if let Some(subject) = &error.subject {
            let column = self.column_of(tx, subject)?;
            return Ok(FailureSite { stage: Stage::Write, column, filter: false });
        }
        let fails_with = |plan: &Plan, decoded| -> Result<bool> {
            let mut passed = false;
            let outcome: Result<()> = subtx(tx, || {
                run(plan, decoded)?;
                passed = true;
                Err(error.clone())
            });
            match outcome {
                // Cancelled, perhaps.
                Err(other) if !passed && other.class() == Class::Environment => Err(other),
                outcome => Ok(!passed && outcome.is_err_and(|found| found == *error)),
            }
        };
        let fails_so = |plan: &Plan| fails_with(plan, Decoded::AsLoaded);
        // What it was the last time, it probably is again: bad messages come by the thousand.
        let last = self.last.borrow().get(&error.sqlstate).copied();
        if let Some(found) = last
            && self.is_again(found, &fails_so, &|plan| fails_with(plan, Decoded::ByScan))?
        {
            return Ok(self.at(found));
        }
        let in_mapping = fails_so(&self.select)?;
        let filter = in_mapping && self.filtered && fails_so(&self.filter)?;
        let found = if filter {
            None
        } else if in_mapping {
            // An escape that PostgreSQL refuses spoils the document for all that ask it for fields: the
            // column is the one whose own field holds it.
            first(&self.columns, |column| fails_with(&column.select, Decoded::ByScan))?
        } else if matches!(&error.sqlstate.0[..2], b"22" | b"23") {
            // The conversion to the column's type or domain, if one column alone fails so: else a trigger.
            match first(&self.columns, |column| fails_so(&column.insert))? {
                Some(number) => {
                    let others = self.columns.get(number + 1..).unwrap_or_default();
                    let alone = first(others, |column| fails_so(&column.insert))?.is_none();
                    alone.then_some(number)
                }
                None => None,
            }
        } else {
            None
        };
        let Some(number) = found else {
            let stage = if in_mapping { Stage::Map } else { Stage::Write };
            return Ok(FailureSite { stage, column: None, filter });
        };
        let found = Found { number, on_insert: !in_mapping };
        self.last.borrow_mut().insert(error.sqlstate, found);
        Ok(self.at(found))
    }

    fn at(&self, found: Found) -> FailureSite {
        let column = self.columns.get(found.number).map(|column| column.name.clone());
        FailureSite { stage: Stage::Map, column, filter: false }
    }

    /// Is it the same column once more? Of two columns with the same value either may be named then.
    fn is_again(
        &self,
        found: Found,
        fails_so: &dyn Fn(&Plan) -> Result<bool>,
        fails_by_scan: &dyn Fn(&Plan) -> Result<bool>,
    ) -> Result<bool> {
        let Some(column) = self.columns.get(found.number) else { return Ok(false) };
        if !found.on_insert {
            return Ok(
                fails_by_scan(&column.select)? && !(self.filtered && fails_so(&self.filter)?)
            );
        }
        // A trigger's error would be any column's.
        let other = self.columns.iter().enumerate().find(|(number, _)| *number != found.number);
        Ok(fails_so(&column.insert)?
            && match other {
                Some((_, other)) => !fails_so(&other.insert)?,
                None => true,
            }
            && !fails_so(&column.select)?)
    }

    /// The column that an error is about, also where it only names a constraint of one column.
    fn column_of(&self, tx: &Tx, subject: &Subject) -> Result<Option<String>> {
        let Subject { schema, table, column: None, constraint: Some(constraint) } = subject else {
            return Ok(subject.column.clone());
        };
        if let Some(column) = self.constrained.borrow().get(subject) {
            return Ok(column.clone());
        }
        let column = errors::column_of_constraint(tx, schema, table, constraint)?;
        self.constrained.borrow_mut().insert(subject.clone(), column.clone());
        Ok(column)
    }
}

/// The number of the first of which it holds.
fn first(columns: &[Column], holds: impl Fn(&Column) -> Result<bool>) -> Result<Option<usize>> {
    for (number, column) in columns.iter().enumerate() {
        if holds(column)? {
            return Ok(Some(number));
        }
    }
    Ok(None)
}
