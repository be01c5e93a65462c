#!/bin/sh
# audit.sh - `hakmem audit` of a program that runs, stopped for a moment: each node's pool has memory, and all of it
# there. Then of one whose memory cannot be where it should: the audit must say so. LIB: the library to preload.
. ./say.sh
[ -x ./hakmem ] || verdict skip "the hakmem command is not beside"

# look WHAT: a report of place in /tmp/audit, once each pool with a node has a MiB
look() {
	for _ in $(seq 600); do
		pid=$(pidof place) && ./hakmem audit "$pid" >/tmp/audit 2>/tmp/err && enough </tmp/audit && break
		sleep 0.05
	done
	enough </tmp/audit || verdict fail "$1: not a MiB on each node: $(cat /tmp/audit /tmp/err)"
	kill -STOP "$pid"
	./hakmem audit "$pid" >/tmp/audit 2>/tmp/err || verdict fail "$1: $(cat /tmp/err)"
	kill -KILL "$pid"
	cat /tmp/audit
}

enough() {
	awk '$1 ~ /^[0-9]+$/ && $2 != "of" { rows++; sum = 0
		for (i = 2; i <= NF; i++) if (split($i, at, ":") == 2) sum += at[2]
		if (sum >= 1048576) full++ }
	END { exit !(rows > 1 && rows == full) }'
}

# of each pool with a node: bytes that are elsewhere, counted anew
elsewhere() {
	awk '$1 ~ /^[0-9]+$/ { for (i = 2; i <= NF; i++) if (split($i, at, ":") == 2 && at[1] != $1) sum += at[2] }
	END { printf "%d", sum }' /tmp/audit
}

preloaded ./place --rounds 100000 >/dev/null &
look "local"
[ "$(elsewhere)" = 0 ] && grep -q '^0 of ' /tmp/audit || verdict fail "memory is elsewhere: $(tr '\n' ';' </tmp/audit)"

# what asks for each thread's own node, where the task may have memory of node 0 alone and mbind is refused
HAKMEM_NUMA=local numactl --membind=0 ./denied eperm "$LIB" ./place --rounds 100000 --report >/dev/null 2>&1 &
look "bound"
bytes=$(elsewhere)
[ "$bytes" -gt 1048576 ] && grep -q "^$bytes of " /tmp/audit || verdict fail "$bytes bytes: $(tr '\n' ';' </tmp/audit)"
verdict pass "$bytes bytes off node where they had to be"
