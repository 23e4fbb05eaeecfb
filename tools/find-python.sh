#!/usr/bin/env bash
# Prints the first Python here that can make the project's virtual environment; PYTHON=... names one.
set -u
for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
  if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    command -v "$python"
    exit 0
  fi
done
echo "Scribe needs Python 3.11 or later with its venv module, and found none among:" \
  "${PYTHON:-python3 python3.13 python3.12 python3.11}. (On Debian: apt-get install python3-venv;" \
  "a Python elsewhere: make PYTHON=/path/to/python3 ...)" >&2
exit 1
