#!/usr/bin/env bash
# Publishes one request with the programs in bin/ of Apache Kafka, and shows what comes back for 10 seconds:
# console.sh BROKERS REQUEST_ID URL
set -euo pipefail
echo "$2|{\"request_id\": \"$2\", \"file_urls\": [\"$3\"], \"model\": \"fun-asr\"}" |
  kafka-console-producer.sh --bootstrap-server "$1" --topic transcription.requests \
    --property parse.key=true --property key.separator='|'
kafka-console-consumer.sh --bootstrap-server "$1" --include 'transcription.results|transcription.failures' \
  --isolation-level read_committed --from-beginning --timeout-ms 10000
