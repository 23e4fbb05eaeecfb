#!/usr/bin/env bash
# Installs one locked list into the virtual environment, after saying how much pip will fetch and where it is kept.
# --editable: then the project itself, so that .venv/bin/scribe is the code of this checkout.
set -euo pipefail
bin=$1 list=$2
size=$(sed -n '1s/^# download: \([0-9]* MB\).*/\1/p' "$list")
echo "Installing $list into $PWD/.venv: up to $size to fetch the first time, kept in pip's cache" \
  "($("$bin/pip" cache dir 2>/dev/null || echo disabled))." >&2
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1
"$bin/pip" install --require-hashes --no-compile --requirement "$list"
if [ "${3:-}" = --editable ]; then
  "$bin/pip" install --no-deps --no-index --no-build-isolation --editable .
fi
