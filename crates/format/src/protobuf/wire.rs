//! The wire format: tags, varints, lengths, groups. Positions count from the message's first byte,
//! in a payload of less than 4 GiB.

/// Groups in groups, as deep as other readers of protobuf go.
pub(super) const MAX_GROUPS: usize = 100;

/// A stretch of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub fn new(start: usize, end: usize) -> Span {
        Span { start: start as u32, end: end as u32 }
    }

    pub fn start(self) -> usize {
        self.start as usize
    }

    pub fn end(self) -> usize {
        self.end as usize
    }

    pub fn of(self, payload: &[u8]) -> &[u8] {
        payload.get(self.start()..self.end()).unwrap_or_default()
    }

    /// As one number, for places that hold a number otherwise.
    pub fn to_bits(self) -> u64 {
        u64::from(self.start) << 32 | u64::from(self.end)
    }

    pub fn from_bits(bits: u64) -> Span {
        Span { start: (bits >> 32) as u32, end: bits as u32 }
    }
}

/// What stands behind a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    /// Length-delimited: text, bytes, a message, packed numbers.
    Bytes(Span),
    /// What lies between the start and the end of a group.
    Group(Span),
}

/// One field as it comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct WireField {
    pub number: u32,
    pub value: Value,
    /// Where its tag begins.
    pub start: usize,
}

/// The fields in a stretch of the payload, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Records<'a> {
    payload: &'a [u8],
    at: usize,
    end: usize,
}

const TRUNCATED: &str = "message ends in the middle of a field";

impl<'a> Records<'a> {
    pub fn new(payload: &'a [u8], span: Span) -> Records<'a> {
        let end = span.end().min(payload.len());
        Records { payload, at: span.start().min(end), end }
    }

    /// Where the next field begins.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next field; None at the end.
    #[inline]
    pub fn next(&mut self) -> Result<Option<WireField>, &'static str> {
        if self.at >= self.end {
            return Ok(None);
        }
        let start = self.at;
        let (number, wire) = self.tag()?;
        let value = match wire {
            3 => {
                let start = self.at;
                let end = self.skip_group(number)?;
                Value::Group(Span::new(start, end))
            }
            4 => return Err("end of a group without its start"),
            wire => self.value(wire)?,
        };
        Ok(Some(WireField { number, value, start }))
    }

    #[inline]
    fn tag(&mut self) -> Result<(u32, u8), &'static str> {
        let tag = self.varint()?;
        let number = u32::try_from(tag).map_err(|_| "field number is too large")? >> 3;
        if number == 0 {
            return Err("field number is zero");
        }
        Ok((number, (tag & 7) as u8))
    }

    #[inline]
    fn value(&mut self, wire: u8) -> Result<Value, &'static str> {
        Ok(match wire {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.fixed64()?),
            2 => {
                let len = self.varint()?;
                let len = usize::try_from(len).map_err(|_| TRUNCATED)?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Fixed32(self.fixed32()?),
            _ => return Err("unknown wire type"),
        })
    }

    #[inline]
    pub fn varint(&mut self) -> Result<u64, &'static str> {
        let first = *self.payload.get(self.at).filter(|_| self.at < self.end).ok_or(TRUNCATED)?;
        if first < 0x80 {
            self.at += 1;
            return Ok(u64::from(first));
        }
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte =
                *self.payload.get(self.at).filter(|_| self.at < self.end).ok_or(TRUNCATED)?;
            self.at += 1;
            // Of the tenth byte one bit counts; as in protobuf's own readers the others are lost.
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("number takes more than ten bytes")
    }

    pub fn fixed32(&mut self) -> Result<u32, &'static str> {
        let bytes = self.take(4)?.of(self.payload).first_chunk().ok_or(TRUNCATED)?;
        Ok(u32::from_le_bytes(*bytes))
    }

    pub fn fixed64(&mut self) -> Result<u64, &'static str> {
        let bytes = self.take(8)?.of(self.payload).first_chunk().ok_or(TRUNCATED)?;
        Ok(u64::from_le_bytes(*bytes))
    }

    fn take(&mut self, len: usize) -> Result<Span, &'static str> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.end).ok_or(TRUNCATED)?;
        let span = Span::new(self.at, end);
        self.at = end;
        Ok(span)
    }

    /// Goes behind the end of group `number`; returns where its end tag begins.
    fn skip_group(&mut self, number: u32) -> Result<usize, &'static str> {
        let mut open = vec![number];
        loop {
            let at = self.at;
            let (number, wire) = self.tag()?;
            match wire {
                3 if open.len() == MAX_GROUPS => return Err("groups are nested too deep"),
                3 => open.push(number),
                4 if open.pop() != Some(number) => return Err("end of a group without its start"),
                4 if open.is_empty() => return Ok(at),
                4 => {}
                wire => drop(self.value(wire)?),
            }
        }
    }
}
