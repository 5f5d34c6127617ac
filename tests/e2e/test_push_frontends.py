"""Several front ends, and streams of those who come with Basic or with a cookie alone."""

import pytest

from conftest import running
from support import login
from support.events import WAIT_S, EventStream
from support.stack import Stack
from support.web import Nginx
from test_push import PUSH, append, opened
from test_push_faults import newer, nudged, told_again

NAMES = {"nginx": "publish", "second": "second"}


@pytest.fixture(scope="module")
def stack(run, pki):
    part = run.part("push-frontends")
    folder = f"{part.dir}/postern-run/nchan"
    configuration = {"push": dict(PUSH)}
    for name, socket in NAMES.items():
        configuration[f"push.frontends.{name}"] = {
            "publisher": f"http://unix:{folder}/{socket}.sock:/publish/", "subscriber": "/postern-nchan/"}
    for stack in running(Stack, part, pki, configuration, apache=False):
        yield stack
        stack.postern.stop()


@pytest.fixture(scope="module")
def second(stack, run, pki):
    """Another nginx with a name and a publisher of its own."""
    web = Nginx(run.part("push-frontends-second"), pki, stack.postern.runtime_dir)
    for name, before, after in (("postern-nchan-publisher.conf", "nchan/publish.sock", "nchan/second.sock"),
                                ("postern-upstream.conf", "default nginx;", "default second;")):
        with open(f"{web.base}/{name}", encoding="utf-8") as file:
            text = file.read()
        assert before in text
        web.write(name, text.replace(before, after))
    try:
        yield web.start()
    finally:
        web.stop()


def test_a_session_hears_at_both_front_ends(stack, second, person):
    first = login.with_token(stack, stack.nginx, person)
    other = stack.client(second, dict(first.headers))
    here, began = opened(first)
    with here:
        there, also_began = opened(other)
        with there:
            lasts = [(stream.settled() or [event])[-1] for stream, event in ((here, began), (there, also_began))]
            append(stack, person)
            seen = [stream.until(newer(last)) for stream, last in zip((here, there), lasts)]
            assert seen[0].changed["Email"] == seen[1].changed["Email"]
            # One that ends says nothing of the other.
            there.close()
            here.settled()
            append(stack, person)
            here.until(newer(seen[0]))
            with EventStream(other) as again:
                again.until(newer(seen[0]))
                assert first.post("/auth/logout", {}).status == 200
                assert here.ended.wait(WAIT_S) and again.ended.wait(WAIT_S)


def test_one_front_end_away(stack, second, person):
    """What it can't be told waits for it alone."""
    first = login.with_token(stack, stack.nginx, person)
    stream, began = opened(first)
    there, _ = opened(stack.client(second, dict(first.headers)))
    with stream, there:
        last = (stream.settled() or [began])[-1]
        second.stop()
        assert there.ended.wait(WAIT_S)
        for _ in range(3):
            append(stack, person)
            last = stream.until(newer(last))
        second.start()
        with EventStream(stack.client(second, dict(first.headers))) as again:
            assert again.status == 200
            assert again.next().changed["Email"]


@pytest.mark.parametrize("way", ("basic", "cookie"))
def test_basic_and_cookie(stack, person, way):
    """They are nudged as others are behind a restart of the broker; of Basic nothing but its use is written down."""
    client = person.client(stack.nginx) if way == "basic" else login.with_cookie(stack, stack.nginx, person)
    stream, first = opened(client)
    with stream:
        last = (stream.settled() or [first])[-1]
        append(stack, person)
        last = stream.until(newer(last))
        stack.postern.broker.kill()
        append(stack, person)
        stack.postern.broker.start()
        nudged(stream)
        told_again(stack, person, client, stream, last)
