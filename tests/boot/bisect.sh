#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: own git
# time: 400
#
# git bisect run with a scripted boot as it stands: eight versions of an initramfs, of which the
# sixth brought the mistake. A version that can't be started is skipped.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

tar xf "$FILES/git.tar"
PATH=$PWD:$PATH
HOME=$PWD
export PATH HOME LKVM KERNEL INITRD
git init -q --template= tree 2>/dev/null
cd tree || exit
git config user.name nobody
git config user.email nobody@localhost

# Version 4 can't be started, version 6 has the culprit, 7 and 8 inherit it.
for version in 1 2 3 4 5 6 7 8; do
	answer=42
	[ $version -lt 6 ] || answer=41
	printf '#!/bin/sh\necho "version %s: the answer is %s"\n' $version $answer >program
	chmod 755 program
	: >options
	[ $version -ne 4 ] || echo --cpus=none >options
	git add program options
	git commit -qm "version $version"
	git tag v$version
done

# What is tried: one lkvm, its status the verdict.
cat >../try <<-'END'
	#!/bin/sh
	# A gzip archive may be followed by a plain one, at a multiple of four bytes.
	cp "$INITRD" ../initrd
	dd if=/dev/zero bs=1 count=$(((4 - $(stat -c %s ../initrd) % 4) % 4)) >>../initrd 2>/dev/null
	echo program | cpio -o -H newc >>../initrd 2>/dev/null
	exec "$LKVM" run -k "$KERNEL" -i ../initrd -m 256 $(cat options) -p "quiet lkvm.run=/program" \
		--timeout 120 --expect "the answer is 42"
END
chmod 755 ../try

note "good, bad, and what can't be started"
git checkout -q v1
../try >../out 2>../err || fail "version 1 is bad: $(cat ../err)"
git checkout -q v4
rc=0
../try >../out 2>../err || rc=$?
[ $rc = 125 ] || fail "version 4: $rc"

note "git bisect run"
git bisect start v8 v1 >../bisect.log
git bisect run ../try >>../bisect.log 2>../bisect.err || fail "$(cat ../bisect.log ../bisect.err)"
cat ../bisect.log ../bisect.err
grep -q "^$(git rev-parse v6) is the first bad commit" ../bisect.log ||
	grep -q "^$(git rev-parse v6) is the first 'bad' commit" ../bisect.log || fail "not found"
grep -q 'Error: the guest powered off before --expect "the answer is 42", step 1 of 1' \
	../bisect.err || fail "it is not said why a version is bad"
grep -q '  | version [678]: the answer is 41$' ../bisect.err || fail "nor what it said last"
