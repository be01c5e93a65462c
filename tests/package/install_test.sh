#!/bin/bash
# install_test.sh - make install puts there what it should, and make uninstall leaves nothing.
# Once below a DESTDIR, once with a real prefix in a temporary directory that already has files of
# others in it; programs are built by pkg-config against the latter. Nothing outside is touched.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_built

functions() { # functions HEADER...
	cat "${@/#/include/hakmem/}" | $CC -E -P -Iinclude -xc - | grep -v "^typedef" | grep -oE '\bhak_[a-z0-9_]+ *\(' | tr -d ' (' |
		LC_ALL=C sort -u
}

expected_files() {
	local prefix=$1 libdir=$2 f
	echo "$libdir/libhakmem.so.$version" "$libdir/libhakmem.so.$soversion" "$libdir/libhakmem.so" \
		"$libdir/libhakmem.a" "$libdir/libhakmem_core.a" "$libdir/pkgconfig/hakmem.pc" \
		"$prefix/share/man/man7/hakmem.7" "$prefix/share/man/man3/hakmem.3" \
		"$prefix/share/hakmem/manifest"
	for f in include/hakmem/*.h include/hakmem/*.hpp; do
		echo "$prefix/include/hakmem/${f##*/}"
	done
	for f in config/*.conf; do
		echo "$prefix/share/hakmem/profiles/${f##*/}"
	done
	for f in README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE docs/*.md docs/figures/*.svg docs/reports/full.svg; do
		echo "$prefix/share/doc/hakmem/${f##*/}"
	done
	if [[ -f $BUILD/libhakmem_uring.so ]]; then
		echo "$libdir/libhakmem_uring.so.$version" "$libdir/libhakmem_uring.so.$soversion" \
			"$libdir/libhakmem_uring.so" "$libdir/libhakmem_uring.a" "$libdir/pkgconfig/hakmem_uring.pc"
	fi
	echo "$prefix/share/man/man3/hak_arena.3" "$prefix/share/man/man3/hak_uring.3"
	for f in $(functions hakmem.h arena.h pool.h uring.h memfd.h); do
		echo "$prefix/share/man/man3/$f.3"
	done
	[[ ! -e $BUILD/hakmem ]] || echo "$prefix/bin/hakmem" "$prefix/share/man/man1/hakmem.1" \
		"$prefix/lib/systemd/system/hakmem-topology.service" \
		"$prefix/share/bash-completion/completions/hakmem"
}

# dead_links DIR: of its documents, to files that are not there.
dead_links() {
	local f link
	for f in "$1"/*.md; do
		grep -oE '\]\([^)]*\)' "$f" | tr -d '])(' | while read -r link; do
			[[ $link == http* || $link == '#'* ]] || (cd "$1" && [[ -e ${link%%#*} ]]) || echo "${f##*/}: $link"
		done
	done
}

files_below() {
	(cd "$1" && find . ! -type d -printf '/%P\n' | LC_ALL=C sort)
}

test_destdir() {
	local dest=$tmp/dest libdir=/usr/lib/some-arch
	fragment install DESTDIR="$dest" PREFIX=/usr LIBDIR=$libdir >"$tmp/out"
	check_same "installed files below DESTDIR" \
		"$(expected_files /usr $libdir | tr ' ' '\n' | LC_ALL=C sort)" "$(files_below "$dest")"
	check_same "the .pc says nothing of DESTDIR" "" "$(grep -rl "$dest" "$dest" || :)"
	check_same "libhakmem.so.$soversion" "libhakmem.so.$version" \
		"$(readlink "$dest$libdir/libhakmem.so.$soversion")"
	check_same "soname" "libhakmem.so.$soversion" \
		"$(readelf -d "$dest$libdir/libhakmem.so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')"
	check "same library" cmp -s "$BUILD/libhakmem.so" "$dest$libdir/libhakmem.so"
	check_same "nothing executable but the command, nothing writable by others" "" \
		"$(find "$dest" -type f \( -perm /022 -o -perm /111 ! -path '*/bin/hakmem' \))"
	fragment uninstall DESTDIR="$dest" PREFIX=/usr LIBDIR=$libdir >"$tmp/out"
	check "uninstall leaves nothing below DESTDIR" test ! -e "$dest"
	if fragment uninstall DESTDIR="$dest" PREFIX=/usr >"$tmp/out" 2>&1; then
		fail "uninstall of nothing succeeds"
	fi
}

# A prefix that others use: their files, their empty directories, a file of theirs in ours.
test_prefix() {
	local prefix=$tmp/prefix before
	mkdir -p "$prefix/lib/pkgconfig" "$prefix/share/man/man3" "$prefix/include/other"
	echo other >"$prefix/lib/libother.so.1"
	before=$(file_list "$prefix")
	fragment install PREFIX="$prefix" >"$tmp/out"
	check_same "installed files below a prefix" \
		"$( (expected_files "$prefix" "$prefix/lib"; echo "$prefix/lib/libother.so.1") |
			tr ' ' '\n' | sed "s|^$prefix||" | LC_ALL=C sort)" "$(files_below "$prefix")"
	check_same "links to nowhere in the installed documents" "" "$(dead_links "$prefix/share/doc/hakmem")"
	test_programs "$prefix"
	test_tool "$prefix"
	test_pages "$prefix/share/man"
	fragment uninstall PREFIX="$prefix" >"$tmp/out"
	check_same "uninstall leaves what was there before" "$before" "$(file_list "$prefix")"

	fragment install PREFIX="$prefix" >"$tmp/out"
	echo "f $prefix/share/hakmem/of-an-older-release" >>"$prefix/share/hakmem/manifest"
	echo old >"$prefix/share/hakmem/of-an-older-release"
	fragment install PREFIX="$prefix" >"$tmp/out"
	check "a second install removes what the first had more" \
		test ! -e "$prefix/share/hakmem/of-an-older-release"
	echo mine >"$prefix/share/hakmem/mine.conf"
	fragment uninstall PREFIX="$prefix" >"$tmp/out"
	check_same "a file of the user's stays, with its directory" "/lib/libother.so.1
/share/hakmem/mine.conf" "$(files_below "$prefix")"
	rm -r "$prefix/share/hakmem"
	check_same "uninstall after two installs" "$before" "$(file_list "$prefix")"
}

test_damaged_manifest() {
	local prefix=$tmp/damaged
	fragment install PREFIX="$prefix" >"$tmp/out"
	echo precious >"$tmp/precious"
	echo "f $prefix/../precious" >>"$prefix/share/hakmem/manifest"
	if fragment uninstall PREFIX="$prefix" >"$tmp/out" 2>&1; then
		fail "uninstall goes by a damaged manifest"
	fi
	check "a damaged manifest removes nothing" test -e "$tmp/precious" -a -e "$prefix/lib/libhakmem.so"
}

test_programs() {
	local prefix=$1 flags name
	command -v pkg-config >/dev/null || {
		echo "skipped: programs built by pkg-config (not installed)"
		return 0
	}
	export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
	check_same "version in hakmem.pc" "$version" "$(pkg-config --modversion hakmem)"
	name=$(ldd "$(command -v bash)" | awk '/libc\.so/ { print $3 }')

	flags=$(pkg-config --cflags --libs hakmem)
	# shellcheck disable=SC2086
	$CC -DWITH_HEADER -o "$tmp/shared" tests/package/who.c $flags
	check "shared program" env LD_LIBRARY_PATH="$prefix/lib" "$tmp/shared" >"$tmp/out"
	check_same "shared program runs on the installed library" \
		"$(who "$prefix/lib/libhakmem.so.$soversion" 1)" "$(cat "$tmp/out")"

	flags=$(pkg-config --cflags hakmem)
	# shellcheck disable=SC2086
	$CC -DWITH_HEADER -o "$tmp/core" tests/package/who.c $flags \
		"$prefix/lib/libhakmem_core.a" -pthread
	check "program with libhakmem_core.a" "$tmp/core" >"$tmp/out"
	check_same "libhakmem_core.a leaves malloc to libc" \
		"$(who "$name" 0)" "$(cat "$tmp/out")"

	# shellcheck disable=SC2086
	$CC -DWITH_HEADER -o "$tmp/archive" tests/package/who.c $flags \
		"$prefix/lib/libhakmem.a" -pthread
	check "program with libhakmem.a" "$tmp/archive" >"$tmp/out"
	check_same "libhakmem.a serves malloc out of the program itself" \
		"$(who "$tmp/archive" 1)" "$(cat "$tmp/out")"

	flags=$(pkg-config --static --cflags --libs hakmem)
	# shellcheck disable=SC2086
	$CC -static -DWITH_HEADER -o "$tmp/static" tests/package/who.c $flags 2>"$tmp/ld" ||
		fail "static link: $(cat "$tmp/ld")"
	check "static program" "$tmp/static" >"$tmp/out"
	check_same "static program needs no library" "" \
		"$(readelf -d "$tmp/static" | grep NEEDED || :)"
	check_same "static program runs on hakmem" "$(who x 1 | tail -2)" "$(tail -2 "$tmp/out")"

	$CC -o "$tmp/plain" tests/package/who.c
	check "preloaded program" env LD_PRELOAD="$prefix/lib/libhakmem.so" "$tmp/plain" >"$tmp/out"
	check_same "preloaded program runs on the installed library" \
		"$(who "$prefix/lib/libhakmem.so" 1)" "$(cat "$tmp/out")"
}

# The installed command finds the library that was installed with it.
test_tool() {
	local prefix=$1 libdir=$prefix/lib
	[[ -e $BUILD/hakmem ]] || {
		echo "skipped: the hakmem command (not built: install libhwloc-dev libnuma-dev libjansson-dev)"
		return 0
	}
	check_same "hakmem --version" "hakmem $version" "$("$prefix/bin/hakmem" --version)"
	check "hakmem run" "$prefix/bin/hakmem" run -- "$tmp/plain" >"$tmp/out"
	check_same "hakmem run takes the installed library" \
		"$(who "$libdir/libhakmem.so.$soversion" 1)" "$(cat "$tmp/out")"
	check_same "the unit runs the installed command" "ExecStart=$prefix/bin/hakmem topo --save" \
		"$(grep ^ExecStart= "$libdir/systemd/system/hakmem-topology.service")"
	if command -v systemd-analyze >/dev/null; then
		# Only this unit's own lines: others of the system may have something to say.
		check_same "systemd-analyze verify" "" "$(SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no \
			"$libdir/systemd/system/hakmem-topology.service" 2>&1 | grep -F hakmem || :)"
	else
		echo "skipped: systemd-analyze verify (not installed)"
	fi
}

test_pages() {
	local man=$1 f of page pages="man3/hakmem.3 man3/hak_arena.3 man3/hak_uring.3 man7/hakmem.7"
	[[ ! -e $BUILD/hakmem ]] || pages+=" man1/hakmem.1"
	for f in $(functions hakmem.h arena.h pool.h memfd.h uring.h); do
		of=hakmem
		[[ $f != hak_arena_* && $f != hak_pool_* && $f != hak_memfd_* ]] || of=hak_arena
		[[ $f != hak_uring_* ]] || of=hak_uring
		check_same "$f.3 is a link" ".so man3/$of.3" "$(cat "$man/man3/$f.3")"
		check "$f in the synopsis of $of(3)" \
			grep -qE "^\.(BI? )?.*\b$f\(" "$man/man3/$of.3"
		check "$f in the names of $of(3)" \
			grep -qE "^.*\b$f\b" <(sed -n '/^.SH NAME/,/^.SH LIBRARY/p' "$man/man3/$of.3")
	done
	for f in $(grep -oE '"HAKMEM_[A-Z0-9_]+"' src/observe/options.def | tr -d '"'); do
		check "$f in hakmem(7)" grep -qE "^\.B $f$" "$man/man7/hakmem.7"
	done
	for f in $(sed -n 's/^HK_COUNTER(\([a-z0-9_]*\),.*/\1/p' src/observe/counters.def); do
		check "$f in hakmem(7)" grep -qE "^\.B $f$" "$man/man7/hakmem.7"
	done
	check_same "no placeholder is left" "" "$(grep -rlE '@[A-Z]+@' "$man" || :)"
	for page in $pages; do
		if command -v man >/dev/null; then
			check_same "man --warnings $page" "" \
				"$(man --warnings -E UTF-8 -l -Tutf8 "$man/$page" 2>&1 >/dev/null)"
		else
			echo "skipped: man --warnings (not installed)"
		fi
		if command -v mandoc >/dev/null; then
			check_same "mandoc -Tlint $page" "" "$(mandoc -Tlint -W warning "$man/$page" || :)"
		else
			echo "skipped: mandoc -Tlint (package mandoc is not installed)"
		fi
	done
}

test_destdir
test_prefix
test_damaged_manifest
echo "install_test: $checks checks passed"
