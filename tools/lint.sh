#!/usr/bin/env bash
# Runs every check and names those that failed, so that one run tells all there is to mend.
set -uo pipefail
bin=.venv/bin
failed=()

check() { # NAME COMMAND...: quiet when it passes
  local name=$1 output code=0
  shift
  output=$("$@" 2>&1) || code=$?
  case $code in
    0) echo "ok      $name" ;;
    77) echo "skipped $name: $output" ;;
    *)
      printf 'FAILED  %s\n%s\n' "$name" "$output"
      failed+=("$name")
      ;;
  esac
}

check "ruff check" "$bin/ruff" check --quiet .
check "ruff format" "$bin/ruff" format --check .
check "mypy --strict" "$bin/mypy"
check "import directions" "$bin/lint-imports" --no-cache
check "sizes and shapes" "$bin/python" -m tools.shape
check "Dockerfile" "$bin/hadolint" Dockerfile
check "chart" "$bin/python" -m tools.chart

if [ ${#failed[@]} -gt 0 ]; then
  printf 'Failed: %s\n' "$(IFS=,; echo "${failed[*]}")" >&2
  exit 1
fi
