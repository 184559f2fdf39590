# Shortcuts for people who work on the program: https://just.systems. Everything here can be typed without it.

# What there is.
default:
    @just --list

# The quick look before a commit: format, lints, the tests of the library.
check:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets -- -D warnings
    cargo nextest run --locked --workspace --lib

# Everything that a change has to pass, as continuous integration runs it.
test:
    ./scripts/test.sh

# The whole program with simulated traffic; `just dev --direct --events 1000` and so on.
dev *arguments:
    cargo run --release -- dev {{arguments}}

# One group of tests, such as `just group ledger in_every_order`.
group name *filter:
    cargo nextest run --locked --test {{name}} {{filter}}

# Breaks everything for some minutes and says what was lost.
soak minutes="10":
    ./scripts/soak.sh {{minutes}}

# The rows of docs/performance.md.
bench *arguments:
    cargo bench --bench figures -- {{arguments}}
