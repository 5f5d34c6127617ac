"""Streams of sessions that run out by themselves."""

import pytest

from conftest import running
from support import login
from support.events import EventStream
from support.stack import Stack
from test_push import PUSH, opened

# They are looked at once a minute.
ENDED_S = 300


@pytest.fixture(scope="module")
def stack(run, pki):
    part = run.part("push-sessions")
    configuration = {"push": dict(PUSH), "auth": {"session_idle": "1m", "session_max": "1m"}}
    configuration["push.frontends.nginx"] = {
        "publisher": f"http://unix:{part.dir}/postern-run/nchan/publish.sock:/publish/",
        "subscriber": "/postern-nchan/"}
    for stack in running(Stack, part, pki, configuration, apache=False):
        yield stack
        stack.postern.stop()


@pytest.mark.slow
def test_streams_end_with_their_session(stack, person):
    """Whoever holds them: nginx, or the broker."""
    client = login.with_token(stack, stack.nginx, person)
    held, _ = opened(client)
    with held, EventStream(client, "types=Email&closeafter=no&ping=0") as own:
        assert own.next().changed
        assert held.ended.wait(ENDED_S) and own.ended.wait(ENDED_S)
    assert EventStream(client).status == 401
