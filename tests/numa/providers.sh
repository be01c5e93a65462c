#!/bin/sh
# providers.sh - the node table is the same whoever gives it: /sys, a string, the file, and hwloc through
# the command of the unit hakmem-topology where the tool is beside. LIB: the library to preload.
. ./say.sh
mkdir -p ${topology_file%/*}
rm -f $topology_file

# said PROVIDER [NAME=VALUE...]: runs a program with that provider; prints the nodes it says
said() {
	provider=$1
	# with one node the library asks neither /sys nor the file
	[ "$LAB_TOPOLOGY" != 1node ] || [ $provider = inherited ] || provider=none
	shift
	env "$@" HAKMEM_VERBOSE=1 LD_PRELOAD="$LIB" ./place --rounds 2 --blocks 32 >/tmp/out 2>/tmp/err ||
		verdict fail "$provider: $(tail -n1 /tmp/out)"
	tail -n1 /tmp/out
	grep -q "numa provider=$provider " /tmp/err ||
		verdict fail "$provider: not the provider: $(grep -m1 'numa provider' /tmp/err)"
	sed -n 's/.*numa provider=[a-z]* .*nodes=\([0-9,-]*\).*/\1/p' /tmp/err >"/tmp/nodes.$provider"
}

# What both must say: all but the tier and the speeds, which hwloc may know better.
plain() { sed 's/ tier=.*dist=/ dist=/; s/ bw=.*//; s/ lat=.*//'; }

said sysfs
said inherited HAKMEM_TOPOLOGY="$(./facts.sh)"
./facts.sh >$topology_file
said file
[ "$LAB_TOPOLOGY" != 1node ] || for provider in sysfs file; do cp /tmp/nodes.none /tmp/nodes.$provider; done
for provider in inherited file; do
	cmp -s /tmp/nodes.sysfs /tmp/nodes.$provider ||
		verdict fail "$provider says $(cat /tmp/nodes.$provider), sysfs says $(cat /tmp/nodes.sysfs)"
done
rm -f $topology_file
[ -x ./hakmem ] || verdict pass "without hwloc: the tool is not beside"

# What systemd does for the unit: its folder, its umask, nothing in the environment, no new privileges.
rmdir ${topology_file%/*}
unit() { sed -n "s/^$1=//p" hakmem-topology.service; }
folder=/run/$(unit RuntimeDirectory)
command=$(unit ExecStart | sed 's,@BINDIR@,/lab,')
mkdir -m 755 "$folder"
(umask "$(unit UMask)" && cd / && env -i setpriv --nnp $command) >/tmp/out 2>&1 ||
	verdict fail "$command: $(tail -n1 /tmp/out)"
[ "$(stat -c '%a %u %h' $topology_file)" = '644 0 1' ] || verdict fail "$topology_file: $(ls -l "$folder")"
tr ';' '\n' <$topology_file | plain | sort >/tmp/hwloc
./facts.sh | plain | sort >/tmp/facts
cmp -s /tmp/hwloc /tmp/facts ||
	verdict fail "hwloc and /sys differ: $(diff /tmp/hwloc /tmp/facts | grep '^[<>]' | head -n4)"
said file
cmp -s /tmp/nodes.sysfs /tmp/nodes.file || verdict fail "what hwloc saved gives other nodes"
rm -f $topology_file
verdict pass "sysfs, inherited, file, hwloc: nodes $(cat /tmp/nodes.sysfs)"
