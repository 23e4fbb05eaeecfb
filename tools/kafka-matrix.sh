#!/usr/bin/env bash
# Runs the contract suite on each version of Apache Kafka that the documents name, then a storm of MINUTES (1; 0 for none)
# on each. VERSIONS="4.4.0 3.9.1" takes others. It runs by hand: .ci/run proves the version of sandbox/kafka/pom.xml.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0
run() { # WHAT COMMAND...: runs it and says how it went
  local what=$1 begun=$SECONDS result=passed
  "${@:2}" || { result=FAILED; failed=1; }
  echo "Apache Kafka $KAFKA_VERSION: $what $result in $((SECONDS - begun)) s"
}
for KAFKA_VERSION in ${VERSIONS:-3.9.1 4.1.1 4.4.0}; do
  export KAFKA_VERSION
  run "jars" .venv/bin/python -m sandbox kafka --fetch
  run "contract suite" .venv/bin/python -m pytest tests/contract --numprocesses="${PROCESSES:-1}" -m needs_java
  [ "${MINUTES:-1}" = 0 ] || run "storm of ${MINUTES:-1} min" .venv/bin/python -m tests.chaos --minutes "${MINUTES:-1}"
done
exit $failed
