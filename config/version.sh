#!/bin/bash
# Prints the version, "0.1.0", from the one place that has it: the public header.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
awk '$1 == "#define" && $2 ~ /^HAK_VERSION_(MAJOR|MINOR|PATCH)$/ { v[$2] = $3 }
END {
	p = "HAK_VERSION_"
	if (!((p "MAJOR") in v && (p "MINOR") in v && (p "PATCH") in v))
		exit 1
	print v[p "MAJOR"] "." v[p "MINOR"] "." v[p "PATCH"]
}' include/hakmem/hakmem.h
