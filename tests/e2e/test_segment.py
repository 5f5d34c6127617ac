"""The shared segment across crashes and damage: who stays signed in, and that the broker always comes up."""

import json
import os
import random
import re
import shutil
import stat
import subprocess

import pytest

from support import fastcgi, jmap
from support.postern import Postern
from support.processes import Process, accepts


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


def log_in(postern, person):
    """(status, header fields, body) of /auth/login."""
    body = json.dumps({"username": person.user, "password": person.password, "token": True}).encode()
    return fastcgi.request(postern.worker_socket, "POST", "/auth/login", {
        "Content-Type": "application/json", "Origin": "https://localhost"}, body)


def sign_in(postern, person):
    code, _, answer = log_in(postern, person)
    assert code == 200, answer
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
    """The format's version set to another, in the header and wherever there is a copy of it."""
    magic_and_order = b"POSTSEG\n" + (0x01020304).to_bytes(4, "little")
    with open(path, "r+b") as file:
        data = file.read()
        places = [match.start() for match in re.finditer(re.escape(magic_and_order), data)]
        for place in places:
            file.seek(place + len(magic_and_order))
            file.write(b"\x00\x00\x00\x00")
    assert len(places) == 2


def directory(path):
    os.unlink(path)
    os.mkdir(path)


def test_segment_of_another_version_costs_the_sessions(postern, people):
    token = sign_in(postern, people[0])
    damaged(postern, older)
    code, _, body = fastcgi.request(postern.worker_socket, "GET", "/jmap/session", {"Authorization": f"Bearer {token}"})
    assert (code, json.loads(body)["status"]) == (401, 401)
    assert "segment format version 0, not" in postern.broker.log_tail()
    assert status(postern, sign_in(postern, people[0])) == 200


@pytest.mark.parametrize("change", (truncate, empty, remove, overwrite))
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


@pytest.fixture
def small_disk(run, stack):
    """A broker whose runtime directory is a file system of 8 MB."""
    if os.getuid() != 0:
        pytest.skip("mounting a small file system takes root")
    part = run.part("small-disk")
    mount = part.make_dir("postern-run", mode=0o750)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=8m,mode=750,uid={run.uid},gid={run.gid}", "tmpfs",
                           mount], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("mounting a small file system isn't possible here: " + done.stderr)
    postern = None
    try:
        postern = Postern(part, {"imap": {"host": "127.0.0.1", "port": stack.imap.port, "tls": "none"}})
        yield postern.start()
    finally:
        if postern is not None:
            postern.stop()
        subprocess.run(["umount", mount], check=True)


def test_full_disk(small_disk, people):
    """No new session at /auth/login; Basic needs none, and goes on."""
    person = people[0]
    basic = {"Authorization": jmap.basic(person.user, person.password)}
    filler = f"{small_disk.runtime_dir}/filler"
    with open(filler, "wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(b"x" * 4096)
    for _ in range(2):
        code, fields, body = log_in(small_disk, person)
        assert (code, fields["content-type"]) == (503, "application/problem+json")
        assert json.loads(body) == {"type": "about:blank", "status": 503,
                                    "detail": "no more sessions can be opened now"}
        assert int(fields["retry-after"]) > 0 and "set-cookie" not in fields
        assert fastcgi.request(small_disk.worker_socket, "GET", "/jmap/session", basic)[0] == 200
    assert "No space left on device" in small_disk.broker.log_tail()
    os.unlink(filler)
    assert status(small_disk, sign_in(small_disk, person)) == 200


def test_broker_of_another_user_is_not_spoken_to(postern, people):
    """A socket that somebody else has put there: 503, and no credentials for them."""
    token = sign_in(postern, people[0])
    folder = postern.run.make_dir("strict", mode=0o750)
    worker = Process(postern.run, "strict-fcgi", [
        postern.programs["postern-fcgi"], "--broker", postern.broker_socket, "--segment", postern.segment, "--listen",
        f"{folder}/fcgi.sock", "--broker-user", postern.run.uid + 1, "--broker-wait", 1],
        lambda: accepts(f"{folder}/fcgi.sock")).start()
    try:
        code, fields, body = fastcgi.request(f"{folder}/fcgi.sock", "GET", "/jmap/session", {
            "Authorization": f"Bearer {token}"})
        assert (code, fields["content-type"]) == (503, "application/problem+json")
        assert "Nothing was done." in json.loads(body)["detail"] and int(fields["retry-after"]) > 0
        assert f"the broker runs as uid {postern.run.uid}, not {postern.run.uid + 1}" in worker.log_tail()
    finally:
        worker.stop()
    assert status(postern, token) == 200
