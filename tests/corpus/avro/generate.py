#!/usr/bin/env python3
"""Writes the Avro vectors: what fastavro reads, in the JSON form that docs/formats.md describes.

    python3 generate.py > vectors.jsonl                       the committed vectors
    python3 generate.py --random 20000 --seed 7 > more.jsonl  only random schemas and data

Needs fastavro 1.13 with cramjam (snappy) and backports.zstd (zstandard); Python 3.11 or later.

A line is an object:
    name      what it is about
    schema    text of the user's own schema, if any
    registry  {id: {text, references}}, if any
    base64    option bytes_to_base64
    raw       names of the fields wanted as bytes
    payload   the message in hexadecimal
    expected  the JSON texts of its records, or null for a bad message
    fields    for each record the raw fields in hexadecimal, or null

Expected texts are never written by hand: fastavro decodes the payload, with its readers of floats and
logical types wrapped so that they keep what a Python value loses (a float's width, the years before 1
and after 9999).
"""

import argparse
import base64
import datetime
import decimal
import io
import json
import random
import struct
import sys

import fastavro
from fastavro import _read_py as read
from fastavro import _write_py as write
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

decimal.getcontext().rounding = decimal.ROUND_HALF_UP
decimal.getcontext().prec = 50_000
decimal.getcontext().Emax = decimal.MAX_EMAX
decimal.getcontext().Emin = decimal.MIN_EMIN


class Raw(str):
    """JSON text as it is."""


class Float32(float):
    pass


def read_float(decoder, writer_schema=None, named_schemas=None, reader_schema=None, options={}):
    return Float32(decoder.read_float())


read.READERS["float"] = read_float


# Logical types -----------------------------------------------------------------------------------

def civil(days):
    """Year, month and day of any day: the calendar repeats itself after 400 years."""
    cycles, rest = divmod(days, 146_097)
    day = datetime.date(1970, 1, 1) + datetime.timedelta(days=rest)
    return day.year + 400 * cycles, day.month, day.day


def day_text(year, month, day):
    era = "" if year > 0 else " BC"
    return f"{year if year > 0 else 1 - year:04}-{month:02}-{day:02}", era


def date(data, schema, *_):
    text, era = day_text(*civil(data))
    try:
        assert fastavro_readers["int-date"](data).isoformat() == text + era
    except (OverflowError, ValueError):
        pass
    return Raw(quoted(text + era))


def clock(value, per_second):
    digits = len(str(per_second)) - 1
    seconds, fraction = divmod(value, per_second)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:0{digits}}"


def time(per_second, name):
    def reader(data, schema, *_):
        if not 0 <= data < 86_400 * per_second:
            raise ValueError("not a time of day")
        digits = len(str(per_second)) - 1
        theirs = fastavro_readers[name](data)
        text = f"{theirs:%H:%M:%S}.{theirs.microsecond:06}"[: 9 + digits]
        assert text == clock(data, per_second)
        return Raw(quoted(text))
    return reader


def timestamp(per_second, zone, name):
    def reader(data, schema, *_):
        days, rest = divmod(data, 86_400 * per_second)
        text, era = day_text(*civil(days))
        text += "T" + clock(rest, per_second)
        digits = len(str(per_second)) - 1
        try:
            theirs = fastavro_readers[name](data)
            whole = theirs.isoformat(timespec="microseconds")[:26]
            assert whole[: 20 + min(digits, 6)] == text[: 20 + min(digits, 6)], (whole, text)
        except (KeyError, OverflowError, ValueError):
            pass
        return Raw(quoted(text + zone + era))
    return reader


def decimal_text(data, schema, *_):
    if "precision" not in schema:
        return data
    value = int.from_bytes(data, "big", signed=True)
    scale = schema.get("scale", 0)
    theirs = fastavro_readers["bytes-decimal"](data, {**schema, "precision": 50_000})
    text = f"{theirs:f}"
    assert decimal.Decimal(text) == decimal.Decimal(value).scaleb(-scale)
    return Raw(text)


def duration(data, schema, *_):
    months, days, millis = struct.unpack("<III", data)
    return Raw(quoted(f"P{months}M{days}DT{millis // 1000}.{millis % 1000:03}S"))


def uuid_fixed(data, schema, *_):
    text = data.hex()
    return Raw(quoted("-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))))


fastavro_readers = dict(read.LOGICAL_READERS)
read.LOGICAL_READERS.clear()
read.LOGICAL_READERS.update({
    "int-date": date,
    "int-time-millis": time(1000, "int-time-millis"),
    "long-time-micros": time(10**6, "long-time-micros"),
    "long-timestamp-millis": timestamp(1000, "Z", "long-timestamp-millis"),
    "long-timestamp-micros": timestamp(10**6, "Z", "long-timestamp-micros"),
    "long-timestamp-nanos": timestamp(10**9, "Z", "long-timestamp-nanos"),
    "long-local-timestamp-millis": timestamp(1000, "", "long-local-timestamp-millis"),
    "long-local-timestamp-micros": timestamp(10**6, "", "long-local-timestamp-micros"),
    "long-local-timestamp-nanos": timestamp(10**9, "", "long-local-timestamp-nanos"),
    "bytes-decimal": decimal_text,
    "fixed-decimal": decimal_text,
    "fixed-duration": duration,
    "fixed-uuid": uuid_fixed,
})


# JSON --------------------------------------------------------------------------------------------

def quoted(text):
    return json.dumps(text, ensure_ascii=False)


def as_float32(text):
    try:
        return struct.unpack("<f", struct.pack("<f", float(text)))[0]
    except OverflowError:
        return None


def float_text(value):
    if value != value:
        return '"NaN"'
    if value in (float("inf"), float("-inf")):
        return '"Infinity"' if value > 0 else '"-Infinity"'
    if isinstance(value, Float32):
        text = next(t for t in (f"{decimal.Decimal(value):.{p}e}" for p in range(9)) if as_float32(t) == value)
    else:
        text = next(t for t in (f"{decimal.Decimal(value):.{p}e}" for p in range(17)) if float(t) == value)
    mantissa, exponent = text.split("e")
    if value == 0 or decimal.Decimal("1e-4") <= abs(decimal.Decimal(text)) < 10**16:
        plain = f"{decimal.Decimal(text):f}"
        return plain if "." in plain else plain + ".0"
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}"


def json_text(value, in_base64):
    if isinstance(value, Raw):
        return str(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bytes):
        return quoted(base64.b64encode(value).decode() if in_base64 else value.decode("latin-1"))
    if isinstance(value, list):
        return "[" + ",".join(json_text(item, in_base64) for item in value) + "]"
    members = (quoted(k) + ":" + json_text(v, in_base64) for k, v in value.items())
    return "{" + ",".join(members) + "}"


# Vectors -----------------------------------------------------------------------------------------

def without_logical(schema):
    """The schema of the bare values, so that any number can be written."""
    if isinstance(schema, list):
        return [without_logical(branch) for branch in schema]
    if isinstance(schema, dict):
        return {k: without_logical(v) if k in ("type", "items", "values") else
                [{**f, "type": without_logical(f["type"])} for f in v] if k == "fields" else v
                for k, v in schema.items() if k != "logicalType"}
    return schema


def datum_of(schema, value):
    out = io.BytesIO()
    write.schemaless_writer(out, parse_schema(without_logical(schema)), value)
    return out.getvalue()


def read_datum(schema, payload):
    source = io.BytesIO(payload)
    value = read.schemaless_reader(source, parse_schema(schema), None)
    if source.read(1):
        raise ValueError("bytes are left over")
    return value


def emit(name, payload, values, *, base64=False, raw=(), fields=None, **rest):
    line = {"name": name, **rest}
    if base64:
        line["base64"] = True
    if raw:
        line["raw"] = list(raw)
    line["payload"] = payload.hex()
    line["expected"] = None if values is None else [json_text(v, base64) for v in values]
    if fields is not None:
        line["fields"] = [[None if f is None else f.hex() for f in row] for row in fields]
    print(json.dumps(line, ensure_ascii=True))


def bare(name, schema, value, **rest):
    payload = datum_of(schema, value)
    emit(name, payload, [read_datum(schema, payload)], schema=json.dumps(schema), **rest)


def bad(name, schema, payload, refused_by_fastavro=True):
    if refused_by_fastavro:
        try:
            read_datum(schema, payload)
        except Exception:
            pass
        else:
            raise AssertionError(f"fastavro accepts {name}")
    emit(name, payload, None, schema=json.dumps(schema))


def registered(name, texts, message_id, datum, *, references=None, values="read", **rest):
    registry = {str(i): {"text": json.dumps(s), "references": (references or {}).get(i, [])}
                for i, s in texts.items()}
    payload = b"\0" + struct.pack(">I", message_id) + datum
    if values == "read":
        values = [read_datum(texts[message_id], datum)]
    emit(name, payload, values, registry=registry, **rest)


def container(name, schema, records, codec="null", /, **rest):
    out = io.BytesIO()
    fastavro.writer(out, parse_schema(without_logical(schema)), records, codec=codec,
                    sync_marker=b"0123456789abcdef", metadata={"user": "data"}, sync_interval=200)
    payload = out.getvalue()
    if schema != without_logical(schema):
        payload = with_schema(payload, schema)
    emit(name, payload, list(read.reader(io.BytesIO(payload))), **rest)
    return payload


def with_schema(payload, schema):
    """The same container file with the whole schema in its header."""
    source = io.BytesIO(payload)
    header = read.schemaless_reader(source, parse_schema(fastavro._read_common.HEADER_SCHEMA), None)
    header["meta"]["avro.schema"] = json.dumps(schema).encode()
    out = io.BytesIO()
    write.schemaless_writer(out, parse_schema(fastavro._read_common.HEADER_SCHEMA), header)
    return out.getvalue() + source.read()


def single(schema, datum):
    form = to_parsing_canonical_form(parse_schema(schema))
    return b"\xc3\x01" + bytes.fromhex(fingerprint(form, "CRC-64-AVRO")) + datum


def record(name, /, **fields):
    return {"type": "record", "name": name,
            "fields": [{"name": k, "type": v} for k, v in fields.items()]}


def logical(kind, name, **rest):
    return {"type": kind, "logicalType": name, **rest}


def fixed_logical(size, name, **rest):
    return {"type": "fixed", "name": "f" + str(size), "size": size, "logicalType": name, **rest}


INTS = [0, 1, -1, 63, 64, -64, -65, 8191, 8192, 2**31 - 1, -(2**31)]
LONGS = INTS + [2**31, 2**53 + 1, 2**63 - 1, -(2**63)]
FLOATS = [0.0, -0.0, 1.0, -1.5, 0.1, 1e-4, 9.99e-5, 1e-5, 9.999e-6, 1e15, 1e16, 123456789.0, 3.4028234663852886e38,
          1.401298464324817e-45, float("nan"), float("inf"), float("-inf"), 16777217.0]
DOUBLES = FLOATS + [1.7976931348623157e308, 5e-324, 0.1 + 0.2, 9007199254740993.0, 1e22, 1e23]
TEXTS = ["", "a", "é😀", "\"\\/\b\f\n\r\t\u0001\u001f\u007f\u0080\u2028", "nul \0 byte", "x" * 200]
BYTES = [b"", bytes(range(256)), b"\0", b"\"\\", b"\xff\xfe"]


def basics():
    for kind, values in {
        "null": [None], "boolean": [True, False], "int": INTS, "long": LONGS, "float": FLOATS,
        "double": DOUBLES, "string": TEXTS, "bytes": BYTES,
        json.dumps({"type": "fixed", "name": "f", "size": 3}): [b"\0\x7f\xff"],
        json.dumps({"type": "fixed", "name": "z", "size": 0}): [b""],
        json.dumps({"type": "enum", "name": "e", "symbols": ["A", "B", "C"]}): ["A", "C"],
        json.dumps({"type": "array", "items": "long"}): [[], [1], list(range(-70, 70))],
        json.dumps({"type": "map", "values": "string"}): [{}, {"k": "v", "": "\"", "é\n": "x"}],
        json.dumps(["null", "int", "string"]): [None, 5, "s"],
    }.items():
        schema = json.loads(kind) if kind[0] in "{[" else kind
        for value in values:
            bare(f"a value of type {kind}", schema, value)
            if isinstance(value, bytes):
                bare(f"a value of type {kind} in base64", schema, value, base64=True)


def logicals():
    days = [0, -1, 1, 19782, 19783, 11016, -25509, -719162, -719163, -719528, -735160, 2932896,
            2932897, -(2**31), 2**31 - 1]
    for day in days:
        bare("date", logical("int", "date"), day)
    for name, kind, per_second in [("time-millis", "int", 1000), ("time-micros", "long", 10**6)]:
        for value in [0, 1, 45296 * per_second + 789, 86400 * per_second - 1]:
            bare(name, logical(kind, name), value)
        for value in [-1, 86400 * per_second]:
            bad(name, logical(kind, name), datum_of(kind, value))
    for prefix in ["timestamp-", "local-timestamp-"]:
        for unit, per_second in [("millis", 1000), ("micros", 10**6), ("nanos", 10**9)]:
            spots = [0, -1, 1, 1709210096 * per_second + 789, 951782400 * per_second, 2**63 - 1,
                     -(2**63), -62135596800 * per_second, -62135596800 * per_second - 1,
                     253402300800 * per_second, 253402300800 * per_second - 1]
            for value in spots:
                if -(2**63) <= value < 2**63:
                    bare(prefix + unit, logical("long", prefix + unit), value)
    numbers = [0, 1, -1, 5, -5, 99, 100, 12345, -12345, 10**18, -(10**18), 2**127, -(2**127), 2**200,
               -(2**200), 10**400 + 7]
    for number in numbers:
        size = (number + (number < 0)).bit_length() // 8 + 1
        data = number.to_bytes(size, "big", signed=True)
        for scale in [0, 2, 30]:
            bare("decimal of bytes", logical("bytes", "decimal", precision=500, scale=scale), data)
        bare("decimal of bytes, padded", logical("bytes", "decimal", precision=500, scale=1),
             (b"\xff" if number < 0 else b"\0") * 9 + data)
    bare("decimal of no bytes", logical("bytes", "decimal", precision=9, scale=2), b"")
    for data in [b"\0" * 8, b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\x80" + b"\0" * 7]:
        bare("decimal of fixed", fixed_logical(8, "decimal", precision=18, scale=4), data)
    bare("uuid", logical("string", "uuid"), "8f14e45f-ceea-467f-a3c5-2b1e8d5c9f00")
    bare("uuid of fixed", fixed_logical(16, "uuid"), bytes(range(240, 256)))
    for parts in [(0, 0, 0), (1, 2, 3004), (2**32 - 1, 2**32 - 1, 2**32 - 1)]:
        bare("duration", fixed_logical(12, "duration"), struct.pack("<III", *parts))
    bare("unknown logical type", logical("long", "my-own-type"), 7)
    bare("logical type of another type", logical("string", "date"), "x")
    bare("logical type in a union", ["null", logical("int", "date")], 19782)


def nested():
    address = record("Address", street="string", zip=["null", "string"])
    person = {**record("Person", name="string", home=address, work=["null", "Address"],
                       tags={"type": "array", "items": "string"},
                       scores={"type": "map", "values": {"type": "array", "items": "double"}}),
              "namespace": "com.acme"}
    bare("nested records", person, {
        "name": "Ann", "home": {"street": "S\"1", "zip": None},
        "work": {"street": "W", "zip": "1"}, "tags": ["a", "b"], "scores": {"x": [1.0, 2.5], "y": []}})
    bare("an empty record", record("Empty"), {})
    bare("a record of an empty record", record("Outer", e=record("Empty"), n="null"),
         {"e": {}, "n": None})
    lists = record("List", value="long", next=["null", "List"])
    chain = None
    for value in range(120):
        chain = {"value": value, "next": chain}
    bare("a linked list", lists, chain)
    tree = record("Tree", children={"type": "array", "items": "Tree"})
    bare("a tree", tree, {"children": [{"children": []}, {"children": [{"children": []}]}]})
    bare("a union of records", [record("A", x="int"), record("B", x="string"), "null"],
         ("B", {"x": "b"}))
    spaces = {"type": "record", "name": "a.b.R", "fields": [
        {"name": "f", "type": {"type": "enum", "name": "E", "symbols": ["X", "Y"]}},
        {"name": "g", "type": "E"}, {"name": "h", "type": "a.b.E"},
        {"name": "i", "type": {"type": "record", "name": "S", "namespace": "c", "fields": [
            {"name": "r", "type": ["null", "a.b.R"]}, {"name": "s", "type": ["null", "S"]}]}}]}
    bare("namespaces", spaces, {"f": "X", "g": "Y", "h": "X", "i": {"r": None, "s": {
        "r": None, "s": None}}})
    with_defaults = {"type": "record", "name": "D", "doc": "x", "aliases": ["Old"], "fields": [
        {"name": "a", "type": "int", "default": 5, "doc": "y", "order": "ignore"},
        {"name": "b", "type": ["null", "int"], "default": None, "aliases": ["c"]}]}
    bare("documentation, aliases and defaults", with_defaults, {"a": 1, "b": 2})
    # Blocks with their size in front, and several blocks.
    blocks = {"type": "array", "items": "int"}
    payload = b"\x03\x04\x02\x04" + b"\x02\x06" + b"\x01\x02\x08" + b"\x00"
    emit("blocks with sizes", payload, [read_datum(blocks, payload)], schema=json.dumps(blocks))
    maps = {"type": "map", "values": "int"}
    payload = b"\x01\x06\x02a\x04" + b"\x02\x02b\x06" + b"\x00"
    emit("map blocks with sizes", payload, [read_datum(maps, payload)], schema=json.dumps(maps))


def raw_fields():
    schema = record("R", a="bytes", b=["null", "bytes"], c={"type": "fixed", "name": "F", "size": 2},
                    d="string", e="int")
    raw = ["d", "b", "a", "missing", "c", "a"]
    for b in [None, b"\0\xff"]:
        payload = datum_of(schema, {"a": b"\x01\x02", "b": b, "c": b"xy", "d": "é", "e": 1})
        value = read_datum(schema, payload)
        row = [value["d"].encode(), value["b"], value["a"], None, value["c"], value["a"]]
        emit("raw fields", payload, [value], schema=json.dumps(schema), raw=raw, fields=[row])
        union = ["null", schema]
        payload = datum_of(union, value)
        emit("raw fields of a record in a union", payload, [read_datum(union, payload)],
             schema=json.dumps(union), raw=raw, fields=[row])
    emit("raw fields of null", b"\0", [None], schema=json.dumps(["null", schema]), raw=raw,
         fields=[[None] * 6])
    emit("raw fields of a number", payload, None, schema=json.dumps(union), raw=["e"])
    rows = [{"a": b"%d" % i, "b": None, "c": b"xy", "d": "s%d" % i, "e": i} for i in range(30)]
    container("raw fields of a container file", schema, rows, "deflate", raw=["a", "d"],
              fields=[[row["a"], row["d"].encode()] for row in rows])


def wires():
    schema = record("Wire", id="long", name="string", day=logical("int", "date"))
    rows = [{"id": i, "name": "n" * (i % 50), "day": 19000 + i} for i in range(60)]
    for codec in ["null", "deflate", "snappy", "zstandard", "bzip2"]:
        payload = container(f"container file, codec {codec}", schema, rows, codec)
    container("container file without records", schema, [])
    container("container file of one record", schema, rows[:1], schema=json.dumps("int"))
    container("container file beside a registry", schema, rows[:1],
              registry={"1": {"text": "\"int\"", "references": []}})
    plain = container("container file of numbers", "int", [1, 2, 3])
    emit("container file, wrong marker", plain[:-1] + b"x", None)
    emit("container file, cut", plain[:-3], None)
    emit("container file, cut in its header", plain[:30], None)
    emit("container file, unknown codec", plain.replace(b"\x08null", b"\x08nuLL"), None)
    emit("container file, broken block", payload[:-40] + b"\xff" * 24 + payload[-16:], None)
    emit("no schema at all", b"\x02", None)

    datum = datum_of(schema, rows[3])
    value = read_datum(schema, datum)
    emit("single-object encoding", single(schema, datum), [value], schema=json.dumps(schema))
    spaced = {"type": "record", "namespace": "x.y", "name": "R", "doc": "d", "fields": [
        {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A", "B"]}, "default": "A"},
        {"name": "l", "type": {"type": "array", "items": {"type": "map", "values": ["null", "R"]}}},
        {"name": "g", "type": {"type": "fixed", "name": "z.F", "size": 1}},
        {"name": "h", "type": {"type": "string", "avro.java.string": "String"}},
        {"name": "i", "type": "E"}]}
    datum2 = datum_of(spaced, {"e": "B", "l": [{"k": None}], "g": b"g", "h": "h", "i": "A"})
    emit("single-object encoding, names and attributes", single(spaced, datum2),
         [read_datum(spaced, datum2)], schema=json.dumps(spaced))
    emit("single-object encoding of another schema", single(spaced, datum), None,
         schema=json.dumps(schema))
    emit("single-object encoding without schema", single(schema, datum), None)

    newer = record("Wire", id="long", name=["null", "string"], extra="double")
    texts = {1: schema, 7: newer}
    registered("registry, first schema", texts, 1, datum)
    registered("registry, next schema", texts, 7,
               datum_of(newer, {"id": 5, "name": "x", "extra": 0.5}))
    registered("registry, unknown id", texts, 8, datum, values=None)
    registered("registry, cut", texts, 1, datum[:-1], values=None)
    registered("registry, extra byte", texts, 1, datum + b"\0", values=None)
    registered("registry, number", {3: "long"}, 3, b"\x05")
    # Confluent's Java serializer gives bytes without their length.
    registered("registry, plain bytes", {3: "bytes"}, 3, b"\x05ab", values=[b"\x05ab"])
    emit("registry, another magic byte", b"\x01\0\0\0\x01" + datum, None,
         registry={"1": {"text": json.dumps(schema), "references": []}})
    emit("registry, too short", b"\0\0\0\0", None,
         registry={"1": {"text": json.dumps(schema), "references": []}})
    inner = {**record("Inner", x="int"), "namespace": "acme"}
    middle = {**record("Middle", i="Inner", j="acme.Inner"), "namespace": "acme"}
    outer = {**record("Outer", m="Middle", i=["null", "Inner"]), "namespace": "acme"}
    named = {}
    for part in (inner, middle):
        parse_schema(part, named_schemas=named)
    whole = parse_schema(outer, named_schemas=named)
    out = io.BytesIO()
    write.schemaless_writer(out, whole, {"m": {"i": {"x": 1}, "j": {"x": 2}}, "i": {"x": 3}})
    refs = [["acme.Inner", json.dumps(inner)], ["acme.Middle", json.dumps(middle)]]
    value = read.schemaless_reader(io.BytesIO(out.getvalue()), whole, None)
    emit("registry, references", b"\0\0\0\0\x09" + out.getvalue(), [value],
         registry={"9": {"text": json.dumps(outer), "references": refs}})


def bads():
    schema = record("R", a="long", b="string", c=["null", "boolean"],
                    d={"type": "array", "items": "int"})
    good = datum_of(schema, {"a": 300, "b": "text", "c": True, "d": [1, 2, 3]})
    for cut in range(len(good)):
        bad("cut", schema, good[:cut])
    bad("extra byte", schema, good + b"\0")
    bad("number of more than 64 bits", "long", b"\xff" * 10, False)
    bad("number of eleven bytes", "long", b"\x80" * 10 + b"\0", False)
    bad("int out of range", "int", datum_of("long", 2**31), False)
    bad("negative length", "string", b"\x01", False)
    bad("huge length", "bytes", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", False)
    bad("not UTF-8", "string", b"\x04\xff\xfe")
    bad("surrogate in UTF-8", "string", b"\x06\xed\xa0\x80")
    bad("boolean 2", "boolean", b"\x02", False)
    bad("unknown branch", ["null", "int"], b"\x04")
    bad("negative branch", ["null", "int"], b"\x03", False)
    bad("unknown symbol", {"type": "enum", "name": "e", "symbols": ["A"]}, b"\x02")
    bad("huge block", {"type": "array", "items": "int"}, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02")
    bad("least block", {"type": "array", "items": "int"}, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
    bad("huge block of nulls", {"type": "array", "items": "null"},
        b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", False)
    bad("huge map", {"type": "map", "values": "null"}, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00")
    lists = record("List", value="long", next=["null", "List"])
    bad("a list of a million", lists, b"\x02\x02" * 1_000 + b"\x02\x00", False)
    bad("endless record", record("Self", s="Self") , b"", False)


# Random schemas ----------------------------------------------------------------------------------

class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.count = 0

    def name(self, kind):
        self.count += 1
        return f"{kind}{self.count}"

    def schema(self, depth, around=()):
        kinds = ["null", "boolean", "int", "long", "float", "double", "bytes", "string", "logical",
                 "fixed", "enum"]
        if depth > 0:
            kinds += ["array", "map", "union", "record", "record"]
            if around:
                kinds += ["name"]
        kind = self.random.choice(kinds)
        if kind == "logical":
            return self.random.choice([
                logical("int", "date"), logical("long", "timestamp-millis"),
                logical("long", "timestamp-micros"), logical("long", "local-timestamp-micros"),
                logical("long", "timestamp-nanos"), logical("string", "uuid"),
                logical("bytes", "decimal", precision=60, scale=self.random.randrange(10)),
            ])
        if kind == "fixed":
            size = self.random.choice([0, 1, 5, 12, 16])
            extra = {12: {"logicalType": "duration"}, 16: {"logicalType": "uuid"}}.get(size, {})
            return {"type": "fixed", "name": self.name("F"), "size": size, **extra}
        if kind == "enum":
            symbols = [f"S{i}" for i in range(self.random.randrange(1, 5))]
            return {"type": "enum", "name": self.name("E"), "symbols": symbols}
        if kind == "array":
            return {"type": "array", "items": self.schema(depth - 1, around)}
        if kind == "map":
            return {"type": "map", "values": self.schema(depth - 1, around)}
        if kind == "union":
            branches, seen = [], set()
            for _ in range(self.random.randrange(1, 5)):
                branch = self.schema(depth - 1, around)
                key = branch if isinstance(branch, str) else \
                    "union" if isinstance(branch, list) else branch.get("name", branch["type"])
                if key != "union" and key not in seen:
                    seen.add(key)
                    branches.append(branch)
            return branches or ["null"]
        if kind == "name":
            # Behind a union or in an array, so that a value ends.
            name = self.random.choice(around)
            return self.random.choice([["null", name], {"type": "array", "items": name}])
        if kind == "record":
            name = self.name("R")
            fields = [{"name": f"f{i}", "type": self.schema(depth - 1, (*around, name))}
                      for i in range(self.random.randrange(5))]
            space = {"namespace": self.random.choice(["", "n", "n.m"])} if not around else {}
            return {"type": "record", "name": name, "fields": fields, **space}
        return kind

    def text(self):
        return "".join(self.random.choice("ab\"\\\n\x01é😀\u2028 ")
                       for _ in range(self.random.randrange(8)))

    def value(self, schema, names, depth):
        r = self.random
        if isinstance(schema, list):
            branch = r.choice(schema) if depth > 0 else next((b for b in schema if b == "null"),
                                                             schema[0])
            value = self.value(branch, names, depth - 1)
            if isinstance(branch, str):
                return branch, value
            # fastavro finds the branch of a value that is not in a pair by itself.
            return (branch["name"], value) if branch["type"] == "record" else value
        kind = schema if isinstance(schema, str) else schema["type"]
        if kind == "null":
            return None
        if kind == "boolean":
            return r.random() < 0.5
        if kind == "int":
            return r.choice(INTS) if r.random() < 0.5 else r.randrange(-(2**31), 2**31)
        if kind == "long":
            return r.choice(LONGS) if r.random() < 0.5 else r.randrange(-(2**63), 2**63)
        if kind == "float":
            value = r.choice(FLOATS) if r.random() < 0.5 else \
                struct.unpack("<f", r.randbytes(4))[0]
            return value
        if kind == "double":
            return r.choice(DOUBLES) if r.random() < 0.5 else struct.unpack("<d", r.randbytes(8))[0]
        if kind == "bytes":
            return r.randbytes(r.randrange(25))
        if kind == "string":
            return self.text()
        if kind == "fixed":
            return r.randbytes(schema["size"])
        if kind == "enum":
            return r.choice(schema["symbols"])
        if kind == "array":
            count = r.randrange(4) if depth > 0 else 0
            return [self.value(schema["items"], names, depth - 1) for _ in range(count)]
        if kind == "map":
            count = r.randrange(4) if depth > 0 else 0
            return {self.text(): self.value(schema["values"], names, depth - 1)
                    for _ in range(count)}
        if kind == "record":
            return {f["name"]: self.value(f["type"], names, depth - 1) for f in schema["fields"]}
        return self.value(names[kind], names, depth)


def randoms(count, seed):
    for index in range(count):
        maker = Maker(seed * 1_000_000 + index)
        schema = maker.schema(4)
        names = {}
        parsed = parse_schema(without_logical(schema), named_schemas=names)
        datum = io.BytesIO()
        try:
            write.schemaless_writer(datum, parsed, maker.value(parsed, names, 6))
        except (ValueError, RecursionError) as error:
            print(f"not written: {error}", file=sys.stderr)
            continue
        datum = datum.getvalue()
        value = read_datum(schema, datum)
        base = index % 3 == 0
        if index % 2:
            datum = single(schema, datum)
        elif datum.startswith((b"\xc3\x01", b"Obj\x01")):
            continue
        emit("random", datum, [value], base64=base, schema=json.dumps(schema))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--random", type=int)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.random is None:
        for part in (basics, logicals, nested, raw_fields, wires, bads):
            part()
    randoms(100 if arguments.random is None else arguments.random, arguments.seed)


main()
