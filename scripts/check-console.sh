#!/usr/bin/env bash
# Opens the console of a running gateway in a browser: ./scripts/check-console.sh [PROGRAM] [DIRECTORY FOR SCREENSHOTS]
#
# tests/console/browser.py visits every page, light and dark, wide and narrow, and tries some actions. Needs Python 3 with
# venv, and Chromium; Playwright and axe are installed below target/. The gateway runs on free loopback ports with its own
# directory, and is stopped afterwards.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

program=${1:-target/debug/colony-gateway}
venv=target/browser
version=1.65.2
axe=0.1.8

chromium=$(command -v chromium-headless-shell || command -v chromium || command -v google-chrome) || {
  echo "check-console.sh: Chromium is missing: install chromium-headless-shell or chromium" >&2
  exit 1
}
if ! "$venv/bin/python" -c "import importlib.metadata as m
assert m.version('playwright') == '$version' and m.version('axe-playwright-python') == '$axe'" 2>/dev/null; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "playwright==$version" "axe-playwright-python==$axe"
fi

CONSOLE_PROGRAM=$program CONSOLE_CHROMIUM=$chromium CONSOLE_SCREENSHOTS=${2:-} exec "$venv/bin/python" tests/console/browser.py
