#!/usr/bin/env bash
# Runs pytest; the last lines tell what was skipped. Arguments go to pytest (--no-skips, --python-only).
# PYTEST_ARGS picks tests. Only a run of all tests (--no-skips) is measured, and its coverage held to the floors:
# what needs more than Python has a part in them, and measuring makes every process slower by a third.
# A few tests that fail beside the others are run once more by themselves, and the run says so: what starts a
# dozen processes on a small machine may miss a bound that no user would meet. One that fails alone has failed.
set -uo pipefail
python=.venv/bin/python
skips=$(mktemp -t scribe-skips-XXXXXX)
trap 'cat "$skips"; rm -f "$skips"' EXIT
declare -a picked=()
eval "picked=(${PYTEST_ARGS:-})" # so that -k "one or two" keeps its quotes
most_again=12
# Set in many containers, so that images stay small; here it would let each of some hundred processes compile all
# its packages anew, which takes three times as long as to start.
unset PYTHONDONTWRITEBYTECODE

is_measured=
[[ ${#picked[@]} -eq 0 && " $* " == *" --no-skips "* ]] && is_measured=yes

run() { "$python" ${is_measured:+-m coverage run} -m pytest "$@"; }

rm -rf .coverage .coverage.* .pytest_cache/v/cache/lastfailed
if [ ${#picked[@]} -gt 0 ]; then
  run "--skips-to=$skips" "$@" "${picked[@]}"
  code=$?
else
  # More than the cores of a small machine: most tests wait.
  run "--skips-to=$skips" --numprocesses=4 --dist=worksteal "$@"
  code=$?
  failed=$("$python" -m tools.last_failed)
  if [ "$code" -eq 1 ] && [ "$failed" -gt 0 ] && [ "$failed" -le "$most_again" ]; then
    echo "$failed tests failed beside the others; once more, by themselves:"
    run "--skips-to=/dev/null" --last-failed --last-failed-no-failures=none "$@"
    code=$?
  fi
fi
[ -z "$is_measured" ] || "$python" -m coverage combine --quiet
if [ "$code" -eq 0 ] && [ "$is_measured" ]; then
  "$python" -m tools.coverage_floor
  code=$?
fi
exit "$code"
