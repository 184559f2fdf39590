// What the console does beyond links and forms: pages renew themselves, keys, times in the browser's zone. Without it every
// page works.
"use strict";

(() => {
  const VISIBLE_MS = 2000;
  const HIDDEN_MS = 30000;
  const stored = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
  const store = (name, value) => { try { localStorage.setItem(name, value); } catch { /* private windows keep nothing */ } };

  // Parts that renew themselves. htmx hears `renew`.
  let last = Date.now();
  setInterval(() => {
    const wait = document.visibilityState === "visible" ? VISIBLE_MS : HIDDEN_MS;
    if (Date.now() - last < wait - 100) return;
    last = Date.now();
    const part = document.getElementById("live");
    // What a person reads or has selected is not moved under the cursor.
    const selection = String(getSelection() || "");
    if (part && selection === "" && !document.documentElement.hasAttribute("data-still")) part.dispatchEvent(new Event("renew"));
  }, 1000);
  document.addEventListener("visibilitychange", () => { last = 0; });

  // Times, in UTC or in the browser's zone.
  const zone = () => (stored("zone") === "local" ? "local" : "utc");
  const pad = (number) => String(number).padStart(2, "0");
  const localText = (date) =>
    `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ` +
    `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  const showTimes = () => {
    for (const time of document.querySelectorAll("time[datetime]")) {
      const date = new Date(time.dateTime);
      if (isNaN(date)) continue;
      const utc = date.toISOString().slice(0, 19).replace("T", " ");
      const text = zone() === "local" ? localText(date) : utc;
      if (time.textContent !== text) time.textContent = text;
    }
    for (const button of document.querySelectorAll("[data-zone]")) {
      button.hidden = false;
      const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
      button.textContent = zone() === "local" ? `Times: ${here} → UTC` : `Times: UTC → ${here}`;
    }
  };

  const keysOn = () => stored("keys") !== "off";
  const showKeys = () => {
    const dialog = document.getElementById("keys");
    if (!dialog) return;
    const button = dialog.querySelector("[data-keys-off]");
    if (button) button.textContent = keysOn() ? "Turn shortcuts off" : "Turn shortcuts on";
    if (!dialog.open) dialog.showModal();
  };

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    if (!target) return;
    if (target.closest("[data-zone]")) {
      store("zone", zone() === "local" ? "utc" : "local");
      showTimes();
    } else if (target.closest("[data-keys-off]")) {
      store("keys", keysOn() ? "off" : "on");
      document.getElementById("keys").close();
    } else if (target.closest("[data-keys]")) {
      showKeys();
    }
    const menu = document.querySelector(".menu[open]");
    if (menu && !menu.contains(target)) menu.open = false;
  });

  let afterG = false;
  const row = (step) => {
    const rows = [...document.querySelectorAll("a[data-row]")];
    if (rows.length === 0) return;
    const at = rows.indexOf(document.activeElement);
    rows[Math.min(Math.max(at + step, 0), rows.length - 1)].focus();
  };
  document.addEventListener("keydown", (event) => {
    const menu = document.querySelector(".menu[open]");
    if (event.key === "Escape" && menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
      return;
    }
    const inField = event.target instanceof Element && event.target.closest("input, select, textarea, dialog, [contenteditable]");
    if (inField || !keysOn() || event.ctrlKey || event.metaKey || event.altKey) return;
    if (afterG) {
      afterG = false;
      const way = document.querySelector(`nav a[data-go="${CSS.escape(event.key)}"]`);
      if (way) {
        event.preventDefault();
        way.click();
        return;
      }
    }
    switch (event.key) {
      case "/":
        event.preventDefault();
        document.getElementById("search")?.focus();
        break;
      case "g": afterG = true; break;
      case "j": row(1); break;
      case "k": row(-1); break;
      case "?": showKeys(); break;
    }
  });

  const begin = () => {
    document.querySelector("form[data-submit-now]")?.requestSubmit();
    for (const button of document.querySelectorAll("[data-keys]")) button.hidden = false;
    const shown = document.querySelector("[data-hide-after]");
    if (shown) setTimeout(() => location.replace(shown.dataset.hideTo), Number(shown.dataset.hideAfter) * 1000);
    showTimes();
  };
  document.addEventListener("htmx:after:swap", showTimes);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
