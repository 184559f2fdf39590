#!/usr/bin/env bash
# Coverage-guided fuzzing of everything that reads foreign input: ./scripts/fuzz.sh [SECONDS_PER_TARGET] [TARGET...]
#
# Needs a nightly toolchain and cargo-fuzz (cargo install cargo-fuzz --locked). The targets are in fuzz/targets.rs; an
# ordinary test (tests/fuzzing) runs them without either. The fuzzer keeps its findings in fuzz/artifacts and its corpus in
# fuzz/corpus. The default is 60 seconds per target.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:-60}
[ $# -eq 0 ] || shift
targets=("$@")
[ $# -gt 0 ] || targets=(signature event reply job config)

if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
  echo "scripts/fuzz.sh: needs a nightly toolchain (rustup toolchain install nightly) and cargo-fuzz (cargo install cargo-fuzz --locked)" >&2
  exit 2
fi

COLONY_GATEWAY_FUZZ_SEEDS=$PWD/fuzz/seeds cargo test --locked --quiet --test fuzzing -- --exact seeds_are_there_for_every_target
cargo +nightly fuzz build --sanitizer none
for target in "${targets[@]}"; do
  mkdir -p "fuzz/corpus/$target"
  echo "== $target, $seconds s"
  # Inputs are bounded like webhooks, but smaller, so that the fuzzer tries many.
  cargo +nightly fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
    -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1
done
