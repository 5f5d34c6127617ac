"""npm's jmap-jam, unpatched, against Postern: a client that others have written, with a Bearer token and absolute URLs.

The package is installed once, as its lock file says, into the folder that other servers are unpacked to
(deploy/install-packages.sh); from then on no network is needed.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile

import pytest

from support.processes import REPOSITORY

JAM = os.path.join(REPOSITORY, "tests", "e2e", "jam")


def installed():
    """The folder with node_modules, installed if it isn't there yet; it appears whole or not at all."""
    cache = "/var/cache" if os.getuid() == 0 else os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    cache = os.environ.get("POSTERN_UNPACKED", os.path.join(cache, "postern-unpacked"))
    with open(os.path.join(JAM, "package-lock.json"), "rb") as lock:
        folder = os.path.join(cache, "jam-" + hashlib.sha256(lock.read()).hexdigest()[:16])
    if not os.path.isdir(folder):
        os.makedirs(cache, exist_ok=True)
        fresh = tempfile.mkdtemp(prefix="jam-new-", dir=cache)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(os.path.join(JAM, name), fresh)
        done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=fresh, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
        assert done.returncode == 0, f"jmap-jam can't be installed (npm ci):\n{done.stdout}"
        os.chmod(fresh, 0o755)
        try:
            os.rename(fresh, folder)
        except OSError:  # another run was quicker
            shutil.rmtree(fresh)
    return folder


@pytest.fixture
def token(stack, web, person):
    answer = stack.client(web).post("/auth/login", {"username": person.user, "password": person.password,
                                                    "token": True})
    assert answer.status == 200, answer.body
    return stack.run.register_secret(answer.json["token"])


def test_jmap_jam_works_as_it_is(stack, web, person, token, tmp_path):
    # Node looks for modules beside the program.
    os.symlink(os.path.join(installed(), "node_modules"), tmp_path / "node_modules")
    program = shutil.copy(os.path.join(JAM, "read_mail.mjs"), tmp_path)
    done = subprocess.run(["node", program, f"{web.url}/.well-known/jmap"], check=False, capture_output=True, text=True,
                          timeout=120, env={"PATH": os.environ["PATH"], "POSTERN_TOKEN": token})
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    for url in ("apiUrl", "downloadUrl", "uploadUrl", "eventSourceUrl"):
        assert got["session"][url].startswith(web.url), url
    expected = person.inbox()
    assert got["inboxTotal"] == len(expected)
    assert len(got["subjects"]) == 5
    (email,) = got["updated"]
    assert got["updated"][email] is None and got["keywords"]["$flagged"] is True
    assert got["octets"] == got["size"]
    assert got["refused"]["type"] == "invalidArguments"
