#!/bin/bash
# man-options.sh PAGE [OPTIONS.DEF [COUNTERS.DEF]] - the page with its lines '.\" @OPTIONS@' and
# '.\" @COUNTERS@' replaced by what those tables have, in the tables' order.
#
# Fails where the page lacks one of these lines, a table is empty, or the help of a CHOICE does not
# name as many words ("word: text; word: text") as the option has values: the page takes the words,
# and which one is the default, from there.
set -euo pipefail

page=${1:?page}
observe=$(dirname "${BASH_SOURCE[0]}")/../src/observe
options=${2:-$observe/options.def}
counters=${3:-$observe/counters.def}

options_as_roff() {
	awk '
	function die(text) { print "man-options: " text > "/dev/stderr"; failed = 1; exit 1 }

	# The next argument of rest: a quoted text (adjacent ones joined) or a word.
	function argument(   text, piece) {
		sub(/^[ \t\n,]+/, "", rest)
		if (substr(rest, 1, 1) != "\"") {
			match(rest, /^[^,)]*/)
			text = substr(rest, 1, RLENGTH)
			rest = substr(rest, RLENGTH + 1)
			sub(/[ \t\n]+$/, "", text)
			return text
		}
		text = ""
		while (match(rest, /^"([^"\\]|\\.)*"[ \t\n]*/)) {
			piece = substr(rest, 1, RLENGTH)
			rest = substr(rest, RLENGTH + 1)
			sub(/"[ \t\n]*$/, "", piece)
			text = text substr(piece, 2)
		}
		gsub(/\\"/, "\"", text)
		return text
	}

	function roff(text) {
		gsub(/\\/, "\\e", text)
		return text
	}

	function sentence(text) {
		text = roff(toupper(substr(text, 1, 1)) substr(text, 2))
		return text ~ /[.]$/ ? text : text "."
	}

	function number(   text) {
		if (def == "HK_AUTO")
			return "Default auto; or a number" (unit == "" ? "" : " of " unit) " from " min " to " max "."
		text = "Default " def (unit == "" ? "" : " " unit)
		return text ", from " min " to " max "."
	}

	# Words in bold, each on a line of its own; the help reads "word: text; word: text".
	function choice(   n, part, i, colon, word, words) {
		n = split(help, part, /; */)
		words = 0
		for (i = 1; i <= n; i++) {
			colon = index(part[i], ":")
			word = substr(part[i], 1, colon - 1)
			if (colon == 0 || word !~ /^[a-z0-9_-]+$/) {
				part[words] = part[words] "; " part[i]
				continue
			}
			part[++words] = part[i]
		}
		if (words != max + 1)
			die(name " has " max + 1 " values, its help names " words)
		print "One of these words:\n.RS"
		for (i = 1; i <= words; i++) {
			colon = index(part[i], ":")
			word = substr(part[i], 1, colon - 1)
			print ".TP\n.BR " word (i - 1 == def ? " \" (default)\"" : "")
			print sentence(substr(part[i], colon + 2))
		}
		print ".RE"
	}

	{ all = all $0 "\n" }

	END {
		if (failed)
			exit 1
		while ((at = index(all, "/*")) > 0) {
			tail = substr(all, at + 2)
			all = substr(all, 1, at - 1) substr(tail, index(tail, "*/") + 2)
		}
		while ((at = index(all, "HK_OPTION(")) > 0) {
			rest = substr(all, at + length("HK_OPTION("))
			argument()
			name = argument(); type = argument(); def = argument()
			min = argument(); max = argument(); unit = argument(); help = argument()
			if (name !~ /^HAKMEM_[A-Z0-9_]+$/ || help == "")
				die("cannot read option " ++count ": " name)
			count++
			print ".TP\n.B " name
			if (type == "NUMBER")
				print sentence(help) "\n" number()
			else if (type == "TEXT" || type == "PASSED")
				print sentence(help)
			else if (type == "CHOICE")
				choice()
			else
				die(name " has the unknown type " type)
			all = rest
		}
		if (count == 0)
			die("no option in the table")
	}' "$1"
}

# A comment of one line between counters is the heading of those that follow.
counters_as_roff() {
	awk '
	function sentence(text) {
		return toupper(substr(text, 1, 1)) substr(text, 2)
	}

	/^\/\*.*\*\/[ \t]*$/ && NR > 1 {
		gsub(/^\/\*[ \t]*|[ \t]*\*\/[ \t]*$/, "")
		if (open)
			print ".RE"
		print ".PP\n" sentence($0) (/:/ ? "." : ":") "\n.RS"
		open = 1
	}

	/^HK_COUNTER\(/ {
		if (!match($0, /"[^"]*"/)) {
			print "man-options: no text in: " $0 > "/dev/stderr"
			exit 1
		}
		what = substr($0, RSTART + 1, RLENGTH - 2)
		name = $0
		sub(/^HK_COUNTER\([ \t]*/, "", name)
		sub(/[ \t]*,.*/, "", name)
		print ".TP\n.B " name "\n" sentence(what) "."
		count++
	}

	END {
		if (open)
			print ".RE"
		if (!count) {
			print "man-options: no counter in the table" > "/dev/stderr"
			exit 1
		}
	}' "$1"
}

narrow() {
	fold -s -w 78 | sed 's/ *$//'
}

roff_options=$(options_as_roff "$options" | narrow)
roff_counters=$(counters_as_roff "$counters" | narrow)
HK_OPTIONS=$roff_options HK_COUNTERS=$roff_counters awk '
	$0 == ".\\\" @OPTIONS@" { print ENVIRON["HK_OPTIONS"]; options = 1; next }
	$0 == ".\\\" @COUNTERS@" { print ENVIRON["HK_COUNTERS"]; counters = 1; next }
	{ print }
	END {
		if (!options || !counters) {
			print "man-options: " FILENAME " lacks its line for a table" > "/dev/stderr"
			exit 1
		}
	}' "$page"
