"""postern-events.js in headless Chromium behind a proxy that holds event streams back: what it falls back to, and what
the page is told meanwhile."""

import contextlib
import os

import pytest

from support.chromium import CHROMIUM, Chromium
from support.holding_proxy import HoldingProxy
from test_push_browser import RETRY, append, opened_page, opened_state, page_stack

pytestmark = pytest.mark.skipif(not os.path.exists(CHROMIUM), reason="chromium isn't installed")


@pytest.fixture(scope="module", params=("nchan", "stream"))
def stack(run, pki, request):
    yield from page_stack(run, pki, request.param, f"held-{request.param}")


@pytest.fixture(scope="module")
def chromium(stack):
    browser = Chromium(stack.run, stack.run.make_dir("chromium", owned=False))
    yield browser
    browser.stop()


@contextlib.contextmanager
def behind(stack, pki, chromium, person, **options):
    """A page that reaches nginx by a proxy that holds back what it's told to, and that proxy."""
    proxy = HoldingProxy(stack.nginx.tls_port, pki.localhost, **options)
    try:
        with opened_page(stack, chromium, person, f"https://127.0.0.1:{proxy.port}") as page:
            page.run("window.hold(5000)")
            yield page, proxy
    finally:
        proxy.close()


def held_back(page, after=10_000):
    """Its time is over: with that of a ping where it has opened."""
    page.wait(f"window.heldOf({after}, {after}).length === 1")
    way = page.run("window.events.transport")
    page.run(f"window.release({after}, {after})")
    return way


@pytest.mark.parametrize("passes_head", (False, True))
def test_event_streams_are_held_back(stack, pki, chromium, person, passes_head):
    """An EventSource that neither opens nor fails, or opens and brings nothing, is given up, and fetch as well."""
    with behind(stack, pki, chromium, person, passes_head=passes_head) as (page, _):
        page.run("window.begin({shared: false})")
        for way in ("eventsource", "eventsource", "fetch"):
            if passes_head and way == "eventsource":
                page.wait("window.events.state === 'open'")
            assert held_back(page, 40_000 if passes_head else 10_000) == way
        page.wait("window.events.state === 'open' && window.email()")
        assert page.run("window.events.transport") == "poll"
        begun = ["open", "connecting"] * 2 if passes_head else []  # the head of an answer opens an EventSource
        assert page.run("window.seen.status") == ["starting", "connecting", *begun, "open"]
        assert page.run("window.seen.current") == 1
        now = opened_state(page)
        append(stack, person)
        page.wait(f"window.email() !== '{now}'")


def test_event_source_alone_is_held_back(stack, pki, chromium, person):
    with behind(stack, pki, chromium, person, held="/jmap/events/?by=source&") as (page, _):
        page.run("""window.begin({shared: false, environment: { EventSource: class extends EventSource {
            constructor(url, options) { super(url.replace("?", "?by=source&"), options); } } }})""")
        held_back(page), held_back(page)
        page.wait("window.events.state === 'open' && window.email()")
        assert page.run("window.events.transport") == "fetch"
        now = opened_state(page)
        append(stack, person)
        page.wait(f"window.email() !== '{now}'")


def test_streams_are_tried_again_later(stack, pki, chromium, person):
    """What held them back may have gone an hour later."""
    with behind(stack, pki, chromium, person) as (page, proxy):
        page.run("window.skipped = 0")
        page.run("window.begin({shared: false, environment: {now: () => Date.now() + window.skipped}})")
        for _ in range(3):
            held_back(page)
        page.wait("window.events.state === 'open' && window.events.transport === 'poll' && window.email()")
        proxy.held = "none of them"
        page.run("window.skipped = 3700000")
        append(stack, person)
        page.wait("window.events.state === 'open' && window.events.transport === 'eventsource'")


def test_a_poll_that_is_not_answered_says_nothing_of_streams(stack, chromium, person):
    """Nothing gets through at all: the page isn't told that it is open, and later it is begun as at first."""
    with opened_page(stack, chromium, person, stack.nginx.tls_url) as page:
        page.run("window.hold(5000)")
        page.run("window.deaf = true")
        page.run("""window.begin({shared: false, environment: { EventSource: class extends EventSource {
                constructor(url, options) { super(window.deaf ? "/nothing-here" : url, options); }
                get readyState() { return 0; } },
            fetch: (url, options) => window.deaf ? new Promise((resolve, reject) => {
                options.signal.onabort = () => reject(options.signal.reason); }) : fetch(url, options) }})""")
        page.wait("window.heldOf(15000, 15000).length === 1")
        page.run("window.release(15000, 15000)")
        page.wait("window.heldOf(15000, 15000).length === 1")
        page.run("window.release(15000, 15000)")
        held_back(page)
        page.wait("window.events.transport === 'poll' && window.heldOf(20000, 20000).length === 1")
        page.run("new Promise((r) => setTimeout(r, 2500))")
        assert page.run("window.seen.status") == ["starting", "connecting"]
        page.run("window.release(20000, 20000)")
        page.wait("window.events.state === 'waiting'")
        page.run("window.deaf = false")
        page.run(f"window.release({RETRY})")
        page.wait("window.events.state === 'open' && window.email()")
        assert page.run("window.events.transport") == "eventsource"
