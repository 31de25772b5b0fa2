//! Writes COUNT JSON messages of about 100 bytes to standard output, one a line, at RATE a second
//! (0: as fast as it can), each with its number and the time of its making.
//! Built by plain rustc.

use std::io::{self, BufWriter, Write};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn main() -> io::Result<()> {
    let usage = || io::Error::other("usage: stream RATE COUNT");
    let mut arguments = std::env::args().skip(1);
    let mut number = || arguments.next()?.parse::<u64>().ok();
    let (rate, count) = (number().ok_or_else(usage)?, number().ok_or_else(usage)?);
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let begin = Instant::now();
    let mut id = 0;
    while id < count {
        // All that are due by now; the next look is a millisecond later.
        let due = match rate {
            0 => count,
            _ => count.min((begin.elapsed().as_micros() as u64 * rate).div_ceil(1_000_000)),
        };
        while id < due {
            let sent = SystemTime::now().duration_since(UNIX_EPOCH);
            let sent = sent.map_err(io::Error::other)?.as_micros();
            writeln!(
                out,
                r#"{{"id":{id},"sent_us":{sent},"filler":"as long as the readings of a small sensor are"}}"#
            )?;
            id += 1;
        }
        if rate > 0 {
            out.flush()?;
            thread::sleep(Duration::from_millis(1));
        }
    }
    out.flush()
}
