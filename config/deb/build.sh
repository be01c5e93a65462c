#!/bin/bash
# build.sh - Debian packages from what 'make install' installs: libhakmem0, libhakmem-dev; where the
# hakmem command was built, hakmem-tools; where libhakmem_uring was, libhakmem-uring0 and its -dev.
#
# Not called by hand: 'make deb' passes BUILD and CC. Needs dpkg-deb and binutils alone, no root and
# no debhelper: there are no maintainer scripts to generate, only the ldconfig trigger. Dates come
# from config/deb/changelog, so the same build tree gives the same bytes.
# Environment: DEB_MAINTAINER="Name <address>" for packages that somebody else answers for.
set -euo pipefail
umask 022

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
BUILD=${BUILD:-build}
CC=${CC:-cc}
mat=config/deb
out=$BUILD/deb

die() {
	echo "make deb: $*" >&2
	exit 1
}

for tool in dpkg-deb readelf strip gzip md5sum; do
	command -v "$tool" >/dev/null || die "$tool is missing (packages dpkg, binutils, gzip, coreutils)"
done

trailer=$(grep -m1 '^ -- ' $mat/changelog)
version=$(sed -n '1s/^hakmem (\([^)]*\)).*/\1/p' $mat/changelog)
maintainer=${DEB_MAINTAINER:-$(sed 's/^ -- \(.*>\)  .*/\1/' <<<"$trailer")}
SOURCE_DATE_EPOCH=$(date -d "${trailer##*>  }" +%s)
export SOURCE_DATE_EPOCH
upstream=$(config/version.sh)
[[ ${version%-*} == "$upstream" ]] ||
	die "$mat/changelog begins with $version, include/hakmem/hakmem.h says $upstream"
arch=$(dpkg --print-architecture)
multiarch=$($CC -print-multiarch)
[[ -n $multiarch ]] || die "$CC -print-multiarch says nothing: not a Debian compiler"

libdir=/usr/lib/$multiarch
# Where Debian's units are: below /lib until that became a link to /usr/lib in all packages.
unitdir=/lib/systemd/system
lib=$out/libhakmem0
dev=$out/libhakmem-dev
tools=$out/hakmem-tools
uring=$out/libhakmem-uring0
uring_dev=$out/libhakmem-uring-dev
packages=(libhakmem0 libhakmem-dev)
[[ ! -e $BUILD/hakmem ]] || packages+=(hakmem-tools)
[[ ! -e $BUILD/libhakmem_uring.so ]] || packages+=(libhakmem-uring0 libhakmem-uring-dev)

# move PACKAGE PATH...: from the installed tree into a package's.
move() {
	local to=$1 path
	shift
	for path; do
		mkdir -p "$to${path%/*}"
		mv "$out/stage$path" "$to$path"
	done
}

# Its header and manual go nowhere without it.
stage_uring() {
	local share=$1 page
	if [[ ! -e $BUILD/libhakmem_uring.so ]]; then
		echo "left out: packages libhakmem-uring0, libhakmem-uring-dev (libhakmem_uring was not built: it needs liburing-dev 2.3)"
		rm -f "$out/stage/usr/include/hakmem/uring.h" "$out/stage$share"/man/man3/hak_uring*
		return 0
	fi
	move "$uring" "$libdir/libhakmem_uring.so.$upstream" "$libdir/libhakmem_uring.so.${upstream%%.*}"
	move "$uring_dev" "$libdir/libhakmem_uring.so" "$libdir/libhakmem_uring.a" \
		"$libdir/pkgconfig/hakmem_uring.pc" /usr/include/hakmem/uring.h
	for page in "$out/stage$share"/man/man3/hak_uring*; do
		move "$uring_dev" "$share/man/man3/${page##*/}"
	done
}

stage() {
	local share=/usr/share
	rm -rf "$out"
	mkdir -p "$out/stage"
	BUILD=$BUILD PREFIX=/usr DESTDIR=$root_out/stage BINDIR=/usr/bin LIBDIR=$libdir \
		UNITDIR=$unitdir INCLUDEDIR=/usr/include DATADIR=$share MANDIR=$share/man \
		DOCDIR=$share/doc/libhakmem0 config/install.sh install >/dev/null
	# dpkg has a list of its own, and the licence stands in the copyright file.
	rm -f "$out/stage$share/hakmem/manifest" "$out/stage$share/doc/libhakmem0/LICENSE"
	stage_uring "$share"
	move "$lib" "$libdir/libhakmem.so.$upstream" "$libdir/libhakmem.so.${upstream%%.*}" \
		$share/man/man7 $share/hakmem
	[[ ! -d $out/stage$share/doc/libhakmem0 ]] || move "$lib" $share/doc/libhakmem0
	move "$dev" "$libdir/libhakmem.so" "$libdir/libhakmem.a" "$libdir/libhakmem_core.a" \
		"$libdir/pkgconfig" $share/man/man3 /usr/include/hakmem
	[[ ! -e $BUILD/hakmem ]] || move "$tools" /usr/bin/hakmem $share/man/man1 \
		$unitdir/hakmem-topology.service $share/bash-completion
	find "$out/stage" -depth -type d -empty -delete
	[[ ! -e $out/stage ]] || die "in no package: $(find "$out/stage" ! -type d)"
}

# A page that is but a ".so" line becomes a link to the page's compressed file.
compress_man() {
	local page target
	find "$out" -path '*/man/man?/*' -type f | while read -r page; do
		target=$(sed -n '1s/^\.so man.\///p' "$page")
		if [[ -n $target ]]; then
			rm "$page"
			ln -s "$target.gz" "$page.gz"
		else
			gzip -9n "$page"
		fi
	done
}

add_docs() {
	local pkg doc
	for pkg in "${packages[@]}"; do
		doc=$out/$pkg/usr/share/doc/$pkg
		install -d "$doc"
		install -m 644 $mat/copyright "$doc/copyright"
		gzip -9nc $mat/changelog >"$doc/changelog.Debian.gz"
		if [[ -e CHANGELOG.md ]]; then
			gzip -9nc CHANGELOG.md >"$doc/changelog.gz"
		fi
		rm -f "$doc/CHANGELOG.md"
		if [[ -e $mat/$pkg.overrides ]]; then
			install -D -m 644 "$mat/$pkg.overrides" \
				"$out/$pkg/usr/share/lintian/overrides/$pkg"
		fi
	done
}

# The newest symbol version of libc that a file asks for.
glibc_needed() {
	readelf -VW "$1" |
		grep -oE 'GLIBC_[0-9.]+' | cut -d_ -f2 | sort -uV | tail -1
}

# strip_shared FILE, strip_archives FILE...: what Debian's tools would leave.
strip_shared() {
	strip --strip-unneeded --remove-section=.comment --remove-section=.note "$1"
}

strip_archives() {
	strip --strip-debug --remove-section=.comment --remove-section=.note \
		--enable-deterministic-archives "$@"
}

# A shared library's: whoever links needs at least this release, as newer ones add functions.
library_control() { # library_control PACKAGE NAME
	control "$1" "$out/$1$libdir/$2.so.$upstream"
	echo "$2 ${upstream%%.*} $1 (>= $upstream)" >"$out/$1/DEBIAN/shlibs"
	echo "activate-noawait ldconfig" >"$out/$1/DEBIAN/triggers"
}

control() {
	local pkg=$1 file=$2 tree=$out/$1 size glibc
	size=$(du -k --apparent-size -s "$tree" | cut -f1)
	glibc=$(glibc_needed "$file")
	[[ -n $glibc ]] || die "$file asks for no symbol version of libc"
	install -d "$tree/DEBIAN"
	sed -e "s|@VERSION@|$version|g" -e "s|@ARCH@|$arch|" -e "s|@MAINTAINER@|$maintainer|" \
		-e "s|@SIZE@|$size|" -e "s|@GLIBC@|$glibc|" "$mat/$pkg.control" >"$tree/DEBIAN/control"
	(cd "$tree" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | LC_ALL=C sort -z |
		xargs -0 md5sum >DEBIAN/md5sums)
}

root_out=$(mkdir -p "$out" && cd "$out" && pwd)
stage
compress_man
add_docs
strip_shared "$lib$libdir/libhakmem.so.$upstream"
strip_archives "$dev$libdir"/*.a
library_control libhakmem0 libhakmem
control libhakmem-dev "$lib$libdir/libhakmem.so.$upstream"
if [[ -e $BUILD/hakmem ]]; then
	strip_shared "$tools/usr/bin/hakmem"
	control hakmem-tools "$tools/usr/bin/hakmem"
else
	echo "left out: package hakmem-tools (the hakmem command was not built)"
fi
if [[ -e $BUILD/libhakmem_uring.so ]]; then
	strip_shared "$uring$libdir/libhakmem_uring.so.$upstream"
	strip_archives "$uring_dev$libdir"/*.a
	library_control libhakmem-uring0 libhakmem_uring
	control libhakmem-uring-dev "$uring$libdir/libhakmem_uring.so.$upstream"
fi
for pkg in "${packages[@]}"; do
	find "$out/$pkg" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
	dpkg-deb --root-owner-group --build "$out/$pkg" "$out" >/dev/null
	rm -r "${out:?}/$pkg"
done
for deb in "$out"/*.deb; do
	echo "$deb  $(stat -c %s "$deb") bytes"
done
