//! Avro's container file in a message: a header with the schema, then blocks of records.

use super::codec::Codec;
use super::datum::{Cursor, Problem};

/// The first bytes of a container file.
pub(super) const MAGIC: &[u8] = b"Obj\x01";

/// A container file, read up to its first block.
pub(super) struct Container<'a> {
    pub schema: &'a str,
    pub codec: Codec,
    sync: &'a [u8],
    blocks: Cursor<'a>,
}

/// A block of a container file, compressed.
pub(super) struct Block<'a> {
    pub records: u64,
    pub data: &'a [u8],
}

impl<'a> Container<'a> {
    /// Reads the header of what begins with `MAGIC`.
    ///
    /// # Errors
    /// What is wrong, as a phrase.
    pub fn open(bytes: &'a [u8]) -> Result<Container<'a>, String> {
        let mut cursor = Cursor::at(bytes, MAGIC.len());
        let (mut schema, mut codec) = (None, &b"null"[..]);
        let mut metadata = || -> Result<(), Problem> {
            loop {
                let count = cursor.block(true)?;
                if count == 0 {
                    return Ok(());
                }
                for _ in 0..count {
                    match (cursor.bytes()?, cursor.bytes()?) {
                        (b"avro.schema", value) => schema = Some(value),
                        (b"avro.codec", value) => codec = value,
                        _ => {}
                    }
                }
            }
        };
        metadata().map_err(|problem| problem.to_string())?;
        let sync = cursor.take(16).map_err(|problem| problem.to_string())?;
        let schema = schema.ok_or("the header has no schema")?;
        let schema = std::str::from_utf8(schema).map_err(|_| "the schema is not valid UTF-8")?;
        let unknown = || format!("codec \"{}\" is not supported", codec.escape_ascii());
        let codec = Codec::by_name(codec).ok_or_else(unknown)?;
        Ok(Container { schema, codec, sync, blocks: cursor })
    }

    /// The next block; None at the end.
    ///
    /// # Errors
    /// What is wrong, as a phrase.
    pub fn block(&mut self) -> Result<Option<Block<'a>>, String> {
        if self.blocks.left() == 0 {
            return Ok(None);
        }
        let mut block = || -> Result<_, Problem> {
            let records = self.blocks.length()?;
            let data = self.blocks.bytes()?;
            Ok((records as u64, data, self.blocks.take(self.sync.len())?))
        };
        let (records, data, sync) = block().map_err(|problem| problem.to_string())?;
        if sync != self.sync {
            return Err("the marker behind a block is not the header's".to_owned());
        }
        Ok(Some(Block { records, data }))
    }
}
