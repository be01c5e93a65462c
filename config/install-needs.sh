#!/usr/bin/env bash
# install-needs.sh GROUP... - installs what a group needs from Debian packages.
#
#   build      compiler, make, libc's headers
#   try        the allocators that hakmem is compared with
#   check      what the tests need beyond that
#   bench      the real programs of the benchmark suite (no service is started)
#   arena      what bench/arena compares arenas and pools with
#   programs   the real programs of tests/preload (none of their services is started)
#
# As root, or where sudo asks no password; elsewhere, and where apt-get fails, one line says what to
# install, and the status is 0: the caller goes on with what is there. INSTALL=0 installs nothing.
# What it does not do: look at anything but packages, or change the apt sources.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=(gcc make libc6-dev binutils python3)
try=(libmimalloc2.0 libjemalloc2 libtcmalloc-minimal4 libtbbmalloc2)
check=(libcmocka-dev g++ lintian mandoc man-db pkg-config libhwloc-dev libnuma-dev libjansson-dev
	qemu-system-x86 liburing-dev clang valgrind
	chromium)
bench=(redis-server redis-tools memcached postgresql sqlite3 nodejs perl lua5.4 ghostscript z3 rocksdb-tools
	xz-utils git gcc numactl linux-perf)
arena=(liburing-dev libjemalloc-dev libmimalloc-dev libdpdk-dev)

say() {
	echo "install: $*"
}

# What tests/preload/table.py says; a row whose files are there counts as installed.
programs_missing() {
	python3 -B - <<-'PY' || :
		import sys
		sys.path.insert(0, "tests/preload")
		import table
		missing = {p for row in table.ROWS if row.missing() for p in row.packages}
		for package in sorted(missing):
		    print(package)
	PY
}

# It also keeps packages from starting their services, so it is asked rather than apt-get here.
programs_install() {
	${as_root[@]+"${as_root[@]}"} python3 -B -c 'import sys
sys.path.insert(0, "tests/preload")
import table
for name, why in table.install(table.ROWS, lambda text: print("install: " + text, flush=True)).items():
    print(f"install: {name}: {why}")' </dev/null
}

packages_missing() {
	local package status
	for package; do
		status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || :)
		[[ $status == installed ]] || echo "$package"
	done
}

as_root=()
may_install() {
	[[ ${INSTALL:-1} != 0 ]] || return 1
	command -v apt-get >/dev/null || return 1
	[[ $(id -u) != 0 ]] || return 0
	command -v sudo >/dev/null && sudo -n true 2>/dev/null </dev/null || return 1
	as_root=(sudo -n)
}

apt() {
	local limit=()
	[[ $1 != update ]] || limit=(timeout 300) # a package must not be left half installed
	${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive ${limit[@]+"${limit[@]}"} apt-get -q -y \
		-o DPkg::Lock::Timeout=60 -o Acquire::Retries=1 -o Acquire::http::Timeout=20 \
		"$@" </dev/null >/dev/null 2>&1
}

# One unknown package must not keep the others away.
apt_install() {
	local package
	compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null || apt update || :
	apt install --no-install-recommends "$@" && return 0
	apt update || return 0
	apt install --no-install-recommends "$@" && return 0
	for package; do
		apt install --no-install-recommends "$package" || :
	done
}

wanted=() programs=0
for group; do
	case $group in
	build) wanted+=("${build[@]}") ;;
	try) wanted+=("${try[@]}") ;;
	check) wanted+=("${check[@]}") ;;
	bench) wanted+=("${bench[@]}") ;;
	arena) wanted+=("${arena[@]}") ;;
	programs) programs=1 ;;
	*)
		say "no such group: $group (build, try, check, bench, arena, programs)" >&2
		exit 2
		;;
	esac
done

if ! command -v dpkg-query >/dev/null; then
	say "no Debian packages here; what is missing is left out of the run (on Debian: apt-get install ${wanted[*]})"
	exit 0
fi
mapfile -t missing < <(packages_missing ${wanted[@]+"${wanted[@]}"})
if [[ ${#missing[@]} -gt 0 ]] && may_install; then
	say "apt-get installs ${missing[*]}"
	apt_install "${missing[@]}"
	mapfile -t missing < <(packages_missing "${missing[@]}")
fi
if [[ $programs == 1 ]]; then
	mapfile -t more < <(programs_missing)
	if [[ ${#more[@]} -gt 0 ]] && may_install; then
		programs_install || :
		mapfile -t more < <(programs_missing)
	fi
	missing+=(${more[@]+"${more[@]}"})
fi
[[ ${#missing[@]} -eq 0 ]] || say "apt-get install ${missing[*]}"
