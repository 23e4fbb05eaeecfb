#!/usr/bin/env bash
# Installs what some tests need besides Python: a JDK 17, Maven, Prometheus and Node.js from Debian; Kafka through Maven;
# AsyncAPI's parser through npm; Amazon's signer in a folder of its own, since it wants other versions than the tests do.
set -euo pipefail
missing=()
command -v javac >/dev/null || missing+=(openjdk-17-jdk-headless)
command -v mvn >/dev/null || missing+=(maven)
command -v promtool >/dev/null || missing+=(prometheus)
command -v npm >/dev/null || missing+=(nodejs npm)
if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "Missing here: ${missing[*]} (so Debian calls them). Install them, or run this as root on Debian." >&2
    exit 1
  fi
  echo "Installing ${missing[*]} from Debian ..." >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
.venv/bin/python -m sandbox kafka --fetch
# What checks the chart: helm-docs, helm-unittest, kube-score (Go), checkov, and Strimzi's definitions (Maven).
.venv/bin/python -m tools.chart.programs
tools/asyncapi/install.sh >/dev/null
msk=$(.venv/bin/python -m tests.msk)
if [ ! -d "$msk" ]; then
  echo "Installing requirements/msk.txt to $msk ..." >&2
  rm -rf "$msk.part"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement requirements/msk.txt --target "$msk.part"
  mv "$msk.part" "$msk"
fi
