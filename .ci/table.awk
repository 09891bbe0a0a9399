# Prints what a run of `cargo test` covered: by crate and by requirement id, then one closing line.
/^ +Running / { crate = $NF; sub(/^\(.*\//, "", crate); sub(/-[0-9a-f]+\)$/, "", crate); crates[crate] }
/^ +Doc-tests / { crate = $2 " (examples)" }
/^test .* \.\.\. (ok|FAILED)$/ {
  name = $2; sub(/.*::/, "", name); good = ($NF == "ok"); total[crate]++; passed[crate] += good
  while (match(name, /^[a-z]+_[0-9]+_/)) {
    id = toupper(substr(name, 1, RLENGTH - 1)); sub(/_/, "-", id); name = substr(name, RLENGTH + 1)
    tests[id]++; fine[id] += good
  }
}
END {
  print "\nWhat ran, by crate:"
  for (c in total) { printf "  %-28s %4d passed %4d failed\n", c, passed[c], total[c] - passed[c] | "sort"; p += passed[c]; f += total[c] - passed[c] }
  close("sort")
  print "By requirement:"
  for (i in tests) printf "  %-10s %3d passed %3d failed\n", i, fine[i], tests[i] - fine[i] | "sort"
  close("sort")
  printf "\n%d passed, %d failed\n", p, f
  exit (f > 0 || p == 0)
}
