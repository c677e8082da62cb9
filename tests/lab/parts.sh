# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The lab's cache: Debian packages, unpacked, and the images made from them.
#
# Theory of operation
# -------------------
# Sourced by `lab`. Everything the lab needs is a Debian package. Nothing is installed for
# it but a few tools (setup_tools); the rest is unpacked below $CACHE, one directory per part:
#
#	qemu kernel-stable kernel-unstable busybox sysroot installer uboot peer helpers git
#	gdb rootfs
#	img/NAME-HASH		images made from parts (initramfs of the host, of guests)
#	apt/SUITE-ARCH		a private apt: its own sources, lists and (empty) dpkg status
#	lock/			one lock file per part, per private apt and for the images
#	log/			kernel logs of the last emulated hosts
#
# A private apt is used, rather than the machine's, because the packages come from other
# suites and architectures than the machine's own. The mirror is the one this machine's apt
# already uses, the signatures are checked by apt with Debian's keyring, and dpkg-deb only
# unpacks: no maintainer script runs and root is not needed.
#
# A part is made in a directory beside its place and moved there by one rename, so an
# interrupted run leaves nothing that looks finished. Its manifest has the type, size, time
# and name of every file, which is compared on each use (milliseconds), and the checksums of
# the key files, which are compared when a time differs and by `lab status`. Whatever does
# not agree is made again, with one line said. A part is made under its own lock (flock), so
# runs in parallel wait for each other instead of doing it twice.
#
# A suite moves while we look at it: an index older than half a day is fetched anew before it
# is used, a failed fetch is tried again with a new index, and where unstable itself can't be
# resolved (it happens to foreign architectures) testing stands in for it.

# Directory of the Debian keyring; signed-by below takes one file, not what the machine trusts.
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

PARTS=(qemu sysroot kernel-stable kernel-unstable busybox installer uboot peer helpers git gdb
	rootfs)

# What each kind of work needs from the machine itself, as package names.
TOOLS_LAB=(cpio xz-utils debian-archive-keyring)

say() {
	printf 'lab: %s\n' "$*" >&2
}

die() {
	say "$*"
	exit 125
}

native_arch() {
	dpkg --print-architecture 2>/dev/null || die "this is not a Debian machine: no dpkg"
}

# Packages to install for tools-$1, one per line. On a riscv64 machine the "cross" compiler is
# the machine's own.
tools_list() {
	case $1 in
	tools-lab)
		printf '%s\n' "${TOOLS_LAB[@]}"
		;;
	tools-build)
		printf '%s\n' gcc libc6-dev make pkg-config
		if [ "$(native_arch)" = riscv64 ]; then
			printf '%s\n' libfdt-dev zlib1g-dev libzstd-dev liburing-dev libjansson-dev
		else
			printf '%s\n' gcc-riscv64-linux-gnu libc6-dev-riscv64-cross
		fi
		;;
	tools-test)
		printf '%s\n' gcc libc6-dev make pkg-config check libfdt-dev zlib1g-dev libzstd-dev \
			liburing-dev libjansson-dev device-tree-compiler clang libclang-rt-dev clang-format clang-tidy \
			cppcheck shellcheck mandoc zstd xz-utils gdb-multiarch
		;;
	tools-rootfs)
		printf '%s\n' mmdebstrap
		[ "$(id -u)" -eq 0 ] || echo fakeroot
		;;
	tools)
		tools_list tools-lab
		tools_list tools-build
		tools_list tools-test
		;;
	esac
}

# setup_tools LIST: install what is missing of a list, with apt and the machine's own sources.
setup_tools() {
	local want missing=() pkg have as_root=() options

	mapfile -t want < <(tools_list "$1" | sort -u)
	have=$(missing_filter "${want[@]}")
	[ -n "$have" ] || return 0

	# Not $CACHE's lock: the thing shared is the machine, not one user's cache. apt has a
	# lock of its own; we wait for that.
	mapfile -t missing <<<"$have"
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null ||
			die "not root and no sudo; as root do: apt-get install ${missing[*]}"
		as_root=(sudo)
		# Without a terminal sudo can't ask for a password: say so instead of hanging.
		[ -t 0 ] || as_root=(sudo -n)
		"${as_root[@]}" true ||
			die "sudo refused; as root do: apt-get install ${missing[*]}"
	fi
	say "$1: installing ${missing[*]}"
	options=(-o DPkg::Lock::Timeout=600 -o Acquire::Retries=3)
	as_root+=(env DEBIAN_FRONTEND=noninteractive)
	if ! "${as_root[@]}" apt-get "${options[@]}" -qq -y --no-install-recommends install \
		"${missing[@]}" </dev/null >"$TMP/apt.log" 2>&1; then
		# No index yet (a new machine), or it names a version that has moved.
		{
			"${as_root[@]}" apt-get "${options[@]}" -q update
			"${as_root[@]}" apt-get "${options[@]}" -q -y \
				--no-install-recommends install "${missing[@]}"
		} </dev/null >>"$TMP/apt.log" 2>&1
	fi
	have=$(missing_filter "${want[@]}")
	if [ -n "$have" ]; then
		grep -E '^[EW]: ' "$TMP/apt.log" | tail -5 >&2
		for pkg in $have; do
			say "could not install $pkg"
		done
		die "apt-get failed; fix the machine's apt and run this again"
	fi
}

# Of the packages named, those that are not installed. pkgconf stands in for pkg-config.
missing_filter() {
	local pkg status

	for pkg in "$@"; do
		# shellcheck disable=SC2016	# dpkg-query's format, not the shell's
		status=$(dpkg-query -W -f '${db:Status-Status} ' "$pkg" 2>/dev/null)
		case $status in
		*installed*)
			[[ $status == *not-installed* && $status != *" installed"* ]] || continue
			;;
		esac
		[ "$pkg" = pkg-config ] && command -v pkg-config >/dev/null && continue
		echo "$pkg"
	done
}

# take_lock NAME: hold $CACHE/lock/NAME until drop_lock. The descriptor is in LOCK_FD[NAME].
declare -A LOCK_FD=()

take_lock() {
	local fd

	mkdir -p "$CACHE/lock" || die "can't write to the cache $CACHE; set LKVM_LAB"
	exec {fd}>"$CACHE/lock/$1" || die "can't write to the cache $CACHE; set LKVM_LAB"
	if ! flock -n "$fd"; then
		say "$1: another run is making it, waiting"
		flock "$fd" || die "can't lock $CACHE/lock/$1"
	fi
	LOCK_FD[$1]=$fd
}

drop_lock() {
	local fd=${LOCK_FD[$1]}

	exec {fd}>&-
	unset "LOCK_FD[$1]"
}

# ---- manifests --------------------------------------------------------------------------

# Every file with type, size, time, name and link target. $2: "notime" leaves out the time.
list_tree() {
	local format='%y %s %T@ %P %l\n'

	[ "${2-}" = notime ] && format='%y %s %P %l\n'
	# Directories: their own size and time depend on the file system, so only the name.
	(cd "$1" && find . -mindepth 1 ! -name '.manifest*' \( -type d -printf 'd %P\n' -o \
		-printf "$format" \) | LC_ALL=C sort)
}

# Key files: all but kernel modules, of which there are thousands and one broken fails loudly.
list_keys() {
	(cd "$1" && find . -type f ! -name '.manifest*' ! -name '*.ko' ! -name '*.ko.xz' \
		-size +0 -print0 | LC_ALL=C sort -z)
}

write_manifest() {
	list_keys "$1" >"$1/.manifest.keys0"
	(cd "$1" && xargs -0 -r sha256sum <.manifest.keys0 >.manifest.sums) || return 1
	rm "$1/.manifest.keys0"
	list_tree "$1" notime >"$1/.manifest.names"
	list_tree "$1" >"$1/.manifest"
}

sums_ok() {
	(cd "$1" && [ -e .manifest.sums ] && sha256sum --quiet --status -c .manifest.sums) \
		2>/dev/null
}

# check_tree DIR [full]: true when DIR is as it was made. Sets WHY when not.
check_tree() {
	local dir=$1

	WHY=missing
	[ -d "$dir" ] || return 1
	WHY="has no manifest"
	[ -s "$dir/.manifest" ] && [ -s "$dir/.manifest.names" ] || return 1
	if cmp -s "$dir/.manifest" <(list_tree "$dir"); then
		[ "${2-}" = full ] || return 0
		WHY="a file's contents have changed"
		sums_ok "$dir"
		return
	fi
	WHY=$(diff "$dir/.manifest.names" <(list_tree "$dir" notime) |
		sed -n 's/^< [a-z] [0-9]* //p; s/^> [a-z] [0-9]* //p; s/^[<>] d //p' | head -n 1)
	WHY="damaged (${WHY% })"
	cmp -s "$dir/.manifest.names" <(list_tree "$dir" notime) || return 1
	# Only times differ: a copied cache. Good if the contents are.
	WHY="a file's contents have changed"
	sums_ok "$dir" || return 1
	list_tree "$dir" >"$dir/.manifest" 2>/dev/null
	return 0
}

# make_tree LOCK DIR FUNCTION ARGS…: make DIR by `FUNCTION TMPDIR ARGS…` unless it is good.
make_tree() {
	local lock=$1 dir=$2 function=$3 tmp start=$SECONDS

	shift 3
	check_tree "$dir" && return 0
	take_lock "$lock"
	if check_tree "$dir"; then
		drop_lock "$lock"
		return 0
	fi
	tmp=${dir%/*}/.new-${dir##*/}
	# Left over by an interrupted run: we hold the lock, so nobody is at work there.
	rm -rf "$tmp" "${dir%/*}/.old-${dir##*/}"
	say "${dir##*/}: $WHY, making it"
	mkdir -p "$tmp" || die "can't write to the cache $CACHE; set LKVM_LAB"
	# A function called in a condition runs without `set -e`: every step has its own || return.
	if ! "$function" "$tmp" "$@"; then
		rm -rf "$tmp"
		die "${dir##*/}: could not be made (see above)"
	fi
	if ! write_manifest "$tmp" || ! recipe "${dir##*/}" >"$tmp/.manifest.recipe"; then
		die "${dir##*/}: could not be written: is the disk full?"
	fi
	# The rename must not reach the disk before the contents.
	sync -f "$tmp"
	if [ -e "$dir" ]; then
		mv "$dir" "${dir%/*}/.old-${dir##*/}"
	fi
	mv "$tmp" "$dir" || die "can't move $tmp to $dir"
	rm -rf "${dir%/*}/.old-${dir##*/}"
	drop_lock "$lock"
	say "${dir##*/}: ready ($((SECONDS - start)) s)"
}

# ---- the private apt --------------------------------------------------------------------

# The Debian mirror this machine uses: the site of a source whose Release file says Debian (the
# security archive says Debian-Security), else, before the first update, of one that looks it.
find_mirror() {
	local site

	if [ -n "${LKVM_MIRROR-}" ]; then
		echo "$LKVM_MIRROR"
		return
	fi
	# shellcheck disable=SC2016	# apt's format, not the shell's
	site=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(SITE)' 'Created-By: Packages' \
		2>/dev/null | sed -n 's/^Debian|Debian|//p' | head -n 1)
	if [ -z "$site" ]; then
		# shellcheck disable=SC2016
		site=$(apt-get indextargets --no-release-info --format '$(SITE)' \
			'Created-By: Packages' 2>/dev/null | grep -E '/debian/?$' | head -n 1)
	fi
	[ -n "$site" ] || return 1
	echo "$site"
}

# How this machine gets out: proxies, certificates, a frozen mirror's settings.
apt_network() {
	apt-config dump | grep -E '^Acquire::(http|https|ftp|Check-Date)(::| )'
}

# apt_setup SUITE ARCH: (re)write the private apt's configuration and point APT_CONFIG at it.
apt_setup() {
	local dir=$CACHE/apt/$1-$2 mirror

	[ -r "$KEYRING" ] || setup_tools tools-lab
	unset APT_CONFIG
	mirror=$(find_mirror) ||
		die "this machine's apt names no Debian mirror; set LKVM_MIRROR=URI"
	mkdir -p "$dir/lists/partial" "$dir/archives/partial" "$dir/none" || return 1
	: >"$dir/status"
	echo "deb [arch=$2 signed-by=$KEYRING] $mirror $1 main" >"$dir/sources.list.new"
	# Another mirror: its index may be another day's.
	cmp -s "$dir/sources.list.new" "$dir/sources.list" || rm -f "$dir/stamp"
	mv "$dir/sources.list.new" "$dir/sources.list"
	{
		apt_network
		cat <<-CONF
			Dir::State "$dir";
			Dir::State::lists "$dir/lists";
			Dir::State::status "$dir/status";
			Dir::Cache "$dir";
			Dir::Cache::archives "$dir/archives";
			Dir::Etc::sourcelist "$dir/sources.list";
			Dir::Etc::sourceparts "$dir/none";
			Dir::Etc::main "$dir/none/conf";
			Dir::Etc::parts "$dir/none";
			Dir::Etc::preferences "$dir/none/preferences";
			Dir::Etc::preferencesparts "$dir/none";
			Dir::Etc::trusted "$dir/none/trusted";
			Dir::Etc::trustedparts "$dir/none";
			APT::Architecture "$2";
			APT::Architectures { "$2"; };
			APT::Install-Recommends "false";
			APT::Sandbox::User "root";
			APT::Get::AllowUnauthenticated "false";
			Acquire::AllowInsecureRepositories "false";
			Acquire::Check-Valid-Until "false";
			Acquire::Languages "none";
			Acquire::Retries "2";
			Acquire::http::Timeout "60";
			Binary::apt-get::APT::Keep-Downloaded-Packages "true";
		CONF
	} >"$dir/apt.conf"
	export APT_CONFIG=$dir/apt.conf
	APT_DIR=$dir
}

apt_update() {
	# Without --error-on apt calls it a success when it had to go on with an old index.
	apt-get -q --error-on=any update </dev/null >"$TMP/apt.log" 2>&1 && touch "$APT_DIR/stamp"
}

apt_errors() {
	grep -E '^(E|W|Err|[ ]+[A-Za-z0-9.+-]+ : )' "$TMP/apt.log" | head -n 8 >&2
}

# An index for the private apt: anew when told so, when there is none or when it is half a day old.
# A second argument of "anew" insists; else a failure leaves the last one in use.
apt_index() {
	local suite=$1 arch=$2 how=${3-}

	apt_setup "$suite" "$arch" || return 1
	if [ -z "$how" ] && [ -e "$APT_DIR/stamp" ] &&
		[ -z "$(find "$APT_DIR/stamp" -mmin +720)" ]; then
		return 0
	fi
	apt_update && return 0
	apt_errors
	if [ -z "$how" ] && [ -e "$APT_DIR/stamp" ]; then
		say "$suite/$arch: no new package index, going on with the last one"
		return 0
	fi
	# What is left of an old index may be what apt chokes on.
	rm -rf "$APT_DIR"
	apt_setup "$suite" "$arch" && apt_update && return 0
	apt_errors
	return 1
}

# fetch SUITE ARCH DIR FUNCTION ARGS…: unpack into DIR what `FUNCTION DEBS ARGS…` downloads into
# DEBS (it may call apt-get and apt-cache). Tried three times, with a new index from the second
# time on; the last time with the private apt made from nothing. Returns 2 when the suite can't
# give it, 1 when nothing can be had.
fetch() {
	local suite=$1 arch=$2 dir=$3 function=$4 debs=$3/.debs try deb result=2 anew=''

	shift 4
	take_lock "apt-$suite-$arch"
	for try in 1 2 3; do
		[ "$try" -lt 3 ] || rm -rf "$CACHE/apt/$suite-$arch"
		[ "$try" -eq 1 ] || sleep 1
		if ! apt_index "$suite" "$arch" "$anew"; then
			say "$suite/$arch: no package index: no network? (or set LKVM_MIRROR)"
			result=1
			break
		fi
		rm -rf "$debs"
		if ! mkdir -p "$debs/partial"; then
			result=1
			break
		fi
		if "$function" "$debs" "$@" && compgen -G "$debs/*.deb" >/dev/null; then
			result=0
			break
		fi
		apt_errors
		say "$suite/$arch: fetching failed, try $try of 3"
		anew=anew
	done
	unset APT_CONFIG
	drop_lock "apt-$suite-$arch"
	[ "$result" -eq 0 ] || return "$result"
	for deb in "$debs"/*.deb; do
		dpkg-deb -x "$deb" "$dir" || return 1
	done
	rm -rf "$debs"
}

# Downloads the named packages alone.
get_named() {
	local debs=$1

	shift
	(cd "$debs" && apt-get -q download "$@") </dev/null >"$TMP/apt.log" 2>&1
}

# Downloads the named packages with all they depend on.
get_closure() {
	local debs=$1

	shift
	apt-get -q -y -o Dir::Cache::archives="$debs" --download-only install "$@" \
		</dev/null >"$TMP/apt.log" 2>&1
}

# Downloads the kernel that the meta package names today. Up to 6.x one package has it all; from
# 7.x on image, modules and configuration are packages of their own: all linux-*-VERSION ones.
get_kernel() {
	local debs=$1 image version pkgs

	image=$(apt-cache depends linux-image-riscv64 2>"$TMP/apt.log" |
		sed -n 's/^ *Depends: \(linux-image-[0-9].*-riscv64\)$/\1/p' | head -n 1)
	if [ -z "$image" ]; then
		echo "E: the package index has no linux-image-riscv64" >>"$TMP/apt.log"
		return 1
	fi
	version=${image#linux-image-}
	pkgs=$(apt-cache depends "$image" |
		sed -n 's/^ *[Pre]*Depends: \(linux-[a-z]*-[0-9].*\)$/\1/p' |
		grep -F -- "-$version")
	# shellcheck disable=SC2086	# a list of package names
	get_named "$debs" "$image" $pkgs
}

# ---- parts ------------------------------------------------------------------------------

# unstable, and testing where unstable can't be had.
fetch_unstable() {
	local result=0

	fetch sid "$@" || result=$?
	# Another suite is no help against a missing network.
	[ "$result" -eq 2 ] || return "$result"
	say "trying Debian testing instead of unstable"
	find "$2" -mindepth 1 -delete
	fetch testing "$@"
}

part_qemu() {
	fetch_unstable "$(native_arch)" "$1" get_closure qemu-system-riscv opensbi || return 1
	(cd "$1" && rm -rf etc var usr/share/doc usr/share/man usr/share/locale usr/share/icons \
		usr/share/info usr/lib/systemd usr/share/bug usr/share/lintian)
	# One place for what the rest asks for, whatever the packages call it.
	ln -s "$(cd "$1" && find usr/lib* -name 'ld-linux-*.so.*' | head -n 1)" "$1/ld.so" &&
		ln -s "$(cd "$1" && dirname "$(find usr/lib -name 'libc.so.6' | head -n 1)")" \
			"$1/libs" &&
		ln -s "$(cd "$1" && find usr -path '*riscv64*/opensbi/generic/fw_dynamic.bin' |
			head -n 1)" "$1/fw_dynamic.bin" &&
		[ -e "$1/ld.so" ] && [ -e "$1/libs/libc.so.6" ] && [ -e "$1/fw_dynamic.bin" ] &&
		QEMU_DIR=$1 qemu_system --version >/dev/null
}

# Static libraries and headers for the cross compiler, not the C library: that comes with it.
SYSROOT_PACKAGES=(libfdt-dev zlib1g-dev libzstd-dev liburing-dev libjansson-dev linux-libc-dev)

part_sysroot() {
	fetch_unstable riscv64 "$1" get_named "${SYSROOT_PACKAGES[@]}" || return 1
	# Of the kernel's headers those for RISC-V; static libraries only.
	rm -rf "${1:?}/usr/share"
	find "$1/usr/include" -mindepth 1 -maxdepth 1 -name '*-linux-gnu*' ! -name 'riscv64-*' \
		-exec rm -rf {} +
	find "$1/usr/lib" -name '*.so' -delete
	[ -e "$1/usr/lib/riscv64-linux-gnu/libfdt.a" ] &&
		[ -e "$1/usr/lib/riscv64-linux-gnu/libz.a" ] &&
		[ -e "$1/usr/lib/riscv64-linux-gnu/libzstd.a" ] &&
		[ -e "$1/usr/lib/riscv64-linux-gnu/libjansson.a" ] &&
		[ -e "$1/usr/include/linux/kvm.h" ]
}

kernel_tidy() {
	local file release

	if [ -d "$1/lib/modules" ]; then
		mkdir -p "$1/usr/lib" && mv "$1/lib/modules" "$1/usr/lib/" || return 1
	fi
	release=$(cd "$1/usr/lib/modules" && set -- * && echo "$1")
	# Either name; both are Images.
	file=$(find "$1" -type f -name "vmlinu[xz]*" | head -n 1)
	if [ -z "$file" ] || [ ! -d "$1/usr/lib/modules/$release/kernel" ]; then
		say "the kernel's packages hold no kernel or no modules"
		return 1
	fi
	mv "$file" "$1/vmlinuz" || return 1
	mv "$1/usr/lib/modules/$release" "$1/modules" || return 1
	file=$(find "$1" -type f -name "config-$release" | head -n 1)
	[ -n "$file" ] || file=$1/modules/config
	mv "$file" "$1/config" || return 1
	rm -rf "$1/modules/dtb"
	echo "$release" >"$1/release"
	(cd "$1" && rm -rf usr lib boot etc)
}

part_kernel-stable() {
	fetch trixie riscv64 "$1" get_kernel && kernel_tidy "$1"
}

part_kernel-unstable() {
	fetch_unstable riscv64 "$1" get_kernel && kernel_tidy "$1"
}

part_busybox() {
	fetch_unstable riscv64 "$1" get_named busybox-static || return 1
	mv "$(find "$1" -type f -path "*bin/busybox" | head -n 1)" "$1/busybox" || return 1
	(cd "$1" && rm -rf usr bin etc)
}

# Debian's installer for the network, as its archive has it: the package holds the same files.
part_installer() {
	local file

	fetch trixie riscv64 "$1" get_named debian-installer-13-netboot-riscv64 || return 1
	for file in linux initrd.gz; do
		mv "$(find "$1/usr" -type f -name "$file" | LC_ALL=C sort | head -n 1)" \
			"$1/$file" || return 1
	done
	rm -rf "${1:?}/usr"
}

part_uboot() {
	local dir

	fetch trixie riscv64 "$1" get_named u-boot-qemu || return 1
	dir=$(find "$1/usr" -type d -name qemu-riscv64_smode | head -n 1)
	[ -n "$dir" ] && cp "$dir"/* "$1/" || return 1
	rm -rf "${1:?}/usr"
	[ -e "$1/u-boot.bin" ]
}

# QEMU for riscv64: the peer that lkvm is compared with, in the host next to it. Only what the
# virt machine needs: the program, its libraries by ELF's own word, the virtio boot ROM.
part_peer() {
	local all=$1/.all libs

	mkdir "$all" || return 1
	fetch_unstable riscv64 "$all" get_closure qemu-system-riscv || return 1
	libs=$(cd "$all" && dirname "$(find usr/lib -name libc.so.6 | head -n 1)")
	mkdir -p "$1/lib" "$1/share" || return 1
	cp "$all/usr/bin/qemu-system-riscv64" "$1/qemu.bin" || return 1
	cp -L "$(find "$all/usr/lib" -name 'ld-linux-riscv64-*.so.*' | head -n 1)" "$1/ld.so" ||
		return 1
	copy_libs "$all/$libs" "$1/lib" "$1/qemu.bin" || return 1
	find "$all/usr" -name efi-virtio.rom -exec cp -L {} "$1/share/" \;
	cat >"$1/qemu-system-riscv64" <<-'SH'
		#!/bin/sh
		exec /peer/ld.so --library-path /peer/lib --argv0 qemu-system-riscv64 \
			/peer/qemu.bin -L /peer/share "$@"
	SH
	chmod 755 "$1/qemu-system-riscv64"
	rm -rf "$all"
}

# Programs that lkvm starts or that tests talk to, for the host: those in bin/ with their libraries
# in lib/, which both go where Debian has them (see make_helpers), so that they need no wrapper.
HELPERS_PACKAGES=(passt virtiofsd qemu-utils iperf3 fio socat dnsmasq-base iproute2 e2fsprogs)
HELPERS_PROGRAMS=(passt virtiofsd qemu-storage-daemon qemu-img iperf3 fio socat dnsmasq ip ss mke2fs
	e2fsck)

part_helpers() {
	local all=$1/.all libs name file

	mkdir -p "$all" "$1/bin" "$1/lib" || return 1
	fetch_unstable riscv64 "$all" get_closure "${HELPERS_PACKAGES[@]}" || return 1
	libs=$(cd "$all" && dirname "$(find usr/lib -name libc.so.6 | head -n 1)")
	cp -L "$(find "$all/usr/lib" -name 'ld-linux-riscv64-*.so.*' | head -n 1)" "$1/lib/" ||
		return 1
	for name in "${HELPERS_PROGRAMS[@]}"; do
		file=$(find "$all/usr/bin" "$all/usr/sbin" "$all/usr/libexec" -name "$name" | head -n 1)
		cp -L "$file" "$1/bin/$name" &&
			copy_libs "$all/$libs" "$1/lib" "$1/bin/$name" || return 1
	done
	rm -rf "$all"
}

# pack_program DIR PROGRAM: DIR/PROGRAM.tar, to be unpacked anywhere on the host: the program out of the
# Debian package of its name, with its libraries, behind its own loader.
pack_program() {
	local all=$1/.all dir=$1/.dir name=$2 libs

	mkdir -p "$all" "$dir/lib" || return 1
	fetch_unstable riscv64 "$all" get_closure "$name" || return 1
	libs=$(cd "$all" && dirname "$(find usr/lib -name libc.so.6 | head -n 1)")
	cp "$all/usr/bin/$name" "$dir/$name.bin" &&
		cp -L "$(find "$all/usr/lib" -name 'ld-linux-riscv64-*.so.*' | head -n 1)" \
			"$dir/ld.so" &&
		copy_libs "$all/$libs" "$dir/lib" "$dir/$name.bin" || return 1
	cat >"$dir/$name" <<-SH
		#!/bin/sh
		here=\$(dirname "\$0")
		exec "\$here/ld.so" --library-path "\$here/lib" --argv0 $name "\$here/$name.bin" "\$@"
	SH
	chmod 755 "$dir/$name"
	tar -C "$dir" -cf "$1/$name.tar" "$name" "$name.bin" ld.so lib || return 1
	rm -rf "$all" "$dir"
}

# git has in the one program all commands that need no network.
part_git() { pack_program "$1" git; }

# GDB, without what its Python would need, which it then does without.
part_gdb() { pack_program "$1" gdb-multiarch; }

# A Debian system for guests, as the disk image rootfs.img. mmdebstrap fetches and unpacks packages
# here, without running any of their code; their scripts run in the emulated host. Python, which
# fio asks for, is for scripts of it that nobody runs here, and takes longer than all the rest.
ROOTFS_SUITE=trixie
ROOTFS_PACKAGES=(systemd systemd-sysv udev login passwd kmod util-linux e2fsprogs iproute2 fio iperf3)
ROOTFS_WITHOUT=('python3*' 'libpython3*' media-types)
ROOTFS_EXCLUDE=('/usr/share/man/*' '/usr/share/doc/*' '/usr/share/locale/*' '/usr/share/info/*'
	'/usr/share/lintian/*' '/usr/lib/udev/hwdb.d/*' '/usr/share/zoneinfo/*')
ROOTFS_MIB=320

part_rootfs() {
	local mirror args path pattern try

	ensure qemu busybox kernel-unstable helpers
	setup_tools tools-rootfs
	[ -r "$KEYRING" ] || setup_tools tools-lab
	mirror=$(find_mirror) ||
		die "this machine's apt names no Debian mirror; set LKVM_MIRROR=URI"
	apt_network >"$TMP/apt.conf"
	echo 'Acquire::Check-Valid-Until "false";' >>"$TMP/apt.conf"
	printf -v pattern ' %q' "${ROOTFS_WITHOUT[@]}"
	args=(--mode=chrootless --variant=extract --architectures=riscv64 --format=tar
		--include='?essential' --include="${ROOTFS_PACKAGES[*]}" --aptopt="$TMP/apt.conf"
		--extract-hook="$(printf %q "$LAB/rootfs/database") \"\$1\"$pattern")
	for path in "${ROOTFS_EXCLUDE[@]}"; do
		args+=(--dpkgopt="path-exclude=$path")
	done
	args+=("$ROOTFS_SUITE" - "deb [arch=riscv64 signed-by=$KEYRING] $mirror $ROOTFS_SUITE main")
	[ "$(id -u)" -eq 0 ] || args=(fakeroot mmdebstrap "${args[@]}")
	[ "$(id -u)" -ne 0 ] || args=(mmdebstrap "${args[@]}")
	for try in 1 2 3 failed; do
		[ "$try" != failed ] || return 1
		"${args[@]}" </dev/null >"$TMP/rootfs.tar" 2>"$TMP/apt.log" && break
		apt_errors
		say "mmdebstrap failed, try $try of 3"
	done
	truncate -s "${ROOTFS_MIB}M" "$1/rootfs.img" || return 1
	if ! LKVM_LAB_EMULATE=1 "$LAB/lab" run --helpers --modules ext4 --timeout 1200 --disk "$1/rootfs.img" \
		--scratch "$TMP/rootfs.tar" --put "$LAB/rootfs/configure" -- sh configure \
		</dev/null >"$TMP/configure.log" 2>&1; then
		tail -n 20 "$TMP/configure.log" >&2
		return 1
	fi
}

# copy_libs FROM TO FILE: copy the libraries FILE names, and those they name.
copy_libs() {
	local name file todo=("$3")

	while [ ${#todo[@]} -gt 0 ]; do
		for name in $(elf_needed "${todo[0]}"); do
			[[ $name != ld-linux-* && ! -e $2/$name ]] || continue
			file=$1/$name
			# A package's own libraries may lie in a folder of their own.
			[ -e "$file" ] || file=$(find "$1" -name "$name" | head -n 1)
			if ! cp -L "$file" "$2/$name" 2>/dev/null; then
				say "no library $name for ${3##*/}"
				return 1
			fi
			todo+=("$2/$name")
		done
		todo=("${todo[@]:1}")
	done
}

# The DT_NEEDED names of an ELF file of any architecture: the loader lists them when told only
# to trace, but that one is for riscv64; so use whichever binutils the machine has.
elf_needed() {
	local tool

	for tool in readelf riscv64-linux-gnu-readelf; do
		command -v "$tool" >/dev/null || continue
		"$tool" -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'
		return
	done
	say "no readelf on this machine: lab setup tools-build"
}

# What else than packages a part is made of; when that changes, it is made again.
recipe() {
	case $1 in
	sysroot) printf '%s\n' "${SYSROOT_PACKAGES[@]}" ;;
	helpers) printf '%s\n' "${HELPERS_PACKAGES[@]}" "${HELPERS_PROGRAMS[@]}" ;;
	rootfs)
		printf '%s\n' "$ROOTFS_SUITE" "$ROOTFS_MIB" "${ROOTFS_PACKAGES[@]}" \
			"${ROOTFS_WITHOUT[@]}" "${ROOTFS_EXCLUDE[@]}"
		cat "$LAB/rootfs/database" "$LAB/rootfs/configure"
		;;
	esac | sha256sum
}

# ensure PART…: make parts ready.
ensure() {
	local part

	for part in "$@"; do
		case " ${PARTS[*]} " in
		*" $part "*) ;;
		*) die "no such part: $part (parts: tools tools-build tools-test ${PARTS[*]})" ;;
		esac
		[ -n "${ENSURED[$part]-}" ] && continue
		case $part in
		sysroot | helpers | rootfs)
			[ "$(cat "$CACHE/$part/.manifest.recipe" 2>/dev/null)" = \
				"$(recipe "$part")" ] || rm -f "$CACHE/$part/.manifest"
			;;
		esac
		check_tree "$CACHE/$part" || setup_tools tools-lab
		case $part in
		peer | helpers | git | gdb) check_tree "$CACHE/$part" || setup_tools tools-build ;;
		esac
		make_tree "$part" "$CACHE/$part" "part_$part"
		ENSURED[$part]=1
	done
}
declare -A ENSURED=()

# The cached QEMU through its own loader: it is newer than this machine's C library.
qemu_system() {
	local dir=${QEMU_DIR:-$CACHE/qemu}

	"$dir/ld.so" --library-path "$dir/libs" "$dir/usr/bin/qemu-system-riscv64" "$@"
}

# ---- images -----------------------------------------------------------------------------

# find_modules KERNEL MODULE…: MODULE_ORDER becomes the files of the modules and of all they need, in
# the order in which they load. A name that is no module is taken as built in if the kernel knows
# it, and else is an error.
#
# Dependencies are read out of the modules themselves (.modinfo), so that no depmod is needed.
declare -A MODULE_AT=() MODULE_NEEDS=() MODULE_SEEN=()
MODULE_ORDER=() MODULE_KERNEL=

find_modules() {
	local kernel=$CACHE/kernel-$1 name base

	shift
	if [ "$MODULE_KERNEL" != "$kernel" ]; then
		MODULE_AT=() MODULE_NEEDS=()
		while read -r name; do
			base=${name##*/}
			base=${base%%.ko*}
			MODULE_AT[${base//-/_}]=$name
		done < <(find "$kernel/modules" -name '*.ko' -o -name '*.ko.xz')
		MODULE_KERNEL=$kernel
	fi
	MODULE_SEEN=() MODULE_ORDER=()
	for name in "$@"; do
		module_visit "$kernel" "${name//-/_}" || return 1
	done
}

module_visit() {
	local kernel=$1 name=$2 file need

	[ -z "${MODULE_SEEN[$name]-}" ] || return 0
	MODULE_SEEN[$name]=1
	file=${MODULE_AT[$name]-}
	if [ -z "$file" ]; then
		grep -qsE "/${name//_/[-_]}\.ko" "$kernel/modules/modules.builtin" && return 0
		say "kernel $(<"$kernel/release") has no module $name"
		return 1
	fi
	[ -n "${MODULE_NEEDS[$name]+known}" ] ||
		MODULE_NEEDS[$name]=$(module_text "$file" | tr '\0' '\n' |
			sed -n -e '/^depends=/{s///;s/,/ /g;p}' \
				-e '/^softdep=pre: /{s///;s/post:.*//;p}')
	for need in ${MODULE_NEEDS[$name]}; do
		need=${need//-/_}
		# A soft dependency may be built in or absent, or the name of an algorithm; a hard one
		# is told by its name.
		[ -n "${MODULE_AT[$need]-}" ] || need=${need#crypto_}_generic
		[ -n "${MODULE_AT[$need]-}" ] || continue
		module_visit "$kernel" "$need" || return 1
	done
	MODULE_ORDER+=("$file")
}

module_text() {
	case $1 in
	*.xz) xz -dc "$1" ;;
	*) cat "$1" ;;
	esac
}

# add_modules DIR KERNEL MODULE…: unpack modules into DIR/modules. DIR/modules/order lists all
# in load order, DIR/modules/NAME.load one module's own with what it needs.
add_modules() {
	local dir=$1 kernel=$2 file base module

	shift 2
	mkdir -p "$dir/modules" || return 1
	: >"$dir/modules/order"
	[ $# -gt 0 ] || return 0
	find_modules "$kernel" "$@" || return 1
	for file in ${MODULE_ORDER[@]+"${MODULE_ORDER[@]}"}; do
		base=${file##*/}
		base=${base%.xz}
		module_text "$file" >"$dir/modules/$base" || return 1
		echo "$base" >>"$dir/modules/order"
	done
	for module in "$@"; do
		find_modules "$kernel" "$module" || return 1
		for file in ${MODULE_ORDER[@]+"${MODULE_ORDER[@]}"}; do
			base=${file##*/}
			echo "${base%.xz}"
		done >"$dir/modules/$module.load"
	done
}

# pack DIR FILE [-L]: an initramfs, owned by root whoever makes it; -L follows links.
pack() {
	(cd "$1" && find . -mindepth 1 | LC_ALL=C sort |
		cpio --quiet -o -H newc -R 0:0 --reproducible ${3+"$3"}) >"$2"
}

# image NAME FUNCTION KEY… : make img/NAME-HASH, HASH from the keys; sets IMAGE to its directory.
# The same inputs give the same image; of many, those not used for longest are thrown away.
image() {
	local name=$1 function=$2 hash

	shift 2
	hash=$(printf '%s\n' "$@" | sha256sum)
	IMAGE=$CACHE/img/$name-${hash:0:12}
	mkdir -p "$CACHE/img"
	if check_tree "$IMAGE"; then
		touch "$IMAGE"
		return 0
	fi
	setup_tools tools-lab
	make_tree image "$IMAGE" "$function"
	find "$CACHE/img" -mindepth 1 -maxdepth 1 -printf '%T@ %p\n' | sort -rn | tail -n +49 |
		cut -d ' ' -f 2- | xargs -r -d '\n' rm -rf
}

# One word that stands for the state of a part: its names, sizes and contents, not its times.
part_key() {
	cat "$CACHE/$1/.manifest.names" "$CACHE/$1/.manifest.sums" | sha256sum
}

# What images are made with is part of their keys.
IMAGE_FUNCTIONS=(new_root pack add_modules find_modules module_visit module_text)

new_root() {
	mkdir -p "$1"/{bin,sbin,dev,etc,lab,mnt,proc,root,run,sys,tmp,usr/bin,usr/sbin,var} &&
		cp "$CACHE/busybox/busybox" "$1/bin/busybox" &&
		chmod 755 "$1/bin/busybox" && ln -s busybox "$1/bin/sh" &&
		echo "root:x:0:0:root:/root:/bin/sh" >"$1/etc/passwd" &&
		echo "nobody:x:65534:65534:nobody:/:/bin/sh" >>"$1/etc/passwd" &&
		printf '%s\n' root:x:0: kvm:x:106: nogroup:x:65534: >"$1/etc/group" &&
		echo "127.0.0.1 localhost" >"$1/etc/hosts"
}

# host_image KERNEL MODULE…: initramfs of the emulated host.
host_image() {
	HOST_KERNEL=$1
	shift
	HOST_MODULES=("$@")
	image "host-$HOST_KERNEL" make_host "$HOST_KERNEL" "${HOST_MODULES[*]}" \
		"$(part_key busybox)" "$(part_key "kernel-$HOST_KERNEL")" \
		"$(cat "$LAB/host-init"; declare -f make_host "${IMAGE_FUNCTIONS[@]}")"
}

make_host() {
	local root=$1/root

	new_root "$root" || return 1
	cp "$LAB/host-init" "$root/init" && chmod 755 "$root/init" || return 1
	echo "nameserver 10.0.2.3" >"$root/etc/resolv.conf"
	add_modules "$root" "$HOST_KERNEL" "${HOST_MODULES[@]}" || return 1
	pack "$root" "$1/initrd" && rm -rf "$root"
}

# peer_image: the peer's files as an initramfs to be put behind the host's: they are then in the
# host's memory, as whatever they are compared with.
peer_image() {
	ensure peer
	image peer make_peer "$(part_key peer)" "$(declare -f make_peer pack)"
}

make_peer() {
	mkdir "$1/root" || return 1
	cp -a "$CACHE/peer" "$1/root/peer" && rm -f "$1"/root/peer/.manifest* &&
		pack "$1/root" "$1/initrd" && rm -rf "$1/root"
}

# helpers_image: the helper programs, to be put behind the host's initramfs: programs to /helpers/bin,
# which leads the PATH there, libraries to where the loader looks.
helpers_image() {
	ensure helpers
	image helpers make_helpers "$(part_key helpers)" "$(declare -f make_helpers pack)"
}

make_helpers() {
	local root=$1/root loader

	mkdir -p "$root/helpers" "$root/lib" "$root/usr/libexec" &&
		cp -a "$CACHE/helpers/bin" "$root/helpers/bin" &&
		cp -a "$CACHE/helpers/lib" "$root/lib/riscv64-linux-gnu" || return 1
	loader=$(cd "$root/lib" && echo riscv64-linux-gnu/ld-linux-*)
	ln -s "$loader" "$root/lib/${loader##*/}" &&
		ln -s /helpers/bin/virtiofsd "$root/usr/libexec/virtiofsd" &&
		pack "$root" "$1/initrd" && rm -rf "$root"
}

# Modules of the guest, loaded when asked for on its command line (lkvm.modules=a,b): those of the
# plain image, and those of the image for virtio devices of any kind, which is bigger.
GUEST_MODULES=(virtio_mmio virtio_blk virtio_net)
GUEST_VIRTIO_MODULES=(virtio_mmio virtio_pci virtio_blk virtio_net virtio_console virtio_balloon
	virtio-rng virtio_pmem nd_pmem 9pnet_virtio 9p virtiofs vmw_vsock_virtio_transport
	vsock_diag virtio_input evdev ext4 overlay loop)

guest_cc() {
	if [ "$(native_arch)" = riscv64 ]; then
		echo gcc
	else
		echo riscv64-linux-gnu-gcc
	fi
}

# Modules as a machine has them in /lib/modules/RELEASE, with what depmod makes of them: a line a
# module, all that it needs behind the colon, what loads first last.
make_modules() {
	local kernel=$CACHE/kernel-$GUEST_KERNEL tree module i line

	tree=$1/lib/modules/$(cat "$kernel/release")
	mkdir -p "$tree" || return 1
	for module in "${GUEST_WANTED[@]}"; do
		find_modules "$GUEST_KERNEL" "$module" || return 1
		[ ${#MODULE_ORDER[@]} -gt 0 ] || continue
		line=
		for ((i = ${#MODULE_ORDER[@]} - 1; i >= 0; i--)); do
			line+=${line:+ }${MODULE_ORDER[i]#"$kernel/modules/"}
			[[ $line == *:* ]] || line+=:
			mkdir -p "$tree/$(dirname "${MODULE_ORDER[i]#"$kernel/modules/"}")" &&
				cp "${MODULE_ORDER[i]}" "$tree/${MODULE_ORDER[i]#"$kernel/modules/"}" || return 1
		done
		echo "$line" >>"$tree/modules.dep"
	done
	tar -C "$1/lib/modules" --owner=0 --group=0 -cf "$1/modules.tar" . && rm -rf "$1/lib"
}

# modules_image KERNEL: what a guest that runs one command may need.
modules_image() {
	ensure "kernel-$1"
	GUEST_KERNEL=$1
	GUEST_WANTED=("${GUEST_VIRTIO_MODULES[@]}")
	image "modules-$1" make_modules "$1" "${GUEST_WANTED[*]}" "$(part_key "kernel-$1")" \
		"$(declare -f make_modules "${IMAGE_FUNCTIONS[@]}")"
}

# guest_image KERNEL [virtio]: initramfs of a guest from tests/boot/guest.
guest_image() {
	ensure busybox "kernel-$1"
	GUEST_KERNEL=$1
	GUEST_WANTED=("${GUEST_MODULES[@]}")
	[ "${2-}" != virtio ] || GUEST_WANTED=("${GUEST_VIRTIO_MODULES[@]}")
	setup_tools tools-build
	image "guest-$1${2:+-$2}" make_guest "$1" "${GUEST_WANTED[*]}" "$(part_key busybox)" \
		"$(part_key "kernel-$1")" "$("$(guest_cc)" --version)" \
		"$(cd "$LAB/../boot/guest" && find . -type f -perm /100 -printf x -o -type f |
			LC_ALL=C sort; cd "$LAB/../boot/guest" && find . -type f -print0 |
			LC_ALL=C sort -z | xargs -0 sha256sum)" \
		"$(declare -f make_guest guest_cc "${IMAGE_FUNCTIONS[@]}")"
}

make_guest() {
	local root=$1/root src=$LAB/../boot/guest file out

	new_root "$root" || return 1
	cp "$src/init" "$root/init" && chmod 755 "$root/init" || return 1
	for file in "$src"/*; do
		case $file in
		*/init | *.md | *.h) ;;
		*.c)
			out=$root/bin/$(basename "$file" .c)
			"$(guest_cc)" -std=gnu11 -O2 -g0 -Wall -Wextra -static -s -pthread \
				-o "$out" "$file" -lm || return 1
			;;
		*)
			[ -f "$file" ] || continue
			cp "$file" "$root/bin/" && chmod 755 "$root/bin/${file##*/}" || return 1
			;;
		esac
	done
	add_modules "$root" "$GUEST_KERNEL" "${GUEST_WANTED[@]}" || return 1
	pack "$root" "$1/initrd" && rm -rf "$root"
}
