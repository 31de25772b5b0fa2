//! Asks for the ends of partitions while a loader's main thread cannot tell of them: it waits for a lock,
//! loads for long, or sleeps until the next try. A thread of its own asks, with a client of its own, and
//! shows the answers in shared memory, where the views find them.

use crate::fdw::handover::Position;
use crate::fdw::reader::Show;
use crate::pg::board::Board;
use crate::pg::caught::caught;
use crate::pg::threads::{self, Thread};
use gpss_kafka::{Consumer, Properties};
use gpss_model::assign;
use gpss_model::error::{Result, SqlState};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the main thread has to be busy before it is asked for in its place, and how often at first.
const SOON: Duration = Duration::from_secs(2);
/// How often when it has been busy for long.
const LATER: Duration = Duration::from_secs(30);
/// How long the brokers have for each question.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is asked for.
struct Question {
    properties: Properties,
    topic: String,
}

/// What the two threads share.
struct State {
    question: Option<Arc<Question>>,
    /// Since when the main thread has been busy; None: it collects a batch, and tells of ends itself.
    busy: Option<Instant>,
    /// The last answer, until it is taken.
    ends: BTreeMap<i32, i64>,
    end: bool,
}

#[derive(Clone)]
struct Shared(Arc<(Mutex<State>, Condvar)>);

/// The main thread's side. The other thread ends with it, or with the process.
pub struct Gauge {
    shared: Shared,
    display: Option<Display>,
    _thread: Option<Thread<()>>,
}

impl Gauge {
    /// For the partitions of a slot. Without memory or a thread for it, nothing is asked for.
    pub fn start(slot: i32, slots: i32) -> Gauge {
        let state =
            State { question: None, busy: Some(Instant::now()), ends: BTreeMap::new(), end: false };
        let shared = Shared(Arc::new((Mutex::new(state), Condvar::new())));
        let board = caught(|| Ok(Board::create())).ok().flatten();
        let display = board.map(|board| Display { board, slots: slots.unsigned_abs().max(1) });
        let thread = display.and_then(|display| {
            let work = Work { shared: shared.clone(), display, slot: slot.unsigned_abs() };
            threads::spawn("gpss gauge", move || work.run()).ok()
        });
        Gauge { shared, display, _thread: thread }
    }

    /// The board's handle, for those who look.
    pub fn board(&self) -> Option<u32> {
        self.display.map(|display| display.board.handle())
    }

    /// For what the reader thread hears.
    pub fn show(&self) -> Option<Show> {
        let display = self.display?;
        Some(Box::new(move |ends, age| display.show(ends, age)))
    }

    /// From now on it is this topic.
    pub fn ask_for(&self, properties: Properties, topic: String) {
        let mut state = self.shared.0.0.lock();
        state.question = Some(Arc::new(Question { properties, topic }));
        state.ends.clear();
    }

    /// Nothing is asked for while `f` is at work: it tells of ends itself.
    pub fn rest<T>(&self, f: impl FnOnce() -> T) -> T {
        struct Busy<'a>(&'a Mutex<State>);
        impl Drop for Busy<'_> {
            fn drop(&mut self) {
                self.0.lock().busy = Some(Instant::now());
            }
        }
        let state = &self.shared.0.0;
        state.lock().busy = None;
        let _busy = Busy(state);
        f()
    }

    /// The ends that have been shown since the last call.
    pub fn ends(&self) -> BTreeMap<i32, i64> {
        std::mem::take(&mut self.shared.0.0.lock().ends)
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        let (state, changed) = &*self.shared.0;
        state.lock().end = true;
        changed.notify_one();
    }
}

impl Shared {
    /// Waits; what is to be asked for then, if anything. None: the end has come.
    fn next(&self, wait: Duration) -> Option<Option<(Arc<Question>, Duration)>> {
        let (state, changed) = &*self.0;
        let mut state = state.lock();
        if !state.end {
            changed.wait_for(&mut state, wait);
        }
        if state.end {
            return None;
        }
        let busy = state.busy.map(|since| since.elapsed()).filter(|busy| *busy >= SOON);
        Some(state.question.clone().zip(busy))
    }

    fn has_ended(&self) -> bool {
        self.0.0.lock().end
    }

    /// If nothing else is asked for by now.
    fn answered(&self, question: &Arc<Question>, ends: &[Position]) {
        let mut state = self.0.0.lock();
        if state.question.as_ref().is_some_and(|current| Arc::ptr_eq(current, question)) {
            state.ends.extend(ends.iter().copied());
        }
    }

    /// It is not asked again.
    fn give_up(&self, question: &Arc<Question>) {
        let mut state = self.0.0.lock();
        state.question.take_if(|current| Arc::ptr_eq(current, question));
    }
}

/// Where the ends of a slot's partitions are shown.
#[derive(Clone, Copy)]
struct Display {
    board: Board,
    slots: u32,
}

impl Display {
    /// The ends as they were so long ago.
    fn show(self, ends: &[Position], age: Duration) {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = i64::try_from(since_1970.saturating_sub(age).as_micros()).unwrap_or(i64::MAX);
        for (partition, end) in ends {
            // The slot's partitions follow each other in steps of `slots`.
            self.board.put((partition.unsigned_abs() / self.slots) as usize, *end, at);
        }
    }
}

struct Work {
    shared: Shared,
    display: Display,
    slot: u32,
}

impl Work {
    fn run(self) {
        let mut client: Option<(Arc<Question>, Consumer)> = None;
        let mut wait = SOON;
        while let Some(due) = self.shared.next(wait) {
            wait = SOON;
            let Some((question, busy)) = due else {
                client = None;
                continue;
            };
            // A question that is new has new properties.
            client.take_if(|(asked, _)| !Arc::ptr_eq(asked, &question));
            match self.ask(&question, &mut client) {
                Ok(()) => {}
                Err(error) if error.sqlstate == SqlState::CONNECTION_FAILURE => {}
                // The loader's next session asks with properties that are as they should be.
                Err(_) => self.shared.give_up(&question),
            }
            wait = (busy / 8).clamp(SOON, LATER);
        }
    }

    fn ask(
        &self,
        question: &Arc<Question>,
        client: &mut Option<(Arc<Question>, Consumer)>,
    ) -> Result<()> {
        let consumer = match client.take() {
            Some((_, consumer)) => consumer,
            None => Consumer::open(&question.properties)?,
        };
        let (_, consumer) = client.insert((Arc::clone(question), consumer));
        let cancelled = || self.shared.has_ended();
        let topic = &question.topic;
        let found = consumer.describe(topic, TIMEOUT, &cancelled)?;
        // librdkafka would wait for a leader.
        let led = found.partitions.iter().copied().filter(|partition| found.has_leader(*partition));
        let own = assign::partitions_of(self.slot, self.display.slots, &led.collect::<Vec<i32>>());
        let asked = Instant::now();
        let ends = consumer.ends(topic, &own, TIMEOUT, &cancelled)?;
        self.shared.answered(question, &ends);
        self.display.show(&ends, asked.elapsed());
        Ok(())
    }
}
