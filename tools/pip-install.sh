#!/usr/bin/env bash
# Installs locked lists into .venv, after saying how much pip may fetch and where it is kept; then the project itself,
# so that .venv/bin/scribe is the code of this checkout.
set -euo pipefail
bin=.venv/bin

megabytes=0
requirements=()
for list in "$@"; do
  megabytes=$((megabytes + $(sed -n '1s/^# download: \([0-9]*\) MB.*/\1/p' "$list")))
  requirements+=(--requirement "$list")
done
cache=$("$bin/pip" cache dir 2>/dev/null) || cache="disabled"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1
echo "Installing packages into $PWD/.venv: up to $megabytes MB to fetch, kept there and in pip's cache ($cache)." >&2
if ! "$bin/pip" install --require-hashes --no-compile "${requirements[@]}"; then
  echo "Not installed: pip could not fetch or check a package (its words are above). 'make' tries again." >&2
  exit 1
fi
"$bin/pip" install --no-deps --no-index --no-build-isolation --editable .
