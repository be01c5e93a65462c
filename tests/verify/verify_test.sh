#!/usr/bin/env bash
# verify_test.sh - bench/verify must prove what serves, and catch each way of being fooled.
#
# Builds small allocators from toy_malloc.c and runs bench_tiny -v (the check linked into a
# program) and bench/verify (the check preloaded into any program) on them. Measures nothing.
# Status 0 pass, 1 fail, 77 if something needed is missing.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
BUILD=${BUILD:-build}
case $BUILD in /*) build=$BUILD ;; *) build=$root/$BUILD ;; esac
export BUILD=$build
CC=${CC:-gcc}
verify=$root/bench/verify
tiny=$build/bench/bench_tiny
failures=0
skips=0

if [ ! -x "$tiny" ] || [ ! -e "$build/bench/verify_preload.so" ]; then
	echo "skipped: $tiny is not built (make bench-programs)"
	exit 77
fi
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }

work=$(mktemp -d "${TMPDIR:-/tmp}/verify-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"

toy() { # toy OUT [DEFINE...]
	local out=$1
	shift
	"$CC" -std=gnu11 -O1 -Wall -Wextra -Werror -fno-builtin -fPIC -shared "${@/#/-D}" \
		-o "$out" "$here/toy_malloc.c"
}

# expect NAME STATUS TEXT COMMAND...: the exit status, and TEXT in what it says
expect() {
	local name=$1 status=$2 text=$3 got=0
	shift 3
	"$@" >out 2>&1 || got=$?
	if [ "$got" != "$status" ]; then
		echo "FAIL $name: status $got, expected $status"
	elif ! grep -q -- "$text" out; then
		echo "FAIL $name: '$text' was not said"
	else
		echo "ok   $name"
		return
	fi
	sed 's/^/     | /' out
	failures=$((failures + 1))
}

skip() {
	echo "skipped $1: $2"
	skips=$((skips + 1))
}

mkdir one two
toy one/libtoy.so
cp one/libtoy.so two/libtoy.so
toy forward.so TOY_FORWARD
toy forward_calloc.so TOY_FORWARD_CALLOC
toy forward_large.so TOY_FORWARD_LARGE
toy pool.so TOY_POOL
toy no_memalign.so TOY_NO_MEMALIGN
toy root.so TOY_ROOT
echo 'int main(void) { return 0; }' >empty.c
"$CC" -o dynamic empty.c
"$CC" -static -o static empty.c
printf '#include <stdlib.h>\nint main(void) { return !malloc(10); }\n' >user.c

# linked LIB PRELOAD: the check that is linked into a program
linked() {
	HAK_VERIFY_LIB=$1 LD_PRELOAD=$2 "$tiny" -v
}

# --- it proves what is so
expect "program, honest library" 0 "proven: .*one/libtoy.so" linked one/libtoy.so "$work/one/libtoy.so"
expect "program, glibc" 0 "proven: .*libc.so.6" linked glibc ""
expect "verify, honest library, with children" 5 "3 processes, 2 programs, all served by .*one/libtoy.so" \
	"$verify" --lib one/libtoy.so -- sh -c '/bin/true; (exit 5); exit 5'
expect "verify, glibc" 0 "all served by .*libc.so.6" "$verify" --lib glibc -- /bin/true
expect "verify without tracing" 0 "all served by .*libtoy.so" \
	"$verify" --no-trace --lib one/libtoy.so -- sh -c '/bin/true; :'
expect "the program's own signal is passed on" 143 "all served" \
	"$verify" --lib one/libtoy.so -- sh -c 'kill -TERM $$'
"$CC" -fno-pie -no-pie -o nopie -x c - <<'C'
#include <stdlib.h>
void *(*volatile take)(size_t);
int main(void) { take = malloc; return !take(10); }
C
# there malloc's address is a stub in the program: an undefined symbol with a value
if readelf -W --dyn-syms nopie | grep -E ' UND malloc' | grep -vq ': 0000000000000000 '; then
	expect "a program with a fixed address that takes malloc's" 0 "all served by .*libtoy.so" \
		"$verify" --lib one/libtoy.so -- ./nopie
	expect "the same, on the wrong library" 3 "malloc resolves to .*libc.so.6" \
		"$verify" --lib one/libtoy.so -- env LD_PRELOAD="$build/bench/verify_preload.so" ./nopie
else
	skip "a program with a fixed address that takes malloc's" "this compiler makes no stub"
fi
if command -v g++ >/dev/null; then
	echo 'int main() { int *volatile p = new int(3); delete p; }' >new.cc
	g++ -o new new.cc
	expect "operator new of the C++ runtime" 0 "all served by .*libtoy.so" \
		"$verify" --lib one/libtoy.so -- ./new
else
	skip "operator new of the C++ runtime" "no g++"
fi

# --- a preload that was ignored
expect "misspelt preload" 3 "malloc resolves to .*libc.so.6" linked one/libtoy.so "$work/one/libtyo.so"
expect "misspelt wish" 3 "No such file" linked one/libtyo.so "$work/one/libtoy.so"
expect "misspelt --lib" 3 "No such file" "$verify" --lib one/libtyo.so -- /bin/true
expect "no preload at all" 3 "malloc resolves to .*libc.so.6" linked one/libtoy.so ""
expect "glibc wanted, another serves" 3 "malloc resolves to .*libtoy.so" linked glibc "$work/one/libtoy.so"
expect "a child with a cleared environment" 3 "no report" \
	"$verify" --lib one/libtoy.so -- sh -c 'env -i /bin/true; :'
expect "a grandchild with a cleared environment" 3 "no report" \
	"$verify" --lib one/libtoy.so -- sh -c 'sh -c "env -i /bin/true; :"; :'
expect "a program that is not there" 3 "it never ran" "$verify" --lib one/libtoy.so -- ./nonesuch
cp dynamic setuid
if [ "$(id -u)" != 0 ]; then
	skip "setuid program" "needs root to make one"
elif ! chown 65534 setuid || ! chmod 4755 setuid || findmnt -no OPTIONS -T "$work" | grep -q nosuid; then
	skip "setuid program" "$work is mounted nosuid"
else
	expect "setuid program" 3 "a setuid program" "$verify" --lib one/libtoy.so -- ./setuid
	expect "setuid child" 3 "a setuid program" "$verify" --lib one/libtoy.so -- sh -c './setuid; :'
fi

# --- an allocator that passes on to libc
for lib in forward forward_calloc forward_large; do
	expect "program, $lib" 3 "libc serves them" linked $lib.so "$work/$lib.so"
	expect "verify, $lib" 3 "libc serves them" "$verify" --lib $lib.so -- /bin/true
done
expect "program, a pool taken from libc" 3 "libc's malloc holds" linked pool.so "$work/pool.so"
expect "verify, a pool taken from libc" 3 "libc's malloc holds" "$verify" --lib pool.so -- /bin/true
expect "a function left to libc" 3 "posix_memalign resolves to" "$verify" --lib no_memalign.so -- /bin/true

# --- a wrong library of the same name
expect "program, same name and content, other inode" 3 "malloc resolves to .*two/libtoy.so" \
	linked one/libtoy.so "$work/two/libtoy.so"
expect "the same file by another path" 0 "proven" linked "$work/two/../one/libtoy.so" "$work/one/libtoy.so"
ln -s one/libtoy.so link.so
expect "the same file by a link" 0 "all served" "$verify" --lib link.so -- /bin/true
expect "another library in front of it" 3 "malloc resolves to .*two/libtoy.so" \
	"$verify" --lib one/libtoy.so -- env LD_PRELOAD="$work/two/libtoy.so:$build/bench/verify_preload.so" /bin/true
"$CC" -fno-builtin -rdynamic -o own user.c "$here/toy_malloc.c"
expect "a program with a malloc of its own" 3 "malloc resolves to .*/own" "$verify" --lib one/libtoy.so -- ./own

# --- static programs
expect "static program" 3 "a static program" "$verify" --lib one/libtoy.so -- ./static
expect "static child" 3 "a static program" "$verify" --lib one/libtoy.so -- sh -c './static; :'
expect "static program, hakmem wanted" 3 "without hak_root" "$verify" --lib root.so -- ./static
expect "static program, --static" 3 "without hak_root" "$verify" --static -- ./static
"$CC" -static -fno-builtin -DTOY_ROOT -o static_root user.c "$here/toy_malloc.c"
expect "static program with the root symbol" 0 "served by hak_root" "$verify" --static -- ./static_root
expect "static child with the root symbol" 0 "hak_root in the program" \
	"$verify" --lib root.so -- sh -c './static_root; :'
expect "the root symbol does not prove another library" 3 "a static program" \
	"$verify" --lib one/libtoy.so -- ./static_root
printf 'char hak_root[64] = "x";\n' >symbol.c
"$CC" -static -o static_symbol user.c symbol.c
expect "static program whose malloc is libc's" 3 "malloc is libc's" "$verify" --static -- ./static_symbol
expect "--static with a dynamic program" 3 "not a static program" "$verify" --static -- ./dynamic

echo "verify_test: $failures failed, $skips skipped"
[ "$failures" = 0 ]
