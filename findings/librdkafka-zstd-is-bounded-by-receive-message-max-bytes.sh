#!/usr/bin/env bash
# librdkafka (2.12.1, 2.16.0) with Kafka 4.1.2: a message compressed by zstd that the broker keeps in 2.8 kB cannot
# be consumed when it unpacks to 90 MB, although receive.message.max.bytes is 100 MB by default.
#
# One expects that option to bound what comes over the network ("maximum Kafka protocol response message
# size"), and a message below it to arrive. For zstd alone it bounds the unpacked size too, and the buffer that
# is tried grows by a factor, so that sizes below the limit are stepped over. The error says neither: it is
# "Invalid compressed data", for data that is valid, and it comes back for ever, because the offset does
# not move. The same message by gzip, lz4 and snappy arrives; with a larger receive.message.max.bytes so does the one by zstd.
source "$(dirname "$0")/lib.sh"

kafka 4.1.2
cat >"$folder/consume.py" <<'PYTHON'
import sys
import confluent_kafka as ck
from confluent_kafka.admin import AdminClient, NewTopic

brokers, codec, megabytes, limit = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
quiet = {"bootstrap.servers": brokers, "log_level": 0}
topic = f"{codec}-{megabytes}-{limit}-{ck.libversion()[0]}"
admin = AdminClient(quiet)
admin.create_topics([NewTopic(topic, 1, 1)])[topic].result()
producer = ck.Producer(quiet | {"compression.type": codec, "message.max.bytes": 1000000000})
producer.produce(topic, value=b"a" * (megabytes * 1000000))
assert producer.flush(60) == 0
options = {"group.id": "finding"} if limit == "default" else {"group.id": "finding", "receive.message.max.bytes": int(limit)}
consumer = ck.Consumer(quiet | options)
consumer.assign([ck.TopicPartition(topic, 0, 0)])
message = consumer.poll(60)
print("nothing" if message is None else message.error().name() if message.error() else f"{len(message.value())} bytes")
consumer.close()
PYTHON

for version in 2.12.1 2.16.1; do
    rm -rf "$folder/venv"
    python_with "confluent-kafka==$version"
    consume() { "$python" "$folder/consume.py" "$brokers" "$@"; }
    expect "confluent-kafka $version, zstd, 30 MB" "$(consume zstd 30 default)" '30000000 bytes'
    expect "confluent-kafka $version, zstd, 90 MB" "$(consume zstd 90 default)" '_BAD_COMPRESSION'
    for codec in gzip lz4 snappy; do
        expect "confluent-kafka $version, $codec, 90 MB" "$(consume $codec 90 default)" '90000000 bytes'
    done
    expect "confluent-kafka $version, zstd, 90 MB, receive.message.max.bytes=400000000" \
        "$(consume zstd 90 400000000)" '90000000 bytes'
done
