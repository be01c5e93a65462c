# shellcheck shell=bash disable=SC2034
# lib.sh - sourced by the tests of this folder: places, checks, the program that proves who serves.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
BUILD=${BUILD:-build}
CC=${CC:-cc}
export BUILD CC
# A make above us passes its variables and its job server on: neither is for the makes below.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES DESTDIR PREFIX LIBDIR
checks=0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

skip() {
	echo "$(basename "$0"): skipped: $*"
	exit 77
}

fail() {
	echo "$(basename "$0"): FAILED: $*" >&2
	exit 1
}

# check WHAT COMMAND...: the command must succeed.
check() {
	local what=$1
	shift
	"$@" || fail "$what"
	checks=$((checks + 1))
}

# check_same WHAT EXPECTED GOT
check_same() {
	[[ $2 == "$3" ]] || {
		diff <(echo "$2") <(echo "$3") >&2 || :
		fail "$1"
	}
	checks=$((checks + 1))
}

need_built() {
	local f
	for f in libhakmem.so libhakmem.a libhakmem_core.a; do
		[[ -e $BUILD/$f ]] || skip "$BUILD/$f is not built (make)"
	done
	version=$(config/version.sh)
	soversion=${version%%.*}
}

fragment() {
	make --no-print-directory -s -f config/install.mk "$@"
}

# One line for each name below a directory: kind, mode, name, what a link says, bytes of a file.
# A library that is preloaded maps the same, so contents are compared where it matters.
file_list() {
	(cd "$1" && find . -mindepth 1 \( -type d -printf 'd %m %p\n' -o -type l -printf 'l %p %l\n' \
		-o -printf 'f %m %p %s %T@\n' \) | LC_ALL=C sort)
}

# What tests/package/who.c prints: FILE serves malloc, and its blocks are hakmem's (1) or not (0).
who() {
	echo "malloc $1"
	echo "version $version"
	echo "malloc's block is hakmem's: $2"
}
