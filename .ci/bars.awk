# Prints the figures of a run of the bars: id, figure, goal and verdict, and what was not run, with its reason.
BEGIN { FS = "|"; count = split("R1 R3 R5 R6 R9", ids, " ") }
/(^|\.\.\. )bar\|R[0-9]+\|/ {
  # Signs of one byte: not every awk pads by characters.
  gsub(/×/, "x", $4); sub(/≤/, "<=", $5); sub(/≥/, ">=", $5)
  id = $2; said[id]; shown[++lines] = sprintf("%-3s %-56s %12s  %-11s %s", id, $3, $4, $5, $6)
  if ($6 == "pass") passed++; else { failed++; missed[id] }
}
# A bar whose test failed beside its figures: the first line of its panic is the reason.
/^test r[0-9]+_.* \.\.\. / { name = $1; sub(/^test /, "", name); sub(/ \.\.\..*/, "", name) }
/panicked at / { want = 1; next }
want { id = toupper(name); sub(/_.*/, "", id); if (!(id in reason)) reason[id] = $0; want = 0 }
/^error/ { if (broken == "") broken = $0 }
END {
  print "\nThe bars:"
  for (i = 1; i <= lines; i++) print "  " shown[i]
  for (i = 1; i <= count; i++) {
    id = ids[i]
    if (id in said && (!(id in reason) || id in missed)) continue
    why = (id in reason) ? reason[id] : (broken != "" ? broken : "it did not come to it")
    printf "  %-3s %-56s %12s  %-11s fail\n", id, (id in said ? "cut short: " : "not run: ") why, "-", "-"; failed++
  }
  printf "\n%d passed, %d failed\n", passed, failed
  exit (failed > 0)
}
