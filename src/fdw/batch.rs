//! A run of decoded messages: what one transaction loads.

use gpss_format::{MessageDecoder, Room};
use gpss_model::block::{Block, MessageParts, MessageSpans, Verdict, Width};
use gpss_model::error::Result;
use std::ops::Range;
use std::sync::Arc;

/// A stretch of a block.
#[derive(Clone, Debug)]
pub struct Part {
    pub rows: Arc<Block>,
    pub range: Range<usize>,
}

/// Messages in the order they were read; blocks are shared, not copied.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    parts: Vec<Part>,
    messages: usize,
    bytes: usize,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Number of messages, rejected ones included.
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// Bytes held, with decoded fields.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The blocks that nobody else holds.
    pub fn into_blocks(self) -> impl Iterator<Item = Block> {
        self.parts.into_iter().filter_map(|part| Arc::into_inner(part.rows))
    }

    pub fn rows(&self) -> impl Iterator<Item = (&Arc<Block>, &MessageSpans)> {
        self.parts.iter().flat_map(|part| {
            part.range.clone().filter_map(|i| part.rows.row(i).map(|row| (&part.rows, row)))
        })
    }

    /// The messages of these indices, as a batch of their own.
    pub fn slice(&self, range: Range<usize>) -> Batch {
        let mut slice = Batch::default();
        let mut first = 0;
        for part in &self.parts {
            let len = part.range.len();
            let from = range.start.clamp(first, first + len) - first;
            let to = range.end.clamp(first, first + len) - first;
            if from < to {
                let range = part.range.start + from..part.range.start + to;
                slice.take(&mut Part { rows: Arc::clone(&part.rows), range }, usize::MAX);
            }
            first += len;
        }
        slice
    }

    /// Takes from the front of `part` what fits into `limit` messages; false when the batch is full.
    pub fn take(&mut self, part: &mut Part, limit: usize) -> bool {
        let room = limit.saturating_sub(self.messages);
        let count = part.range.len().min(room);
        if count > 0 {
            let end = part.range.start + count;
            // The bytes of a divided block are counted by share: exact enough for a bound.
            self.bytes += part.rows.bytes() * count / part.rows.count().max(1);
            self.messages += count;
            self.parts.push(Part { rows: Arc::clone(&part.rows), range: part.range.start..end });
            part.range.start = end;
        }
        self.messages < limit
    }
}

/// Where a scan stands in a batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    part: usize,
    /// Rows handed out of that part.
    row: usize,
    taken: usize,
}

impl Cursor {
    /// Messages handed out so far.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// The next message: its part's number and its index in that part's block.
    pub fn next(&mut self, batch: &Batch) -> Option<(usize, usize)> {
        loop {
            let part = batch.parts.get(self.part)?;
            let index = part.range.start + self.row;
            if index < part.range.end {
                self.row += 1;
                self.taken += 1;
                return Some((self.part, index));
            }
            self.part += 1;
            self.row = 0;
        }
    }
}

/// The same messages decoded into other fields: used when a statement's plan has changed since the
/// reader was told what to decode.
///
/// # Errors
/// What is not a message's fault.
pub fn decode_again(rows: &Block, decoder: &mut MessageDecoder, width: Width) -> Result<Block> {
    let mut out = Block::with_capacity(width, rows.count(), rows.bytes());
    for row in (0..rows.count()).filter_map(|i| rows.row(i)) {
        let message = MessageParts {
            partition: row.partition,
            offset: row.offset,
            timestamp: row.timestamp,
            key: rows.bytes_of(row.key),
            value: rows.bytes_of(row.value),
            headers: rows.bytes_of(row.headers),
        };
        let reason = match row.verdict {
            Verdict::Bad(reason) => rows.text_of(reason),
            Verdict::Good => match decoder.decode(&message, &mut out)? {
                Room::Enough => continue,
                Room::Full => "the wanted fields of the block exceed 2 GiB".into(),
            },
        };
        if out.push(&message) {
            out.reject(&reason);
        }
    }
    Ok(out)
}

/// A batch of messages that do not come from a reader.
///
/// # Errors
/// What is not a message's fault.
pub fn decode<'a>(
    messages: impl Iterator<Item = MessageParts<'a>>,
    decoder: &mut MessageDecoder,
    width: Width,
) -> Result<Batch> {
    let mut batch = Batch::default();
    let mut rows = Block::with_capacity(width, 0, 0);
    let mut add = |rows: Block| {
        batch.take(&mut Part { range: 0..rows.count(), rows: Arc::new(rows) }, usize::MAX);
    };
    for message in messages {
        if decoder.decode(&message, &mut rows)? == Room::Full {
            add(std::mem::replace(&mut rows, Block::with_capacity(width, 0, 0)));
            // An empty block takes any message.
            decoder.decode(&message, &mut rows)?;
        }
    }
    add(rows);
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(first: i64, count: i64) -> Part {
        let mut rows = Block::default();
        for offset in first..first + count {
            let message = MessageParts {
                partition: 0,
                offset,
                timestamp: None,
                key: None,
                value: None,
                headers: None,
            };
            assert!(rows.push(&message));
        }
        Part { range: 0..rows.count(), rows: Arc::new(rows) }
    }

    fn offsets(batch: &Batch) -> Vec<i64> {
        let mut cursor = Cursor::default();
        let mut found = vec![];
        while let Some((part, index)) = cursor.next(batch) {
            found.push(batch.parts()[part].rows.row(index).unwrap().offset);
        }
        assert_eq!(cursor.taken(), batch.messages());
        found
    }

    #[test]
    fn a_block_is_divided_where_the_batch_is_full() {
        let mut batch = Batch::default();
        let mut part = block(0, 3);
        assert!(batch.take(&mut part, 5) && part.range.is_empty());
        let mut part = block(3, 4);
        assert!(!batch.take(&mut part, 5));
        assert_eq!(offsets(&batch), [0, 1, 2, 3, 4]);
        assert_eq!(part.range, 2..4);
    }

    #[test]
    fn a_slice_goes_across_blocks() {
        let mut batch = Batch::default();
        for first in [0, 3, 6] {
            batch.take(&mut block(first, 3), usize::MAX);
        }
        for (range, expected) in
            [(2..7, vec![2, 3, 4, 5, 6]), (0..0, vec![]), (8..20, vec![8]), (3..6, vec![3, 4, 5])]
        {
            assert_eq!(offsets(&batch.slice(range)), expected);
        }
    }
}
