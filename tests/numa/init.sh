#!/bin/sh
# init.sh - process 1 of the lab's guest: sets the machine up, runs the command, sends back what it left.
#
# ttyS0 has the kernel's log, ttyS1 the command's output, ttyS2 an archive of /out. The command's status
# is in that archive (.status): an archive that is whole says that the guest came to its end.
# /etc/lab.conf sets: name, hugepages (2 MiB pages per node, by commas), thp.
export PATH=/lab:/usr/bin:/bin HOME=/lab OUT=/out TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t devpts pts /dev/pts
mount -t cgroup2 cgroup /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd
ulimit -c 0
. /etc/lab.conf
export LAB_TOPOLOGY=$name

# Fills each node's pool; a single number is for every node. A node that gets fewer is named on the
# kernel's console.
list=$hugepages,
for node in $(ls -d /sys/devices/system/node/node[0-9]* | sort -V); do
	count=${list%%,*}
	list=${list#*,}
	count=${count:-$last}
	last=$count
	pool=$node/hugepages/hugepages-2048kB/nr_hugepages
	[ "$count" != 0 ] && ! grep -q 'MemTotal: *0 kB' "$node/meminfo" || continue
	echo "$count" >"$pool"
	got=$(cat "$pool")
	[ "$got" = "$count" ] || echo "lab-note: ${node##*/} has $got of $count pages of 2 MiB" >/dev/console
done
# the kernel ignores its own parameter on small machines
echo "$thp" >/sys/kernel/mm/transparent_hugepage/enabled
stty -F /dev/ttyS1 raw
stty -F /dev/ttyS2 raw

echo "lab-up $(cut -d' ' -f1 /proc/uptime)" >/dev/console
cd /lab || exit
# Closing a line waits until all of it is sent.
setsid sh /etc/lab.command </dev/null >/dev/ttyS1 2>&1
echo $? >/out/.status
tar -C /out -czf - . >/dev/ttyS2
poweroff -f
