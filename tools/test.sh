#!/usr/bin/env bash
# Runs pytest; the last lines tell what was skipped. Arguments go to pytest (--no-skips, --python-only).
# PYTEST_ARGS picks tests. A test that fails has failed: none is run again.
# Only a run of all tests (--no-skips) is measured, and its coverage held to the floors: what needs more than Python
# has a part in them, and measuring makes every process slower by a third.
# A person's `make test` draws a tenth of the examples of each property; .ci/run and `make test-all` draw them all.
# A run of many tests writes which passed. With EACH_TEST_ONCE=yes (.ci/run) both are measured, and the run of all
# leaves out what has just passed, if no file and no package has changed since.
set -uo pipefail
python=.venv/bin/python
told=$(mktemp -d -t scribe-told-XXXXXX)
trap 'cat "$told"/*.txt 2>/dev/null; rm -rf "$told"' EXIT
declare -a picked=()
eval "picked=(${PYTEST_ARGS:-})" # so that -k "one or two" keeps its quotes
# Set in many containers, so that images stay small; here it would let each of some hundred processes compile all
# its packages anew, which takes three times as long as to start.
unset PYTHONDONTWRITEBYTECODE

is_all= is_measured= failed=0 processes=4
[[ ${#picked[@]} -eq 0 && " $* " == *" --no-skips "* ]] && is_all=yes is_measured=yes processes=6
[[ ${#picked[@]} -eq 0 && ${EACH_TEST_ONCE:-} ]] && is_measured=yes

run() { # NAME ARGUMENTS...: of pytest
  "$python" ${is_measured:+-m coverage run} -m pytest "--skips-to=$told/$1.txt" "${@:2}" || failed=1
}

state() { # what the tests run on, in one word
  "$python" -m tools.tree_state 2>/dev/null || echo unknown
}

[[ $is_all || ${EACH_TEST_ONCE:-} || ${#picked[@]} -gt 0 ]] || set -- --hypothesis-profile=few "$@"

if [ ${#picked[@]} -gt 0 ]; then
  run picked "$@" "${picked[@]}"
  exit "$failed"
fi

before=$(state)
passed=.pytest_cache/passed-$before${is_measured:+-measured}
if [[ $is_all && ${EACH_TEST_ONCE:-} && $before != unknown && -f $passed ]]; then
  set -- "--leave-out=$passed" "$@"
else
  rm -rf .coverage .coverage.* .pytest_cache/passed-*
fi

# More than the cores of a small machine: most tests wait, those with real Kafka longest, and each process takes
# seconds of a core to begin. Those that compute would keep the others from their cores.
# Those on Kubernetes have one control plane, in one process; what they start is not measured. They wait as well, and
# so does the storm (`lasts`), which runs beside them.
run waiting --numprocesses="$processes" --dist=worksteal -m "not computes and not lasts and not needs_cluster" \
  "--passed-to=$told/passed" "$@"
if [[ $is_all ]]; then
  run computing --numprocesses=2 -m "computes and not needs_cluster" "$@"
  (failed=0; run lasting -m lasts "$@"; exit "$failed") >"$told/lasting.log" 2>&1 &
  is_measured='' run cluster -m needs_cluster "$@"
  wait "$!" || failed=1
  cat "$told/lasting.log"
fi
if [[ -f $told/passed && $before != unknown && $(state) == "$before" ]]; then
  mkdir -p .pytest_cache && mv "$told/passed" "$passed"
fi

[ -z "$is_all" ] || "$python" -m coverage combine --quiet
if [[ $is_all && $failed -eq 0 ]]; then
  "$python" -m tools.coverage_floor || failed=1
fi
exit "$failed"
