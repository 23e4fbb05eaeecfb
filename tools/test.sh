#!/usr/bin/env bash
# Runs pytest with coverage, then holds the coverage to its floors; the last lines tell what was skipped.
# PYTEST_ARGS picks tests: then no floor is asked. Arguments go to pytest (--no-skips, --python-only).
# A few tests that fail beside the others are run once more by themselves, and the run says so: what starts a
# dozen processes on a small machine may miss a bound that no user would meet. One that fails alone has failed.
set -uo pipefail
python=.venv/bin/python
skips=$(mktemp -t scribe-skips-XXXXXX)
trap 'cat "$skips"; rm -f "$skips"' EXIT
declare -a picked=()
eval "picked=(${PYTEST_ARGS:-})" # so that -k "one or two" keeps its quotes
most_again=12

run() { "$python" -m coverage run -m pytest "$@"; }

rm -rf .coverage .coverage.* .pytest_cache/v/cache/lastfailed
if [ ${#picked[@]} -gt 0 ]; then
  run "--skips-to=$skips" "$@" "${picked[@]}"
  code=$?
else
  # More than the cores of a small machine: most tests wait.
  run "--skips-to=$skips" --numprocesses=3 --dist=worksteal "$@"
  code=$?
  failed=$("$python" -m tools.last_failed)
  if [ "$code" -eq 1 ] && [ "$failed" -gt 0 ] && [ "$failed" -le "$most_again" ]; then
    echo "$failed tests failed beside the others; once more, by themselves:"
    run "--skips-to=/dev/null" --last-failed --last-failed-no-failures=none "$@"
    code=$?
  fi
fi
"$python" -m coverage combine --quiet
if [ "$code" -eq 0 ] && [ ${#picked[@]} -eq 0 ]; then
  "$python" -m tools.coverage_floor
  code=$?
fi
exit "$code"
