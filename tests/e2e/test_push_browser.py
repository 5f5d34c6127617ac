"""postern-events.js in headless Chromium, against the real nginx with nchan and with the broker's own streams."""

import contextlib
import json
import os
import shutil

import pytest

from support import login
from support.chromium import CHROMIUM, Chromium
from support.imap_server import ok
from support.processes import REPOSITORY
from support.proxy import CountingProxy
from test_push import MESSAGE, push_stack

pytestmark = pytest.mark.skipif(not os.path.exists(CHROMIUM), reason="chromium isn't installed")

PAGE = """<!doctype html><title>events</title><script type="module">
import { PosternEvents } from "./postern-events.js";
window.seen = { status: [], changes: [], current: 0 };
window.begin = (options) => {
  const events = (window.events = new PosternEvents({ url: "/jmap/events/", ...options }));
  events.addEventListener("status", (e) => window.seen.status.push(e.detail.state));
  events.addEventListener("change", (e) => window.seen.changes.push(e.detail.changed));
  events.addEventListener("current", () => ++window.seen.current);
  events.start();
};
window.email = () => Object.values(window.events.states)[0]?.Email;
// From now on timers of so long and longer wait in window.held until a test has them run.
window.held = [];
window.hold = (least) => {
  const { setTimeout: set, clearTimeout: clear } = window;
  window.setTimeout = (run, ms, ...more) => (ms >= least ? -window.held.push({ run, ms }) : set(run, ms, ...more));
  window.clearTimeout = (id) => (id < 0 ? delete window.held[-id - 1] : clear(id));
};
window.heldOf = (least, most) => window.held.filter(({ ms }) => ms >= least && ms <= most);
window.release = (least, most) => {
  const at = window.held.findIndex((timer) => timer && timer.ms >= least && timer.ms <= most);
  const { run } = window.held[at];
  delete window.held[at];
  run();
};
window.ready = true;
</script>"""


def page_stack(run, pki, way, name):
    """A stack whose nginx has the page."""
    for stack in push_stack(run, pki, way, name):
        folder = f"{stack.nginx.base}/html"
        shutil.copy(f"{REPOSITORY}/web/postern-events.js", folder)
        with open(f"{folder}/events.html", "w", encoding="utf-8") as out:
            out.write(PAGE)
        os.chmod(f"{folder}/postern-events.js", 0o644)
        os.chmod(f"{folder}/events.html", 0o644)
        yield stack


@pytest.fixture(scope="module", params=("nchan", "stream"))
def stack(run, pki, request):
    yield from page_stack(run, pki, request.param, f"browser-{request.param}")


@pytest.fixture(scope="module")
def chromium(stack):
    browser = Chromium(stack.run, stack.run.make_dir("chromium", owned=False))
    yield browser
    browser.stop()


def sign_in(stack, page, person):
    answer = page.run(f"""fetch("/auth/login", {{method: "POST", headers: {{"Content-Type": "application/json"}},
        body: {json.dumps(json.dumps(login.body(person)))}}}).then((r) => r.status)""")
    assert answer == 200
    for cookie in page.call("Network.getCookies")["cookies"]:
        stack.run.register_secret(cookie["value"])


def sign_out(page):
    assert page.run("""fetch("/auth/logout", {method: "POST", headers: {"Content-Type": "application/json"},
        body: "{}"}).then((r) => r.status)""") == 200


@contextlib.contextmanager
def opened_page(stack, chromium, person, url):
    page = chromium.open(f"{url}/events.html")
    page.call("Network.enable")
    page.wait("window.ready")
    sign_in(stack, page, person)
    yield page
    page.run("window.events?.stop()")
    page.close()


@pytest.fixture
def page(stack, chromium, person):
    with opened_page(stack, chromium, person, stack.nginx.tls_url) as page:
        yield page


@pytest.fixture
def wire(stack):
    """Between browser and nginx."""
    proxy = CountingProxy(("127.0.0.1", stack.nginx.tls_port))
    yield proxy
    proxy.close()


@pytest.fixture
def wired(stack, chromium, person, wire):
    """A page that reaches nginx by that."""
    with opened_page(stack, chromium, person, f"https://127.0.0.1:{wire.port}") as page:
        yield page
        wire.release()


def append(stack, person):
    with stack.server.signed_in(person.user) as imap:
        ok(imap.append("INBOX", None, None, MESSAGE))


def opened_state(page):
    """The Email state behind the account's opening: what a page that asks gets from then on. A state that was told
    before the account was looked at stands for all that is found then."""
    page.run("""fetch("/jmap/api", {method: "POST", headers: {"Content-Type": "application/json"},
        body: JSON.stringify({using: ["urn:ietf:params:jmap:core", "urn:ietf:params:jmap:mail"],
            methodCalls: [["Mailbox/get", {accountId: Object.keys(window.events.states)[0]}, "0"]]})
        }).then(async (r) => { if (!r.ok) throw new Error(await r.text()); })""")
    page.run("new Promise((r) => setTimeout(r, 1000))")
    return page.run("window.email()")


def begin(page, options="{}"):
    page.run(f"window.begin({options})")
    page.wait("window.events.state === 'open' && window.email()")
    return opened_state(page)


@pytest.mark.parametrize("transport", ("eventsource", "fetch", "poll"))
def test_new_mail(stack, person, page, transport):
    before = begin(page, f'{{way: "{transport}", shared: false}}')
    assert page.run("window.events.transport") == transport
    append(stack, person)
    page.wait(f"window.email() !== '{before}'")
    assert page.run("window.seen.changes.at(-1)")


def test_falls_back_where_there_is_no_eventsource(stack, person, page):
    before = begin(page, "{shared: false, environment: {EventSource: undefined}}")
    assert page.run("window.events.transport") == "fetch"
    append(stack, person)
    page.wait(f"window.email() !== '{before}'")


def test_ten_tabs_share_one_stream(stack, person, page, chromium):
    before = begin(page)
    tabs = [chromium.open(f"{stack.nginx.tls_url}/events.html") for _ in range(9)]
    try:
        for tab in tabs:
            tab.wait("window.ready")
            tab.run("window.begin({})")
            tab.wait("window.events.state === 'open' && window.email()")
            assert tab.run("window.events.transport") == "shared"
        append(stack, person)
        for tab in [page] + tabs:
            tab.wait(f"window.email() !== '{before}'")
        # The one that has the stream goes: another takes over.
        page.run("window.events.stop()")
        tabs[0].wait("window.events.transport === 'eventsource' && window.events.state === 'open'")
        now = tabs[0].run("window.email()")
        append(stack, person)
        for tab in tabs:
            tab.wait(f"window.email() !== '{now}'")
    finally:
        for tab in tabs:
            tab.run("window.events?.stop()")
            tab.close()


def test_network_cut(stack, person, page):
    before = begin(page, "{shared: false}")
    page.offline(True)
    page.wait("window.events.state !== 'open'")
    append(stack, person)
    page.offline(False)
    page.wait(f"window.events.state === 'open' && window.email() !== '{before}'")


def test_nginx_restarted(stack, person, page):
    before = begin(page, "{shared: false}")
    stack.nginx.stop()
    page.wait("window.events.state !== 'open'")
    append(stack, person)
    stack.nginx.start()
    page.run("window.events.retry()")
    page.wait(f"window.events.state === 'open' && window.email() !== '{before}'")


def test_first_poll_of_a_page_that_was_loaded_again(stack, person, page):
    """The session was told the states before; the page wasn't."""
    before = begin(page, "{way: 'poll', shared: false}")
    page.run("window.events.stop()")
    page.go(f"{stack.nginx.tls_url}/events.html")
    page.wait("window.ready")
    assert begin(page, "{way: 'poll', shared: false}") == before


def test_broker_killed(stack, person, page):
    """Held by nginx, the stream stays, and a nudge has the page ask again; held by the broker, it breaks."""
    before = begin(page, "{shared: false}")
    stack.postern.broker.kill()
    append(stack, person)
    stack.postern.broker.start()
    page.wait(f"window.events.state === 'open' && window.email() !== '{before}'", 90)
    now = opened_state(page)
    append(stack, person)
    page.wait(f"window.email() !== '{now}'")


def test_web_socket(stack, person, page):
    """With the cookie, from a page of this site."""
    begin(page, "{shared: false}")  # what the account's own opening changes is over
    page.run("""new Promise((resolve, reject) => {
        const socket = (window.socket = new WebSocket(`wss://${location.host}/jmap/ws`, "jmap"));
        window.told = [];
        socket.onopen = () => socket.send(JSON.stringify({"@type": "WebSocketPushEnable", dataTypes: ["Email"],
                                                          pushState: "none of ours"}));
        socket.onmessage = ({ data }) => resolve(window.told.push(JSON.parse(data)));
        socket.onclose = () => reject(new Error("closed"));
    })""")
    assert page.run("window.told[0]['@type']") == "StateChange"
    seen = page.run("window.told.length")
    append(stack, person)
    page.wait(f"window.told.length > {seen}")
    page.run("""window.socket.send(JSON.stringify({"@type": "Request", id: "e",
        using: ["urn:ietf:params:jmap:core"], methodCalls: [["Core/echo", {a: 1}, "0"]]}))""")
    page.wait("window.told.some((m) => m['@type'] === 'Response' && m.requestId === 'e')")
    page.run("window.socket.onclose = null; window.socket.close()")


def test_sleep_is_noticed(stack, person, page):
    page.run("window.skipped = 0; window.setIntervalOf = window.setInterval;"
             "window.setInterval = (f, ms) => window.setIntervalOf(f, Math.min(ms, 200))")
    begin(page, "{shared: false, environment: {now: () => Date.now() + window.skipped}}")
    current = page.run("window.seen.current")
    page.run("window.skipped = 66000")
    page.wait(f"window.seen.current > {current} && window.events.state === 'open'")


@pytest.mark.parametrize("transport", ("eventsource", "fetch", "poll"))
def test_session_ended(stack, person, page, transport):
    """And begun anew: by the transport of before."""
    begin(page, f"{{shared: false, way: '{transport}'}}")
    sign_out(page)
    page.wait("window.events.state === 'unauthorized'")
    seen = page.run("window.seen.status")
    assert "open" not in seen[seen.index("unauthorized"):]
    sign_in(stack, page, person)
    assert page.run("window.events.state") == "unauthorized"
    page.run("window.events.retry()")
    page.wait("window.events.state === 'open'")
    assert page.run("window.events.transport") == transport
    now = opened_state(page)
    append(stack, person)
    page.wait(f"window.email() !== '{now}'")


def test_session_ended_in_all_tabs(stack, person, page, chromium):
    begin(page)
    tab = chromium.open(f"{stack.nginx.tls_url}/events.html")
    try:
        tab.wait("window.ready")
        tab.run("window.begin({})")
        tab.wait("window.events.transport === 'shared' && window.events.state === 'open' && window.email()")
        sign_out(page)
        for one in (page, tab):
            one.wait("window.events.state === 'unauthorized'")
        sign_in(stack, page, person)
        # The page that leads hears of it from one that asks, or from one that is loaded.
        tab.run("window.events.stop()")
        tab.run("window.begin({})")
        for one in (page, tab):
            one.wait("window.events.state === 'open'")
        sign_out(page)
        for one in (page, tab):
            one.wait("window.events.state === 'unauthorized'")
        sign_in(stack, page, person)
        tab.run("window.events.retry()")
        for one in (page, tab):
            one.wait("window.events.state === 'open'")
    finally:
        tab.run("window.events?.stop()")
        tab.close()


# --- EventSource that has ended, or never begins ---

RETRY = "30000, 45000"  # ms, at random


@contextlib.contextmanager
def refused(stack, page):
    """The stream breaks, and its next request is answered 503, which ends an EventSource for good."""
    stack.postern.worker.stop()
    try:
        stack.nginx.stop()
        stack.nginx.start()
        page.wait("window.events.state === 'waiting'")
        yield
    finally:
        stack.postern.worker.start()


def test_eventsource_that_has_ended_is_opened_anew_later(stack, person, page):
    before = begin(page, "{shared: false, environment: {random: () => 0.5}}")
    page.run("window.hold(20000)")
    with refused(stack, page):
        assert page.run(f"window.heldOf({RETRY}).map(({{ ms }}) => ms)") == [37500]
        append(stack, person)
    page.run(f"window.release({RETRY})")
    page.wait(f"window.events.state === 'open' && window.email() !== '{before}'")
    assert page.run("window.events.transport") == "eventsource"


def test_eventsource_that_has_ended_is_opened_anew_once_online(stack, person, page):
    before = begin(page, "{shared: false}")
    page.run("window.hold(20000)")
    with refused(stack, page):
        page.offline(True)
        page.wait("window.events.state === 'offline'")
        assert page.run(f"window.heldOf({RETRY}).length") == 0
        append(stack, person)
    page.offline(False)
    page.wait(f"window.events.state === 'open' && window.email() !== '{before}'")
    assert page.run("window.events.transport") == "eventsource"


def test_eventsource_that_is_blocked(stack, person, page):
    before = begin(page, """{shared: false, environment: {
        EventSource: class { constructor() { throw new DOMException("blocked", "SecurityError"); } } }}""")
    assert page.run("window.events.transport") == "fetch"
    append(stack, person)
    page.wait(f"window.email() !== '{before}'")


def test_eventsource_whose_answers_are_refused(stack, person, page):
    """What filters traffic may let fetch through and not event streams."""
    page.run("window.hold(20000)")
    page.run("""window.begin({shared: false, environment: {
        EventSource: class extends EventSource { constructor() { super("/nothing-here"); } } }})""")
    page.wait(f"window.heldOf({RETRY}).length === 1 && window.events.state === 'waiting'")
    page.run(f"window.release({RETRY})")
    page.wait("window.events.transport === 'fetch' && window.events.state === 'open' && window.email()")
    now = opened_state(page)
    append(stack, person)
    page.wait(f"window.email() !== '{now}'")


@pytest.mark.parametrize("body", ("null", "new ReadableStream({})"))  # without one; one that is held back
def test_fetch_that_does_not_stream(stack, person, page, body):
    page.run("window.hold(5000)")
    page.run(f"""window.begin({{shared: false, way: "fetch", environment: {{
        fetch: async (url, options) => options.headers["X-Long-Poll"] ? fetch(url, options)
            : new Response({body}, {{ headers: {{ "Content-Type": "text/event-stream" }} }}) }} }})""")
    if body != "null":
        page.wait("window.heldOf(40000, 40000).length === 1")  # a ping is due every 30 s
        page.run("window.release(40000, 40000)")
    page.wait("window.events.transport === 'poll' && window.events.state === 'open' && window.email()")
    now = opened_state(page)
    append(stack, person)
    page.wait(f"window.email() !== '{now}'")


# --- What happens on the way ---

def retried_until(page, condition):
    """The pause behind a failure is left out, each time there is one."""
    page.wait(f"(() => {{ if (window.heldOf({RETRY}).length) window.release({RETRY}); return {condition}; }})()")


@pytest.mark.parametrize("transport", ("eventsource", "fetch"))
def test_the_socket_of_the_stream_is_cut(stack, person, wired, wire, transport):
    """Once with nothing new behind it: the page hears that all the same."""
    wired.run("window.hold(20000)")
    begin(wired, f"{{shared: false, way: '{transport}'}}")

    def cut():
        current = wired.run("window.seen.current")
        wired.run("window.seen.status.length = 0")
        wire.drop()
        wired.wait("window.seen.status.length > 0")
        retried_until(wired, f"window.seen.current > {current} && window.events.state === 'open'")

    cut()
    assert wired.run("window.events.transport") == transport
    now = opened_state(wired)
    append(stack, person)
    cut()
    wired.wait(f"window.email() !== '{now}'")


def test_the_socket_of_a_poll_is_cut(stack, person, wired, wire):
    """Chromium itself may send such a request again."""
    wired.run("window.hold(20000)")
    before = begin(wired, "{shared: false, way: 'poll'}")
    wire.drop()
    append(stack, person)
    retried_until(wired, f"window.events.state === 'open' && window.email() !== '{before}'")


@pytest.mark.parametrize("transport, silence", (("eventsource", 75000), ("fetch", 75000), ("poll", 330000)))
def test_a_dead_connection_is_noticed_by_its_silence(stack, person, wired, wire, transport, silence):
    wired.run("window.hold(20000)")
    before = begin(wired, f"{{shared: false, way: '{transport}'}}")
    wire.hold()
    append(stack, person)
    wired.run("window.seen.status.length = 0")
    wired.run(f"window.release({silence}, {silence})")
    assert wired.run("window.seen.status[0]") == "connecting"
    wire.drop()  # the dead ones; what comes from now on gets through
    retried_until(wired, f"window.events.state === 'open' && window.email() !== '{before}'")
