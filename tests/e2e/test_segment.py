"""The shared segment across crashes and damage: who stays signed in, and that the broker always comes up."""

import json
import os
import random
import shutil
import stat

import pytest

from support import fastcgi
from support.postern import Postern


@pytest.fixture
def postern(run, stack, request):
    part = run.part("segment-" + str(abs(hash(request.node.name)) % 100000))
    postern = Postern(part, {"imap": {"host": "127.0.0.1", "port": stack.imap.port, "tls": "none"}})
    postern.start()
    yield postern
    postern.stop()


@pytest.fixture(scope="module")
def people(stack):
    return [stack.person("segment", messages=0) for _ in range(3)]


def sign_in(postern, person):
    body = json.dumps({"username": person.user, "password": person.password, "token": True}).encode()
    status, _, answer = fastcgi.request(postern.worker_socket, "POST", "/auth/login", {
        "Content-Type": "application/json", "Origin": "https://localhost"}, body)
    assert status == 200, answer
    return postern.run.register_secret(json.loads(answer)["token"])


def status(postern, token):
    return fastcgi.request(postern.worker_socket, "GET", "/jmap/session", {"Authorization": f"Bearer {token}"})[0]


def damaged(postern, change):
    """Stops the broker hard, changes the segment file, and starts it again."""
    postern.broker.kill()
    change(postern.segment)
    postern.broker.start()


def test_nobody_is_logged_out_by_a_crash(postern, people):
    tokens = [sign_in(postern, person) for person in people]
    postern.broker.kill()
    postern.broker.start()
    assert [status(postern, token) for token in tokens] == [200] * 3


def truncate(path):
    os.truncate(path, os.path.getsize(path) // 2)


def empty(path):
    os.truncate(path, 0)


def remove(path):
    os.unlink(path)


def overwrite(path):
    with open(path, "r+b") as file:
        file.write(os.urandom(65536))


def older(path):
    """The format's version, which follows the magic, set to another."""
    with open(path, "r+b") as file:
        file.seek(8)
        file.write(b"\x00\x00\x00\x00")


def directory(path):
    os.unlink(path)
    os.mkdir(path)


@pytest.mark.parametrize("change", (truncate, empty, remove, overwrite, older))
def test_damage_as_a_whole_costs_sessions_and_no_more(postern, people, change):
    token = sign_in(postern, people[0])
    damaged(postern, change)
    assert status(postern, token) in (200, 401)
    fresh = sign_in(postern, people[1])
    assert status(postern, fresh) == 200


@pytest.mark.parametrize("seed", range(3))
def test_damage_in_places_keeps_the_rest(postern, people, seed):
    """Octets flipped here and there: a session is whole or gone, and never somebody else's."""
    tokens = [sign_in(postern, person) for person in people]

    def flip(path):
        chance = random.Random(seed)
        with open(path, "r+b") as file:
            data = bytearray(file.read(1 << 20))
            used = [at for at, octet in enumerate(data) if octet]
            for at in chance.sample(used, min(20, len(used))):
                data[at] ^= 1 << chance.randrange(8)
            file.seek(0)
            file.write(data)

    damaged(postern, flip)
    for token, person in zip(tokens, people):
        code, _, body = fastcgi.request(postern.worker_socket, "GET", "/jmap/session", {
            "Authorization": f"Bearer {token}"})
        assert code in (200, 401)
        if code == 200:
            assert json.loads(body)["username"] == person.user
    assert status(postern, sign_in(postern, people[0])) == 200


def test_segment_shows_no_secrets_and_is_closed_to_others(postern, people):
    token = sign_in(postern, people[0])
    info = os.stat(postern.segment)
    assert stat.S_IMODE(info.st_mode) & 0o027 == 0
    with open(postern.segment, "rb") as file:
        while piece := file.read(1 << 20):
            assert token.encode() not in piece and people[0].password.encode() not in piece


def test_a_file_that_cannot_be_used_is_named(postern):
    """A directory where the segment should be: no start, and a message that says why."""
    postern.broker.stop()
    directory(postern.segment)
    postern.broker.start(wait=False)
    assert postern.broker.wait() != 0
    assert "segment" in postern.broker.log_tail()
    shutil.rmtree(postern.segment)


def test_two_brokers_never_share_a_segment(postern, people):
    token = sign_in(postern, people[0])
    second = type(postern.broker)(postern.run, "second", postern.broker.command, lambda: False)
    second.start(wait=False)
    assert second.wait() != 0
    assert status(postern, token) == 200
