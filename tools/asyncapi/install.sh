#!/usr/bin/env bash
# Installs AsyncAPI's parser from package-lock.json into the user's cache, once, and prints the folder.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/scribe
digest=$(cat "$here"/package-lock.json "$here"/check.mjs | sha256sum | cut -c1-8)
folder=$cache/asyncapi-$digest
if [ ! -d "$folder" ]; then
  mkdir -p "$cache"
  made=$(mktemp -d "$cache/.asyncapi-XXXXXX")
  trap 'rm -rf "$made"' EXIT
  cp "$here"/package.json "$here"/package-lock.json "$here"/check.mjs "$made"
  (cd "$made" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
  mv -T "$made" "$folder" 2>/dev/null || [ -d "$folder" ] # else another run was faster, with the same packages
fi
echo "$folder"
