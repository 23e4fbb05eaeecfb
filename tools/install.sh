#!/usr/bin/env bash
# Installs what some tests need besides Python: a JDK 17, Maven, Prometheus and Node.js from Debian, then Kafka through
# Maven and AsyncAPI's parser through npm.
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
tools/asyncapi/install.sh >/dev/null
