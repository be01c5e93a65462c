#!/bin/bash
# examples_test.sh - the copier on files of every awkward length and on what it must refuse; the echo server with many
# clients at once. The copy of each file is compared.
set -euo pipefail
: "${BUILD:=build}"
copy=$BUILD/examples/copy echo=$BUILD/examples/echo
work=$(mktemp -d)
server=
trap '[[ -z $server ]] || kill "$server" 2>/dev/null || :; rm -rf "$work"' EXIT

fail() {
	echo "examples_test: $*"
	exit 1
}

for size in 0 1 4095 4096 4097 262143 262144 262145 4194304 9000001; do
	head -c "$size" /dev/urandom >"$work/from"
	head -c 5000000 /dev/zero >"$work/to" # what was there before is gone
	"$copy" "$work/from" "$work/to" >"$work/said" 2>&1 || {
		grep -qE 'io_uring_setup|RLIMIT_MEMLOCK' "$work/said" && echo "skip: $(cat "$work/said")" && exit 77
		fail "copy of $size bytes: $(cat "$work/said")"
	}
	cmp "$work/from" "$work/to" || fail "copy of $size bytes"
	grep -q "^$size bytes" "$work/said" || fail "it says: $(cat "$work/said")"
done

# refused STATUS WORDS COMMAND...: one line that says why.
refused() {
	local want=$1 words=$2 status=0
	shift 2
	"$@" >"$work/said" 2>&1 || status=$?
	[[ $status == "$want" ]] || fail "$*: status $status, not $want: $(cat "$work/said")"
	[[ $(wc -l <"$work/said") == 1 ]] || fail "$*: not one line: $(cat "$work/said")"
	grep -q "$words" "$work/said" || fail "$*: $(cat "$work/said")"
}
refused 2 'usage' "$copy"
refused 2 'No such file' "$copy" "$work/nothing" "$work/to"
refused 2 'Invalid' "$copy" "$work" "$work/to"
refused 2 'File exists' "$copy" "$work/from" "$work/from"
refused 2 'No such file' "$copy" "$work/from" "$work/nothing/to"
cmp "$work/from" "$work/to"
refused 2 'usage' "$echo"
refused 2 'not a number' "$echo" 99999
refused 2 'not a number' "$echo" 0 many

"$echo" 0 318 >"$work/port" 2>"$work/errors" &
server=$!
for ((i = 0; i < 100; i++)); do
	[[ ! -s $work/port ]] || break
	sleep 0.05
done
port=$(sed 's/.*://' "$work/port")
refused 1 'Address already in use' "$echo" "$port"
python3 - "$port" <<'PY' || fail "clients: $(cat "$work/errors")"
import os, socket, sys, threading, time
port, failed = int(sys.argv[1]), []

def exchange(size, late=0):
    data, got = os.urandom(size), b""
    with socket.create_connection(("127.0.0.1", port)) as s:
        sender = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
        sender.start()
        time.sleep(late)  # the server's sends find little room
        while part := s.recv(65536):
            got += part
        sender.join()
    if got != data:
        failed.append(size)

# More at once than there are buffers, and one that leaves without a word.
silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(266)]
some = [threading.Thread(target=exchange, args=(size,)) for size in (0, 1, 16384, 16385, 3000000) * 10]
for t in some: t.start()
for s in silent: s.close()
for t in some: t.join(60)
exchange(12345)
exchange(12000000, late=1)
sys.exit(f"wrong: {failed}" if failed or any(t.is_alive() for t in some) else 0)
PY
wait "$server" || fail "the server ended with status $?: $(cat "$work/errors")"
server=
