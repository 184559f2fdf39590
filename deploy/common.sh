# The scripts in this directory share these functions. Do not run this file.
# shellcheck shell=bash

root=''
# shellcheck disable=SC2034 # used by those who read this file
binary=''
say() { printf '%s\n' "$*"; }
fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# Whether systemd runs here and reads the files where they are put.
has_systemd() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

# Replaces a file in one step: replace SOURCE TARGET MODE. A running program keeps the old file.
replace() {
  install -m "$3" "$1" "$2.new"
  mv -f "$2.new" "$2"
}
