#!/usr/bin/env bash
# Prints the Homebrew formula of a release: homebrew.sh VERSION REPOSITORY_URL SHA256SUMS
set -euo pipefail
[ $# -eq 3 ] || { sed -n '2s/^# //p' "$0" >&2 && exit 2; }
version=$1 repository=$2
archive() { echo "colony-gateway-$version-$1-unknown-linux-musl.tar.gz"; }
sum() {
  local found
  found=$(awk -v name="$(archive "$1")" '$2 == name {print $1}' "$sums")
  [ -n "$found" ] || { echo "homebrew.sh: no checksum of $(archive "$1")" >&2 && exit 1; }
  echo "$found"
}
sums=$3
x86_64=$(sum x86_64) aarch64=$(sum aarch64)
cat <<FORMULA
class ColonyGateway < Formula
  desc "Gateway from Stripe webhooks to verified revenue records"
  homepage "$repository"
  version "$version"
  license any_of: ["MIT", "Apache-2.0"]
  depends_on "age" => :recommended
  depends_on :linux

  on_intel do
    url "$repository/releases/download/v$version/$(archive x86_64)"
    sha256 "$x86_64"
  end
  on_arm do
    url "$repository/releases/download/v$version/$(archive aarch64)"
    sha256 "$aarch64"
  end

  def install
    bin.install "colony-gateway"
    doc.install "README.md", "CHANGELOG.md", Dir["docs/*.md"]
    generate_completions_from_executable(bin/"colony-gateway", "completions")
  end

  test do
    assert_match "applied once each", shell_output("#{bin}/colony-gateway dev --events 100")
  end
end
FORMULA
