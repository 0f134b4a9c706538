#!/usr/bin/env bash
# Installs this checkout of chaoskit, with the versions of its lock file, into $RUNNER_TEMP/chaoskit.
set -euo pipefail
source="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
home="${RUNNER_TEMP:?is set by the runner}/chaoskit"
python3 -m venv "$home"
sed -n 's/^\([A-Za-z0-9._-]*==[^ ;\\]*\).*/\1/p' "$source/requirements.lock" >"$home/constraints.txt"
"$home/bin/pip" install --quiet --disable-pip-version-check --constraint "$home/constraints.txt" "$source"
"$home/bin/chaoskit" --version
