#!/usr/bin/env bash
# Breaks everything for a while and says whether anything was lost: ./scripts/soak.sh [MINUTES] [SEED]
#
# Runs the tests of tests/faults again and again, each time with other random choices: kills, power cuts, failing disks,
# jumping clocks, broken networks and long outages, of the gateway and of the PostgreSQL that holds its inbox. It stops once
# MINUTES (default 10) are over and the current test has ended. Then it prints one table, and exits with 1 if an event was
# lost or took effect twice, or a test failed. Every pass prints its seed; with SEED, the first pass repeats the choices of
# that pass. It uses only loopback.
#
# SOAK_ROUNDS multiplies the rounds within each test (default 3). SOAK_FILTER selects tests by a part of their names;
# three_gateways selects all faults around an inbox that gateways share. SOAK_PROFILE=release builds with optimisation: that
# takes longer, and things break at other moments.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# A function, so that bash reads the whole script before it starts: it runs for long, and the file may change meanwhile.
main() {
  minutes=${1:-10}
  seed=${2:-}
  case "$minutes$seed" in
  *[!0-9]*)
    echo "usage: ./scripts/soak.sh [MINUTES] [SEED], both whole numbers" >&2
    exit 2
    ;;
  esac

  profile=()
  [ "${SOAK_PROFILE:-debug}" = release ] && profile=(--release)
  echo "== building"
  # Runs the built tests directly, so that a change of the sources during the run has no effect.
  cargo test --locked "${profile[@]}" --test faults --no-run
  tests=$(cargo test --locked "${profile[@]}" --test faults --no-run 2>&1 | sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
  [ -x "$tests" ] || {
    echo "scripts/soak.sh: the tests were not built" >&2
    exit 2
  }

  figures=$(mktemp)
  output=$(mktemp)
  trap 'rm -f "$figures" "$output"' EXIT
  end=$((SECONDS + minutes * 60))
  passes=0
  failed=0
  first=yes
  while [ -n "$first" ] || [ "$SECONDS" -lt "$end" ]; do
    [ -n "$seed" ] || seed=$((RANDOM * 32768 * 32768 + RANDOM * 32768 + RANDOM))
    # Runs each test by itself, to keep to the time and so that a failing test does not take others with it.
    names=$("$tests" --list "${SOAK_FILTER:-}" | sed -n 's/: test$//p' | sort -R)
    [ -n "$names" ] || {
      echo "scripts/soak.sh: no test is named like ${SOAK_FILTER:-}" >&2
      exit 2
    }
    for name in $names; do
      if [ -z "$first" ] && [ "$SECONDS" -ge "$end" ]; then break; fi
      first=
      echo "== $((SECONDS / 60)) min, seed $seed: $name"
      if ! COLONY_GATEWAY_FAULTS_FIGURES=$figures COLONY_GATEWAY_FAULTS_SEED=$seed \
        COLONY_GATEWAY_FAULTS_ROUNDS=${SOAK_ROUNDS:-3} \
        "$tests" --exact "$name" --nocapture >"$output" 2>&1; then
        failed=$((failed + 1))
        kept=$(mktemp "${TMPDIR:-/tmp}/soak-failed-XXXXXX")
        cp "$output" "$kept"
        echo "FAILED with seed $seed: $name; its whole output is in $kept"
        grep -A 6 'panicked at' "$output" | head -n 30
      fi
    done
    passes=$((passes + 1))
    seed=
  done

  # The figures are flat JSON objects, one per line, written by the struct in tests/faults/account.rs.
  awk -v minutes=$((SECONDS / 60)) -v passes="$passes" -v failed="$failed" '
    function number(name) { return match($0, "\"" name "\":[0-9]+") ? substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3) + 0 : 0 }
    match($0, /"scenario":"[^"]*"/) {
      scenario = substr($0, RSTART + 12, RLENGTH - 13)
      if (!(scenario in runs)) order[++scenarios] = scenario
      runs[scenario]++
      for (at = 1; at <= columns; at++) { sums[scenario, at] += number(column[at]); total[at] += number(column[at]) }
      run++
    }
    BEGIN { columns = split("rounds acknowledged kills cuts faults recognised repeated lost", column, " ") }
    END {
      printf "\n%-34s %6s", "scenario", "runs"
      for (at = 1; at <= columns; at++) printf " %12s", column[at]
      print ""
      for (row = 1; row <= scenarios; row++) {
        printf "%-34s %6d", order[row], runs[order[row]]
        for (at = 1; at <= columns; at++) printf " %12d", sums[order[row], at]
        print ""
      }
      printf "%-34s %6d", "all", run
      for (at = 1; at <= columns; at++) printf " %12d", total[at]
      printf "\n\n%d minutes, %d passes, %d tests failed, %d events: %d repeated, %d lost\n", minutes, passes, failed, total[2], total[7], total[8]
      exit (failed + total[7] + total[8] > 0)
    }' "$figures"
}

main "$@"; exit
