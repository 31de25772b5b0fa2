//! What a Kafka broker says while it stops or starts, for as long as a test wants: its metadata has the
//! topic, but no broker.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;

/// Ends when dropped.
pub struct EmptyBroker {
    end: Arc<AtomicBool>,
    /// Requests for metadata that were answered.
    answered: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl EmptyBroker {
    /// Listens in the place of a broker that is down.
    pub fn at(address: &str, topic: &str) -> Self {
        let listener = TcpListener::bind(address).expect("the broker's port is free");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let (end, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let (ended, count, topic) = (end.clone(), answered.clone(), topic.to_owned());
        let thread = spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                let Ok((stream, _)) = listener.accept() else {
                    sleep(Duration::from_millis(10));
                    continue;
                };
                let (count, topic) = (count.clone(), topic.clone());
                spawn(move || while answer(&stream, &topic, &count).is_some() {});
            }
        });
        EmptyBroker { end, answered, thread: Some(thread) }
    }

    pub fn answered(&self) -> u32 {
        self.answered.load(Ordering::SeqCst)
    }
}

impl Drop for EmptyBroker {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        let _ = self.thread.take().expect("dropped once").join();
    }
}

/// One request and its answer; None when the client has gone or asks for something else.
fn answer(mut stream: &TcpStream, topic: &str, count: &AtomicU32) -> Option<()> {
    stream.set_nonblocking(false).ok()?;
    let mut size = [0; 4];
    stream.read_exact(&mut size).ok()?;
    let mut request = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut request).ok()?;
    let number = |at: usize| i16::from_be_bytes([request[at], request[at + 1]]);
    let mut body = request.get(4..8)?.to_vec(); // the request's own number
    match (number(0), number(2)) {
        (API_VERSIONS, 3) => {
            body.extend([0, 0, 3]); // no error, two entries
            for (key, last) in [(METADATA, 4), (API_VERSIONS, 3)] {
                body.extend(i16::to_be_bytes(key));
                body.extend([0, 0, 0, last, 0]);
            }
            body.extend([0; 5]); // throttle time, tags
        }
        (METADATA, 4) => {
            body.extend([0; 4]); // throttle time
            // Itself at first: a client only forgets brokers after it has learned of one.
            if count.load(Ordering::SeqCst) == 0 {
                body.extend([0, 0, 0, 1, 0, 0, 0, 1]); // one broker, number 1
                let here = stream.local_addr().ok()?;
                let host = here.ip().to_string();
                body.extend(u16::to_be_bytes(host.len() as u16));
                body.extend(host.as_bytes());
                body.extend(u32::to_be_bytes(here.port().into()));
                body.extend([0xff; 2]); // no rack
            } else {
                body.extend([0; 4]); // no broker
            }
            body.extend([0xff; 2]); // no cluster id
            body.extend([0xff; 4]); // no controller
            body.extend([0, 0, 0, 1]); // one topic
            body.extend([0, 5]); // leader not available
            body.extend(u16::to_be_bytes(topic.len() as u16));
            body.extend(topic.as_bytes());
            body.extend([0; 5]); // not internal, no partitions
            count.fetch_add(1, Ordering::SeqCst);
        }
        _ => return None,
    }
    let mut answer = u32::to_be_bytes(body.len() as u32).to_vec();
    answer.extend(body);
    stream.write_all(&answer).ok()
}
