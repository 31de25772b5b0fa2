//! Reads the messages of stream.rs from standard input to its end and prints how late they came, in
//! milliseconds: the median and the 99th percentile of all but the first SKIP, separated by `|`.
//! Built by plain rustc.

use std::io::{self, BufRead};
use std::time::{SystemTime, UNIX_EPOCH};

fn main() -> io::Result<()> {
    let skip = std::env::args().nth(1).and_then(|skip| skip.parse().ok());
    let skip = skip.ok_or_else(|| io::Error::other("usage: arrivals SKIP"))?;
    let mut late = Vec::new();
    for line in io::stdin().lock().lines().skip(skip) {
        let line = line?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_err(io::Error::other)?.as_micros() as f64;
        let sent = line.split_once("\"sent_us\":").and_then(|(_, rest)| rest.split_once(','));
        let sent = sent.and_then(|(number, _)| number.parse::<f64>().ok());
        late.push(
            (now - sent.ok_or_else(|| io::Error::other("no message of stream.rs"))?) / 1000.0,
        );
    }
    late.sort_by(f64::total_cmp);
    let percentile =
        |share: f64| late.get(((late.len() as f64 * share).ceil() as usize).max(1) - 1);
    match (percentile(0.5), percentile(0.99)) {
        (Some(p50), Some(p99)) => println!("{p50:.3}|{p99:.3}"),
        _ => return Err(io::Error::other("nothing came")),
    }
    Ok(())
}
