"""Writes what protobuf's own Python library makes of messages: descriptors.jsonl and vectors.jsonl.

Needs the packages protobuf and grpcio-tools. Usage: python3 generate.py, in this folder.

A descriptor is {"set": name, "base64": FileDescriptorSet}; a vector is {"set", "message", "hex",
"json" or "bad": true, "raw": {name: hex or null}}, or with a schema's id and indexes in front of the
message: {"framed": hex, "message", "json"}.

The JSON is that of json_format.MessageToJson with preserving_proto_field_name and
always_print_fields_with_no_presence, and 64-bit integers made numbers.
"""

import base64
import json
import pathlib
import random
import struct
import tempfile

import grpc_tools
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf import any_pb2, duration_pb2, timestamp_pb2, wrappers_pb2
from grpc_tools import protoc

HERE = pathlib.Path(__file__).parent
INCLUDE = str(pathlib.Path(grpc_tools.__file__).parent / "_proto")
random.seed(20)


def compile_set(name, stub=()):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "corpus").mkdir()
        (folder / "missing").mkdir()
        for file in HERE.glob("*.proto"):
            (folder / "corpus" / file.name).write_text(file.read_text())
        (folder / "missing/options.proto").write_text(
            'syntax = "proto2"; package missing; import "google/protobuf/descriptor.proto";'
            "message M { message N { optional int32 d = 2; } message X { optional int32 y = 1; }"
            "optional int32 a = 1; optional string b = 2; optional N c = 3; optional X x = 4; }"
            "extend google.protobuf.FieldOptions { optional M option = 5000; optional M other = 5001; }"
        )
        out = folder / "set"
        args = ["protoc", f"-I{folder}", f"-I{INCLUDE}", "--include_imports"]
        assert protoc.main(args + [f"--descriptor_set_out={out}", f"corpus/{name}.proto"]) == 0
        return out.read_bytes()


sets, pools = {}, {}
for name in ("proto3", "proto2", "editions", "delimited", "indexes"):
    sets[name] = compile_set(name)
    pools[name] = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(sets[name]).file:
        pools[name].Add(file)


def cls(set_name, name):
    return message_factory.GetMessageClass(pools[set_name].FindMessageTypeByName(name))



INT_TYPES = (3, 4, 6, 16, 18)
WELL_KNOWN_INT = {"google.protobuf.Int64Value", "google.protobuf.UInt64Value"}
OWN_FORM = {
    "google.protobuf." + n
    for n in "Timestamp Duration FieldMask Struct Value ListValue DoubleValue FloatValue Int32Value"
    " UInt32Value BoolValue StringValue BytesValue".split()
}


def normal(desc, value, pool):
    """64-bit integers as numbers."""
    if desc.full_name in WELL_KNOWN_INT:
        return int(value)
    if desc.full_name in OWN_FORM:
        return value
    if desc.full_name == "google.protobuf.Any":
        if not value:
            return value
        inner = pool.FindMessageTypeByName(value["@type"].split("/")[-1])
        if inner.full_name in OWN_FORM | WELL_KNOWN_INT | {"google.protobuf.Any"}:
            return {**value, "value": normal(inner, value["value"], pool)}
        rest = {k: v for k, v in value.items() if k != "@type"}
        return {"@type": value["@type"], **normal(inner, rest, pool)}
    out = {}
    for key, item in value.items():
        if key.startswith("["):
            field = pool.FindExtensionByName(key[1:-1])
        else:
            field = desc.fields_by_name[key]
        out[key] = of_field(field, item, pool)
    return out


def of_field(field, item, pool):
    inner = field.message_type
    if inner and inner.GetOptions().map_entry:
        return {k: of_field(inner.fields_by_name["value"], v, pool) for k, v in item.items()}
    if isinstance(item, list) and field.is_repeated:
        return [single(field, i, pool) for i in item]
    return single(field, item, pool)


def single(field, item, pool):
    if field.type in INT_TYPES:
        return int(item)
    if field.message_type:
        return normal(field.message_type, item, pool)
    return item


def is_text(parsed):
    """False when a string of proto2 is not valid UTF-8, which the library lets through as bytes."""
    for field, value in parsed.ListFields():
        if field.message_type and field.message_type.GetOptions().map_entry:
            items = list(value) + list(value.values())
        else:
            items = list(value) if field.is_repeated else [value]
        for item in items:
            if field.type == 9 and not isinstance(item, str):
                return False
            if hasattr(item, "ListFields") and not is_text(item):
                return False
    return True


def expected(set_name, name, payload):
    try:
        parsed = cls(set_name, name).FromString(payload)
        if not is_text(parsed):
            return None
        document = json.loads(
            json_format.MessageToJson(
                parsed,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
                descriptor_pool=pools[set_name],
            )
        )
        return normal(parsed.DESCRIPTOR, document, pools[set_name])
    except Exception as error:  # DecodeError, SerializeToJsonError, UnicodeDecodeError, ValueError
        if "Can not find message descriptor by type_url" in str(error):
            raise LookupError from error  # ours gives the bytes of such an Any
        assert not isinstance(error, (KeyError, AttributeError, NameError)), (error, name, payload)
        return None


vectors = []
PACKAGE = {"proto3": "corpus.three.", "proto2": "corpus.two.", "editions": "corpus.editions.",
           "delimited": "corpus.delimited.", "indexes": "corpus.indexes."}


def vector(set_name, name, payload, raw=()):
    name = PACKAGE[set_name] + name
    line = {"set": set_name, "message": name, "hex": payload.hex()}
    try:
        document = expected(set_name, name, payload)
    except LookupError:
        return payload
    if document is None:
        line["bad"] = True
    else:
        line["json"] = document
    if raw:
        parsed = cls(set_name, name).FromString(payload)
        line["raw"] = {}
        for field_name in raw:
            field = parsed.DESCRIPTOR.fields_by_name[field_name]
            value = getattr(parsed, field_name)
            if field.has_presence and not parsed.HasField(field_name):
                line["raw"][field_name] = None
                continue
            value = value.value if field.message_type else value
            line["raw"][field_name] = (value.encode() if isinstance(value, str) else value).hex()
    vectors.append(line)
    return payload


def varint(n):
    n &= (1 << 64) - 1
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def tag(number, wire):
    return varint(number << 3 | wire)


def block(number, content):
    content = content.encode() if isinstance(content, str) else content
    return tag(number, 2) + varint(len(content)) + content


def num(number, value):
    return tag(number, 0) + varint(value)


# Random messages of every type.
INTERESTING = {
    "int32": [0, 1, -1, 2**31 - 1, -(2**31), 42], "int64": [0, 1, -1, 2**63 - 1, -(2**63), 2**53 + 1],
    "uint32": [0, 1, 2**32 - 1, 300], "uint64": [0, 1, 2**64 - 1, 2**53 + 1],
    "double": [0.0, -0.0, 1.0, 0.1, -2.5, 1e300, 5e-324, 1e22, 123456789.125, float("inf"), float("-inf"), float("nan")],
    "float": [0.0, 1.0, 0.1, 3.4e38, 1e-45, 16777216.0, float("inf"), float("nan"), -7.25],
    "string": ["", "a", 'q"\\/\b\f\n\r\t\x01\x1f\x7f', "größe €😀", "\u2028", "x" * 300, "null"],
    "bytes": [b"", b"\0", b"\xff\xfe", b"abc", bytes(range(256)), b"abcd", b"abcde"],
}
KINDS = {1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 6: "uint64", 7: "uint32", 9: "string",
         12: "bytes", 13: "uint32", 15: "int32", 16: "int64", 17: "int32", 18: "int64"}


def scalar(field):
    if field.type == 8:
        return random.random() < 0.5
    if field.type == 14:
        numbers = [v.number for v in field.enum_type.values]
        return random.choice(numbers if field.enum_type.is_closed else numbers + [99])
    kind = KINDS[field.type]
    if kind in ("int32", "int64") and random.random() < 0.4:
        bits = 31 if kind == "int32" else 63
        return random.randrange(-(2**bits), 2**bits)
    return random.choice(INTERESTING[kind])


def fill(target, depth, density):
    full = target.DESCRIPTOR.full_name
    if full == "google.protobuf.Any":
        inner = random.choice([wrappers_pb2.Int64Value(value=2**60), timestamp_pb2.Timestamp(seconds=7),
                               duration_pb2.Duration(seconds=-3, nanos=-500000000), any_pb2.Any()])
        if "corpus.three" in str(target.DESCRIPTOR.file.pool.FindFileByName("corpus/proto3.proto").package) and random.random() < 0.5:
            inner = cls("proto3", "corpus.three.Scalars")()
            fill(inner, depth + 1, density)
        target.type_url = "type.googleapis.com/" + inner.DESCRIPTOR.full_name
        target.value = inner.SerializeToString(deterministic=True)
        return
    if full == "google.protobuf.Timestamp":
        target.seconds = random.choice([0, -1, -62135596800, 253402300799, 951782400, 1700000000, random.randrange(-10**10, 10**11)])
        target.nanos = random.choice([0, 1, 999999999, 500000000, 120000, 1000])
        return
    if full == "google.protobuf.Duration":
        sign = random.choice([1, -1])
        target.seconds = sign * random.choice([0, 1, 315576000000, 3600])
        target.nanos = sign * random.choice([0, 1, 999999999, 500000000, 120000]) if abs(target.seconds) < 315576000000 else 0
        return
    if full == "google.protobuf.FieldMask":
        target.paths.extend(random.choice([[], ["a"], ["foo_bar.baz_qux", "x"], ["a.b.c_d"]]))
        return
    if full == "google.protobuf.Value":
        kind = random.choice(["null_value", "number_value", "string_value", "bool_value", "struct_value", "list_value"])
        if depth > 4 and kind in ("struct_value", "list_value"):
            kind = "bool_value"
        if kind == "null_value":
            target.null_value = 0
        elif kind == "number_value":
            target.number_value = random.choice([0, 1.5, -1e100, 3])
        elif kind == "string_value":
            target.string_value = random.choice(INTERESTING["string"])
        elif kind == "bool_value":
            target.bool_value = True
        else:
            getattr(target, kind).SetInParent()
            fill(getattr(target, kind), depth + 1, density)
        return
    for field in target.DESCRIPTOR.fields:
        if random.random() > density and not field.is_required:
            continue
        if field.message_type and depth > 3:
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            for _ in range(random.randrange(4)):
                key = scalar(field.message_type.fields_by_name["key"])
                if value.message_type:
                    getattr(target, field.name)[key].SetInParent()
                    fill(getattr(target, field.name)[key], depth + 1, density)
                else:
                    getattr(target, field.name)[key] = scalar(value)
        elif field.is_repeated:
            for _ in range(random.randrange(5)):
                if field.message_type:
                    fill(getattr(target, field.name).add(), depth + 1, density)
                else:
                    getattr(target, field.name).append(scalar(field))
        elif field.message_type:
            getattr(target, field.name).SetInParent()
            fill(getattr(target, field.name), depth + 1, density)
        else:
            setattr(target, field.name, scalar(field))
    if full == "corpus.two.Old":
        pool = pools["proto2"]
        if random.random() < 0.5:
            target.Extensions[pool.FindExtensionByName("corpus.two.extra")] = "more"
            target.Extensions[pool.FindExtensionByName("corpus.two.more")].extend([1, -1])
            target.Extensions[pool.FindExtensionByName("corpus.two.thing")].add().what = "this"
            if depth < 3:
                fill(target.Extensions[pool.FindExtensionByName("corpus.two.Old.inner_extension")], depth + 1, 0.3)


TYPES = [("proto3", n) for n in "Scalars Optionals Lists Maps Nested Choices Known".split()]
TYPES += [("proto2", "Old"), ("editions", "Mixed"), ("delimited", "Delimited")]
RAW = {"Scalars": ["text", "raw"], "Optionals": ["raw", "text"], "Choices": ["raw", "text", "before"],
       "Known": ["text", "raw"], "Old": ["name", "blob"]}
whole = []
for set_name, name in TYPES:
    vector(set_name, name, b"", RAW.get(name, ()))
    for i in range(20):
        instance = cls(set_name, PACKAGE[set_name] + name)()
        fill(instance, 0, [0.2, 0.5, 0.9][i % 3])
        payload = instance.SerializePartialToString(deterministic=True)
        whole.append((set_name, name, payload))
        vector(set_name, name, payload, RAW.get(name, ()))

# Two messages one after the other are one, merged.
for (set_name, name, a), (other, name2, b) in zip(whole, whole[1:]):
    if name == name2 and random.random() < 0.3:
        vector(set_name, name, a + b)

# Cut, and with wrong bytes.
for set_name, name, payload in random.sample(whole, 60):
    if payload and len(payload) < 4000:
        vector(set_name, name, payload[: random.randrange(len(payload))])
for set_name, name, payload in random.sample(whole, 120):
    # Python drops a map's entry with an unknown field; other languages only ignore that field.
    if payload and len(payload) < 1000 and name != "Maps":
        changed = bytearray(payload)
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
        vector(set_name, name, bytes(changed))

# By hand: what serializers do not write.
v = vector
v("proto3", "Scalars", num(3, 1) + num(3, 2))  # the last counts
v("proto3", "Scalars", num(3, 2**40 + 5) + num(5, 2**40 + 6) + num(13, 2**40) + num(16, 2**32 + 1))
v("proto3", "Scalars", num(7, 2**40 + 5) + num(8, 2**64 - 1))
v("proto3", "Scalars", num(14, 5) + block(3, "abc") + tag(4, 5) + b"1234")  # other wire types
v("proto3", "Scalars", num(99, 1) + block(100, "x") + tag(101, 1) + b"12345678" + tag(102, 5) + b"1234")
v("proto3", "Scalars", tag(99, 3) + num(1, 1) + tag(5, 3) + tag(5, 4) + tag(99, 4) + num(3, 7))
v("proto3", "Scalars", tag(99, 3) + num(1, 1))
v("proto3", "Scalars", tag(99, 3) + tag(98, 4))
v("proto3", "Scalars", tag(99, 4))
v("proto3", "Scalars", tag(3, 6) + b"\0")
v("proto3", "Scalars", tag(3, 7) + b"\0")
v("proto3", "Scalars", b"\0\0")
v("proto3", "Scalars", varint(1 << 35) + b"\0")
v("proto3", "Scalars", tag(3, 0) + b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01")
v("proto3", "Scalars", tag(3, 0) + b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02")
v("proto3", "Scalars", tag(3, 0) + b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01")
v("proto3", "Scalars", tag(3, 0) + b"\x85\x80\x00")
v("proto3", "Scalars", block(14, b"\xff"))
v("proto3", "Scalars", block(14, b"\xed\xa0\x80"))
v("proto3", "Scalars", block(14, b"a\0b"))
v("proto3", "Scalars", tag(14, 2) + varint(2**31) + b"x")
v("proto3", "Scalars", tag(14, 2) + varint(2**64 - 1) + b"x")
v("proto2", "Old", num(1, 1) + num(3, 77) + num(6, 1) + num(6, 77) + num(6, 2) + block(6, b"\x01\x4d\x02"))
v("proto2", "Old", num(1, 1) + num(3, 2) + num(3, 77))
v("proto2", "Old", num(1, 1) + block(11, "text") + num(10, 77))
v("proto2", "Old", num(1, 1) + block(9, block(1, "a") + num(2, 77)) + block(9, block(1, "b") + num(2, 2)))
v("proto2", "Old", num(1, 1) + block(9, block(1, "b")) + block(9, b"") + block(9, block(1, "c") + num(2, 1) + num(2, 2)))
v("proto2", "Old", num(1, 1) + num(4, 1) + block(4, b"\x02\x03") + num(2, 9) + num(4, 4) + block(4, b""))
v("proto2", "Old", num(1, 1) + block(4, b"\x80"))
v("proto3", "Lists", block(9, b"123"))
v("proto3", "Lists", num(3, 1) + block(14, "a") + num(3, 2) + block(14, "b") + block(3, b"\x03\x04"))
v("proto3", "Lists", block(17, num(3, 1)) + block(17, b"") + num(13, 300) + block(13, b"\x00\x01\x80\x02"))
v("proto3", "Choices", num(2, 1) + block(3, "x"))
v("proto3", "Choices", block(4, num(3, 1)) + block(4, num(4, 2)))
v("proto3", "Choices", block(4, num(3, 1)) + block(3, "x") + block(4, num(4, 2)))
v("proto3", "Choices", num(8, 1) + block(4, num(3, 1)) + block(9, "r") + num(6, 1) + num(8, 0))
v("proto3", "Choices", num(7, 0))
v("proto3", "Nested", block(1, block(2, block(1, "a"))) + block(1, block(2, num(2, 1)) + block(1, block(1, "p"))) + block(1, b""))
v("proto3", "Maps", block(1, block(2, "b") + num(1, 2)) + block(1, num(1, 10) + block(2, "x")) + block(1, num(1, 2) + block(2, "c")))
v("proto3", "Maps", block(11, num(1, 7)) + block(10, b"") + block(12, b"") + block(9, b"") + block(8, b""))
v("proto3", "Maps", block(10, tag(1, 1) + b"\x01" + b"\0" * 7 + block(2, num(3, 1)) + block(2, num(4, 2))))
for seconds, nanos in [(253402300800, 0), (-62135596801, 0), (0, -1), (0, 10**9), (2**62, 0), (1, 2**31 - 1)]:
    v("proto3", "Known", block(1, num(1, seconds) + num(2, nanos)))
for seconds, nanos in [(315576000001, 0), (-315576000001, 0), (1, -1), (-1, 1), (0, 10**9), (0, -1), (3, 500000000), (0, -(2**31)), (-(2**63), 0)]:
    v("proto3", "Known", block(2, num(1, seconds) + num(2, nanos)))
for path in ["fooBar", "foo__bar", "foo_", "_foo", "foo_1", "a.b_c", "", "é_x"]:
    v("proto3", "Known", block(3, block(1, path)))
v("proto3", "Known", block(5, b"") + block(6, b"") + block(4, b"") + block(7, b"") + block(8, num(1, 1)))
v("proto3", "Known", block(5, tag(2, 1) + struct.pack("<d", float("nan"))))
v("proto3", "Known", block(5, block(5, block(1, block(1, "k") + block(2, num(4, 1)))) + block(5, block(1, block(1, "l")))))
v("proto3", "Known", block(5, block(6, block(1, num(4, 1))) + block(6, block(1, num(1, 0)))))
v("proto3", "Known", block(7, block(1, "type.googleapis.com/corpus.three.Scalars") + block(2, b"\xff")))
v("proto3", "Known", block(7, block(1, "corpus.three.Scalars") + block(2, num(4, -1))))
v("proto3", "Known", block(7, block(1, "x/y/google.protobuf.Any") + block(2, block(1, "/google.protobuf.Timestamp"))))
v("proto3", "Known", block(7, block(1, "x/google.protobuf.Empty")))
v("proto3", "Known", block(7, block(1, "x/google.protobuf.Struct")))
v("proto3", "Known", block(9, tag(1, 1) + struct.pack("<d", float("inf"))) + block(18, b"") + num(18, 5))
deep = b""
for depth in range(1, 131):
    deep = block(4, deep)
    if depth in (1, 50, 90, 98, 99, 105, 130):
        v("proto3", "Nested", deep)

# The frame of a schema registry: the schema is 7, its file indexes.proto.


def frame(path, name, payload, short=False):
    def zigzag(n):
        return varint(n << 1)
    index = b"\0" if short else zigzag(len(path)) + b"".join(zigzag(i) for i in path)
    full = "corpus.indexes." + name
    line = {"framed": (b"\0" + struct.pack(">I", 7) + index + payload).hex(), "message": full}
    line["json"] = expected("indexes", full, payload)
    vectors.append(line)


frame([0], "First", block(1, "one"), short=True)
frame([0], "First", block(1, "one"))
frame([1], "Second", num(1, 2))
frame([2], "Third", block(1, "three"))
frame([2, 0], "Third.Inner", block(1, "in"))
frame([2, 1], "Third.Inner2", num(1, 1))
frame([2, 0, 0], "Third.Inner.Deep", block(1, "deep") + block(2, block(1, "dep")))

with open(HERE / "descriptors.jsonl", "w") as out:
    for name, content in sets.items():
        out.write(json.dumps({"set": name, "base64": base64.b64encode(content).decode()}) + "\n")
with open(HERE / "vectors.jsonl", "w") as out:
    for line in vectors:
        out.write(json.dumps(line, sort_keys=True, allow_nan=False) + "\n")
print(len(vectors), "vectors,", sum("bad" in v for v in vectors), "bad")
