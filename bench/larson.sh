#!/usr/bin/env bash
# larson.sh - the one way to run larson: a profile, an allocator, all settings printed, a verdict.
#
#   bench/larson.sh PROFILE [--lib FILE|NAME] [--threads N] [--seconds N] [--hours N] [--runs N]
#
#   tput      throughput, blocks of one size        remote   most blocks are freed by another thread
#   pf        large blocks, every byte written      soak     2 minutes (or --hours): resident memory
#   smoke     seconds                                        must stay flat
#
# PROFILE is config/larson/PROFILE.conf: lines LARSON_NAME=NUMBER. The environment comes before it,
# options come before both. NAME: hakmem (default), glibc, mimalloc, jemalloc, tcmalloc, tbbmalloc.
# BUILD is the build folder. Status: 0; 1 a lost block, no memory, or a soak that is not flat; 2 bad
# input; 3 the allocator could not be proven.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${BUILD:-$root/build}
names=(THREADS SECONDS RUNS MIN MAX BLOCKS ROUNDS SEED SIZED TRADE TOUCH SAMPLES FLAT_PERCENT)

die() {
	echo "larson.sh: $1" >&2
	exit "${2:-2}"
}

usage() {
	sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
}

is_name() {
	[[ " ${names[*]} " == *" $1 "* ]]
}

# Sets what the environment has not set. The file is read, not run.
profile_read() {
	local file=$1 line key value at=0
	while IFS= read -r line || [[ -n $line ]]; do
		at=$((at + 1))
		line=${line%%#*}
		[[ $line =~ [^[:space:]] ]] || continue
		[[ $line =~ ^LARSON_([A-Z_]+)=([0-9]+)[[:space:]]*$ ]] ||
			die "$file:$at: LARSON_NAME=NUMBER is expected"
		key=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
		is_name "$key" || die "$file:$at: no setting LARSON_$key (${names[*]})"
		key=LARSON_$key
		[[ -n ${!key:-} ]] || printf -v "$key" %s "$value"
	done <"$file"
}

# The file that serves for NAME or FILE; "glibc" for itself.
library_find() {
	local wish=$1 file
	case $wish in
	glibc) echo glibc && return ;;
	hakmem) file=$BUILD/libhakmem.so ;;
	mimalloc | jemalloc | tcmalloc | tbbmalloc)
		local -A patterns=([mimalloc]='libmimalloc.so*' [jemalloc]='libjemalloc.so*'
			[tcmalloc]='libtcmalloc_minimal.so*' [tbbmalloc]='libtbbmalloc_proxy.so*')
		file=$(find /usr/lib /usr/local/lib -name "${patterns[$wish]}" 2>/dev/null | sort | head -n 1)
		[[ -n $file ]] || die "$wish is not installed (config/install-needs.sh try)"
		;;
	*) file=$wish ;;
	esac
	[[ -f $file ]] || die "$file: no such file (a library, or hakmem, glibc, mimalloc, jemalloc, tcmalloc, tbbmalloc)"
	realpath "$file"
}

# One field of the line of JSON.
field() {
	sed -n "s/.*\"$1\": \"\{0,1\}\([^,\"}]*\).*/\1/p" <<<"$2"
}

resident_kib() {
	sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status" 2>/dev/null || :
}

# Runs larson in the background and samples it; sets line and rss.
run_once() {
	local out=$work/out pid status=0 pause kib
	local command=("$program" --json --expect "$lib" -t "$LARSON_THREADS" -s "$LARSON_SECONDS"
		-p "min=$LARSON_MIN" -p "max=$LARSON_MAX" -p "blocks=$LARSON_BLOCKS"
		-p "rounds=$LARSON_ROUNDS" -p "seed=$LARSON_SEED" -p "sized=$LARSON_SIZED"
		-p "trade=$LARSON_TRADE" -p "touch=$LARSON_TOUCH")
	local preload=()
	[[ $lib == glibc ]] || preload=("LD_PRELOAD=$lib${LD_PRELOAD:+:$LD_PRELOAD}")
	env ${preload[@]+"${preload[@]}"} "${command[@]}" >"$out" &
	pid=$! rss=()
	running=$pid
	if [[ $LARSON_SAMPLES -gt 0 ]]; then
		pause=$(awk -v s="$LARSON_SECONDS" -v n="$LARSON_SAMPLES" 'BEGIN{p = s / n; print p < 0.1 ? 0.1 : p}')
		while sleep "$pause" && kill -0 "$pid" 2>/dev/null; do
			kib=$(resident_kib "$pid")
			[[ -z $kib ]] || rss+=("$kib")
		done
	fi
	wait "$pid" || status=$?
	running=
	line=$(cat "$out")
	[[ $status -lt 128 ]] || die "larson was ended by signal $((status - 128)): out of memory, or a crash" 1
	[[ $status == 0 ]] || exit "$status"
	[[ -n $line ]] || die "larson printed nothing" 1
}

# The last third of the samples against the second one; the first is for filling up.
flat_check() {
	local n=${#rss[@]}
	[[ $n -ge 6 ]] || die "only $n samples: too few to tell whether memory is flat" 1
	printf '%s\n' "${rss[@]}" | awk -v n="$n" -v limit="$LARSON_FLAT_PERCENT" '
		{ s = s (NR > 1 ? " " : "") $1 }
		NR > n / 3 && NR <= 2 * n / 3 { a += $1; na++ }
		NR > 2 * n / 3 { b += $1; nb++ }
		END {
			a /= na; b /= nb; rise = (b / a - 1) * 100
			print "resident KiB: " s
			printf "resident memory is %s: %.0f KiB in the second third, %.0f KiB in the last (%+.1f %%, limit %d %%)\n",
				rise <= limit ? "flat" : "NOT flat", a, b, rise, limit
			exit rise > limit
		}'
}

profile=
lib=hakmem
running=
while [[ $# -gt 0 ]]; do
	case $1 in
	-h | --help)
		usage
		exit 0
		;;
	--lib | --threads | --seconds | --hours | --runs)
		[[ $# -ge 2 && -n $2 ]] || die "$1: a value is expected; see --help"
		[[ $1 == --lib || $2 =~ ^[1-9][0-9]*$ ]] || die "$1: a number above 0 is expected, not '$2'"
		case $1 in
		--lib) lib=$2 ;;
		--threads) LARSON_THREADS=$2 ;;
		--seconds) LARSON_SECONDS=$2 ;;
		--hours) LARSON_SECONDS=$(($2 * 3600)) ;;
		--runs) LARSON_RUNS=$2 ;;
		esac
		shift
		;;
	-*) die "unknown option $1; see --help" ;;
	*)
		[[ -z $profile ]] || die "one profile, please: $profile or $1"
		profile=$1
		;;
	esac
	shift
done
[[ -n $profile ]] || die "a profile is expected: tput, pf, smoke, remote or soak; see --help"
conf=$root/config/larson/$profile.conf
[[ $profile != */* && -f $conf ]] || die "no profile $profile in config/larson"
profile_read "$conf"
program=$BUILD/bench/suite/larson
[[ -x $program ]] || die "$program is not built: make bench-suite"
lib=$(library_find "$lib")

for name in "${names[@]}"; do
	key=LARSON_$name
	[[ ${!key:-} =~ ^[0-9]+$ ]] || die "$key: a number is expected, not '${!key:-}'"
done
echo "profile $profile, malloc by $lib"
for name in "${names[@]}"; do
	key=LARSON_$name
	echo "  $key=${!key}"
done

work=$(mktemp -d "${TMPDIR:-/tmp}/larson.XXXXXX")
trap '[[ -z $running ]] || kill "$running" 2>/dev/null || :; rm -rf "$work"' EXIT
all=()
for ((run = 1; run <= LARSON_RUNS; run++)); do
	run_once
	all+=("$(field ops_per_s "$line")")
	awk -v run="$run" -v ops="$(field ops_per_s "$line")" -v peak="$(field peak_rss_kib "$line")" \
		-v end="$(field end_rss_kib "$line")" -v made="$(field threads_made "$line")" \
		-v file="$(field allocator "$line")" 'BEGIN{
		printf "run %d: %.3f M replacements/s, %d threads made, peak %d KiB, after all was freed %d KiB, proven: %s\n",
			run, ops / 1e6, made, peak, end, file}'
	[[ $LARSON_SAMPLES == 0 ]] || flat_check || exit 1
done
printf '%s\n' "${all[@]}" | sort -n | awk '{v[NR] = $1 / 1e6} END{
	m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
	printf "median of %d: %.3f M replacements/s (%.3f to %.3f); no block lost\n", NR, m, v[1], v[NR]}'
