#!/bin/bash
# install.sh install|uninstall - what 'make install' puts where, said once.
#
# Not called by hand: config/install.mk passes BUILD, PREFIX, DESTDIR, BINDIR, LIBDIR, UNITDIR,
# INCLUDEDIR, DATADIR, MANDIR, DOCDIR. Each file and each directory made on the way is written down in
# DATADIR/hakmem/manifest ("f path", "d path", without DESTDIR), and uninstall goes by that list
# alone: it works after the sources changed, and touches no directory that was there before.
# Neither runs ldconfig nor touches ld.so.preload.
set -euo pipefail
umask 022

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
: "${BUILD:?}" "${PREFIX:?}" "${BINDIR:?}" "${LIBDIR:?}" "${UNITDIR:?}" "${INCLUDEDIR:?}" "${DATADIR:?}"
: "${MANDIR:?}" "${DOCDIR:?}"
dest=${DESTDIR:-}
dest=${dest%/}
[[ -z $dest || $dest == /* ]] || dest=$root/$dest
manifest=$DATADIR/hakmem/manifest

die() {
	echo "hakmem: $*" >&2
	exit 1
}

for d in PREFIX BINDIR LIBDIR UNITDIR INCLUDEDIR DATADIR MANDIR DOCDIR; do
	[[ ${!d} == /* && ${!d}/ != */../* ]] || die "$d must be an absolute path without '..': ${!d}"
done

note() {
	printf '%s %s\n' "$1" "$2" >>"$dest$manifest"
}

# Directories are noted outermost first; those that exist already are not ours. $dest itself is
# noted as "/". The notes wait until there is a manifest to write them to.
made=()
make_dir() {
	local d=$1 missing=()
	while [[ ! -d $dest$d/ ]]; do
		missing=("${d:-/}" ${missing[@]+"${missing[@]}"})
		[[ -n $d && $d != / ]] || break
		d=${d%/*}
	done
	[[ ${#missing[@]} -gt 0 ]] || return 0
	mkdir -p "$dest$1"
	made+=("${missing[@]}")
}

make_dir_noted() {
	local d
	made=()
	make_dir "$1"
	for d in ${made[@]+"${made[@]}"}; do
		note d "$d"
	done
}

# Each file appears under its name complete, by rename: a program that starts meanwhile with the
# library preloaded finds the old one or the new one, never a part.
put() {
	local mode=$1 src=$2 to=$3
	[[ -f $src ]] || die "$src is missing: run make first"
	make_dir_noted "${to%/*}"
	note f "$to"
	install -m "$mode" "$src" "$dest$to.new$$"
	mv -fT "$dest$to.new$$" "$dest$to"
}

put_link() {
	local target=$1 to=$2
	note f "$to"
	ln -s "$target" "$dest$to.new$$"
	mv -fT "$dest$to.new$$" "$dest$to"
}

# put_text TO: standard input becomes the file.
put_text() {
	cat >"$work/text"
	put 644 "$work/text" "$1"
}

# public_functions HEADER...: what they declare.
public_functions() {
	cat "$@" | sed -e '/^typedef/d' -e 's://.*$::' | tr '\n' ' ' | sed 's:/\*:\n&:g; s:\*/:&\n:g' |
		grep -v '^/\*' | grep -oE '\bhak_[a-z0-9_]+\(' | tr -d '(' | sort -u
}

install_library() {
	put 644 "$BUILD/libhakmem.so" "$LIBDIR/libhakmem.so.$version"
	put_link "libhakmem.so.$version" "$LIBDIR/libhakmem.so.$soversion"
	put_link "libhakmem.so.$soversion" "$LIBDIR/libhakmem.so"
	put 644 "$BUILD/libhakmem.a" "$LIBDIR/libhakmem.a"
	put 644 "$BUILD/libhakmem_core.a" "$LIBDIR/libhakmem_core.a"
	sed -e "s|@PREFIX@|$PREFIX|" -e "s|@LIBDIR@|$LIBDIR|" -e "s|@INCLUDEDIR@|$INCLUDEDIR|" \
		-e "s|@VERSION@|$version|" config/hakmem.pc.in | put_text "$LIBDIR/pkgconfig/hakmem.pc"
}

# Where liburing was found when it was built.
install_uring() {
	[[ -f $BUILD/libhakmem_uring.so ]] || return 0
	put 644 "$BUILD/libhakmem_uring.so" "$LIBDIR/libhakmem_uring.so.$version"
	put_link "libhakmem_uring.so.$version" "$LIBDIR/libhakmem_uring.so.$soversion"
	put_link "libhakmem_uring.so.$soversion" "$LIBDIR/libhakmem_uring.so"
	put 644 "$BUILD/libhakmem_uring.a" "$LIBDIR/libhakmem_uring.a"
	sed -e "s|@PREFIX@|$PREFIX|" -e "s|@LIBDIR@|$LIBDIR|" -e "s|@INCLUDEDIR@|$INCLUDEDIR|" \
		-e "s|@VERSION@|$version|" config/hakmem_uring.pc.in | put_text "$LIBDIR/pkgconfig/hakmem_uring.pc"
}

install_man() {
	local f
	sed "s|@VERSION@|$version|" docs/man/hakmem.3 | put_text "$MANDIR/man3/hakmem.3"
	for f in $(public_functions include/hakmem/hakmem.h); do
		echo ".so man3/hakmem.3" | put_text "$MANDIR/man3/$f.3"
	done
	sed "s|@VERSION@|$version|" docs/man/hak_arena.3 | put_text "$MANDIR/man3/hak_arena.3"
	for f in $(public_functions include/hakmem/arena.h include/hakmem/pool.h include/hakmem/memfd.h); do
		echo ".so man3/hak_arena.3" | put_text "$MANDIR/man3/$f.3"
	done
	sed "s|@VERSION@|$version|" docs/man/hak_uring.3 | put_text "$MANDIR/man3/hak_uring.3"
	for f in $(public_functions include/hakmem/uring.h); do
		echo ".so man3/hak_uring.3" | put_text "$MANDIR/man3/$f.3"
	done
	config/man-options.sh docs/man/hakmem.7 |
		sed -e "s|@VERSION@|$version|" -e "s|@DATADIR@|$DATADIR|" -e "s|@DOCDIR@|$DOCDIR|" |
		put_text "$MANDIR/man7/hakmem.7"
}

# All documents and pictures are installed into one folder, the headers into another; the large report is not.
installed_links() {
	sed -e 's|\[\([^]]*\)\](docs/reports/full\.html)|\1|g' -e "s|](include/|]($INCLUDEDIR/|g" \
		-e 's|](docs/\([^)/]*/\)*\([^)/]*\))|](\2)|g' -e 's|](figures/|](|g' "$1"
}

install_data() {
	local f
	for f in include/hakmem/*.h include/hakmem/*.hpp; do
		put 644 "$f" "$INCLUDEDIR/hakmem/${f##*/}"
	done
	for f in config/*.conf; do
		[[ -e $f ]] || die "no profile in config/"
		put 644 "$f" "$DATADIR/hakmem/profiles/${f##*/}"
	done
	for f in README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md docs/*.md; do
		installed_links "$f" | put_text "$DOCDIR/${f##*/}"
	done
	for f in LICENSE docs/figures/*.svg docs/reports/full.svg; do
		put 644 "$f" "$DOCDIR/${f##*/}"
	done
}

# The command, where it could be built; see tool/tool.mk.
install_tool() {
	if [[ ! -e $BUILD/hakmem ]]; then
		echo "left out: the hakmem command (not built: it needs libhwloc-dev libnuma-dev libjansson-dev)"
		return 0
	fi
	put 755 "$BUILD/hakmem" "$BINDIR/hakmem"
	sed "s|@VERSION@|$version|" docs/man/hakmem.1 | put_text "$MANDIR/man1/hakmem.1"
	sed "s|@BINDIR@|$BINDIR|" config/hakmem-topology.service | put_text "$UNITDIR/hakmem-topology.service"
	put 644 config/completion/hakmem "$DATADIR/bash-completion/completions/hakmem"
}

# What an older install put there and this one does not.
remove_stale() {
	local kind path
	while read -r kind path; do
		if [[ $kind == f ]] && ! grep -qxF "f $path" "$dest$manifest"; then
			rm -f "$dest$path"
		fi
	done <<<"$old"
}

tidy_manifest() {
	local rc=$?
	((rc == 0)) || [[ -z $old ]] || echo "$old" >>"$dest$manifest" # not finished: uninstall must find both
	[[ ! -e $dest$manifest ]] || LC_ALL=C sort -u -o "$dest$manifest" "$dest$manifest"
	rm -rf "$work"
	exit "$rc"
}

do_install() {
	local d
	version=$(config/version.sh)
	soversion=${version%%.*}
	work=$(mktemp -d)
	old=
	trap tidy_manifest EXIT
	[[ ! -e $dest$manifest ]] || old=$(<"$dest$manifest")
	make_dir "${manifest%/*}"
	[[ -z $old ]] || grep '^d ' <<<"$old" >"$dest$manifest" || :
	note f "$manifest"
	for d in ${made[@]+"${made[@]}"}; do
		note d "$d"
	done
	install_library
	install_uring
	install_man
	install_data
	install_tool
	remove_stale
	chmod 644 "$dest$manifest"
	echo "installed hakmem $version in $dest$PREFIX, the library in $dest$LIBDIR"
	[[ -n $dest ]] || echo "if $LIBDIR is searched by the loader: run ldconfig once as root"
}

do_uninstall() {
	local list
	[[ -e $dest$manifest ]] || die "nothing to uninstall: $dest$manifest is not there"
	list=$(<"$dest$manifest")
	! grep -qvE '^[fd] /' <<<"$list" || die "$dest$manifest is damaged: nothing was removed"
	! grep -qE '/\.\.(/|$)' <<<"$list" || die "$dest$manifest is damaged: nothing was removed"
	sed -n 's/^f //p' <<<"$list" | while read -r path; do
		rm -f "$dest$path"
	done
	sed -n 's/^d //p' <<<"$list" | LC_ALL=C sort -r | while read -r path; do
		[[ ! -d $dest$path ]] || rmdir --ignore-fail-on-non-empty "$dest$path"
	done
	echo "uninstalled hakmem from $dest$PREFIX"
}

case ${1:-} in
install) do_install ;;
uninstall) do_uninstall ;;
*) die "usage: $0 install|uninstall (by way of make)" ;;
esac
