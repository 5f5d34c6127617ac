"""What the administrator's manual says to write into the web servers' files, written there as it stands."""

import os
import re

import pytest

from support import jmap, login
from support.events import WAIT_S, EventStream
from support.processes import REPOSITORY
from support.web import Apache, Nginx

PATH = "/mail"
# Something else of the site's, whose name begins like one of Postern's.
SITE = f"""
<Location {PATH}/events-internal>
    Require all denied
</Location>
"""


def block_of(section, before):
    """The indented lines that follow the text `before` in a section of the manual."""
    with open(os.path.join(REPOSITORY, "docs", "administrator.md"), encoding="utf-8") as file:
        text = re.search(rf"^## {section}\n(.*?)^## ", file.read(), re.M | re.S).group(1)
    return re.search(r"\n\n((?:    .*\n|\n)+)", text[text.index(before):]).group(1)


@pytest.fixture(scope="module", params=("nginx", "apache"))
def below(run, pki, stack, request):
    """A web server that has Postern below a path."""
    part = run.part(f"below-{request.param}")
    block = block_of(request.param.replace("apache", "Apache"), "To mount it below a path")
    assert PATH in block
    if request.param == "nginx":
        web = Nginx(part, pki, stack.postern.runtime_dir, locations=block)
    else:
        web = Apache(part, pki, stack.postern.runtime_dir, stack.postern.programs["postern-fcgi"],
                     stack.postern.worker_environment(), defines=block + SITE)
    yield web.start()
    web.stop()


def test_urls_are_below_the_path(below, reader):
    client = reader.client(below)
    for path in (f"{PATH}/jmap/session", "/.well-known/jmap"):
        found = client.get(path)
        assert found.status == 200, path
        urls = {name: value for name, value in found.json.items() if name.endswith("Url")}
        assert len(urls) == 4
        for name, url in urls.items():
            assert url.startswith(f"{below.url}{PATH}/jmap/"), name


def test_the_root_is_the_sites_own(below, reader):
    client = reader.client(below)
    for path in ("/jmap/session", "/auth/login", "/jmap/events/", "/events/"):
        assert client.get(path).status == 404, path


def test_what_is_closed_stays_closed(below, reader):
    if isinstance(below, Apache):
        assert reader.client(below).get(f"{PATH}/events-internal/").status == 403


@pytest.fixture
def client(below, stack, reader):
    """With a token of /auth/login."""
    client = jmap.Client(below.url, login.origin(below))
    response = client.post(f"{PATH}/auth/login", login.body(reader, token=True))
    assert response.status == 200
    client.headers["Authorization"] = "Bearer " + stack.run.register_secret(response.json["token"])
    return client


def sign_out(client):
    assert client.post(f"{PATH}/auth/logout", {}).status == 200
    assert client.get(f"{PATH}/jmap/session").status == 401


def test_reading_and_signing_out(client):
    session = client.get(f"{PATH}/jmap/session").json
    account = session["primaryAccounts"][jmap.MAIL]
    calls = {"using": [jmap.CORE, jmap.MAIL], "methodCalls": [["Mailbox/get", {"accountId": account}, "0"]]}
    answer = client.request("POST", session["apiUrl"], calls)
    assert any(box["role"] == "inbox" for box in answer.json["methodResponses"][0][1]["list"])
    sign_out(client)


def test_event_streams(below, client):
    with EventStream(client, path=f"{PATH}/jmap/events/") as stream:
        assert stream.status == 200
        assert "Email" in stream.next().changed
        # Its streams end with the session, which is what Apache notices.
        sign_out(client)
        assert stream.ended.wait(WAIT_S)
    assert EventStream(jmap.Client(below.url), path=f"{PATH}/jmap/events/").status == 401
