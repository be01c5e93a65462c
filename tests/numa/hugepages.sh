#!/bin/sh
# hugepages.sh - `hakmem run --hugepages` on pools that are the kernel's: the program has pages on its nodes, and what
# was added goes again, however it ends. LIB: the library to preload.
. ./say.sh
[ -x ./hakmem ] || verdict skip "the hakmem command is not beside"

# the pools of all nodes: 2,2
sizes() { cat /sys/devices/system/node/node[0-9]*/hugepages/hugepages-2048kB/nr_hugepages | tr '\n' ',' | sed 's/,$//'; }

# are WANTED WHEN
are() { [ "$(sizes)" = "$1" ] || verdict fail "$2: pools of $(sizes), not $1"; }

# hold COMMAND: stops it once it has huge pages; $job: the tool, $pools: their sizes then
hold() {
	./hakmem run --lib "$LIB" --option STARTER_MIB=0 "$@" -- ./place --rounds 100000 >/dev/null 2>&1 &
	job=$!
	for _ in $(seq 600); do
		program=$(pidof place) && grep -q 'HugetlbPages:.*[1-9]' "/proc/$program/status" && break
		sleep 0.05
	done
	pools=$(sizes)
}

pools 2
before=$(sizes)
./hakmem run --lib "$LIB" --option STARTER_MIB=0 --hugepages 16 -- ./hugetlb fill 24 some
are "$before" "after a run"

hold --hugepages 6
[ "$pools" = "$(echo "$before" | sed 's/2/8/g')" ] || verdict fail "during a run: $pools"
kill -TERM "$job"
status=0
wait "$job" || status=$?
[ $status = 143 ] || verdict fail "ended by SIGTERM with $status"
are "$before" "after SIGTERM"

hold --numa "bind=$last" --hugepages 6
[ "$pools" = "${before%2}8" ] || verdict fail "during a run on node $last: $pools"
kill -KILL "$program"
wait "$job" || status=$?
[ $status = 137 ] || verdict fail "its program was killed, it ended with $status"
are "$before" "after the program was killed"
verdict pass "$pools on node $last, $before after each"
