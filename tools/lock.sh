#!/usr/bin/env bash
# Writes requirements/{runtime,otel,msk,demo,dev,bench,checkov}.txt
# anew from pyproject.toml and the .in files, and measures what each
# makes pip download. Pins that still fit are kept; `tools/lock.sh --upgrade` takes the newest of everything.
set -euo pipefail
cd "$(dirname "$0")/../requirements"

work=$(mktemp -d -t scribe-lock-XXXXXX)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9

compile() { # SOURCE NAME: one list for every system and Python from 3.11 on, without the name of any registry
  UV_SYSTEM_CERTS=1 "$work/venv/bin/uv" pip compile "$1" --output-file "$2.txt" --universal --python-version 3.11 \
    --fork-strategy fewest --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet "${@:3}"
}

measure() { # NAME: puts the size of what pip fetches for it, on this machine, into its first line
  "$work/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --require-hashes \
    --requirement "$1.txt" --dest "$work/$1" >&2
  { echo "# download: $(du -sm "$work/$1" | cut -f1) MB    written by 'make lock'"; cat "$1.txt"; } > "$work/list"
  mv "$work/list" "$1.txt"
}

for name in runtime otel msk demo dev bench checkov; do
  sed -i '/^# download:/d' "$name.txt" 2>/dev/null || true
done
compile ../pyproject.toml runtime "$@"
compile ../pyproject.toml otel --extra otel --constraints runtime.txt "$@"
compile demo.in demo "$@"
compile dev.in dev "$@"
compile bench.in bench "$@"
compile msk.in msk "$@"
compile checkov.in checkov "$@"
for name in runtime otel msk demo dev bench checkov; do
  measure "$name"
  head -n 1 "$name.txt" | sed "s/^#/requirements\/$name.txt:/"
done
