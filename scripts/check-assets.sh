#!/usr/bin/env bash
# Compares the console's third-party files with the packages they come from: ./scripts/check-assets.sh
#
# Needs npm. Takes the packages and versions from src/console/assets/THIRD-PARTY.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

assets=src/console/assets
packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT

status=0
while IFS='|' read -r _ file package inside _; do
  file=$(tr -d '` ' <<<"$file") inside=$(tr -d '` ' <<<"$inside")
  read -r name version <<<"$package"
  archive=$(cd "$packages" && npm pack --silent "$name@$version")
  tar -xzf "$packages/$archive" -C "$packages" "package/$inside"
  if cmp "$assets/$file" "$packages/package/$inside"; then echo "$file is that of $name $version"; else status=1; fi
done < <(grep '^| `' "$assets/THIRD-PARTY.md")
exit "$status"
