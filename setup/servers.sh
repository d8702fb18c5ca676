#!/bin/bash
# Makes the virtual environment $1 with the servers that Debian does not have and only tests need: Keystone, a Swift that
# knows it, and JuiceFS's S3 gateway; and a Keystone's first database, which takes longer than its start. An environment
# of the same lock is left as it is. No service is started.
set -euo pipefail
venv=$1
lock=requirements/servers.lock

if cmp -s "$lock" "$venv/installed.lock" && [ -e "$venv/keystone.db" ]; then
  exit 0
fi
echo "Installing: $(tr '\n' ' ' < requirements/servers.in)"
python3 -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
echo '*' > "$venv/.gitignore"

scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT
mkdir -m 700 "$scratch/keys"
for key in 0 1; do
  head -c 32 /dev/urandom | base64 -w 0 | tr '+/' '-_' > "$scratch/keys/$key"
done
cat > "$scratch/keystone.conf" << END
[DEFAULT]
log_file = $scratch/log
use_stderr = false
[database]
connection = sqlite:///$scratch/keystone.db
[fernet_tokens]
key_repository = $scratch/keys
[credential]
key_repository = $scratch/keys
[identity]
password_hash_rounds = 4
END
manage=("$venv/bin/python" -W ignore "$venv/bin/keystone-manage" --config-file "$scratch/keystone.conf")
if ! {
  "${manage[@]}" db_sync && "${manage[@]}" bootstrap --bootstrap-password throw-away --bootstrap-region-id RegionOne
} > "$scratch/said" 2>&1; then
  cat "$scratch/said" "$scratch/log" >&2
  exit 1
fi
mv "$scratch/keystone.db" "$venv/"
cp "$lock" "$venv/installed.lock"
