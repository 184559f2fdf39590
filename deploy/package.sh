#!/usr/bin/env bash
# Packages a built program as a .deb and, if rpmbuild is installed, as an .rpm, with the same units as install.sh.
#
#   deploy/package.sh --binary target/dist/colony-gateway --out DIR [--arch amd64|arm64] [--deb-only]
#
# MAINTAINER is the name and address in the package. --version gives the version; without it, the program is asked (a program
# for another machine cannot be). Needs dpkg-deb. If SOURCE_DATE_EPOCH is set, all files get this time, so that the same
# program makes the same package.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$here/common.sh"

out='' arch=$(dpkg --print-architecture 2>/dev/null || echo amd64) version='' wants_rpm=yes
while [ $# -gt 0 ]; do
  case $1 in
    --binary) binary=${2:?--binary needs a file} && shift 2 ;;
    --out) out=${2:?--out needs a directory} && shift 2 ;;
    --arch) arch=${2:?--arch needs amd64 or arm64} && shift 2 ;;
    --deb-only) wants_rpm='' && shift ;;
    --version) version=${2:?--version needs a version} && shift 2 ;;
    --help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
    *) fail "unknown argument $1 (--help lists them)" ;;
  esac
done
[ -x "$binary" ] || fail "give --binary FILE, a built program"
[ -n "$out" ] || fail "give --out DIR"
case $arch in amd64) machine=x86_64 ;; arm64) machine=aarch64 ;; *) fail "unknown architecture $arch (amd64 or arm64)" ;; esac
[ -n "$version" ] || version=$("$binary" --version | cut -d' ' -f2)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
umask 022

# A package owns /usr, not /usr/local.
place() {
  install -d "$(dirname "$tree/$2")"
  sed 's|/usr/local/|/usr/|g' "$1" >"$tree/$2"
  chmod "$3" "$tree/$2"
}

install -D -m 0755 "$binary" "$tree/usr/bin/colony-gateway"
place "$here/gatewayctl" usr/bin/gatewayctl 0755
place "$here/secrets.sh" usr/lib/colony-gateway/secrets.sh 0755
place "$here/common.sh" usr/lib/colony-gateway/common.sh 0644
for file in "$here"/systemd/*.service "$here"/systemd/*.socket "$here"/systemd/*.timer; do
  place "$file" "usr/lib/systemd/system/${file##*/}" 0644
done
place "$here/systemd/colony-gateway.sysusers.conf" usr/lib/sysusers.d/colony-gateway.conf 0644
place "$here/systemd/colony-gateway.tmpfiles.conf" usr/lib/tmpfiles.d/colony-gateway.conf 0644
place "$here/systemd/gateway.env" etc/colony-gateway/gateway.env 0644
(cd "$here/.." && find docs -name '*.md') | while read -r file; do
  install -D -m 0644 "$here/../$file" "$tree/usr/share/doc/colony-gateway/${file#docs/}"
done
# If the program runs on this machine, it writes its own manual pages and completions.
if "$binary" --version >/dev/null 2>&1; then
  "$binary" man "$work/man" >/dev/null
  for file in "$work"/man/*.1; do
    [ -e "$file" ] || continue
    install -d "$tree/usr/share/man/man1"
    gzip -9n <"$file" >"$tree/usr/share/man/man1/${file##*/}.gz"
  done
  for shell in bash:bash-completion/completions/colony-gateway zsh:zsh/vendor-completions/_colony-gateway \
    fish:fish/vendor_completions.d/colony-gateway.fish; do
    install -d "$tree/usr/share/$(dirname "${shell#*:}")"
    "$binary" completions "${shell%%:*}" >"$tree/usr/share/${shell#*:}"
  done
fi
cat "$here"/../LICENSE-MIT "$here"/../LICENSE-APACHE >"$work/copyright"
install -D -m 0644 "$work/copyright" "$tree/usr/share/doc/colony-gateway/copyright"
for file in CHANGELOG.md SECURITY.md openapi.yaml; do
  install -D -m 0644 "$here/../$file" "$tree/usr/share/doc/colony-gateway/$file"
done
if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +; fi

debian() {
  local control=$tree/DEBIAN size libc=''
  # A release is static. A program that was built for this machine needs its C library.
  if ldd "$tree/usr/bin/colony-gateway" 2>/dev/null | grep -q libc.so; then libc='libc6, '; fi
  size=$(du -sk "$tree" | cut -f1)
  install -d "$control"
  cat >"$control/control" <<CONTROL
Package: colony-gateway
Version: $version
Architecture: $arch
Maintainer: ${MAINTAINER:-colony-gateway <noreply@localhost>}
Installed-Size: $size
Depends: ${libc}systemd (>= 250)
Recommends: age
Section: net
Priority: optional
Description: Gateway from Stripe webhooks to verified revenue records
 Receives Stripe webhooks, makes them durable before it answers, and brings
 them once to PostgreSQL, Supabase or a SQLite file, directly or through the
 workers of a ColonyOS server.
CONTROL
  echo /etc/colony-gateway/gateway.env >"$control/conffiles"
  for script in postinst prerm postrm; do install -m 0755 "$here/package/$script" "$control/$script"; done
  dpkg-deb --build --root-owner-group "$tree" "$out/colony-gateway_${version}_$arch.deb" >/dev/null
  rm -rf "$control"
  say "made         $out/colony-gateway_${version}_$arch.deb"
}

# The scripts are Debian's and get the same arguments as there.
red_hat() {
  {
    cat <<SPEC
Name: colony-gateway
Version: ${version//-/~}
Release: 1
Summary: Gateway from Stripe webhooks to verified revenue records
License: MIT OR Apache-2.0
Requires: systemd
Recommends: age
AutoReqProv: no
%global __os_install_post %{nil}
%global _build_id_links none
%description
Receives Stripe webhooks, makes them durable before it answers, and brings
them once to PostgreSQL, Supabase or a SQLite file, directly or through the
workers of a ColonyOS server.
%install
cp -a $tree/. %{buildroot}/
%post
if [ "\$1" -gt 1 ]; then set -- configure before; else set -- configure; fi
$(sed 1d "$here/package/postinst")
%preun
if [ "\$1" -eq 0 ]; then set -- remove; else set -- upgrade; fi
$(sed 1d "$here/package/prerm")
%postun
if [ "\$1" -eq 0 ]; then set -- remove; else set -- upgrade; fi
$(sed 1d "$here/package/postrm")
%files
%config(noreplace) /etc/colony-gateway/gateway.env
SPEC
    (cd "$tree" && find usr -type f -printf '/%p\n')
  } >"$work/colony-gateway.spec"
  rpmbuild --quiet -bb --target "$machine" --define "_topdir $work/rpm" --define "_rpmdir $work/made" "$work/colony-gateway.spec"
  cp "$work/made/$machine"/*.rpm "$out/"
  say "made         $out/$(basename "$work/made/$machine"/*.rpm)"
}

mkdir -p "$out"
out=$(cd "$out" && pwd)
debian
if [ -z "$wants_rpm" ]; then :; elif command -v rpmbuild >/dev/null; then red_hat; else say "no .rpm: rpmbuild is not installed"; fi
