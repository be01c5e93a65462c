#!/bin/sh
# badinput.sh - what a user may get wrong: one line that names the option, and the program runs on with
# every byte on its node. LIB: the library to preload.
. ./say.sh
count=0

# try WHAT WORD [NAME=VALUE...]: one line of the library with WORD in it, and the program's success
try() {
	what=$1
	word=$2
	shift 2
	env "$@" LD_PRELOAD="$LIB" ./place --rounds 2 --blocks 32 >/tmp/out 2>/tmp/err ||
		verdict fail "$what: the program failed: $(tail -n1 /tmp/out) $(head -n2 /tmp/err)"
	lines=$(grep -c '^hakmem: ' /tmp/err)
	[ "$lines" = 1 ] || verdict fail "$what: $lines lines, not one: $(head -n3 /tmp/err)"
	grep -q "^hakmem: .*$word" /tmp/err || verdict fail "$what: $word is not named: $(cat /tmp/err)"
	count=$((count + 1))
}

# silent WHAT [NAME=VALUE...]: right input gives no line
silent() {
	what=$1
	shift
	env "$@" LD_PRELOAD="$LIB" ./place --rounds 2 --blocks 32 >/tmp/out 2>/tmp/err ||
		verdict fail "$what: the program failed: $(tail -n1 /tmp/out)"
	[ ! -s /tmp/err ] || verdict fail "$what: said $(head -n2 /tmp/err)"
	count=$((count + 1))
}

# Each text wrong in one way, in the environment and in the file. The line names the nodes that there are.
online="nodes online: $(cat /sys/devices/system/node/online)"
try_topology() {
	what=$1
	text=$2
	try "$what in the environment" "HAKMEM_TOPOLOGY ignored.*$online" HAKMEM_TOPOLOGY="$text"
	printf '%s\n' "$text" >$topology_file
	try "$what in the file" "$topology_file ignored.*$online"
	rm -f $topology_file
}

for word in nearby bind bind= bind=0- bind=x bind=1-0 bind=0,,1 preferred preferred= preferred=x preferred=0-1 'local '; do
	try "HAKMEM_NUMA=$word" HAKMEM_NUMA HAKMEM_NUMA="$word"
done
# nodes that are not there: the line names those that are, from the first to the last
named="HAKMEM_NUMA.*nodes.* 0[-,0-9]*$last"
try "an unknown node to bind to" "$named" HAKMEM_NUMA=bind=9
try "an unknown node to prefer" "$named" HAKMEM_NUMA=preferred=9
try "a node beyond every limit" "$named" HAKMEM_NUMA=preferred=99999
if [ "$LAB_TOPOLOGY" = memless ]; then
	try "a node without memory" "$named" HAKMEM_NUMA=preferred=1
	try "binding to a node without memory" "$named" HAKMEM_NUMA=bind=1
fi

mkdir -p ${topology_file%/*}
good=$(./facts.sh)
silent "a good string" HAKMEM_TOPOLOGY="$good"
silent "a good string with semicolons" HAKMEM_TOPOLOGY="$(echo "$good" | tr '\n' ';')"
echo "$good" >$topology_file
silent "a good file"
rm -f $topology_file
try_topology "a text of something else" "hello, world"
try_topology "another version" "$(echo "$good" | sed 's/^v1$/v9/')"
try_topology "another boot" "$(echo "$good" | sed 's/^boot=.*/boot=00000000-0000-0000-0000-000000000000/')"
try_topology "other nodes online" "$(echo "$good" | sed 's/^online=.*/online=0-6/')"
try_topology "a cut text" "$(echo "$good" | sed '$d')"
try_topology "a text cut in a line" "$(echo "$good" | head -n4 | head -c -9)"
try_topology "a bad number" "$(echo "$good" | sed 's/mem=[0-9]*/mem=many/')"
try_topology "a bad list" "$(echo "$good" | sed 's/cpus=0[^ ]*/cpus=0-/')"
try_topology "a bad distance" "$(echo "$good" | sed 's/dist=0:10/dist=0:near/')"

# a file that could be somebody else's work
echo "$good" >$topology_file
chmod 666 $topology_file
try "a file that others may write" $topology_file
chmod 644 $topology_file
chown 1000 $topology_file
try "a file of another user" $topology_file
rm -f $topology_file
(echo "$good" | sed '$d'; head -c 20000 /dev/zero | tr '\0' ' '; echo; echo end) >$topology_file
try "a file that is too large" $topology_file
rm -f $topology_file
mkdir $topology_file
try "a folder" $topology_file
rmdir $topology_file
mkfifo $topology_file
try "a pipe" $topology_file
rm -f $topology_file
verdict pass "$count inputs"
