#!/bin/sh
# facts.sh - what the kernel says of its nodes, in the form that HAKMEM_TOPOLOGY has (see docs), read from
# /sys with nothing else: the yardstick for what hwloc and the library read.
nodes=/sys/devices/system/node

# the word after a label of the node's meminfo, in KiB
meminfo() { sed -n "s/.*$2: *\([0-9]*\) kB/\1/p" "$1/meminfo"; }

ids=$(ls -d $nodes/node[0-9]* | sed 's/.*node//' | sort -n)
echo v1
echo "boot=$(cat /proc/sys/kernel/random/boot_id)"
echo "online=$(cat $nodes/online)"
for id in $ids; do
	node=$nodes/node$id
	cpus=$(cat "$node/cpulist")
	tier=0
	[ -n "$cpus" ] || tier=1
	dist=
	for other in $ids; do
		set -- $(cat "$node/distance")
		# one number for each online node, in order
		shift "$(echo "$ids" | grep -nx "$other" | cut -d: -f1 | awk '{print $1 - 1}')"
		dist=$dist,$other:$1
	done
	line="node=$id cpus=${cpus:--} mem=$(($(meminfo "$node" MemTotal) / 1024)) tier=$tier dist=${dist#,}"
	speed=$node/access0/initiators
	[ ! -r $speed/read_bandwidth ] || line="$line bw=$(cat $speed/read_bandwidth)"
	[ ! -r $speed/read_latency ] || line="$line lat=$(cat $speed/read_latency)"
	echo "$line"
done
echo end
