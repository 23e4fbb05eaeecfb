#!/usr/bin/env bash
# Runs pytest with coverage, then holds the coverage to its floors; the last lines tell what was skipped.
# PYTEST_ARGS picks tests: then no floor is asked. Arguments go to pytest (--no-skips, --python-only).
set -uo pipefail
python=.venv/bin/python
skips=$(mktemp -t scribe-skips-XXXXXX)
trap 'cat "$skips"; rm -f "$skips"' EXIT
declare -a picked=()
eval "picked=(${PYTEST_ARGS:-})" # so that -k "one or two" keeps its quotes

rm -f .coverage .coverage.*
if [ ${#picked[@]} -eq 0 ]; then
  set -- --numprocesses=3 --dist=worksteal "$@" # more than the cores of a small machine: most tests wait
fi
"$python" -m coverage run -m pytest "--skips-to=$skips" "$@" "${picked[@]}"
code=$?
"$python" -m coverage combine --quiet
if [ "$code" -eq 0 ] && [ ${#picked[@]} -eq 0 ]; then
  "$python" -m tools.coverage_floor
  code=$?
fi
exit "$code"
