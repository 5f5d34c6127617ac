"""VacationResponse against Cyrus: a ManageSieve server of another make takes the script, and gives it back."""

import pytest

from support.cyrus_sieve import SieveCyrus
from support.stack import Stack
from conftest import running
from test_vacation import OURS, OWN, VACATION, get, set_vacation, update


@pytest.fixture(scope="module")
def stack(run, pki):
    yield from running(Stack, run.part("timsieved"), pki, server=SieveCyrus, apache=False)


@pytest.fixture
def person(stack, request):
    return stack.person(request.node.originalname.replace("test_", ""), messages=0)


@pytest.fixture
def client(stack, person):
    return person.client(stack.nginx)


class Scripts:
    """A connection for each call: timsieved lets one of a person's wait for the other."""

    def __init__(self, stack, person):
        self.stack, self.person = stack, person

    def __getattr__(self, name):
        def call(*arguments):
            with self.stack.server.managesieve(self.person.user) as managesieve:
                return getattr(managesieve, name)(*arguments)
        return call


@pytest.fixture
def scripts(stack, person):
    return Scripts(stack, person)


def test_on_and_off(client, scripts):
    assert VACATION in client.session["accounts"][client.account_id]["accountCapabilities"]
    scripts.put("mine", OWN)
    scripts.activate("mine")
    before, _ = get(client)
    wanted = {"isEnabled": True, "subject": "Fort – \"away\"", "textBody": "Zurück.\n.\n\\ \"end\"",
              "htmlBody": "<p>Zurück</p>", "fromDate": "2020-01-01T00:00:00Z", "toDate": "2099-12-31T23:59:59Z"}
    set_vacation(client, **wanted)
    assert get(client)[0] == {**before, **wanted}
    assert scripts.scripts() == ({"mine", OURS}, OURS)
    set_vacation(client, textBody=None, htmlBody=None, subject=None)
    assert get(client)[0]["textBody"] is None
    set_vacation(client, isEnabled=False)
    assert scripts.scripts() == ({"mine", OURS}, "mine")
    assert scripts.get("mine") == OWN


def test_what_others_do(client, scripts):
    set_vacation(client, isEnabled=True, textBody="away")
    scripts.put("theirs", OWN)
    scripts.activate("theirs")
    assert not get(client)[0]["isEnabled"]
    set_vacation(client, isEnabled=True)
    assert 'include :personal :optional "theirs"' in scripts.get(OURS)
    scripts.activate("")
    scripts.put(OURS, "keep;\r\n")
    assert update(client, patch={"isEnabled": True})["notUpdated"]["singleton"]["type"] == "forbidden"
    assert scripts.get(OURS) == "keep;\r\n"
