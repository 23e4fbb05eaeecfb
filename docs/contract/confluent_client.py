"""Publishes a request with confluent-kafka and prints its outcomes: confluent_client.py BROKERS ID URL..."""

import json
import sys

from confluent_kafka import Consumer, Producer

brokers, request_id, *urls = sys.argv[1:]

producer = Producer(
    {
        "bootstrap.servers": brokers,
        "partitioner": "murmur2_random",  # hashes keys as Java's clients do; not the default
        "acks": "all",
    }
)
request = {"request_id": request_id, "file_urls": urls, "model": "fun-asr"}
producer.produce("transcription.requests", json.dumps(request), key=request_id)
if producer.flush(30):
    sys.exit("the broker did not take the request within 30 s")

consumer = Consumer(
    {
        "bootstrap.servers": brokers,
        "group.id": f"readers-of-{request_id}",
        "isolation.level": "read_committed",  # librdkafka's default; said here since it matters
        "auto.offset.reset": "earliest",
        "fetch.message.max.bytes": 16 * 1024 * 1024,  # a transcript of hours has some megabytes
    }
)
consumer.subscribe(["transcription.results", "transcription.failures"])
missing = set(range(len(urls)))
while missing:
    message = consumer.poll(1)
    if message is None:
        continue
    if message.error():
        sys.exit(str(message.error()))
    outcome = json.loads(message.value())
    if outcome["request_id"] != request_id:
        continue  # another's
    if "code" in outcome:
        print(message.topic(), outcome["file_index"], f"{outcome['code']}: {outcome['message']}")
    else:
        text = " ".join(channel["text"] for channel in outcome["transcript"]["channels"])
        print(message.topic(), outcome["file_index"], text)
    if outcome["file_index"] is None:  # the record was refused, or only answered
        break
    missing.discard(outcome["file_index"])
consumer.close()
