//! `gpss.check`: tries each part that a job needs, one row each, with a hint where it fails. The names of the
//! parts are in docs/functions.md.

use super::continued;
use super::delivery::{self, Promise};
use super::{
    Named, answer, dryrun, job_objects, job_or_config, remarks, schemas, submit, trial_as_owner,
};
use crate::catalog::jobs::Job;
use crate::catalog::{offsets, runs};
use crate::fdw::cancellable;
use crate::fdw::columns::Layout;
use crate::fdw::formats::Formats;
use crate::fdw::needs::Needs;
use crate::fdw::options::{OptionContext, Privileges, validate};
use crate::fdw::source::{self, TopicOptions};
use crate::pg::call::{Json, Text};
use crate::pg::caught::{Level, raise};
use crate::pg::fdw::Table;
use crate::pg::signals;
use crate::pg::spi::Plan;
use crate::pg::subtx::{subtx, trial};
use crate::pg::tx::Tx;
use gpss_kafka::{Consumer, Properties, no_leader};
use gpss_model::beginning::{Beginning, Decision, Facts, Marks, TopicIdentity};
use gpss_model::config::LoadConfig;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::job::{Fallback, JobSpec, TableName};
use gpss_model::partitions::Partitions;
use gpss_model::printable::counted;
use gpss_model::statement::qualified;
use pgrx::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Component, whether it works, what was found, what to do.
type Finding = (String, String, String, Option<String>);

/// Checks a job, given by its name, or a load configuration, given as text: brokers, topic,
/// partitions, schema registry, target, privileges and mapping; `properties` fill a configuration's
/// `{{templates}}`. Nothing is changed.
#[pg_extern(schema = "gpss", name = "check", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)] // pgrx reads the result's columns from this type
fn check(
    job_or_config: Text,
    properties: default!(Json, "'{}'"),
) -> TableIterator<
    'static,
    (name!(component, Text), name!(status, Text), name!(detail, Text), name!(hint, Option<Text>)),
> {
    let findings = answer(|| run(&job_or_config, properties));
    TableIterator::new(findings.into_iter().map(|(component, status, detail, hint)| {
        (Text(component), Text(status), Text(detail), hint.map(Text))
    }))
}

fn run(text: &str, properties: Json) -> Result<Vec<Finding>> {
    let tx = Tx::current();
    let mut findings = vec![];
    match job_or_config(&tx, text, properties)? {
        Named::Job(job) => {
            if let Err(error) = job.check_can_run() {
                note(&mut findings, "owner", Err(error));
            }
            check_source(&tx, &job, &mut findings);
            check_target(&tx, &job, &mut findings);
        }
        Named::Config(config) => {
            note(&mut findings, "configuration", Ok("every key is known".to_owned()));
            check_config(&tx, &config, &mut findings);
        }
    }
    Ok(findings)
}

/// The job's objects are made in a subtransaction that is rolled back.
fn check_config(tx: &Tx, config: &LoadConfig, findings: &mut Vec<Finding>) {
    let kafka = &config.source;
    // What CREATE SERVER and CREATE USER MAPPING would refuse is not tried either.
    let properties = job_objects::check_wrapper_usage().and_then(|()| {
        validate(OptionContext::UserMapping, &kafka.properties, Privileges::of_current_user())?;
        Properties::new(&kafka.brokers, &kafka.properties)
    });
    check_kafka(properties, &kafka.topic, kafka.partitions.as_ref(), findings);
    match submit::targets_of(tx, config) {
        Err(error) => note(findings, "target", Err(error)),
        Ok(targets) => {
            note_targets(&targets, findings);
            let tried = trial(tx, || {
                let job = submit::from_config(tx, "gpss.check", config)?;
                let table = Table::load(schemas::table_oid(tx, &job.spec.source)?);
                let mut findings = vec![];
                check_transformer(tx, &job, &mut findings);
                add_remarks(tx, &job.spec, &mut findings);
                let planned = planned(tx, &job)?;
                Ok((planned, formats_of(&table, job.owner), findings))
            });
            match tried {
                Err(error) => note(findings, MAPPING, Err(error)),
                Ok((planned, formats, more)) => {
                    findings.extend(planned);
                    findings.extend(more);
                    check_registries(formats, findings);
                }
            }
        }
    }
}

fn formats_of(table: &Table, user: pg_sys::Oid) -> Result<Formats> {
    Formats::of(table, &Layout::of(table)?, user)
}

fn check_source(tx: &Tx, job: &Job, findings: &mut Vec<Finding>) {
    let Job { spec, owner, .. } = job;
    let found = subtx(tx, || {
        let table = Table::load(schemas::table_oid(tx, &spec.source)?);
        source::check_wrapper(&table)?;
        let kafka = TopicOptions::of(&table)?;
        Ok((kafka, source::properties(&table, *owner)?, formats_of(&table, *owner)))
    });
    match found {
        Err(error) => note(findings, "source", Err(error)),
        Ok((kafka, properties, formats)) => {
            note(findings, "source", Ok(format!("foreign table {}", qualified(&spec.source))));
            let found =
                check_kafka(Ok(properties), &kafka.topic, kafka.partitions.as_ref(), findings);
            if let Some(found) = found {
                check_offsets(tx, job, kafka.fallback, found, findings);
            }
            check_registries(formats, findings);
        }
    }
}

/// Is what a start would go on with still on the brokers? Says nothing of a job that runs, whose offsets move
/// meanwhile, and of one that would begin with the oldest message.
fn check_offsets(
    tx: &Tx,
    job: &Job,
    fallback: Option<Fallback>,
    (identity, marks): (TopicIdentity, Marks),
    findings: &mut Vec<Finding>,
) {
    let component = "offsets";
    let gathered = subtx(tx, || {
        let runs = runs::find(tx, job.id)?.is_some();
        let inherited = offsets::inherited(tx, job.id, Some(&identity))?;
        Ok((runs, offsets::stored(tx, job.id)?, inherited))
    });
    let (mut stored, inherited) = match gathered {
        Err(error) => return note(findings, component, Err(error)),
        Ok((true, ..)) => return,
        Ok((false, stored, inherited)) => (stored, inherited),
    };
    stored.retain(|partition, _| marks.contains_key(partition));
    if stored.is_empty() && inherited.is_none() {
        return;
    }
    let beginning = Beginning::of(Facts {
        job_id: job.id,
        job: &job.name,
        topic: &job.spec.topic,
        identity,
        reset: None,
        fallback,
        stored,
        inherited,
        positioned: false,
        pending: BTreeSet::new(),
    });
    let decided = beginning
        .check_identity()
        .and_then(|()| beginning.decide(&marks, &BTreeMap::new(), &BTreeSet::new()));
    match decided {
        Err(error) => note(findings, component, Err(error)),
        Ok(Decision { positions, lost, .. }) if lost.is_empty() => {
            let detail = format!("the next start goes on at {}", continued::list(&positions));
            note(findings, component, Ok(detail));
        }
        Ok(Decision { lost, .. }) => {
            let count: i64 = lost.iter().map(|lost| lost.end_offset - lost.begin_offset).sum();
            let detail = format!(
                "the next start goes over {}, by its fallback",
                counted(count, "lost offset")
            );
            let hint = "gpss.lost_ranges will have them.".to_owned();
            findings.push((component.to_owned(), "warning".to_owned(), detail, Some(hint)));
        }
    }
}

/// Do the schema registries answer, and can the schemas that do not come from one be read?
fn check_registries(formats: Result<Formats>, findings: &mut Vec<Finding>) {
    let formats = match formats {
        Ok(formats) => formats,
        Err(error) => return note(findings, "format", Err(error)),
    };
    if let Err(error) = formats.decoder(&Needs::default()) {
        note(findings, "format", Err(error));
    }
    for registry in formats.registries() {
        let detail = |()| format!("the schema registry at {registry} answers");
        let asked = Arc::clone(registry);
        let answer = cancellable::ask(registry, move || asked.check()).and_then(|answer| answer);
        note(findings, "schema registry", answer.map(detail));
    }
    signals::check_for_interrupts();
}

fn check_target(tx: &Tx, job: &Job, findings: &mut Vec<Finding>) {
    let targets: Vec<TableName> = job.spec.outputs.iter().map(|o| o.target.clone()).collect();
    let exist = subtx(tx, || {
        targets.iter().try_for_each(|target| schemas::table_oid(tx, target).map(drop))
    });
    match exist {
        Ok(()) => note_targets(&targets, findings),
        Err(error) => return note(findings, "target", Err(error)),
    }
    match trial_as_owner(tx, job, || planned(tx, job)) {
        Ok(planned) => findings.extend(planned),
        Err(error) => return note(findings, MAPPING, Err(error)),
    }
    check_transformer(tx, job, findings);
    add_remarks(tx, &job.spec, findings);
}

fn note_targets(targets: &[TableName], findings: &mut Vec<Finding>) {
    for target in targets {
        note(findings, "target", Ok(format!("table {} exists", qualified(target))));
    }
}

const MAPPING: &str = "mapping and privileges";

/// What there is to say of the job's statements when they can be planned.
fn planned(tx: &Tx, job: &Job) -> Result<Vec<Finding>> {
    let layout = Layout::of(&Table::load(schemas::table_oid(tx, &job.spec.source)?))?;
    let function = layout.calls_functions().then_some("a function makes them (format custom)");
    let statements = submit::check_statements(tx, &job.spec)?;
    let mut findings = vec![];
    for (output, sql) in job.spec.outputs.iter().zip(&statements) {
        let obstacle = Plan::prepare(tx, sql, &[])?.obstacle_to_bulk(tx)?.or(function);
        let how = match obstacle {
            None => "rows are written in bulk".to_owned(),
            Some(why) => format!("rows go one by one: {why}"),
        };
        let target = qualified(&output.target);
        let detail = format!("the statement into {target} can be planned; {how}");
        note(&mut findings, MAPPING, Ok(detail));
    }
    findings.extend(delivery::promises(tx, &statements)?.into_iter().map(delivered));
    Ok(findings)
}

fn delivered(promise: Promise) -> Finding {
    let status = if promise.works { "ok" } else { "warning" };
    let hint = promise.hint.map(str::to_owned);
    ("delivery".to_owned(), status.to_owned(), promise.detail, hint)
}

/// A transformer is code: what it does with a row is seen when it runs, on one message.
fn check_transformer(tx: &Tx, job: &Job, findings: &mut Vec<Finding>) {
    if job.spec.outputs.iter().all(|output| output.transformer.is_none()) {
        return;
    }
    let component = "transformer";
    let detail = match dryrun::try_one(tx, job) {
        Ok(Some((which, Ok(())))) => format!("takes the {which} message"),
        Ok(Some((_, Err(error)))) => {
            let error = Error::new(SqlState::INVALID_PARAMETER, error).hint(submit::TRANSFORMER);
            return note(findings, component, Err(error));
        }
        Ok(None) => "was not tried: there is no message".to_owned(),
        Err(error) => format!("was not tried: {error}"),
    };
    note(findings, component, Ok(detail));
}

fn add_remarks(tx: &Tx, spec: &JobSpec, findings: &mut Vec<Finding>) {
    match subtx(tx, || remarks::all(tx, spec)) {
        Err(error) => note(findings, "remark", Err(error)),
        Ok(remarks) => findings.extend(remarks.into_iter().map(|(level, remark)| {
            let status = if level == Level::Warning { "warning" } else { "ok" };
            ("remark".to_owned(), status.to_owned(), remark.to_string(), remark.hint)
        })),
    }
}

fn check_kafka(
    properties: Result<Properties>,
    topic: &str,
    chosen: Option<&Partitions>,
    findings: &mut Vec<Finding>,
) -> Option<(TopicIdentity, Marks)> {
    let consumer = properties.and_then(|p| {
        let consumer = Consumer::open(&p)?;
        Ok((consumer, p.brokers().to_owned()))
    });
    let (consumer, brokers) = match consumer {
        Ok(opened) => opened,
        Err(error) => {
            note(findings, "properties", Err(error));
            return None;
        }
    };
    let cancelled = signals::is_over;
    let reached = consumer.cluster_id(TIMEOUT, &cancelled);
    let cluster_id = reached.clone().ok();
    let mut known = None;
    note(
        findings,
        "brokers",
        reached.map(|id| match id {
            Some(id) => format!("cluster {id} answers at {brokers}"),
            None => format!("the cluster at {brokers} answers"),
        }),
    );
    if let Some(cluster_id) = cluster_id {
        match consumer.topic(topic, TIMEOUT, &cancelled) {
            Err(error) => note(findings, "topic", Err(error)),
            Ok(found) => {
                let partitions = &found.partitions;
                let detail =
                    format!("topic \"{topic}\" has {}", counted(partitions.len(), "partition"));
                note(findings, "topic", Ok(detail));
                if let Some(Err(error)) = chosen.map(|chosen| chosen.check(topic, partitions)) {
                    note(findings, "partitions", Err(error));
                }
                let read = partitions.iter().filter(|p| chosen.is_none_or(|c| c.contains(**p)));
                let marks: Result<Marks> = read
                    .map(|p| {
                        if !found.has_leader(*p) {
                            return Err(no_leader(topic, *p));
                        }
                        Ok((*p, consumer.watermarks(topic, *p, TIMEOUT, &cancelled)?))
                    })
                    .collect();
                let detail = |marks: &Marks| {
                    let count: i64 = marks.values().map(|(low, high)| high - low).sum();
                    format!("all have a leader, {} between begin and end", counted(count, "offset"))
                };
                note(findings, "partitions", marks.as_ref().map(detail).map_err(Error::clone));
                let identity = TopicIdentity { cluster_id, topic_id: found.id };
                known = marks.ok().map(|marks| (identity, marks));
            }
        }
    }
    consumer.close(Duration::from_secs(2));
    signals::check_for_interrupts();
    known
}

/// Raises: the error of a cancel, which finds out nothing.
fn note(findings: &mut Vec<Finding>, component: &str, outcome: Result<String>) {
    findings.push(match outcome {
        Ok(detail) => (component.to_owned(), "ok".to_owned(), detail, None),
        Err(error) => {
            if error.sqlstate == SqlState::QUERY_CANCELED {
                raise(error);
            }
            let detail = error.to_string();
            (component.to_owned(), "failed".to_owned(), detail, error.hint)
        }
    });
}
