"""What else is pushed than mail: what is sent, identities, and the vacation response; told to a person's other
sessions, and not to the one that made the change.
"""

import pytest

from conftest import running
from support import login
from support.dovecot_sieve import SieveDovecot
from support.events import EventStream
from support.jmap import CORE, MAIL
from support.stack import Stack
from test_submission import Sender, outgoing

VACATION = "urn:ietf:params:jmap:vacationresponse"


@pytest.fixture(scope="module")
def stack(run, pki, smtp):
    tables = outgoing(run, smtp, "types")
    tables["push"] = {"grace": "2s"}
    yield from running(Stack, run.part("types"), pki, tables, server=SieveDovecot)


@pytest.fixture
def sender(stack, smtp):
    smtp.reset()
    person = Sender(stack, smtp)
    person.client = login.with_token(stack, stack.nginx, person.person)
    return person


@pytest.fixture
def streams(stack, sender):
    """The streams of the session that writes, and of another one; and the first states of it."""
    other = login.with_token(stack, stack.nginx, sender.person)
    sender.client.call("Identity/get", ids=None)
    with EventStream(sender.client) as mine, EventStream(other) as theirs:
        first = mine.next().changed
        theirs.next()
        mine.settled(), theirs.settled()
        yield mine, theirs, first


def test_identities(sender, streams):
    mine, theirs, first = streams
    assert first["Identity"] == sender.client.call("Identity/get", ids=[])["state"]
    answer = sender.client.call("Identity/set", create={"k": {"email": sender.address, "name": "Me"}})
    assert answer["created"]
    event = theirs.next()
    assert event.changed == {"Identity": answer["newState"]}
    assert mine.settled() == []


def test_submissions(sender, streams):
    mine, theirs, first = streams
    assert first["EmailSubmission"] == sender.client.call("EmailSubmission/get", ids=[])["state"]
    draft = sender.draft()
    mine.settled(), theirs.settled()
    answer, = sender.submit(draft)
    assert answer["created"]
    assert "EmailSubmission" in theirs.until(lambda event: "EmailSubmission" in event.changed).changed
    assert all("EmailSubmission" not in event.changed for event in mine.settled())


def test_a_later_send_is_told_to_all(sender, streams):
    """What happens while nobody asks: the message that waits is taken."""
    mine, theirs, _ = streams
    draft = sender.draft()
    mine.settled(), theirs.settled()
    made = sender.submitted(draft, sender.envelope(HOLDFOR="3"))
    state = sender.client.call("EmailSubmission/get", ids=[])["state"]
    for stream in (mine, theirs):
        event = stream.until(lambda one, known=state: one.changed.get("EmailSubmission", known) != known)
        assert event.changed["EmailSubmission"]
    assert sender.get(made["id"])["undoStatus"] == "final"


def test_vacation(sender, streams):
    mine, theirs, _ = streams
    using = (CORE, MAIL, VACATION)

    def call(client, name, **arguments):
        (answered, result, _), = client.calls([[name, {"accountId": client.account_id, **arguments}, "c"]], using)
        assert answered == name, result
        return result

    answer = call(sender.client, "VacationResponse/set",
                  update={"singleton": {"isEnabled": True, "textBody": "away"}})
    assert answer["updated"]
    assert theirs.until(lambda event: "VacationResponse" in event.changed).changed["VacationResponse"] == \
        answer["newState"]
    assert all("VacationResponse" not in event.changed for event in mine.settled())
    # By another program: whoever asks finds it, and everybody hears.
    with sender.stack.server.managesieve(sender.person.user) as managesieve:
        managesieve.command('SETACTIVE ""')
    found = call(sender.client, "VacationResponse/get")
    assert found["state"] != answer["newState"]
    for stream in (mine, theirs):
        assert stream.until(lambda event: "VacationResponse" in event.changed).changed["VacationResponse"] == \
            found["state"]
