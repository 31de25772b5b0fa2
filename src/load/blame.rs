//! Where a message that cannot be loaded has failed: in the mapping or in the table, and at which
//! column. Asked of PostgreSQL by running the statement's parts over this one message.

use crate::catalog::errors::{self, Stage};
use crate::error::{Class, Error, Result, SqlState, Subject};
use crate::model::statement::{Alone, Trials};
use crate::pg::spi::Plan;
use crate::pg::subtx::subtx;
use crate::pg::tx::Tx;
use std::cell::RefCell;
use std::collections::HashMap;

/// Where a message has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub stage: Stage,
    pub column: Option<String>,
}

/// The parts of the statement that loads one table.
pub struct Parts {
    select: Plan,
    filter: Plan,
    columns: Vec<Column>,
    /// What has been found in the system's catalog.
    constrained: RefCell<HashMap<Subject, Option<String>>>,
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
            constrained: RefCell::default(),
        })
    }

    /// The number of messages that the filters let pass. `run` runs a part over them.
    ///
    /// Raises: what the filters raise.
    pub fn passing(&self, run: &dyn Fn(&Plan) -> Result<u64>) -> Result<u64> {
        run(&self.filter)
    }

    /// Where the statement has failed with `error`. `run` runs a part over the message.
    ///
    /// Expressions are evaluated in the columns' order, so the first that fails in the same way is
    /// the one. Nothing of this stays: each part runs in a subtransaction that is rolled back.
    ///
    /// # Errors
    /// What the look into the system's catalog raises; one of class Environment that a part met.
    pub fn place(
        &self,
        tx: &Tx,
        error: &Error,
        run: &dyn Fn(&Plan) -> Result<u64>,
    ) -> Result<Place> {
        if let Some(subject) = &error.subject {
            return Ok(Place { stage: Stage::Write, column: self.column_of(tx, subject)? });
        }
        let fails_so = |plan: &Plan| -> Result<bool> {
            let mut passed = false;
            let outcome: Result<()> = subtx(tx, || {
                run(plan)?;
                passed = true;
                Err(error.clone())
            });
            match outcome {
                // Cancelled, perhaps.
                Err(other) if !passed && other.class() == Class::Environment => Err(other),
                outcome => Ok(!passed && outcome.is_err_and(|found| found == *error)),
            }
        };
        let in_mapping = fails_so(&self.select)?;
        let mut column = None;
        if in_mapping {
            // An escape that PostgreSQL refuses spoils the document for all that ask it for fields.
            let of_document = error.sqlstate == SqlState::UNTRANSLATABLE_CHARACTER;
            if !of_document && !fails_so(&self.filter)? {
                column = first(&self.columns, |column| fails_so(&column.select))?;
            }
        } else if matches!(&error.sqlstate.0[..2], b"22" | b"23") {
            // The conversion to the column's type or domain, if one column alone fails so: else a trigger.
            column = first(&self.columns, |column| fails_so(&column.insert))?;
            let others = column.map_or(&[][..], |(number, _)| &self.columns[number + 1..]);
            if first(others, |column| fails_so(&column.insert))?.is_some() {
                column = None;
            }
        }
        Ok(Place {
            stage: if in_mapping || column.is_some() { Stage::Map } else { Stage::Write },
            column: column.map(|(_, column)| column.name.clone()),
        })
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

/// The first of which it holds, and its number.
fn first(
    columns: &[Column],
    holds: impl Fn(&Column) -> Result<bool>,
) -> Result<Option<(usize, &Column)>> {
    for (number, column) in columns.iter().enumerate() {
        if holds(column)? {
            return Ok(Some((number, column)));
        }
    }
    Ok(None)
}
