//! Avro and Protobuf payloads, built by hand: a test shall not trust an encoder that shares its
//! author with the decoder.

/// Avro's int and long.
pub fn long(n: i64) -> Vec<u8> {
    varint(((n << 1) ^ (n >> 63)).cast_unsigned())
}

/// Avro's bytes, and string.
pub fn bytes(content: &[u8]) -> Vec<u8> {
    [long(i64::try_from(content.len()).expect("short")), content.to_vec()].concat()
}

/// Avro's array in one block, of items that are encoded already.
pub fn array(items: &[Vec<u8>]) -> Vec<u8> {
    match items.len() {
        0 => vec![0],
        count => [long(i64::try_from(count).expect("few")), items.concat(), vec![0]].concat(),
    }
}

/// A datum as Confluent's serializers send it: behind a byte 0 and the schema's id.
pub fn registered(id: u32, datum: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], datum].concat()
}

/// Protobuf's varint.
pub fn varint(mut n: u64) -> Vec<u8> {
    let mut out = vec![];
    while n >= 0x80 {
        out.push(u8::try_from(n & 0x7f).expect("seven bits") | 0x80);
        n >>= 7;
    }
    out.push(u8::try_from(n).expect("seven bits"));
    out
}

/// Protobuf's field of a number.
pub fn number_field(number: u64, n: u64) -> Vec<u8> {
    [varint(number << 3), varint(n)].concat()
}

/// Protobuf's field of a string, bytes or message.
pub fn field(number: u64, content: &[u8]) -> Vec<u8> {
    let length = u64::try_from(content.len()).expect("short");
    [varint(number << 3 | 2), varint(length), content.to_vec()].concat()
}
