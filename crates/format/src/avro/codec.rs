//! The codecs of container files, with a bound on what a block may become.

use std::io::Read;

/// How a container file's blocks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
    Bzip2,
}

impl Codec {
    /// By the name in the file's metadata.
    pub fn by_name(name: &[u8]) -> Option<Codec> {
        Some(match name {
            b"null" => Codec::Null,
            b"deflate" => Codec::Deflate,
            b"snappy" => Codec::Snappy,
            b"zstandard" => Codec::Zstandard,
            b"bzip2" => Codec::Bzip2,
            _ => return None,
        })
    }

    /// The block's data: `data` itself or what is then in `space`.
    ///
    /// # Errors
    /// What is wrong, as a phrase, also when the data would have more bytes than `limit`.
    pub fn decompress<'a>(
        self,
        data: &'a [u8],
        space: &'a mut Vec<u8>,
        limit: usize,
    ) -> Result<&'a [u8], String> {
        space.clear();
        match self {
            Codec::Null => return Ok(data),
            Codec::Deflate => deflate(data, space, limit)?,
            Codec::Snappy => snappy(data, space, limit)?,
            Codec::Zstandard => {
                let reader = zstd::stream::read::Decoder::with_buffer(data);
                read("zstandard", reader.map_err(|e| e.to_string())?, space, limit)?;
            }
            Codec::Bzip2 => {
                read("bzip2", bzip2::bufread::BzDecoder::new(data), space, limit)?;
            }
        }
        Ok(space)
    }
}

fn too_large(limit: usize) -> String {
    format!("a block holds more than {limit} bytes")
}

fn deflate(data: &[u8], space: &mut Vec<u8>, limit: usize) -> Result<(), String> {
    use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_with_limit};
    match decompress_to_vec_with_limit(data, limit) {
        Ok(out) => *space = out,
        Err(error) if error.status == TINFLStatus::HasMoreOutput => return Err(too_large(limit)),
        Err(_) => return Err("a block is not valid deflate data".to_owned()),
    }
    Ok(())
}

/// Snappy's own format, and behind it the CRC-32 of the uncompressed data, big-endian.
fn snappy(data: &[u8], space: &mut Vec<u8>, limit: usize) -> Result<(), String> {
    let invalid = || "a block is not valid snappy data".to_owned();
    let (data, sum) = data.split_last_chunk().ok_or_else(invalid)?;
    let len = snap::raw::decompress_len(data).map_err(|_| invalid())?;
    if len > limit {
        return Err(too_large(limit));
    }
    space.resize(len, 0);
    let written = snap::raw::Decoder::new().decompress(data, space).map_err(|_| invalid())?;
    space.truncate(written);
    if crc32fast::hash(space) != u32::from_be_bytes(*sum) {
        return Err("a block's checksum is wrong".to_owned());
    }
    Ok(())
}

fn read(name: &str, reader: impl Read, space: &mut Vec<u8>, limit: usize) -> Result<(), String> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = reader.take(most).read_to_end(space);
    read.map_err(|_| format!("a block is not valid {name} data"))?;
    if space.len() > limit { Err(too_large(limit)) } else { Ok(()) }
}
