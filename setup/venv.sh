#!/bin/bash
# Makes the virtual environment $1 with the locked dependencies and this project, editable.
set -euo pipefail
venv=$1

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  { echo "Python 3.11 or newer is needed; python3 is $(python3 --version)" >&2; exit 1; }
echo "Setting up $venv with the tools of development: a minute or three, once."
python3 -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
