#!/usr/bin/env bash
# programs_test.sh - the suite's programs run, prove their allocator, do the work they say, and notice
# a malloc that hands a block out twice, damages one, or has none left. No times are judged.
#
# BUILD is the build folder, LIB the library (empty: glibc alone). Status 0 pass, 1 fail, 77 skipped.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-$root/build}
LIB=${LIB:-}
export BUILD
suite=$BUILD/bench/suite
broken=$BUILD/bench/suite-obj/programs_test_broken.so
failures=0
unset LD_PRELOAD HAK_VERIFY_LIB GLIBC_TUNABLES

[[ -x $suite/larson ]] || { echo "skipped: $suite is not built (make bench-suite)" && exit 77; }
command -v python3 >/dev/null || { echo "skipped: no python3" && exit 77; }
[[ -z $LIB || -f $LIB ]] || { echo "left out: $LIB is not built" && LIB=; }
work=$(mktemp -d "${TMPDIR:-/tmp}/programs-test.XXXXXX")
trap 'rm -rf "$work"' EXIT

verdict() { # verdict NAME WHY: an empty WHY is a pass
	if [[ -z $2 ]]; then
		echo "ok   $1"
		return
	fi
	echo "FAIL $1: $2"
	sed 's/^/     | /' "$work/out" "$work/err" | cut -c 1-200 | head -n 8
	failures=$((failures + 1))
}

# expect NAME STATUS TEXT COMMAND...: the status, and TEXT in standard error
expect() {
	local name=$1 status=$2 text=$3 got=0 why=''
	shift 3
	"$@" >"$work/out" 2>"$work/err" || got=$?
	[[ $got == "$status" ]] || why="status $got, expected $status"
	[[ -n $why || -z $text ]] || grep -q -- "$text" "$work/err" || why="'$text' was not said"
	verdict "$name" "$why"
}

# A line of JSON that stands for a run: fields, proof, operations.
line_check() { # line_check BENCH FILE
	python3 - "$work/out" "$1" "$2" <<-'PY'
		import json, os, sys
		text, bench, wanted = open(sys.argv[1]).read(), sys.argv[2], sys.argv[3]
		if text.count("\n") != 1:
		    sys.exit("not one line")
		row = json.loads(text)
		for name in ("threads", "ops", "seconds", "cpu_seconds", "ops_per_s", "peak_rss_kib",
		             "end_rss_kib"):
		    if not isinstance(row.get(name), (int, float)) or row[name] <= 0:
		        sys.exit(f"{name} is {row.get(name)}")
		if row["bench"] != bench or row["verified"] is not True:
		    sys.exit(f"bench {row['bench']}, verified {row['verified']}")
		if wanted and not os.path.samefile(row["allocator"], wanted):
		    sys.exit(f"served by {row['allocator']}")
		if not wanted and "/libc.so" not in row["allocator"]:
		    sys.exit(f"served by {row['allocator']}")
		if not {"trimmed_rss_kib", "tables_kib"} <= set(row) or row["peak_rss_kib"] < row["end_rss_kib"]:
		    sys.exit("memory figures")
	PY
}

run_one() { # run_one PROGRAM PRELOAD ARGUMENT...
	local program=$1 preload=$2 name why='' got=0
	shift 2
	name=$(basename "$program")
	LD_PRELOAD=$preload "$program" --json --quick --expect "${preload:-glibc}" "$@" \
		>"$work/out" 2>"$work/err" || got=$?
	if [[ $got == 77 ]]; then
		echo "skip $name: $(cat "$work/err")"
		return
	fi
	[[ $got == 0 ]] || why="status $got"
	[[ -n $why ]] || why=$(line_check "$name" "$preload" 2>&1) || :
	verdict "$name ${preload:+under $(basename "$preload") }$*" "$why"
}

ops_of() {
	sed -n 's/.*"ops": \([0-9]*\).*/\1/p' "$work/out"
}

all_run() {
	local preload program
	for preload in "" ${LIB:+"$LIB"}; do
		for program in "$suite"/*; do
			case $(basename "$program") in
			larson | fragment) run_one "$program" "$preload" -n 2 ;;
			glibc_simple) run_one "$program" "$preload" ;;
			*) run_one "$program" "$preload" -t 2 ;;
			esac
		done
		run_one "$suite/larson" "$preload" -n 2 -p sized=1
		run_one "$suite/larson" "$preload" -s 0.2 -p trade=500 -t 3
		run_one "$BUILD/bench/suite-obj/template" "$preload" -t 2
	done
}

# The same arguments ask for the same work.
work_test() {
	local name first
	for name in alloc_test larson mstress rptest; do
		"$suite/$name" --json -n 3 -t 2 >"$work/out"
		first=$(ops_of)
		"$suite/$name" --json -n 3 -t 2 >"$work/out"
		verdict "$name does the same work twice" \
			"$([[ -n $first && $first == "$(ops_of)" ]] || echo "$first and $(ops_of) operations")"
	done
	# 4 generations in each of 3 lines, 100 rounds of 5000 replacements
	"$suite/larson" --json -n 4 -t 3 >"$work/out"
	verdict "larson counts its replacements" "$([[ $(ops_of) == 6000000 ]] || ops_of)"
	verdict "larson counts its threads" "$(grep -q '"threads_made": 12,' "$work/out" || echo "not 12")"
}

proof_test() {
	expect "the wrong file is refused" 3 "resolves to" "$suite/larson" --expect "$broken" -n 1
	expect "a file that is not there" 3 "No such file" "$suite/larson" --expect "$work/none.so" -n 1
	expect "glibc is not this one" 3 "verify:" env "LD_PRELOAD=$broken" \
		"$suite/tlb" --quick --expect glibc
	"$suite/larson" --expect "$broken" -n 1 >"$work/out" 2>/dev/null || :
	verdict "no figure without proof" "$([[ ! -s $work/out ]] || echo "a line was printed")"
	"$suite/burst" --json --quick -n 1 >"$work/out"
	verdict "nothing is claimed unasked" \
		"$(grep -q '"verified": false' "$work/out" || echo "verified")"
}

arguments_test() {
	expect "unknown argument" 2 "unknown argument" "$suite/larson" --wat
	expect "unknown parameter" 2 "a name from --help" "$suite/larson" -p wat=1
	expect "parameter out of range" 2 "a number from" "$suite/larson" -p min=0
	expect "no number" 2 "a number from" "$suite/larson" -t two
	expect "time and count" 2 "one of them" "$suite/larson" -s 1 -n 1
	expect "time where work is fixed" 2 "work of this program is fixed" "$suite/mstress" -s 1
	expect "value missing" 2 "a value is expected" "$suite/larson" -p
}

# larson keeps a set, exchange hands over, mstress checks each word, and the template is a new one.
broken_test() {
	local program mode
	local -A counts=([larson]=2 [exchange]=100000 [mstress]=25 [xmalloc]=100000 [template]=100000
		[sh8bench]=30000 [latency]=50000 [realloc_growth]=50000)
	for mode in control twice scribble null; do
		for program in "${!counts[@]}"; do
			local path=$suite/$program status=1 text="lost, damaged or handed out twice"
			[[ $program != template ]] || path=$BUILD/bench/suite-obj/template
			[[ $mode != null ]] || text="out of memory"
			[[ $mode != control ]] || status=0 text=""
			# all it takes comes by realloc, of which the broken malloc breaks no more than this
			[[ $program != realloc_growth || $mode == null ]] || status=0 text=""
			expect "$program under a broken malloc: $mode" "$status" "$text" env "LD_PRELOAD=$broken" \
				"BROKEN=$mode" "$path" --expect "$broken" -n "${counts[$program]}"
		done
	done
}

larson_sh_test() {
	local larson=$root/bench/larson.sh
	expect "larson.sh smoke" 0 "" "$larson" smoke --lib glibc
	verdict "larson.sh prints its settings" \
		"$(grep -q '^  LARSON_BLOCKS=1000$' "$work/out" || echo "LARSON_BLOCKS is missing")"
	expect "larson.sh, the environment" 0 "" env LARSON_BLOCKS=77 "$larson" smoke --lib glibc
	verdict "larson.sh takes the environment" \
		"$(grep -q '^  LARSON_BLOCKS=77$' "$work/out" || echo "LARSON_BLOCKS is not 77")"
	expect "larson.sh, no profile" 2 "no profile" "$larson" nix
	expect "larson.sh, no library" 2 "no such file" "$larson" smoke --lib "$work/none.so"
	expect "larson.sh, nothing wrong" 0 "" env BROKEN=control "$larson" smoke --lib "$broken"
	expect "larson.sh, a lost block" 1 "handed out twice" env BROKEN=twice "$larson" smoke \
		--lib "$broken"
	expect "larson.sh, no memory" 1 "out of memory" env BROKEN=null "$larson" smoke --lib "$broken"
	expect "larson.sh soak" 0 "" env LARSON_SAMPLES=12 LARSON_FLAT_PERCENT=400 "$larson" soak \
		--seconds 2 --lib glibc
	verdict "larson.sh soak says flat" "$(grep -q ' is flat' "$work/out" || echo "it does not")"
	expect "larson.sh soak, a leak" 1 "" env BROKEN=leak LARSON_SAMPLES=12 "$larson" soak \
		--seconds 2 --lib "$broken"
	verdict "larson.sh soak says not flat" "$(grep -q 'NOT flat' "$work/out" || echo "it does not")"
}

all_run
work_test
proof_test
arguments_test
broken_test
larson_sh_test
if [[ $failures != 0 ]]; then
	echo "$failures failed"
	exit 1
fi
echo "all passed"
