"""A producer and a consumer that know nothing of schemas: `json.dumps` and `json.loads`.

plain.py <bootstrap> write <topic>           lines {"key": ..., "value": ...} of stdin -> records
plain.py <bootstrap> read <topic> <count>    records -> the same lines
"""

import json
import sys
import time

from confluent_kafka import Consumer, Producer

bootstrap, does, topic, *rest = sys.argv[1:]
if does == "write":
    producer = Producer({"bootstrap.servers": bootstrap})
    refused = []
    for line in sys.stdin:
        record = json.loads(line)
        key, value = (json.dumps(record[part]).encode() for part in ("key", "value"))
        producer.produce(topic, key=key, value=value, on_delivery=lambda error, _: error and refused.append(error))
    left = producer.flush(60)
    sys.exit(f"not written: {left}, {refused}" if left or refused else 0)

consumer = Consumer({
    "bootstrap.servers": bootstrap,
    "group.id": f"plain-{topic}-{time.time_ns()}",
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
})
consumer.subscribe([topic])
count, deadline = int(rest[0]), time.monotonic() + 60
while count > 0:
    if time.monotonic() > deadline:
        sys.exit(f"{count} records of {topic} did not come within a minute")
    record = consumer.poll(0.2)
    if record is None:
        continue
    if record.error():
        sys.exit(str(record.error()))
    print(json.dumps({"key": json.loads(record.key()), "value": json.loads(record.value())}))
    count -= 1
consumer.close()
