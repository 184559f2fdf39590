"""The console as a browser meets it: every page, both themes, wide and narrow; without JavaScript; as a viewer; under attack.

Run by scripts/check-console.sh. Starts a gateway of its own, sends it signed events as Stripe would, and exits with 1 when
something is not as it should be.
"""

import contextlib
import hashlib
import hmac
import importlib.resources
import json
import os
import pathlib
import re
import secrets
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request

from playwright.sync_api import sync_playwright

SECRET = "whsec_browser"
ANA, BEN = secrets.token_hex(16), secrets.token_hex(16)
PERSONAL = ["Ada Lovelace", "ada@example.com", "user_of_ada", "user_of_bea"]
ATTACK = "\"><img src=x onerror=\"window.attacked=1\"><script>window.attacked=1</script><b hx-post='/console/logout/all' hx-trigger='load'>"
WIDTHS = {"wide": {"width": 1280, "height": 900}, "narrow": {"width": 390, "height": 844}}
PATIENCE = 60_000

# Holds what the seller's own code says about one user.
RULES = """
[[rule]]
id = "not_expected"
action = "quarantine"
reason = "the user is none of those expected"
types = ["checkout.session.completed"]
all = [{ path = "data.object.metadata.userId", one_of = ["user_of_ada"] }]

[[rule]]
id = "gift"
action = "quarantine"
reason = "gifts are looked at by a person"
types = ["customer.subscription.created"]
all = [{ path = "data.object.metadata.gift", equals = "yes" }]
"""

faults = []


def fault(text):
    faults.append(text)
    print("FAULT", text, flush=True)


def check(good, text):
    if not good:
        fault(text)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def gateway(directory):
    webhooks, admin = free_port(), free_port()
    rules = pathlib.Path(directory, "rules.toml")
    rules.write_text(RULES)
    environment = {
        "PATH": os.environ["PATH"],
        "STRIPE_WEBHOOK_SECRET": SECRET,
        "GATEWAY_OPERATORS": f"ana operator {ANA}, ben viewer {BEN}",
        "GATEWAY_ADMIN_TOKEN": secrets.token_hex(16),
        "GATEWAY_GUARDIAN_RULES": str(rules),
        "GATEWAY_DATA_DIR": directory,
        "GATEWAY_LISTEN": f"127.0.0.1:{webhooks}",
        "GATEWAY_ADMIN_LISTEN": f"127.0.0.1:{admin}",
        "USE_COLONY_OS": "false",
        "STRIPE_PRICE_SILVER": "price_silver",
        "STRIPE_PRICE_GOLD": "price_gold",
    }
    log = open(pathlib.Path(directory, "log"), "a")
    process = subprocess.Popen([os.environ["CONSOLE_PROGRAM"], "serve"], env=environment, stdout=log, stderr=log)
    try:
        until(lambda: ready(admin), "the gateway is ready")
        yield f"http://127.0.0.1:{webhooks}", f"http://127.0.0.1:{admin}", environment
    finally:
        process.terminate()
        process.wait()
        log.close()
        if faults:
            print(pathlib.Path(directory, "log").read_text()[-3000:])


def ready(admin):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz").status == 200
    except OSError:
        return False


def until(done, what):
    end = time.monotonic() + PATIENCE / 1000
    while not done():
        if time.monotonic() > end:
            raise SystemExit(f"waited in vain until {what}")
        time.sleep(0.05)


def post(webhooks, event):
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    now = str(int(time.time()))
    digest = hmac.new(SECRET.encode(), now.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"Stripe-Signature": f"t={now},v1={digest}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{webhooks}/webhooks/stripe", body, headers)
    assert urllib.request.urlopen(request).status == 200


def event(number, kind, held, **more):
    return {"id": f"evt_{number}", "object": "event", "type": kind, "livemode": True, "created": 1_795_000_000 + number,
            "api_version": "2025-03-31.basil", "data": {"object": {"livemode": True, **held}, **more}}


def session(number, user):
    return event(number, "checkout.session.completed", {
        "id": f"cs_{number}", "object": "checkout.session", "mode": "subscription", "customer": f"cus_{number}",
        "subscription": f"sub_{number}", "payment_status": "paid", "amount_total": 999, "currency": "cad",
        "customer_details": {"name": "Ada Lovelace", "email": "ada@example.com"}, "metadata": {"userId": user}})


def subscription(number, price, amount, **metadata):
    """A subscription of a customer of its own; the metadata says whose it is."""
    item = {"id": f"si_{number}", "object": "subscription_item", "quantity": 1, "current_period_start": 1_795_000_000,
            "current_period_end": 1_797_592_000, "price": {
                "id": f"price_{price}", "object": "price", "product": f"prod_{price}", "currency": "cad", "unit_amount": amount,
                "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"}}}
    return event(number, "customer.subscription.created", {
        "id": f"sub_{number}", "object": "subscription", "status": "active", "customer": f"cus_{number}", "currency": "cad",
        "created": 1_795_000_000, "start_date": 1_795_000_000, "cancel_at_period_end": False, "metadata": metadata,
        "items": {"object": "list", "data": [item], "has_more": False}})


def paid(number, amount, day):
    """An invoice of the subscription of this number, paid so many days ago."""
    at = int(time.time()) - day * 86_400
    return event(number + 10_000 + day, "invoice.paid", {
        "id": f"in_{number}_{day}", "object": "invoice", "status": "paid", "customer": f"cus_{number}", "currency": "cad",
        "amount_paid": amount, "amount_due": amount, "total": amount, "created": at, "status_transitions": {"paid_at": at},
        "billing_reason": "subscription_cycle", "customer_email": "ada@example.com", "lines": {"object": "list", "data": []},
        "parent": {"type": "subscription_details", "subscription_details": {"subscription": f"sub_{number}"}}})


def settled(admin):
    return re.search(r'"waiting":0,"leased":0,"submitted":0', urllib.request.urlopen(f"{admin}/health").read().decode())


# Entries that died.
DIED = 12


def die(directory):
    """Has entries be given up as a gateway gives them up while the database is away for longer than it tries."""
    with gateway(directory) as (webhooks, admin, _):
        for number in range(500, 500 + DIED):
            post(webhooks, event(number, "product.updated", {"id": f"prod_{number}", "object": "product"}))
        until(lambda: settled(admin), "all entries are settled")
    with contextlib.closing(sqlite3.connect(pathlib.Path(directory, "inbox.db"))) as inbox:
        inbox.execute("""UPDATE entries SET state = 4, code = 'attempts_exhausted', attempts = 16,
            reason = 'the ledger did not answer: the database was away' WHERE event_type = 'product.updated'""")
        inbox.execute("UPDATE tally SET entries = (SELECT count(*) FROM entries e WHERE e.state = tally.state)")
        inbox.commit()


def seed(webhooks, admin):
    """A little of everything: applied, held, malformed, hostile, personal. Tells the number of entries."""
    for number in range(1, 61):
        post(webhooks, event(number, "product.created", {"id": f"prod_{number}", "object": "product", "name": "Honey"}))
    for number in range(100, 103):
        post(webhooks, session(number, "user_of_ada"))
    post(webhooks, event(200, "customer.updated", {
        "id": "cus_200", "object": "customer", "name": "Ada Lovelace", "email": "ada@example.com", "balance": 1200,
        "currency": "cad", "address": {"line1": "12 Analytical Row", "country": "CA"}, "metadata": {"userId": "user_of_ada"},
        "description": ATTACK}, previous_attributes={"balance": 0, "email": "ada@old.example.com"}))
    for number in (300, 301):
        post(webhooks, event(number, f"invoice.{ATTACK}", {
            "id": ATTACK, "object": ATTACK, "status": ATTACK, "metadata": {ATTACK: ATTACK}}))
    for number in range(3):
        post(webhooks, f"no JSON {number} {ATTACK}".encode())
    for number in range(700, 708):
        price, amount = ("gold", 2900) if number % 3 == 0 else ("silver", 999)
        post(webhooks, subscription(number, price, amount, userId="user_of_ada" if number == 700 else f"user_{number}"))
        for day in range(number - 700, 28, 5):
            post(webhooks, paid(number, amount, day))
    post(webhooks, subscription(720, "gold", 2900, userId="user_of_bea", gift="yes"))
    post(webhooks, subscription(721, "unknown", 500, userId="user_721"))
    post(webhooks, subscription(722, "silver", 999))
    until(lambda: settled(admin), "all entries are settled")


class Watched:
    """A page, and what its browser complains about."""

    def __init__(self, page, admin):
        self.page, self.admin, self.complaints = page, admin, []
        page.set_default_timeout(PATIENCE)
        page.add_init_script("""window.reports = [];
            document.addEventListener("securitypolicyviolation", (e) => window.reports.push(e.violatedDirective + " " + e.blockedURI));""")
        page.on("console", lambda said: said.type in ("error", "warning") and self.complaints.append(said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (self.complaints.append("a dialog"), dialog.dismiss()))
        page.on("request", self.asked)

    def asked(self, request):
        if not request.url.startswith((self.admin + "/console", "data:")):
            self.complaints.append(f"asks {request.url}")

    def judge(self, where, scripts=True):
        if scripts:
            self.complaints += self.page.evaluate("window.reports")
            check(not self.page.evaluate("window.attacked === 1"), f"{where}: an attack ran")
        wide = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]") if scripts else [0, 0]
        check(wide[0] <= wide[1], f"{where}: {wide[0]} px of {wide[1]}")
        for complaint in self.complaints:
            fault(f"{where}: {complaint}")
        self.complaints.clear()


def login(context, admin, token):
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{admin}/console/entries?state=quarantined")
    page.get_by_label("Your token").fill(token)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/console/entries?state=quarantined")
    page.close()


def screens(admin, page):
    """Every page, by name."""
    page.goto(f"{admin}/console/entries?state=quarantined&type=checkout.*")
    held = page.locator("a[data-row]").first.get_attribute("href")
    page.goto(f"{admin}/console/search?q=evt_200")
    personal = page.url.removeprefix(admin)
    # The browser's own operation dropped what was malformed; the last of it is JSON.
    page.goto(f"{admin}/console/entries?code=dropped")
    hostile = page.locator("a[data-row]").last.get_attribute("href")
    return {
        "overview": "/console",
        "day": "/console?span=24h",
        "entries": "/console/entries",
        "filtered": "/console/entries?state=quarantined,dead&type=checkout.*",
        "empty": "/console/entries?type=nothing.here",
        "held": held,
        "event": personal,
        "hostile": hostile,
        "problems": "/console/problems",
        "order": "/console/orders?action=release&state=quarantined&type=checkout.*",
        "operation": "/console/operations/1",
        "person": "/console/people/cus_700",
        "withheld": "/console/people/sub_720",
        "nobody": "/console/people/cus_nobody",
        "revenue": "/console/revenue",
        "quarter": "/console/revenue?days=90",
        "subscriptions": "/console/subscriptions",
        "idle": "/console/subscriptions?list=idle",
        "colony": "/console/colony",
        "guardian": "/console/guardian",
        "reconcile": "/console/reconcile",
        "shadow": "/console/shadow",
        "keys": "/console/keys",
        "settings": "/console/settings",
        "filtered-settings": "/console/settings?q=colony&set=1",
        "audit": "/console/audit",
        "operations": "/console/operations",
        "failure": "/console/nowhere",
        "unknown": "/console/entries/999999",
    }


def visit_all(browser, admin, state, shots, axe):
    paths = None
    for theme in ("light", "dark"):
        for name, size in WIDTHS.items():
            context = browser.new_context(storage_state=state, viewport=size, reduced_motion="reduce")
            context.add_cookies([{"name": "colony_console_theme", "value": theme, "url": admin + "/console"}])
            watched = Watched(context.new_page(), admin)
            paths = paths or screens(admin, watched.page)
            watched.complaints.clear()
            for screen, path in paths.items():
                where = f"{screen} {theme} {name}"
                watched.page.goto(admin + path)
                if screen in ("failure", "unknown"):
                    # A browser tells of every answer that is no success.
                    watched.complaints = [text for text in watched.complaints if "status of 404" not in text]
                look(watched, where, axe, shots)
            context.close()
    return paths


def look(watched, where, axe, shots):
    watched.page.evaluate(axe)
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    found = watched.page.evaluate("(tags) => axe.run({runOnly: {type: 'tag', values: tags}})", tags)
    for violation in found["violations"]:
        targets = [node["html"][:120] for node in violation["nodes"][:2]]
        fault(f"{where}: axe {violation['id']}: {targets}")
    watched.judge(where)
    if shots:
        watched.page.screenshot(path=str(shots / (where.replace(" ", "-") + ".png")))


def without_scripts(browser, admin, state, held):
    context = browser.new_context(storage_state=state, java_script_enabled=False, viewport=WIDTHS["narrow"])
    watched = Watched(context.new_page(), admin)
    page = watched.page
    page.goto(f"{admin}/console/entries")
    check(page.locator("table.list tbody tr").count() == 50, "without scripts: the list is not there")
    page.get_by_role("link", name="Older entries").click()
    check(page.locator("table.list tbody tr").count() >= 1, "without scripts: no older entries")
    page.goto(f"{admin}/console/problems")
    page.get_by_role("link", name="Release all…").first.click()
    check("would be released" in page.inner_text("main"), "without scripts: no dry run")
    page.goto(admin + held)
    check("What happened" in page.inner_text("main"), "without scripts: no event")
    page.get_by_role("link", name="Replay…").click()
    check("1 of 1 would be replayed" in page.inner_text("main"), "without scripts: no dry run of a replay")
    page.get_by_label(re.compile("Why")).fill("a test")
    page.get_by_role("button", name=re.compile("^Replay")).click()
    page.wait_for_url("**/console/operations/*")
    until(lambda: page.reload() and "done: 1 changed of 1" in page.inner_text("main"), "the replay is done")
    page.goto(admin + held)
    check("Ordered: replay by ana: a test" in page.inner_text("main"), "without scripts: the replay is not told")
    watched.judge("without scripts", scripts=False)
    context.close()


def as_viewer(browser, admin, paths):
    context = browser.new_context(viewport=WIDTHS["wide"])
    login(context, admin, BEN)
    watched = Watched(context.new_page(), admin)
    for screen, path in paths.items():
        watched.page.goto(admin + path)
        text = watched.page.content()
        for personal in PERSONAL:
            check(personal not in text, f"viewer: {personal} stands in {screen}")
    for path in ("/console/orders", "/console/entries/1/reveal", "/console/people/cus_700/reveal", "/console/logout/all", "/console/operations/1/stop",
                 "/console/colony/route", "/console/reconcile", "/console/guardian/try", "/console/settings/check"):
        status = watched.page.evaluate("(path) => fetch(path, {method: 'POST'}).then((answer) => answer.status)", path)
        check(status == 403, f"viewer: POST {path} is answered {status}")
    context.close()


def lives(browser, admin, webhooks, state, held):
    """A list counts what is new; a decision and a reveal, by keys and clicks."""
    context = browser.new_context(storage_state=state, viewport=WIDTHS["wide"])
    watched = Watched(context.new_page(), admin)
    page = watched.page
    page.goto(f"{admin}/console?span=5m")
    # Charts move by themselves while somebody looks.
    drawn = "document.querySelector('#chart-backlog .line').getAttribute('d')"
    before = page.evaluate(drawn)
    page.wait_for_function(f"(before) => {drawn} !== before", arg=before)
    page.keyboard.press("g")
    page.keyboard.press("e")
    page.wait_for_url("**/console/entries")
    first = page.locator("a[data-row]").first.inner_text()
    post(webhooks, event(400, "product.created", {"id": "prod_400", "object": "product"}))
    page.get_by_role("link", name="1 new").wait_for()
    check(page.locator("a[data-row]").first.inner_text() == first, "live: rows moved")
    page.get_by_role("link", name="1 new").click()
    page.get_by_text("evt_400").wait_for()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="What happened").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("evt_200")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Body").wait_for()
    check(all(personal not in page.content() for personal in PERSONAL), "an operator sees more than asked for")
    page.get_by_label(re.compile("hidden text")).fill("ticket 17")
    page.get_by_role("button", name=re.compile("Reveal")).click()
    page.get_by_text("ada@example.com").first.wait_for()
    watched.judge("revealed")
    page.goto(admin + held)
    page.get_by_role("link", name="Release…").click()
    page.get_by_role("button", name=re.compile("^Release")).click()
    page.get_by_text("1 changed of 1").wait_for()
    watched.judge("live")
    context.close()


def operates(browser, admin, state, shots, axe, held):
    """Rules tried on an event, a report of check, and what the audit keeps of both. Without JavaScript too."""
    for name, scripts in (("wide", True), ("narrow", False)):
        context = browser.new_context(storage_state=state, viewport=WIDTHS[name], java_script_enabled=scripts)
        watched = Watched(context.new_page(), admin)
        page = watched.page
        page.goto(admin + held)
        page.get_by_role("link", name="Try rules…").click()
        page.get_by_role("button", name="Try", exact=True).click()
        page.get_by_text("no access until a person releases it").wait_for()
        if scripts:
            look(watched, "tried light wide", axe, shots)
        page.get_by_label("Rules", exact=True).select_option("pasted")
        page.get_by_label("Rules to try").fill("[builtin.livemode]\nexpect = false")
        page.get_by_role("button", name="Try", exact=True).click()
        page.get_by_text("It would be held back").wait_for()
        page.goto(f"{admin}/console/settings")
        page.get_by_role("button", name="Check now").click()
        page.get_by_role("rowheader", name="configuration").wait_for()
        page.goto(f"{admin}/console/audit")
        page.get_by_role("cell", name="try_rules").first.wait_for()
        page.get_by_role("cell", name=re.compile(r"\bcheck$")).first.wait_for()
        watched.judge(f"operating, {'with' if scripts else 'without'} scripts", scripts)
        context.close()


def tasks(browser, admin, state):
    """Three tasks as somebody solves them who has never seen it: from the overview, by what is to be seen and the search box."""
    context = browser.new_context(storage_state=state, viewport=WIDTHS["wide"])
    watched = Watched(context.new_page(), admin)
    page = watched.page

    def overview():
        page.goto(f"{admin}/console")
        page.get_by_role("heading", name="Overview").wait_for()

    def look_up(wanted):
        page.get_by_role("searchbox").fill(wanted)
        page.keyboard.press("Enter")

    # Why has this user no access?
    overview()
    look_up("user_of_bea")
    page.get_by_text("No access: the one subscription gives none.").wait_for()
    page.get_by_text("A rule holds the event that would give access.").wait_for()
    check("user_of_bea" not in page.url, f"a user stands in the address {page.url}")
    page.locator("tr", has_text="gifts are looked at by a person").locator("a[data-row]").first.click()
    page.get_by_role("heading", name="What happened").wait_for()
    page.get_by_text("gifts are looked at by a person").first.wait_for()
    watched.judge("task: no access")
    # Release what is held.
    overview()
    page.get_by_role("link", name="Problems").click()
    group = page.locator("section.problem", has_text="gifts are looked at by a person")
    group.get_by_role("link", name="Release all…").click()
    page.get_by_role("button", name=re.compile("^Release")).click()
    page.get_by_text("1 changed of 1").wait_for()
    look_up("user_of_bea")
    page.get_by_text("Person").first.wait_for()
    until(lambda: page.reload() and "Access, by one subscription." in page.inner_text("main"), "the released event gives access")
    watched.judge("task: release")
    # Replay everything that died while the database was away.
    overview()
    page.locator("dl.tiles div", has_text="Waiting for you").get_by_role("link").click()
    group = page.locator("section.problem", has_text="the database was away")
    group.get_by_role("link", name="Replay all…").click()
    page.get_by_text(f"{DIED} of {DIED} would be replayed").wait_for()
    page.get_by_role("button", name=re.compile("^Replay")).click()
    page.get_by_text(f"{DIED} changed of {DIED}").wait_for()
    watched.judge("task: replay")
    context.close()


def by_link(browser, admin, environment):
    """The link that the command prints logs in. Scripts press its button by themselves; it is there for browsers without."""
    environment = {**environment, "GATEWAY_ADMIN_TOKEN": ANA}
    command = [os.environ["CONSOLE_PROGRAM"], "console", "--admin", admin]
    link = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(link)
    check(page.locator("form[data-submit-now]").count() == 1, "a link that waits for a click")
    page.get_by_role("button", name="Open the console").click()
    page.get_by_text("ana").wait_for()
    state = context.storage_state()
    context.close()
    return state


def main():
    shots = pathlib.Path(os.environ["CONSOLE_SCREENSHOTS"]) if os.environ.get("CONSOLE_SCREENSHOTS") else None
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
    axe = (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text()
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        die(directory)
        webhooks, admin, environment = stack.enter_context(gateway(directory))
        seed(webhooks, admin)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=os.environ["CONSOLE_CHROMIUM"], args=["--no-sandbox"])
            context = browser.new_context(viewport=WIDTHS["narrow"])
            watched = Watched(context.new_page(), admin)
            watched.page.goto(f"{admin}/console/login")
            look(watched, "login light narrow", axe, shots)
            context.close()
            state = by_link(browser, admin, environment)
            # An operation to look at.
            context = browser.new_context(storage_state=state)
            page = context.new_page()
            page.goto(f"{admin}/console/orders?action=drop&code=malformed")
            page.get_by_label(re.compile("Why")).fill("not ours")
            page.get_by_role("button", name=re.compile("^Drop")).click()
            page.wait_for_url("**/console/operations/1")
            context.close()
            context = browser.new_context(storage_state=state)
            page = context.new_page()
            page.set_default_timeout(PATIENCE)
            page.goto(f"{admin}/console/settings")
            page.get_by_role("button", name="Check now").click()
            page.get_by_role("rowheader", name="configuration").wait_for()
            context.close()
            paths = visit_all(browser, admin, state, shots, axe)
            without_scripts(browser, admin, state, paths["held"])
            operates(browser, admin, state, shots, axe, paths["held"])
            as_viewer(browser, admin, paths)
            lives(browser, admin, webhooks, state, paths["held"])
            tasks(browser, admin, state)
            browser.close()
    print(f"the console in a browser: {len(faults)} faults, {time.monotonic() - began:.0f} s")
    sys.exit(1 if faults else 0)


main()
