#!/bin/bash
# Installs what the benchmark compares with: Debian packages that are missing, and an environment for each Python peer
# below $1, from bench/requirements/. A peer that can't be had does not stop the others: its reason is left in
# $1/NAME.failed, from where the report takes it. No service is started.
set -euo pipefail
environments=$1

mkdir -p "$environments"
echo '*' > "$environments/.gitignore"

if [ "$(id -u)" -eq 0 ]; then
  as_root=()
else
  as_root=(sudo -n)
fi
updated=
for program in sysbench restic rclone zstd age; do
  reason="$environments/$program.failed"
  rm -f "$reason"
  command -v "$program" > /dev/null && continue
  echo "Installing: $program"
  if ! {
    { [ "$updated" ] || "${as_root[@]}" apt-get update -qq; } &&
      "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$program"
  } > "$reason.log" 2>&1; then
    mv "$reason.log" "$reason"
    echo "$program can't be installed: $(tail -n 1 "$reason")" >&2
    continue
  fi
  rm "$reason.log"
  updated=yes
done

for lock in bench/requirements/*.lock; do
  name=$(basename "$lock" .lock)
  reason="$environments/$name.failed"
  rm -f "$reason"
  cmp -s "$lock" "$environments/$name/installed.lock" && continue
  echo "Installing: $(tr '\n' ' ' < "${lock%.lock}.in")"
  if ! {
    python3 -m venv --clear "$environments/$name" &&
      "$environments/$name/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
  } > "$reason.log" 2>&1; then
    mv "$reason.log" "$reason"
    rm -rf "${environments:?}/$name"
    echo "$name can't be installed: $(tail -n 1 "$reason")" >&2
    continue
  fi
  rm "$reason.log"
  cp "$lock" "$environments/$name/installed.lock"
done
