#!/usr/bin/env bash
# Runs pytest with coverage, then holds the coverage to its floors. PYTEST_ARGS picks tests: then no floor is asked.
# Arguments go to pytest (--no-skips).
set -euo pipefail
python=.venv/bin/python
declare -a picked=()
eval "picked=(${PYTEST_ARGS:-})" # so that -k "one or two" keeps its quotes

rm -f .coverage .coverage.*
"$python" -m coverage run -m pytest "$@" "${picked[@]}"
"$python" -m coverage combine --quiet
if [ ${#picked[@]} -eq 0 ]; then
  "$python" -m tools.coverage_floor
fi
