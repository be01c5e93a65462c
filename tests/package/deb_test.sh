#!/bin/bash
# deb_test.sh - make deb gives packages that are lintian-clean, install, serve, and go without a
# trace, and that never touch ld.so.preload.
#
# Installs below a root of its own (dpkg --root: any user, nothing of the system is touched), and,
# as root where overlay mounts are allowed, once more for real into a throw-away copy of the running
# system, where the ldconfig trigger must do its work. lintian is installed by apt-get as root.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_built
command -v dpkg-deb >/dev/null || skip "no Debian system (dpkg-deb is missing)"
PATH=$PATH:/usr/sbin:/sbin
preload=/etc/ld.so.preload
preload_before=$(stat -c '%i %Y %s' $preload 2>/dev/null || echo none)
left_out=()
wanted=2
[[ ! -e $BUILD/hakmem ]] || wanted=$((wanted + 1))
[[ ! -e $BUILD/libhakmem_uring.so ]] || wanted=$((wanted + 2))

leave_out() {
	left_out+=("$*")
	echo "deb_test: skipped: $*"
}

test_build() {
	local out sums
	out=$BUILD/deb
	fragment deb >"$tmp/out"
	sums=$(cd "$out" && sha256sum ./*.deb)
	check_same "as many packages as there should be, nothing else" "$wanted $wanted" \
		"$(find "$out" -mindepth 1 | wc -l) $(wc -l <<<"$sums")"
	fragment deb >"$tmp/out"
	check_same "the same tree gives the same packages" "$sums" "$(cd "$out" && sha256sum ./*.deb)"
	lib_deb=$(echo "$out"/libhakmem0_*.deb)
	dev_deb=$(echo "$out"/libhakmem-dev_*.deb)
	tools_deb=
	if [[ -e $BUILD/hakmem ]]; then
		tools_deb=$(echo "$out"/hakmem-tools_*.deb)
		check_same "control files of hakmem-tools" "control md5sums" "$(control_files "$tools_deb")"
		check_same "every library that the command needs is of a package it depends on" "" \
			"$(undeclared_libraries "$tools_deb" "$BUILD/hakmem")"
	fi
	uring_deb=
	uring_dev_deb=
	if [[ -e $BUILD/libhakmem_uring.so ]]; then
		uring_deb=$(echo "$out"/libhakmem-uring0_*.deb)
		uring_dev_deb=$(echo "$out"/libhakmem-uring-dev_*.deb)
		check_same "control files of libhakmem-uring0" "control md5sums shlibs triggers" \
			"$(control_files "$uring_deb")"
		check_same "control files of libhakmem-uring-dev" "control md5sums" \
			"$(control_files "$uring_dev_deb")"
		check_same "every library that libhakmem_uring needs is of a package it depends on" "" \
			"$(undeclared_libraries "$uring_deb" "$BUILD/libhakmem_uring.so")"
	fi
	test_left_out
	libdir=/usr/lib/$($CC -print-multiarch)
	check_same "control files of libhakmem0" "control md5sums shlibs triggers" \
		"$(control_files "$lib_deb")"
	check_same "control files of libhakmem-dev" "control md5sums" "$(control_files "$dev_deb")"
	check_same "the ldconfig trigger" "activate-noawait ldconfig" \
		"$(dpkg-deb -I "$lib_deb" triggers)"
	check_same "what is libhakmem_uring's is in its packages alone" "" \
		"$( (dpkg-deb -c "$lib_deb"; dpkg-deb -c "$dev_deb") | grep uring || :)"
	check_same "no package has ld.so.preload" "" \
		"$( (dpkg-deb -c "$lib_deb"; dpkg-deb -c "$dev_deb") | grep -F ld.so.preload || :)"
}

# Where a part was not built, its packages are left out, which is said, and nothing of it is in the others.
test_left_out() {
	local build=$tmp/without f
	mkdir "$build"
	for f in libhakmem.so libhakmem.a libhakmem_core.a; do
		ln -s "$(realpath "$BUILD/$f")" "$build/$f"
	done
	BUILD=$build fragment deb >"$tmp/out"
	check_same "what is left out is said" \
		"left out: package hakmem-tools left out: packages libhakmem-uring0, libhakmem-uring-dev" \
		"$(grep -o '^left out: packages\? [^(]*[^( ]' "$tmp/out" | LC_ALL=C sort | xargs)"
	check_same "the library's packages alone, without what belongs to others" "2 " \
		"$(find "$build/deb" -name '*.deb' | wc -l) $(for f in "$build"/deb/*.deb; do dpkg-deb -c "$f"; done |
			grep -E 'uring|/bin/' || :)"
}

# NEEDED libraries of FILE whose package is not in Depends; our own is.
undeclared_libraries() { # undeclared_libraries DEB FILE
	local depends name file package
	depends=$(dpkg-deb -f "$1" Depends)
	for name in $(readelf -d "$2" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p'); do
		if [[ $name == libhakmem.so.* ]]; then
			grep -qE '(^|, )libhakmem0 ' <<<"$depends" || echo "$name of libhakmem0"
			continue
		fi
		file=$(ldd "$2" | awk -v n="$name" '$1 == n { print $3 }')
		package=$(dpkg-query -S "$(realpath "$file")" "*/$(basename "$(realpath "$file")")" 2>/dev/null |
			head -1 | cut -d: -f1)
		grep -qE "(^|, )$package " <<<"$depends" || echo "$name of $package"
	done
}

control_files() {
	dpkg-deb --ctrl-tarfile "$1" | tar -t | sed 's|^\./||' | grep . | LC_ALL=C sort | paste -sd' '
}

test_lintian() {
	local sudo=
	if ! command -v lintian >/dev/null; then
		if [[ $(id -u) != 0 ]] && sudo -n true 2>/dev/null; then
			sudo="sudo -n"
		fi
		if [[ $(id -u) == 0 || -n $sudo ]]; then
			echo "deb_test: installing lintian"
			$sudo env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install \
				-qq -y --no-install-recommends lintian >"$tmp/apt" 2>&1 || tail -1 "$tmp/apt"
		fi
	fi
	if ! command -v lintian >/dev/null; then
		leave_out "lintian (to have it: apt-get install lintian)"
		return 0
	fi
	# shellcheck disable=SC2086
	lintian --allow-root --fail-on error,warning "$lib_deb" "$dev_deb" $tools_deb $uring_deb $uring_dev_deb >"$tmp/out" 2>&1 || {
		cat "$tmp/out" >&2
		fail "lintian"
	}
	check_same "lintian says nothing" "" "$(grep -E '^[EW]:' "$tmp/out" || :)"
}

# Files of a root without dpkg's own notes.
root_list() {
	file_list "$1" | grep -vE '^[df] [0-7]+ \./var(/|$| )' || :
}

dpkg_in() {
	local root=$1
	shift
	dpkg --root="$root" --force-not-root --log="$tmp/dpkg.log" "$@" >"$tmp/dpkg.out" 2>&1 || {
		cat "$tmp/dpkg.out" >&2
		return 1
	}
}

# A root that knows of libc alone, as installed on this system, and has an ld.so.preload to lose.
make_root() {
	mkdir -p "$1"/var/lib/dpkg/{info,updates,triggers} "$1/etc"
	dpkg-query -s libc6 libc6-dev >"$1/var/lib/dpkg/status"
	: >"$1/var/lib/dpkg/available"
	echo "# as the administrator left it" >"$1$preload"
}

test_root() {
	local root=$tmp/root before
	dpkg-query -s libc6 libc6-dev >/dev/null 2>&1 || {
		leave_out "dpkg --root (libc6 or libc6-dev is not installed as a package)"
		return 0
	}
	make_root "$root"
	before=$(root_list "$root")
	if dpkg_in "$root" -i "$dev_deb" 2>/dev/null; then
		fail "libhakmem-dev installs without libhakmem0"
	fi
	dpkg_in "$root" -P libhakmem-dev
	check "dpkg -i" dpkg_in "$root" -i "$lib_deb" "$dev_deb"
	check_same "both are installed" "ii ii" \
		"$(dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${db:Status-Abbrev}' 'libhakmem*' |
			xargs)"
	check_same "installed files are as packed" "" \
		"$(dpkg --root="$root" --force-not-root --verify 'libhakmem0' 2>&1 || :)"
	check_installed "$root"
	check_served "$root"
	check_tools "$root"
	check_uring "$root"
	check "dpkg -P" dpkg_in "$root" -P libhakmem-dev libhakmem0
	check_same "purge leaves what was there before, ld.so.preload too" "$before" "$(root_list "$root")"
	check_same "dpkg has forgotten them" "" \
		"$(find "$root/var/lib/dpkg/info" -name 'libhakmem*'; \
			grep -A1 '^Package: libhakmem' "$root/var/lib/dpkg/status" || :)"
}

# hakmem-tools on top, and away again.
check_tools() {
	local root=$1 before f
	[[ -n $tools_deb ]] || return 0
	dpkg-query -s libhwloc15 libjansson4 libnuma1 >>"$root/var/lib/dpkg/status" 2>/dev/null || {
		leave_out "hakmem-tools below a root (its libraries are not installed as packages)"
		return 0
	}
	before=$(root_list "$root")
	check "dpkg -i hakmem-tools" dpkg_in "$root" -i "$tools_deb"
	for f in /usr/bin/hakmem /usr/share/man/man1/hakmem.1.gz \
		/usr/share/bash-completion/completions/hakmem /lib/systemd/system/hakmem-topology.service \
		/usr/share/doc/hakmem-tools/copyright; do
		check "installed: $f" test -f "$root$f" -a ! -L "$root$f"
	done
	check_same "the unit runs the packaged command" "ExecStart=/usr/bin/hakmem topo --save" \
		"$(grep ^ExecStart= "$root/lib/systemd/system/hakmem-topology.service")"
	check_same "the unit is not enabled" "" "$(find "$root/etc" -name 'hakmem*')"
	check "packaged command" "$root/usr/bin/hakmem" run -- "$tmp/plain" >"$tmp/out"
	check_same "the packaged command takes the packaged library" \
		"$(who "$root$libdir/libhakmem.so.$soversion" 1)" "$(cat "$tmp/out")"
	check "dpkg -P hakmem-tools" dpkg_in "$root" -P hakmem-tools
	check_same "purge of hakmem-tools leaves the rest" "$before" "$(root_list "$root")"
}

# libhakmem-uring0 and its -dev on top, and away again.
check_uring() {
	local root=$1 before f where
	[[ -n $uring_deb ]] || return 0
	dpkg-query -s liburing2 liburing-dev >>"$root/var/lib/dpkg/status" 2>/dev/null || {
		leave_out "libhakmem-uring0 below a root (liburing is not installed as packages)"
		return 0
	}
	before=$(root_list "$root")
	check "dpkg -i libhakmem-uring0" dpkg_in "$root" -i "$uring_deb" "$uring_dev_deb"
	for f in "$libdir/libhakmem_uring.so.$version" "$libdir/libhakmem_uring.a" \
		"$libdir/pkgconfig/hakmem_uring.pc" /usr/include/hakmem/uring.h \
		/usr/share/man/man3/hak_uring.3.gz /usr/share/doc/libhakmem-uring0/copyright; do
		check "installed: $f" test -f "$root$f" -a ! -L "$root$f"
	done
	check_same "links without a target" "" "$(find "$root/usr" -xtype l)"
	where="-I$root/usr/include -L$root$libdir -lhakmem_uring -lhakmem"
	if command -v pkg-config >/dev/null; then
		where=$(PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_PATH=$root$libdir/pkgconfig PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 \
			PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 pkg-config --cflags --libs hakmem_uring)
	fi
	# The project's own example, with what is packaged alone.
	cp examples/copy.c "$tmp/copy.c"
	# shellcheck disable=SC2086
	$CC -std=gnu11 -D_GNU_SOURCE -pthread -o "$tmp/copy" "$tmp/copy.c" $where -luring
	head -c 3000000 /dev/urandom >"$tmp/from"
	run_copy "$root"
	check "dpkg -P libhakmem-uring0" dpkg_in "$root" -P libhakmem-uring-dev libhakmem-uring0
	check_same "purge of libhakmem-uring0 leaves the rest" "$before" "$(root_list "$root")"
}

run_copy() {
	local root=$1 rc=0
	LD_LIBRARY_PATH=$root$libdir "$tmp/copy" "$tmp/from" "$tmp/to" >"$tmp/out" 2>&1 || rc=$?
	if [[ $rc != 0 ]] && grep -qE 'io_uring_setup|RLIMIT_MEMLOCK' "$tmp/out"; then
		leave_out "a copy with the packaged libhakmem_uring ($(head -1 "$tmp/out"))"
		return 0
	fi
	check "a copy with the packaged libhakmem_uring: $(head -1 "$tmp/out")" cmp "$tmp/from" "$tmp/to"
}

check_installed() {
	local root=$1 f
	for f in $libdir/libhakmem.so.$version $libdir/libhakmem.a $libdir/libhakmem_core.a \
		$libdir/pkgconfig/hakmem.pc /usr/include/hakmem/hakmem.h \
		/usr/share/man/man7/hakmem.7.gz /usr/share/man/man3/hakmem.3.gz \
		/usr/share/hakmem/profiles/default.conf /usr/share/doc/libhakmem0/copyright \
		/usr/share/doc/libhakmem0/changelog.Debian.gz \
		/usr/share/doc/libhakmem-dev/changelog.Debian.gz; do
		check "installed: $f" test -f "$root$f" -a ! -L "$root$f"
	done
	check_same "links" "libhakmem.so.$version libhakmem.so.$soversion" \
		"$(readlink "$root$libdir/libhakmem.so.$soversion") $(readlink "$root$libdir/libhakmem.so")"
	check_same "links without a target" "" "$(find "$root/usr" -xtype l)"
	check_same "no debug sections" "" "$(readelf -SW "$root$libdir/libhakmem.so" \
		"$root$libdir"/libhakmem*.a | grep -E '\.debug_|\.comment' || :)"
	check_same "nothing below /etc but what was there" "$root$preload" "$(find "$root/etc" ! -type d)"
}

check_served() {
	local root=$1 lib
	lib=$root$libdir/libhakmem.so.$soversion
	check "preloaded program" env LD_PRELOAD="$lib" "$tmp/plain" >"$tmp/out"
	check_same "preloaded program runs on the packaged library" "$(who "$lib" 1)" "$(cat "$tmp/out")"
	$CC -DWITH_HEADER -I"$root/usr/include" -o "$tmp/linked" tests/package/who.c \
		-L"$root$libdir" -lhakmem
	check "linked program" env LD_LIBRARY_PATH="$root$libdir" "$tmp/linked" >"$tmp/out"
	check_same "linked program runs on the packaged library" "$(who "$lib" 1)" "$(cat "$tmp/out")"
	$CC -DWITH_HEADER -I"$root/usr/include" -o "$tmp/archive" tests/package/who.c \
		"$root$libdir/libhakmem.a" -pthread
	check "program with the packaged archive" "$tmp/archive" >"$tmp/out"
	check_same "the stripped archive still serves" "$(who "$tmp/archive" 1)" "$(cat "$tmp/out")"
}

# Runs inside the mount namespace of test_system; every change goes to the tmpfs at $1.
in_throwaway_system() {
	local over=$1 sys=$1/sys
	mount -t tmpfs -o size=256m hakmem-test "$over"
	mkdir "$over/upper" "$over/work" "$sys"
	mount -t overlay -o "lowerdir=/,upperdir=$over/upper,workdir=$over/work" overlay "$sys"
	mount --rbind /dev "$sys/dev"
	mount -t proc proc "$sys/proc"
	[[ $2 != probe ]] || return 0
	cp "$lib_deb" "$dev_deb" "$tmp/plain" "$sys/mnt/"
	chroot "$sys" dpkg -P libhakmem-dev libhakmem0 >/dev/null 2>&1 || :
	chroot "$sys" dpkg -i "/mnt/${lib_deb##*/}" "/mnt/${dev_deb##*/}"
	chroot "$sys" ldconfig -p | grep -F "libhakmem.so.$soversion" >"$over/cache" || :
	chroot "$sys" env LD_PRELOAD="libhakmem.so.$soversion" /mnt/plain >"$over/who"
	chroot "$sys" dpkg -P libhakmem-dev libhakmem0
	rm "$sys"/mnt/*.deb "$sys/mnt/plain"
	chroot "$sys" ldconfig -p | grep -F libhakmem >"$over/cache.after" || :
	# Notes and caches of dpkg, man-db and ldconfig may differ; no other file may.
	(cd "$over/upper" && find . ! -type d | grep -vE '^\./var/(lib/dpkg|log|cache)/' |
		grep -vE '^\./(etc/ld\.so\.cache|var/cache/ldconfig/aux-cache)$') >"$over/files" || :
	grep -rl hakmem "$over/upper/etc" >>"$over/files" || :
	cp "$over"/{cache,who,cache.after,files} "$tmp/system/"
}

test_system() {
	if [[ $(id -u) != 0 ]]; then
		leave_out "dpkg -i into a throw-away copy of the system (needs root)"
		return 0
	fi
	mkdir "$tmp/over" "$tmp/system"
	export -f in_throwaway_system
	export lib_deb dev_deb tmp soversion
	if ! unshare -m bash -euc "in_throwaway_system '$tmp/over' probe" >"$tmp/out" 2>&1; then
		leave_out "dpkg -i into a throw-away copy of the system ($(tail -1 "$tmp/out"))"
		return 0
	fi
	unshare -m bash -euc "in_throwaway_system '$tmp/over' run" >"$tmp/out" 2>&1 || {
		cat "$tmp/out" >&2
		fail "install and purge in a copy of the system"
	}
	check "the trigger made ldconfig find it" grep -qE "${libdir#/usr}/libhakmem.so.$soversion$" \
		"$tmp/system/cache"
	check_same "preloaded by its bare name" "malloc's block is hakmem's: 1" \
		"$(tail -1 "$tmp/system/who")"
	check_same "purge takes it out of the loader's cache" "" "$(cat "$tmp/system/cache.after")"
	check_same "purge leaves no file" "" "$(cat "$tmp/system/files")"
}

$CC -o "$tmp/plain" tests/package/who.c
test_build
test_lintian
test_root
test_system
check_same "$preload of this system is untouched" "$preload_before" \
	"$(stat -c '%i %Y %s' $preload 2>/dev/null || echo none)"
echo "deb_test: $checks checks passed${left_out:+, parts skipped: ${#left_out[@]}}"
