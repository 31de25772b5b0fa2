//! Autonomous transactions: one statement, run and committed by a short-lived background worker
//! while the caller's own transaction stays as it is.

mod wire;

use std::time::{Duration, Instant};

use pgrx::pg_sys::{self, Datum};

use crate::pg::acl::{self, AsUser};
use crate::pg::activity;
use crate::pg::bgworker::{self, Extra, Handle, Restart, Status, Worker};
use crate::pg::dsm::Mailbox;
use crate::pg::spi::{self, Arg, Row};
use crate::pg::tx::tx;
use crate::pg::{latch, signals};
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::printable::counted;

pub use wire::Rows;

/// The library and the symbol in it that calls `agent_main`.
const LIBRARY: &str = env!("CARGO_PKG_NAME");
const ENTRY: &str = concat!(env!("CARGO_PKG_NAME"), "_agent_main");

/// Bytes that the rows of an answer may have; a statement that returns more is rolled back.
const ANSWER: u32 = 64 * 1024;

/// How long the agent waits for a lock. The caller may hold it, and waits in a way that the
/// deadlock detector does not see.
const LOCK_TIMEOUT: &std::ffi::CStr = c"10s";

/// How long a worker may take to be started.
const START: Duration = Duration::from_secs(30);

/// How long an agent that has answered may take to give its slot back.
const LEAVE: Duration = Duration::from_secs(1);

/// At least so often a wait looks at interrupts.
const INTERRUPT_CHECK: Duration = Duration::from_millis(100);

/// Runs one statement in a transaction of its own, as the current user, in this database, and
/// commits it. Parameters are bound as text (`$1::int8` casts); rows come back as text.
///
/// Works whatever the state of the caller's transaction, also after an ERROR in it was caught and
/// before it is raised again. The statement does not see what the caller has not committed. Its
/// NOTICEs are dropped.
///
/// Errors: the statement's, as they were; 53000 when no worker can be started; 25006 on a standby;
/// 55P03 when it waits longer than 10 s for a lock; 54000 when its rows exceed 64 KiB; 58000 when
/// the agent dies. Raises: 57014, which ends the agent too: whether it had committed is unknown. A
/// caller that is terminated leaves it to finish.
pub fn run(sql: &str, params: &[Option<String>]) -> Result<Rows> {
    // SAFETY: xlog.c: reads shared state.
    if unsafe { pg_sys::RecoveryInProgress() } {
        return Err(Error::new(
            SqlState::new("25006"),
            "cannot run a statement of its own during recovery",
        ));
    }
    let agent = Agent::start(&wire::encode_request(sql, params))?;
    let answer = agent.wait()?;
    wire::decode_answer(&answer)
}

/// What the exported C symbol does: `arg` is the handle of the segment with the request.
pub fn agent_main(arg: Datum) {
    signals::install_die();
    let mut extra = Extra::mine();
    let (database, session, user) = (extra.next_oid(), extra.next_oid(), extra.next_oid());
    let caller = extra.next_i32();
    // As the caller's session user, which the user's code may look at; a role that may not log in
    // was let into the session by SET SESSION AUTHORIZATION, of a superuser then.
    bgworker::connect(database, (session != pg_sys::InvalidOid).then_some(session));
    let Some(mailbox) = u32::try_from(arg.value()).ok().and_then(Mailbox::open) else {
        return; // The caller has given up.
    };
    let outcome = wire::decode_request(&mailbox.question()).and_then(|(sql, params)| {
        activity::running(&sql);
        execute(user, &sql, &params, mailbox.room())
    });
    mailbox.answer(&outcome.unwrap_or_else(|error| wire::encode_error(&error)));
    latch::wake(caller);
}

/// Runs the statement and commits; the rows, encoded, fit into `room` bytes.
fn execute(
    user: pg_sys::Oid,
    sql: &str,
    params: &[Option<String>],
    room: usize,
) -> Result<Vec<u8>> {
    let _user = AsUser::role(user);
    tx(|tx| {
        tx.set_local(c"lock_timeout", LOCK_TIMEOUT);
        let args: Vec<Arg<'_>> = params.iter().map(|p| Arg::from(p.as_deref())).collect();
        let rows = spi::exec_returning(tx, sql, &args, |row: &Row<'_>| {
            (1..=row.columns()).map(|column| row.get(column)).collect()
        })?;
        let answer = wire::encode_rows(&rows);
        if answer.len() > room {
            return Err(Error::new(SqlState::new("54000"), "the statement returns too much")
                .detail(format!("{}, of {room} at most.", counted(answer.len(), "byte"))));
        }
        Ok(answer)
    })
}

/// A worker with a request. Dropping it ends the worker, if that has not answered.
struct Agent {
    worker: Handle,
    mailbox: Mailbox,
}

impl Agent {
    fn start(request: &[u8]) -> Result<Agent> {
        let mailbox = Mailbox::create(request, ANSWER)?;
        // SAFETY: globals.c: this process's database and pid.
        let (database, pid) = unsafe { (pg_sys::MyDatabaseId, pg_sys::MyProcPid) };
        let session = acl::session_user();
        // What has been taken from the role since then concerns its next sessions.
        let may_begin = acl::can_login(session) && acl::may_connect(session);
        let session = if may_begin { session } else { pg_sys::InvalidOid };
        let worker = Worker {
            name: "gpss agent",
            kind: "gpss agent",
            library: LIBRARY,
            function: ENTRY,
            restart: Restart::Never,
            argument: mailbox.handle(),
            extra: Extra::new().oid(database).oid(session).oid(acl::current_user()).i32(pid),
        };
        Ok(Agent { worker: worker.start()?, mailbox })
    }

    /// Raises: 57014.
    fn wait(&self) -> Result<Vec<u8>> {
        let started = Instant::now();
        loop {
            // In this order: an agent that answered and ended between the two has answered.
            let status = self.worker.status();
            if let Some(answer) = self.mailbox.take_answer() {
                self.worker.wait_for_shutdown(LEAVE);
                return Ok(answer);
            }
            match status {
                Status::Stopped => return Err(died()),
                Status::NotYetStarted if started.elapsed() > START => return Err(not_started()),
                Status::NotYetStarted | Status::Running(_) => {}
            }
            latch::wait(INTERRUPT_CHECK, None);
            signals::check_for_interrupts();
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.mailbox.take_answer().is_none() {
            self.worker.terminate();
        }
    }
}

fn died() -> Error {
    Error::new(SqlState::new("58000"), "the agent ended without an answer")
        .hint("The server log says why.")
}

fn not_started() -> Error {
    Error::new(SqlState::INSUFFICIENT_RESOURCES, "the server did not start the agent")
        .hint("Look for messages about background workers in the server log.")
}
