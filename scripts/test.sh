#!/usr/bin/env bash
# Runs everything that a change has to pass: ./scripts/test.sh
#
# Needs Rust. It finds Python, age, and the PostgreSQL and Redis servers that the tests start for themselves on free ports. As
# root on a system with apt it installs missing programs; elsewhere it says what to install. It starts no service, uses no
# running one, and leaves nothing running.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# How long to fuzz each target. ./scripts/fuzz.sh does it for longer.
FUZZ_SECONDS=15

say() { printf '\n== %s\n' "$*"; }

fail() {
  printf '\nscripts/test.sh: %s\n' "$1" >&2
  shift
  [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
  exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# Directory of the newest PostgreSQL server programs: PATH, Debian's and Fedora's places, Homebrew's.
postgres_dir() {
  if has initdb && has postgres; then
    dirname "$(command -v initdb)"
    return
  fi
  local dir newest=
  for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
    /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin | sort -V); do
    if [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ]; then newest=$dir; fi
  done
  [ -n "$newest" ] && printf '%s\n' "$newest"
}

# Installs Debian packages without letting them start services.
apt_install() {
  say "installing with apt: $*"
  local policy=/usr/sbin/policy-rc.d made=
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made=yes
  fi
  local status=0
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends "$@"; } ||
    status=$?
  [ -z "$made" ] || rm -f "$policy"
  [ "$status" -eq 0 ] || fail "apt could not install: $*"
}

find_what_is_needed() {
  if ! has cargo && [ -f "${CARGO_HOME:-$HOME/.cargo}/env" ]; then
    # shellcheck disable=SC1091
    . "${CARGO_HOME:-$HOME/.cargo}/env"
  fi
  has cargo || fail "cargo is not on PATH: install Rust first (see rust-version in Cargo.toml)"
  local component
  for component in fmt clippy; do
    if ! cargo "$component" --version >/dev/null 2>&1; then
      has rustup || fail "cargo $component is missing: install the Rust components rustfmt and clippy"
      say "adding the Rust components rustfmt and clippy"
      rustup component add rustfmt clippy
    fi
  done

  local packages=() names=()
  if ! has cc; then packages+=(gcc libc6-dev) names+=("a C compiler, for the bundled SQLite"); fi
  if ! postgres_dir >/dev/null; then packages+=(postgresql) names+=("the PostgreSQL server (initdb, postgres)"); fi
  if ! has python3 || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    packages+=(python3 python3-venv) names+=("Python 3 with venv, for the checks of openapi.yaml and of the console")
  fi
  if ! has chromium-headless-shell && ! has chromium; then
    packages+=(chromium-headless-shell) names+=("Chromium (chromium-headless-shell or chromium), for the console's pages")
  fi
  if ! has redis-server; then packages+=(redis-server) names+=("the Redis server (redis-server)"); fi
  if ! has age || ! has age-keygen; then packages+=(age) names+=("age, which encrypts backups (age, age-keygen)"); fi
  if [ "${#packages[@]}" -gt 0 ]; then
    if [ "$(id -u)" -eq 0 ] && has apt-get; then
      apt_install "${packages[@]}"
    else
      fail "the tests need programs that are not here. Install them and run this again:" "${names[@]}" \
        "Debian, Ubuntu:  sudo apt-get install ${packages[*]}" \
        "Fedora:          sudo dnf install gcc postgresql-server redis python3 age chromium" \
        "macOS:           brew install postgresql@17 redis python age chromium"
    fi
  fi
  local dir
  dir=$(postgres_dir) || fail "no PostgreSQL server programs (initdb, postgres) were found"
  has redis-server || fail "no redis-server was found"
  export PATH="$dir:$PATH"
}

find_what_is_needed
say "with $(cargo --version), $(postgres --version), $(redis-server --version | cut -d' ' -f1-3), age $(age --version)"

# Checks that do not need the tests' programs.
lints() {
  say "lints"
  cargo clippy --locked --workspace --all-targets --quiet -- -D warnings

  say "documentation"
  RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items --quiet

  say "examples in the documentation"
  cargo test --locked --workspace --doc --quiet

  if cargo deny --version >/dev/null 2>&1; then
    say "licences, bans and sources of dependencies"
    cargo deny --locked check bans licenses sources
  fi

  say "what operators get"
  ./scripts/check-artefacts.sh

  say "openapi.yaml against a running gateway"
  ./scripts/check-openapi.sh

  say "the console in a browser"
  ./scripts/check-console.sh

  # Building the fuzzers takes minutes, so they run only if ./scripts/fuzz.sh has built them before. tests/fuzzing runs the
  # same targets everywhere.
  if compgen -G 'fuzz/target/*/release/config' >/dev/null && cargo +nightly fuzz --version >/dev/null 2>&1; then
    say "fuzzing, $FUZZ_SECONDS s a target"
    local log
    log=$(mktemp)
    if ! ./scripts/fuzz.sh "$FUZZ_SECONDS" >"$log" 2>&1; then
      tail -n 60 "$log"
      fail "the fuzzer found something, or was not built" "its output is in $log"
    fi
    grep -E '^==|number_of_executed_units' "$log"
    rm -f "$log"
  fi
}

# A build from scratch gains nothing from an incremental cache, and a panic shows its line without debug information.
if [ "${CI:-}" = true ]; then export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0; fi

say "format"
cargo fmt --all --check

nextest=
if cargo nextest --version >/dev/null 2>&1; then nextest=yes; fi

say "building the tests"
if [ -n "$nextest" ]; then
  cargo nextest run --locked --workspace --no-run
else
  cargo test --locked --workspace --lib --bins --tests --no-run
fi

# Runs next to the tests, which mostly wait. It has a process group of its own, so that it can be stopped as a whole.
beside=$(mktemp)
set -m
lints >"$beside" 2>&1 &
lints=$!
set +m
# shellcheck disable=SC2329 # the trap calls it
finish() {
  kill -- "-$lints" 2>/dev/null || true
  rm -f "$beside"
}
trap finish EXIT

# No more at once than there are cores, because the lints take their share at the same time.
threads=$(getconf _NPROCESSORS_ONLN)
say "tests, and next to them lints, documentation and what operators get"
status=0
if [ -n "$nextest" ]; then
  profile=default
  [ "${CI:-}" = true ] && profile=ci
  cargo nextest run --locked --workspace --no-fail-fast --profile "$profile" --test-threads "$threads" || status=$?
else
  cargo test --locked --workspace --lib --bins --tests --no-fail-fast -- --test-threads "$threads" || status=$?
fi

# Failures come last in the output.
if wait "$lints"; then
  grep '^==' "$beside"
else
  cat "$beside"
  fail "a check that ran next to the tests failed: its output is the last above" "the tests ended with $status"
fi
exit "$status"
