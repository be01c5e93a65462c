#!/bin/sh
# touch.sh - bench/programs/numa_touch runs on this machine, and what each node's thread allocates is there. Its
# speeds mean nothing on an emulated machine.
. ./say.sh
[ -x ./numa_touch ] || verdict skip "numa_touch is not built (make bench-suite)"
out=$(preloaded ./numa_touch --quick -p mib=16 -p steps=20000 2>/tmp/touch.txt) || verdict fail "status $?: $(tail -n 1 /tmp/touch.txt)"
case $out in
*'"least_share_at_home": 1.0000'*) ;;
*) verdict fail "some pages are elsewhere: $out" ;;
esac
nodes=$(grep -c '^  on' /tmp/touch.txt)
echo "$out" | grep -q "\"nodes\": $((nodes / 3))," || verdict fail "matrices of $nodes lines: $out"
verdict pass ""
