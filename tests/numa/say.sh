# say.sh - read by the guest's scripts: closing lines like those of the programs, and small helpers.
#   verdict pass|fail|skip WHY: the script's end;   preloaded COMMAND
all=$(cat /sys/devices/system/node/has_memory)
# a node that is not the first: the last one with memory
last=${all##*[,-]}
topology_file=/run/hakmem/topology

verdict() {
	printf '{"program": "%s", "verdict": "%s", "why": "%s"}\n' "${0##*/}" "$1" "$(echo "$2" | tr -d '"\\' | tr '\n' ' ')"
	case $1 in
	pass) exit 0 ;;
	skip) exit 77 ;;
	*) exit 1 ;;
	esac
}

preloaded() { LD_PRELOAD=$LIB "$@"; }

# pools COUNT,COUNT: 2 MiB pages of each node
pools() {
	list=$1,
	for node in $(ls -d /sys/devices/system/node/node[0-9]* | sort -V); do
		count=${list%%,*}
		list=${list#*,}
		count=${count:-$previous}
		previous=$count
		echo "$count" >"$node/hugepages/hugepages-2048kB/nr_hugepages"
	done
}

# into_cpuset NODES: this shell and its children
into_cpuset() {
	group=/sys/fs/cgroup/lab
	echo +cpuset >/sys/fs/cgroup/cgroup.subtree_control
	mkdir -p $group
	echo "$1" >$group/cpuset.mems
	echo $$ >$group/cgroup.procs
}
