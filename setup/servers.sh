#!/bin/bash
# Makes the virtual environment $1 with the servers that Debian does not have and only tests need: Keystone, a Swift that
# knows it, and JuiceFS's S3 gateway. An environment of the same lock is left as it is. No service is started.
set -euo pipefail
venv=$1
lock=requirements/servers.lock

cmp -s "$lock" "$venv/installed.lock" && exit 0
echo "Installing: $(tr '\n' ' ' < requirements/servers.in)"
python3 -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
echo '*' > "$venv/.gitignore"
cp "$lock" "$venv/installed.lock"
