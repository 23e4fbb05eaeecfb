#!/usr/bin/env bash
# Installs what some tests need besides Python: Java 17, Maven, Prometheus, and what builds and runs images, from Debian;
# then Kafka's jars through Maven.
# `install.sh cluster` builds a Kubernetes control plane instead, with Go: some 5 minutes on two cores, once.
set -euo pipefail
missing=()
if [ "${1:-}" = cluster ]; then
  exec .venv/bin/python -m sandbox cluster --fetch
fi
command -v java >/dev/null || missing+=(openjdk-17-jre-headless)
command -v mvn >/dev/null || missing+=(maven)
command -v openssl >/dev/null || missing+=(openssl)
command -v promtool >/dev/null || missing+=(prometheus)
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
# What checks the chart: helm-docs, helm-unittest, kube-score (Go), checkov, and Strimzi's definitions (Maven).
.venv/bin/python -m tools.chart.programs
