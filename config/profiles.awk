# profiles.awk - config/*.conf as C initialisers: {"name", "text"}, one a file.
FNR == 1 {
	if (NR > 1) print "},"
	name = FILENAME
	sub(/.*\//, "", name)
	sub(/\.conf$/, "", name)
	printf "{\"%s\",", name
}
!/^#/ && NF {
	gsub(/\\/, "\\\\")
	gsub(/"/, "\\\"")
	printf " \"%s\\n\"", $0
}
END { print "}," }
