//! The reader thread: takes messages from librdkafka, decodes them in one pass and hands blocks of
//! rows over a bounded channel. It calls no PostgreSQL function.

use crate::pg::eventfd::EventFd;
use crate::pg::latch;
use crate::pg::threads::{self, Thread};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use gpss_format::{MessageDecoder, Room, headers_json, width};
use gpss_kafka::{Consumer, Event, Message, PartitionFault, TopicFound, Waker};
use gpss_model::block::{Block, MessageParts, Width};
use gpss_model::error::{Error, Result, SqlState};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::formats::Formats;
use super::handover::Position;
use super::needs::Needs;
use super::watch::Watch;

/// A block is handed over when it has this many messages …
const BLOCK_ROWS: usize = 1000;
/// … or bytes.
const BLOCK_BYTES: usize = 1 << 20;
/// Blocks in the channel; the budget of bytes usually bites first.
const CHANNEL_BLOCKS: usize = 64;
/// Longest wait for messages: how soon the thread hears of a lost connection. Orders wake it.
const POLL: Duration = Duration::from_secs(1);
/// How often a wait for the other thread looks whether it is still there.
const LOOK: Duration = Duration::from_millis(100);
/// Milliseconds since 1970 at which PostgreSQL's timestamptz ends (END_TIMESTAMP of timestamp.h).
/// Producers may set any timestamp; values beyond this are stored as NULL.
const END_OF_TIME: i64 = 9_224_318_016_000_000;
/// How soon a partition that could not be read is tried again, at first and at the latest.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How often the ends of partitions are asked for, whatever has come of them.
const ENDS: Duration = Duration::from_secs(30);
/// How long an ended scan or worker waits for the thread and for librdkafka to close.
const CLOSE: Duration = Duration::from_secs(5);

/// What the reader tells the main thread, in order for each partition.
#[derive(Debug)]
pub enum Input {
    /// Messages, and the high watermarks of their partitions as known to the client.
    Block { rows: Block, high: Vec<Position> },
    /// The end of a partition was reached: everything below `offset` has been delivered.
    End { partition: i32, offset: i64 },
    /// The topic, when it has other partitions than before, or others of them have a leader.
    Topic(TopicFound),
    /// A partition cannot be read at present, the others are. Messages or an end show that this is over.
    Waiting { partition: i32, error: Error },
    /// The brokers cannot be reached; librdkafka goes on trying.
    Trouble(Error),
    /// They can be reached again.
    Recovered,
    /// A line of librdkafka's log.
    Notice(String),
    /// A partition cannot be read on; the reader has stopped.
    Failed(Failure),
}

/// Shows the ends of partitions, as they were so long ago; called by the thread.
pub type Show = Box<dyn Fn(&[Position], Duration) + Send>;

/// Why a reader stopped by itself.
#[derive(Debug)]
pub enum Failure {
    /// The offset is not on the broker (retention, or a recreated topic).
    OffsetGone {
        partition: i32,
    },
    /// A broker does not know the topic or partition. A watched one is there nevertheless: brokers
    /// that have just started may say so.
    Unknown(Error),
    Other(Error),
}

/// What the main thread tells the reader.
enum Order {
    /// Read further partitions.
    Add(Vec<Position>),
    /// Show these offsets as the consumer group's.
    Commit(Vec<Position>),
}

/// Bytes of decoded blocks that have not been taken yet.
struct Budget {
    used: Mutex<usize>,
    freed: Condvar,
    limit: usize,
}

impl Budget {
    /// Waits until `bytes` fit; a single block larger than the limit passes alone.
    fn reserve(&self, bytes: usize, stop: &AtomicBool) {
        let mut used = self.used.lock();
        while *used > 0 && *used + bytes > self.limit && !stop.load(Ordering::Relaxed) {
            self.freed.wait_for(&mut used, LOOK);
        }
        *used += bytes;
    }

    fn free(&self, bytes: usize) {
        *self.used.lock() -= bytes;
        self.freed.notify_one();
    }
}

/// The main thread's end of a reader. Dropping it stops the thread.
pub struct Reader {
    inputs: Receiver<Input>,
    orders: Sender<Order>,
    stop: Arc<AtomicBool>,
    /// Ends the thread's wait for messages.
    waker: Arc<Mutex<Option<Waker>>>,
    has_group: bool,
    budget: Arc<Budget>,
    wake: Arc<EventFd>,
    /// Blocks that have been loaded go back to be filled again: new memory costs a page fault for
    /// each four kilobytes, in all as much as the decoding.
    used: Sender<Block>,
    /// A question to a schema registry is not waited for when the reader is dropped.
    formats: Formats,
    thread: Option<Thread<()>>,
}

impl Reader {
    /// Starts reading `topic` at the given positions.
    ///
    /// `budget` bounds the bytes decoded ahead. With a `watch`, new partitions are reported, and
    /// messages are handed over only while it is sure that they are the topic's. Then the partitions' ends
    /// are shown, too, now and then.
    pub fn start(
        mut consumer: Consumer,
        topic: &str,
        positions: &[Position],
        (formats, needs): (&Formats, &Needs),
        budget: usize,
        (watch, show): (Option<Watch>, Option<Show>),
    ) -> Result<Reader> {
        consumer.assign(topic, positions)?;
        let waker = Arc::new(Mutex::new(consumer.waker()));
        let has_group = consumer.has_group();
        let (sender, inputs) = bounded(CHANNEL_BLOCKS);
        let (orders, ordered) = unbounded();
        let stop = Arc::new(AtomicBool::new(false));
        let budget = Arc::new(Budget { used: Mutex::new(0), freed: Condvar::new(), limit: budget });
        let wake = Arc::new(EventFd::new()?);
        let (used, reusable) = bounded(CHANNEL_BLOCKS);
        let decoder = formats.decoder(needs)?;
        let headers = needs.headers || decoder.reads_headers();
        let work = Work {
            topic: topic.to_owned(),
            decoder,
            width: width(&needs.sides),
            headers,
            out: Out {
                sender,
                stop: Arc::clone(&stop),
                budget: Arc::clone(&budget),
                wake: Arc::clone(&wake),
            },
            orders: ordered,
            reusable,
            watch,
            show,
            asked: Instant::now(),
            trouble: None,
            stuck: BTreeMap::new(),
            next: positions.iter().copied().collect(),
            waker: Arc::clone(&waker),
            expected: (0, 0),
        };
        let thread = threads::spawn("gpss reader", move || work.run(consumer))?;
        Ok(Reader {
            inputs,
            orders,
            stop,
            waker,
            has_group,
            budget,
            wake,
            used,
            formats: formats.clone(),
            thread: Some(thread),
        })
    }

    /// What has arrived, without waiting. An `Err` means the thread is gone.
    pub fn try_next(&mut self) -> Result<Option<Input>> {
        match self.inputs.try_recv() {
            Ok(input) => {
                if let Input::Block { rows, .. } = &input {
                    self.budget.free(rows.bytes());
                }
                Ok(Some(input))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => {
                // A panic in the thread tells what happened.
                let result = self.thread.as_mut().and_then(|thread| thread.join(LOOK));
                Err(result.and_then(Result::err).unwrap_or_else(|| {
                    Error::new(SqlState::INTERNAL, "the reader thread has ended unexpectedly")
                }))
            }
        }
    }

    /// Waits until something has arrived, this process's latch is set, or the time is up.
    pub fn wait(&self, timeout: Duration) {
        latch::wait(timeout, Some(&self.wake));
        self.wake.drain();
    }

    /// Reads further partitions from now on.
    pub fn add(&self, positions: Vec<Position>) {
        self.order(Order::Add(positions));
    }

    /// Takes a block back that is not needed any more.
    pub fn recycle(&self, rows: Block) {
        if rows.bytes() <= 2 * BLOCK_BYTES {
            // When the channel is full, enough are waiting.
            let _ = self.used.try_send(rows);
        }
    }

    /// Shows the next offsets as those of the consumer group, if the user has named one. For
    /// Kafka's monitoring only; nothing is ever read back.
    pub fn commit(&self, positions: Vec<Position>) {
        if self.has_group {
            self.order(Order::Commit(positions));
        }
    }

    fn order(&self, order: Order) {
        // A closed channel means the thread has ended, which try_next reports.
        let _ = self.orders.send(order);
        self.wake_thread();
    }

    fn wake_thread(&self) {
        if let Some(waker) = &*self.waker.lock() {
            waker.wake();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for registry in self.formats.registries() {
            registry.close();
        }
        self.wake_thread();
        self.budget.freed.notify_one();
        // Makes room, so that a thread that waits to hand over a block sees the order.
        while self.inputs.try_recv().is_ok() {}
        if let Some(thread) = self.thread.take() {
            let deadline = Instant::now() + CLOSE;
            while !thread.is_finished() && Instant::now() < deadline {
                while self.inputs.try_recv().is_ok() {}
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// The thread's way to the main thread.
struct Out {
    sender: Sender<Input>,
    stop: Arc<AtomicBool>,
    budget: Arc<Budget>,
    wake: Arc<EventFd>,
}

impl Out {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn send(&self, input: Input) {
        if self.sender.send(input).is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
        self.wake.notify();
    }

    fn send_rows(&self, rows: Block, consumer: &Consumer, topic: &str) {
        let mut high: Vec<Position> = vec![];
        for row in (0..rows.count()).filter_map(|i| rows.row(i)) {
            if !high.iter().any(|(partition, _)| *partition == row.partition)
                && let Some(mark) = consumer.high_watermark(topic, row.partition)
            {
                high.push((row.partition, mark));
            }
        }
        self.send_block(rows, high);
    }

    fn send_block(&self, rows: Block, high: Vec<Position>) {
        self.budget.reserve(rows.bytes(), &self.stop);
        self.send(Input::Block { rows, high });
    }
}

/// A partition that cannot be read at present.
struct Stuck {
    /// When it is to be started anew; None: it has been.
    again: Option<Instant>,
    wait: Duration,
}

struct Work {
    topic: String,
    decoder: MessageDecoder,
    width: Width,
    headers: bool,
    out: Out,
    orders: Receiver<Order>,
    reusable: Receiver<Block>,
    watch: Option<Watch>,
    show: Option<Show>,
    /// When the ends of partitions were last asked for.
    asked: Instant,
    /// Why the brokers could not be reached when last looked.
    trouble: Option<SqlState>,
    /// Partitions that could not be read when last tried. librdkafka may go on behind what it cannot
    /// read: what it hands out is passed over until the partition has been started anew.
    stuck: BTreeMap<i32, Stuck>,
    /// The next offset of each partition.
    next: BTreeMap<i32, i64>,
    waker: Arc<Mutex<Option<Waker>>>,
    /// Messages and bytes of the last block.
    expected: (usize, usize),
}

impl Work {
    fn run(mut self, mut consumer: Consumer) {
        if let Err(error) = self.read(&mut consumer) {
            self.out.send(Input::Failed(error));
        }
        while let Ok(Order::Commit(offsets)) = self.orders.try_recv() {
            // The offsets of the last batch; for display only.
            let _ = consumer.commit_group_offsets(&self.topic, &offsets);
        }
        consumer.close(CLOSE);
    }

    fn read(&mut self, consumer: &mut Consumer) -> Result<(), Failure> {
        while !self.out.stopped() {
            while let Ok(order) = self.orders.try_recv() {
                match order {
                    Order::Add(positions) => {
                        consumer.add(&self.topic, &positions).map_err(Failure::Other)?;
                        self.next.extend(positions);
                    }
                    // For display only: the next batch commits again.
                    Order::Commit(offsets) => {
                        let _ = consumer.commit_group_offsets(&self.topic, &offsets);
                    }
                }
            }
            self.look(consumer)?;
            if self.watch.as_mut().is_some_and(Watch::is_given_up) {
                let positions: Vec<Position> = self.next.iter().map(|(p, o)| (*p, *o)).collect();
                consumer.renew(&self.topic, &positions).map_err(Failure::Other)?;
                *self.waker.lock() = consumer.waker();
            }
            self.try_again(consumer).map_err(Failure::Other)?;
            self.read_slice(consumer)?;
            self.report(consumer);
            self.show(consumer).map_err(Failure::Other)?;
        }
        Ok(())
    }

    /// Asks for the ends of partitions when that is due, and shows what has been answered: a quiet topic
    /// tells nothing by itself.
    fn show(&mut self, consumer: &mut Consumer) -> Result<()> {
        let (Some(show), Some(watch)) = (&self.show, &self.watch) else { return Ok(()) };
        if let Some(ends) = consumer.take_ends() {
            show(&ends, self.asked.elapsed());
        }
        if self.asked.elapsed() < ENDS || !watch.has_found() || self.trouble.is_some() {
            return Ok(());
        }
        self.asked = Instant::now();
        // librdkafka would wait for a leader.
        let led = self.next.keys().copied().filter(|partition| watch.has_leader(*partition));
        let led: Vec<i32> = led.collect();
        if led.is_empty() { Ok(()) } else { consumer.ask_for_ends(&self.topic, &led) }
    }

    /// Starts partitions anew that could not be read, when their time has come.
    fn try_again(&mut self, consumer: &mut Consumer) -> Result<()> {
        for (partition, stuck) in &mut self.stuck {
            if stuck.again.is_some_and(|at| Instant::now() >= at)
                && let Some(next) = self.next.get(partition)
            {
                stuck.again = None;
                consumer.add(&self.topic, &[(*partition, *next)])?;
            }
        }
        Ok(())
    }

    /// Is what comes of the partition to be passed over? If not, it can be read.
    fn is_stuck(&mut self, partition: i32) -> bool {
        match self.stuck.get(&partition) {
            None => false,
            Some(Stuck { again: Some(_), .. }) => true,
            Some(_) => {
                self.stuck.remove(&partition);
                false
            }
        }
    }

    /// The partition cannot be read: the others are, and it is tried again later. False when that was
    /// known.
    fn get_stuck(&mut self, partition: i32) -> bool {
        let (first, latest) = AGAIN;
        let wait = match self.stuck.get(&partition) {
            None => first,
            Some(Stuck { again: Some(_), .. }) => return false,
            Some(Stuck { wait, .. }) => (2 * *wait).min(latest),
        };
        self.stuck.insert(partition, Stuck { again: Some(Instant::now() + wait), wait });
        true
    }

    /// Tells what librdkafka says besides messages.
    fn report(&mut self, consumer: &Consumer) {
        for notice in consumer.take_notices() {
            let line = format!("librdkafka ({:?}): {}", notice.level, notice.text);
            self.out.send(Input::Notice(line));
        }
        match consumer.trouble() {
            Some(error) if self.trouble != Some(error.sqlstate) => {
                self.trouble = Some(error.sqlstate);
                self.out.send(Input::Trouble(error));
            }
            None if self.trouble.take().is_some() => self.out.send(Input::Recovered),
            _ => {}
        }
    }

    /// Looks at the topic when that is due; whether it has been found.
    fn look(&mut self, consumer: &Consumer) -> Result<bool, Failure> {
        let Some(watch) = self.watch.as_mut().filter(|watch| watch.is_due()) else {
            return Ok(false);
        };
        let stopped = || self.out.stopped();
        if let Some(found) = watch.look(consumer, &stopped).map_err(Failure::Other)? {
            self.out.send(Input::Topic(found));
        }
        Ok(watch.has_found())
    }

    fn is_sure(&self) -> bool {
        self.watch.as_ref().is_none_or(Watch::is_sure)
    }

    /// Waits until what has been taken is known to be the topic's, or the thread is to stop.
    fn make_sure(&mut self, consumer: &Consumer) -> Result<(), Failure> {
        while !self.is_sure() && !self.out.stopped() {
            // One look is enough, whatever has come meanwhile: it began after the messages were taken.
            if self.look(consumer)? {
                return Ok(());
            }
            if self.watch.as_mut().is_some_and(Watch::is_given_up) {
                return Err(Failure::Other(Error::new(
                    SqlState::CONNECTION_FAILURE,
                    format!("no broker answers questions for topic \"{}\"", self.topic),
                )));
            }
            self.report(consumer);
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// One poll and the blocks it fills.
    fn read_slice(&mut self, consumer: &mut Consumer) -> Result<(), Failure> {
        let mut blocks: Vec<Block> = vec![];
        let mut ends = vec![];
        let mut waiting = vec![];
        let mut failure = None;
        let mut headers = vec![];
        let taken = consumer
            .poll(BLOCK_ROWS, POLL, &mut |event| match event {
                // What cannot be decoded now for another reason than the message's ends the reading;
                // what follows it may not overtake it.
                Event::Message(_) if failure.is_some() => {}
                Event::Message(record) if self.is_stuck(record.partition) => {}
                Event::Message(record) => {
                    if let Err(error) = self.push(&record, &mut headers, &mut blocks) {
                        failure = Some(Failure::Other(error));
                    }
                }
                Event::Eof { partition, .. } if self.is_stuck(partition) => {}
                Event::Eof { partition, offset } => {
                    self.next.insert(partition, offset);
                    ends.push((partition, offset));
                }
                Event::PartitionError { partition, fault: PartitionFault::Other, text }
                    if self.next.contains_key(&partition) =>
                {
                    if self.get_stuck(partition) {
                        waiting.push((partition, unreadable(&self.topic, partition, &text)));
                    }
                }
                Event::PartitionError { partition, fault, text } => {
                    failure = Some(partition_failure(&self.topic, partition, fault, &text));
                }
            })
            .map_err(Failure::Other)?;
        if taken == 0 {
            // A quiet topic: the memory is not needed.
            while self.reusable.try_recv().is_ok() {}
        } else if let Some(watch) = &mut self.watch {
            watch.is_answered();
        }
        if let Some(watch) = &mut self.watch
            && matches!(failure, Some(Failure::Unknown(_)))
        {
            watch.doubt();
        }
        if failure.is_some() || !blocks.is_empty() || !ends.is_empty() {
            self.make_sure(consumer)?;
            if self.out.stopped() {
                return Ok(());
            }
        }
        for rows in blocks {
            self.expected = (rows.count(), rows.bytes());
            self.out.send_rows(rows, consumer, &self.topic);
        }
        if let Some(failure) = failure {
            // No end is told: what lies before it may not have been handed out.
            return Err(failure);
        }
        for (partition, offset) in ends {
            self.out.send(Input::End { partition, offset });
        }
        for (partition, error) in waiting {
            self.out.send(Input::Waiting { partition, error });
        }
        Ok(())
    }

    /// An empty block: a used one, or one with room for as much as the last one held: a busy topic
    /// fills it without growing it, a quiet one does not allocate a megabyte for one message.
    fn block(&self) -> Block {
        let (rows, bytes) = self.expected;
        match self.reusable.try_recv() {
            Ok(used) => used.emptied(self.width),
            Err(_) => Block::with_capacity(self.width, rows, bytes + bytes / 8),
        }
    }

    /// Decodes a message into the last block, or into a new one when that is full.
    ///
    /// # Errors
    /// What is not the message's fault.
    fn push(
        &mut self,
        record: &Message<'_>,
        headers: &mut Vec<u8>,
        blocks: &mut Vec<Block>,
    ) -> Result<()> {
        self.next.insert(record.partition, record.offset + 1);
        headers.clear();
        if self.headers {
            let mut list = record.headers().peekable();
            if list.peek().is_some() {
                headers_json(list, headers);
            }
        }
        let message = MessageParts {
            partition: record.partition,
            offset: record.offset,
            timestamp: record.timestamp_ms.filter(|ms| (0..END_OF_TIME).contains(ms)),
            key: record.key,
            value: record.payload,
            headers: (!headers.is_empty()).then_some(headers.as_slice()),
        };
        if let Some(rows) = blocks.last_mut().filter(|rows| rows.bytes() < BLOCK_BYTES)
            && self.decoder.decode(&message, rows)? == Room::Enough
        {
            return Ok(());
        }
        // Handed over at once: a poll's messages may grow to many blocks.
        if self.is_sure() {
            for full in blocks.drain(..) {
                self.expected = (full.count(), full.bytes());
                self.out.send_block(full, vec![]);
            }
        }
        let mut rows = self.block();
        // An empty block takes any message.
        self.decoder.decode(&message, &mut rows)?;
        blocks.push(rows);
        Ok(())
    }
}

fn partition_failure(topic: &str, partition: i32, fault: PartitionFault, text: &str) -> Failure {
    let place = format!("topic \"{topic}\", partition {partition}: {text}");
    match fault {
        PartitionFault::OffsetOutOfRange => Failure::OffsetGone { partition },
        PartitionFault::UnknownTopicOrPartition => Failure::Unknown(
            Error::new(SqlState::UNDEFINED_OBJECT, format!("topic \"{topic}\" cannot be read"))
                .detail(place)
                .hint("Was the topic deleted?"),
        ),
        PartitionFault::Authorization => Failure::Other(
            Error::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("not allowed to read topic \"{topic}\""),
            )
            .detail(place)
            .hint("The Kafka user needs the ACL Read on the topic."),
        ),
        PartitionFault::Other => Failure::Other(
            Error::new(SqlState::CONNECTION_FAILURE, format!("cannot read topic \"{topic}\""))
                .detail(place),
        ),
    }
}

/// A partition cannot be read, whatever the others can.
fn unreadable(topic: &str, partition: i32, text: &str) -> Error {
    let what = format!("partition {partition} of Kafka topic \"{topic}\" cannot be read");
    let error = Error::new(SqlState::CONNECTION_FAILURE, what)
        .detail(format!("Kafka client: {}.", text.trim_end_matches('.')));
    if text.contains("Decompression") {
        error.hint(
            "Set the Kafka property receive.message.max.bytes to at least three times what the batch \
             holds when it is unpacked.",
        )
    } else {
        error
    }
}
