//! Writes COUNT JSON messages of about 700 bytes to standard output, one a line, always the same:
//! ten keys that the benchmark maps to columns and one nested object of 20 keys that it does not.
//! Built by plain rustc.

use std::io::{self, BufWriter, Write};

const WORDS: [&str; 8] =
    ["install", "launch", "update", "中国联通", "", "path\\/to\\/file", "wifi", "5G"];

/// xorshift64: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn word(&mut self) -> &'static str {
        WORDS[(self.next() % WORDS.len() as u64) as usize]
    }
}

fn main() -> io::Result<()> {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok());
    let count: u64 = count.ok_or_else(|| io::Error::other("usage: generate COUNT"))?;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    for id in 0..count {
        let (event, carrier, note) = (random.word(), random.word(), random.word());
        let (user, session) = (random.next(), random.next());
        let (price, share) = (random.next() % 1_000_000, random.next() % 1000);
        let time = 1_700_000_000_000 + id * 37;
        let valid = user % 2 == 0;
        write!(
            out,
            r#"{{"id":{id},"time":{time},"event":"{event}","user":"u{user:016x}","details":{{"#
        )?;
        for key in 0..20 {
            let comma = if key == 0 { "" } else { "," };
            match key % 4 {
                0 => write!(out, r#"{comma}"field_{key}":{}"#, random.next() % 100_000)?,
                1 => write!(out, r#"{comma}"field_{key}":"{:010x}""#, random.next() % (1 << 40))?,
                2 => write!(out, r#"{comma}"field_{key}":"{}""#, random.word())?,
                _ => write!(out, r#"{comma}"field_{key}":{}"#, random.next() % 2 == 0)?,
            }
        }
        writeln!(
            out,
            r#"}},"carrier":"{carrier}","session":"{session:016x}{user:016x}","price":{}.{:02},"share":0.{share:03},"valid":{valid},"note":"{note}","source":"mobile application","agent":"Mozilla\/5.0 (Linux; Android 13) Gecko\/20100101"}}"#,
            price / 100,
            price % 100,
        )?;
    }
    out.flush()
}
