#!/usr/bin/env bash
# Installs what some tests need besides Python. From Debian: a JDK 17, Maven, Prometheus, Node.js, and what builds and runs
# images. Through their own registries: Kafka, AsyncAPI's parser, Amazon's signer (in a folder of its own, since it wants
# other versions than the tests do), and what checks the chart.
# `install.sh cluster` builds a Kubernetes control plane instead, with Go: some 5 minutes on two cores, once.
set -euo pipefail
missing=()
if [ "${1:-}" = cluster ]; then
  exec .venv/bin/python -m sandbox cluster --fetch
fi
command -v javac >/dev/null || missing+=(openjdk-17-jdk-headless)
command -v mvn >/dev/null || missing+=(maven)
command -v openssl >/dev/null || missing+=(openssl)
command -v promtool >/dev/null || missing+=(prometheus)
command -v npm >/dev/null || missing+=(nodejs npm)
for program in buildah podman runc debootstrap; do
  command -v "$program" >/dev/null || missing+=("$program")
done
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
msk=$(.venv/bin/python -m tests.msk)
if [ ! -d "$msk" ]; then
  echo "Installing requirements/msk.txt to $msk ..." >&2
  rm -rf "$msk.part"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement requirements/msk.txt --target "$msk.part"
  mv "$msk.part" "$msk"
fi
.venv/bin/python -m tools.chart.programs
