# Shared by the scripts beside it. Not to be run.
# shellcheck shell=bash

root=''
# shellcheck disable=SC2034 # used by those who read this file
binary=''
say() { printf '%s\n' "$*"; }
fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# Whether systemd runs here and the files go where it reads them.
has_systemd() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

# Puts a file in its place in one step: replace SOURCE TARGET MODE. A running program keeps the file that it has.
replace() {
  install -m "$3" "$1" "$2.new"
  mv -f "$2.new" "$2"
}
