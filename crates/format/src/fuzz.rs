//! Feeds mutated corpora to the decoders of text formats. `GPSS_FUZZ_SECONDS` says how long; without
//! it, it is a short test that is the same each time.

use super::record::{Decode, Fault};
use super::text_decoder;
use gpss_model::format::{Format, FormatSpec};
use serde_json::Value as Json;
use std::time::{Duration, Instant};

/// A generator of numbers that need not be any better (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        number as usize % bound.max(1)
    }

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// What a corpus says of a decoder, and its payload.
struct Seed {
    content: FormatSpec,
    columns: Vec<String>,
    payload: Vec<u8>,
}

/// Says on a panic what was being decoded.
struct Case<'a>(&'a FormatSpec, &'a [u8]);

impl Drop for Case<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?} of b\"{}\"", self.0, self.1.escape_ascii());
        }
    }
}

fn seeds(format: Format, corpus: &str) -> Vec<Seed> {
    let mut seeds = Vec::new();
    for line in corpus.lines() {
        let case: Json = serde_json::from_str(line).unwrap();
        let mut content = FormatSpec::new(format);
        for (name, value) in case["options"].as_object().into_iter().flatten() {
            content.set(name, value.as_str().unwrap()).unwrap();
        }
        if let Some(newline) = case["newline"].as_str() {
            content.set("newline", newline).unwrap();
        }
        let columns = case["columns"].as_array().into_iter().flatten();
        let columns: Vec<_> = columns.map(|name| name.as_str().unwrap().to_owned()).collect();
        let payload = case["payload"].as_str().unwrap_or_default().as_bytes().to_vec();
        if text_decoder(&content, &columns).is_ok() {
            seeds.push(Seed { content, columns, payload });
        }
    }
    seeds
}

const BYTES: &[u8] = b"\"\"',,;|\t\n\n\r\\\\..Nx0'~^ab \0\xc3\xa9\xff\xe2\x80";

fn mutate(payload: &mut Vec<u8>, others: &[Seed], numbers: &mut Numbers) {
    for _ in 0..numbers.below(6) {
        let at = numbers.below(payload.len() + 1);
        let to = at + numbers.below(payload.len() - at + 1);
        match numbers.below(7) {
            0 => payload.insert(at, *numbers.of(BYTES)),
            1 if at < payload.len() => payload[at] = *numbers.of(BYTES),
            2 => {
                payload.drain(at..to);
            }
            3 => payload.extend_from_within(at..to),
            4 => {
                let other = &numbers.of(others).payload;
                payload.splice(at..to, other.iter().copied());
            }
            5 => payload.truncate(at),
            // Moves what follows to other places in the blocks that are compared at once.
            _ => {
                let filler = vec![b'a'; numbers.below(130)];
                payload.splice(at..at, filler);
            }
        }
        payload.truncate(4096);
    }
}

/// What a decoder gives: rows of fields and documents, and its fault.
type Given = (Vec<(Option<Vec<u8>>, Vec<Option<Vec<u8>>>)>, Result<(), Fault>);

fn given(decoder: &mut dyn Decode, payload: &[u8]) -> Given {
    let mut rows = Vec::new();
    let done = decoder.decode(payload, &mut |record| {
        let fields = record.fields.iter().map(|field| field.map(<[u8]>::to_vec)).collect();
        rows.push((record.document.map(<[u8]>::to_vec), fields));
        Ok(())
    });
    (rows, done)
}

fn check(seed: &Seed, decoder: &mut dyn Decode, payload: &[u8]) {
    let _case = Case(&seed.content, payload);
    let (rows, done) = given(decoder, payload);
    assert!(rows.len() <= payload.len() + 1);
    for (document, fields) in &rows {
        if seed.content.format.is_positional() {
            assert_eq!((document, fields.len()), (&None, seed.columns.len()));
        } else {
            assert!(document.is_some() && fields.is_empty());
        }
        for field in fields.iter().flatten() {
            assert!(std::str::from_utf8(field).is_ok() && !field.contains(&0));
        }
    }
    assert!(!matches!(done, Err(Fault::Failed(_))));
    // A decoder that has read other messages reads this one alike.
    let mut fresh = text_decoder(&seed.content, &seed.columns).unwrap();
    assert_eq!(given(fresh.as_mut(), payload), (rows, done));
}

#[test]
fn no_message_makes_a_decoder_panic_or_remember() {
    let seconds = std::env::var("GPSS_FUZZ_SECONDS").ok().map(|text| text.parse().unwrap());
    let mut numbers = Numbers(match seconds {
        Some(_) => std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1,
        None => 1,
    });
    let corpora = [
        (Format::Csv, include_str!("../../../tests/corpus/csv/expected.jsonl")),
        (Format::Text, include_str!("../../../tests/corpus/text/expected.jsonl")),
        (Format::Delimited, include_str!("../../../tests/corpus/delimited/cases.jsonl")),
        (Format::Jsonl, include_str!("../../../tests/corpus/jsonl/cases.jsonl")),
    ];
    let corpora = corpora.map(|(format, corpus)| seeds(format, corpus));
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut messages = 0_u64;
    while end.map_or(messages < 20_000, |end| Instant::now() < end) {
        for seeds in &corpora {
            let seed = numbers.of(seeds);
            let mut decoder = text_decoder(&seed.content, &seed.columns).unwrap();
            for _ in 0..10 {
                let other = numbers.of(seeds);
                let mut payload = numbers.of(&[seed, other]).payload.clone();
                mutate(&mut payload, seeds, &mut numbers);
                check(seed, decoder.as_mut(), &payload);
                messages += 1;
            }
        }
    }
    eprintln!("{messages} messages");
}
