#!/bin/bash
# Installs the Debian packages that are missing: with no argument those of the demo, with `tests` those of the tests too.
# No service is started: mariadb-server-core has the server's binary without its unit, and where the tests need the
# plugins of mariadb-server, RabbitMQ, PostgreSQL, Prometheus or Swift, those packages are kept from starting their own.
set -euo pipefail

declare -A package_of=(
  [mariadbd]=mariadb-server-core
  [mariadb-install-db]=mariadb-server-core
  [my_print_defaults]=mariadb-client-core
  [mariadb-binlog]=mariadb-client
  [mariadb-backup]=mariadb-backup
  [mbstream]=mariadb-backup
  [zstd]=zstd
  [setpriv]=util-linux
  [python3]=python3
)

PATH="$PATH:/usr/sbin:/sbin"
missing=()
for program in "${!package_of[@]}"; do
  command -v "$program" > /dev/null || missing+=("${package_of[$program]}")
done
if ! python3 -c 'import ensurepip, venv' 2> /dev/null; then
  missing+=(python3-venv)
fi
if [ "${1:-}" = tests ]; then
  [ -e /usr/lib/mysql/plugin/ha_archive.so ] || missing+=(mariadb-server)
  [ -e /usr/lib/galera/libgalera_smm.so ] || missing+=(galera-4)
  [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing+=(rabbitmq-server)
  command -v systemd-nspawn > /dev/null || missing+=(systemd-container)
  command -v dbus-daemon > /dev/null || missing+=(dbus)
  command -v age > /dev/null || missing+=(age)
  command -v jq > /dev/null || missing+=(jq)
  command -v promtool > /dev/null || missing+=(prometheus)
  command -v swift-proxy-server > /dev/null || missing+=(swift-proxy)
  for part in account container object; do
    command -v "swift-$part-server" > /dev/null || missing+=("swift-$part")
  done
  compgen -G '/usr/lib/postgresql/*/bin/postgres' > /dev/null || missing+=(postgresql)
fi
[ ${#missing[@]} -gt 0 ] || exit 0

mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
echo "Installing: ${missing[*]}"
if ! command -v apt-get > /dev/null; then
  echo "This is no Debian: install what holds these programs yourself: ${!package_of[*]}" >&2
  exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
  as_root=()
elif sudo -n true 2> /dev/null || { [ -t 0 ] && command -v sudo > /dev/null; }; then
  as_root=(sudo)
else
  echo "Run this as root or as a user with sudo, or install these packages first:" >&2
  echo "  apt-get install ${missing[*]}" >&2
  exit 1
fi
# invoke-rc.d and systemd's helpers ask this program whether they may start what a package brings.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" > /dev/null
  "${as_root[@]}" chmod +x "$policy"
fi
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
if [ -d /run/systemd/system ]; then
  for package in "${missing[@]}"; do
    [ "$package" != postgresql ] || package=postgresql-common
    case $package in mariadb-server | rabbitmq-server | postgresql-common | prometheus | swift-*)
      mapfile -t units < <(dpkg -L "$package" | sed -nE 's#.*/systemd/system/([a-z-]+\.service)$#\1#p')
      "${as_root[@]}" systemctl disable --quiet "${units[@]}"
    esac
  done
fi
