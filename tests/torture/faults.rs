//! The faults: what may happen to server, broker, table and job, and in which order it does.

use crate::dice::Dice;
use crate::producer::Ledger;
use crate::stage::Stage;
use gpss_testbed::{eventually, signal};
use std::fmt;
use std::thread::sleep;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    Loader,
    Scheduler,
}

impl Process {
    fn backend_type(self) -> &'static str {
        match self {
            Process::Loader => "gpss loader",
            Process::Scheduler => "gpss scheduler",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A signal from outside; `KILL` restarts all sessions of the server.
    Signal(Process, &'static str),
    /// `pg_terminate_backend` or `pg_cancel_backend`.
    Backend(Process, &'static str),
    ServerStops(&'static str),
    ServerIsKilled,
    ServerIsKilledWhole,
    BrokerStops,
    BrokerIsKilled,
    BrokerPauses,
    TargetIsLocked,
    PreparedTransactionLocks,
    Ddl(&'static str),
    JobStops,
    BadMessages,
    Burst,
}

use Fault::*;
use Process::*;

/// What is over as soon as it has happened; may hit while something of `LASTING` goes on.
const SHORT: [Fault; 13] = [
    Signal(Loader, "KILL"),
    Signal(Loader, "TERM"),
    Signal(Scheduler, "KILL"),
    Signal(Scheduler, "TERM"),
    Backend(Loader, "pg_terminate_backend"),
    Backend(Loader, "pg_cancel_backend"),
    Backend(Scheduler, "pg_terminate_backend"),
    Backend(Scheduler, "pg_cancel_backend"),
    ServerStops("fast"),
    ServerStops("immediate"),
    ServerIsKilled,
    ServerIsKilledWhole,
    BadMessages,
];

const LASTING: [Fault; 7] = [
    ServerStops("smart"),
    BrokerStops,
    BrokerIsKilled,
    BrokerPauses,
    TargetIsLocked,
    PreparedTransactionLocks,
    JobStops,
];

const OTHER: [Fault; 5] = [
    Ddl("ALTER TABLE numbers ADD COLUMN IF NOT EXISTS extra int;
         ALTER TABLE numbers ALTER COLUMN extra TYPE bigint;
         ALTER TABLE numbers DROP COLUMN extra"),
    Ddl("CREATE INDEX numbers_note ON numbers (note); DROP INDEX numbers_note"),
    Ddl("REINDEX TABLE numbers"),
    Ddl("VACUUM FULL numbers"),
    Burst,
];

/// A broker's troubles, which loaders have to survive.
pub const OUTAGES: [Fault; 3] = [BrokerPauses, BrokerIsKilled, BrokerStops];

/// A fault as it is to happen.
pub struct Stroke {
    pub fault: Fault,
    lasts: Duration,
    /// Hits in the middle of it.
    second: Option<Fault>,
    /// Time for the job until the next one.
    pub pause: Duration,
}

impl fmt::Display for Stroke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.fault)?;
        if LASTING.contains(&self.fault) {
            write!(f, " for {:?}", self.lasts)?;
        }
        self.second.map_or(Ok(()), |second| write!(f, ", meanwhile: {second}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Signal(process, name) => write!(f, "SIG{name} to a {}", process.backend_type()),
            Backend(process, function) => write!(f, "{function} on a {}", process.backend_type()),
            ServerStops(mode) => write!(f, "{mode} shutdown"),
            Ddl(sql) => f.write_str(sql.split(';').next().unwrap_or(sql)),
            other => write!(f, "{other:?}"),
        }
    }
}

/// The order of the faults. A seed repeats it; at which statement each hits is the machine's affair.
pub struct Plan {
    dice: Dice,
    /// Only faults whose names contain this: for who looks for the cause of one.
    only: String,
    /// Every fault once, then anew: none is forgotten in a short run.
    deck: Vec<Fault>,
}

impl Plan {
    /// None when no fault's name contains `only`.
    pub fn new(dice: Dice, only: String) -> Option<Self> {
        let mut plan = Plan { dice, only, deck: vec![] };
        plan.deal();
        (!plan.deck.is_empty()).then_some(plan)
    }

    fn deal(&mut self) {
        self.deck = [&SHORT[..], &LASTING, &OTHER].concat();
        self.deck.retain(|fault| fault.to_string().contains(&self.only));
        self.dice.shuffle(&mut self.deck);
    }

    pub fn next(&mut self) -> Stroke {
        if self.deck.is_empty() {
            self.deal();
        }
        let fault = self.deck.pop().expect("a deck");
        let second = self.dice.pick(&SHORT);
        let doubled = self.dice.below(3) == 0 && LASTING.contains(&fault);
        Stroke {
            fault,
            lasts: Duration::from_millis(500 + self.dice.below(3000)),
            second: doubled.then_some(second),
            pause: Duration::from_millis(self.dice.below(2000)),
        }
    }

    /// A stroke of this fault alone.
    pub fn only(&mut self, fault: Fault) -> Stroke {
        Stroke { fault, second: None, ..self.next() }
    }
}

impl Stroke {
    /// Does it, and undoes what would not end by itself; the faults that have happened.
    pub fn strike(&self, stage: &Stage, ledger: &Ledger) -> Vec<Fault> {
        let mut happened = vec![self.fault];
        let mut meanwhile = || {
            sleep(self.lasts / 2);
            happened.extend(self.second.filter(|second| hit(*second, stage, ledger)));
            sleep(self.lasts / 2);
        };
        match self.fault {
            ServerStops("smart") => {
                stage.cluster.stop("smart");
                // Nobody is there to be hit.
                sleep(self.lasts);
                stage.cluster.start();
            }
            BrokerStops => {
                stage.broker.stop();
                meanwhile();
                stage.broker.start();
            }
            BrokerIsKilled => {
                stage.broker.kill();
                meanwhile();
                stage.broker.start();
            }
            BrokerPauses => {
                stage.broker.pause();
                meanwhile();
                stage.broker.resume();
            }
            TargetIsLocked => std::thread::scope(|scope| {
                let seconds = self.lasts.as_secs_f64();
                let sql = format!(
                    "BEGIN; LOCK TABLE numbers IN ACCESS EXCLUSIVE MODE;
                     SELECT pg_sleep({seconds}); COMMIT"
                );
                // The second fault may end the session.
                scope.spawn(move || stage.db.try_sql(&sql));
                meanwhile();
            }),
            PreparedTransactionLocks => {
                stage.db.sql(
                    "BEGIN; LOCK TABLE numbers IN SHARE ROW EXCLUSIVE MODE;
                     PREPARE TRANSACTION 'torture'",
                );
                meanwhile();
                stage.await_server();
                stage.db.sql("COMMIT PREPARED 'torture'");
            }
            JobStops => {
                stage.db.sql("SELECT gpss.stop_job('numbers')");
                meanwhile();
                stage.await_server();
                stage.db.sql("SELECT gpss.start_job('numbers')");
            }
            short => drop(hit(short, stage, ledger)),
        }
        stage.await_server();
        happened
    }
}

/// A short fault; false when there was nothing to hit.
fn hit(fault: Fault, stage: &Stage, ledger: &Ledger) -> bool {
    let first = |process: Process| stage.pids(process.backend_type()).first().copied();
    match fault {
        Signal(process, name) => {
            let Some(pid) = first(process) else { return false };
            signal(pid, name);
            if name == "KILL" {
                // The postmaster may take a moment to notice.
                eventually("the process is gone", 10, || {
                    !stage.pids(process.backend_type()).contains(&pid)
                });
            }
        }
        Backend(process, function) => {
            let Some(pid) = first(process) else { return false };
            stage.db.sql(&format!("SELECT {function}({pid})"));
        }
        ServerStops(mode) => {
            stage.cluster.stop(mode);
            stage.cluster.start();
        }
        ServerIsKilled => {
            stage.cluster.kill();
            stage.cluster.start();
        }
        ServerIsKilledWhole => {
            stage.cluster.kill_whole();
            stage.cluster.start();
        }
        Ddl(sql) => drop(stage.db.sql(sql)),
        BadMessages => ledger.spoil(7),
        Burst => ledger.burst(20_000),
        lasting => unreachable!("{lasting} lasts"),
    }
    true
}
