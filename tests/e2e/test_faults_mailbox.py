"""What the person sees when their mailbox is changed behind Postern's back, and when the IMAP server says BYE."""

import os
import re

import pytest

from support import login
from support.kindness import cost, settle

BODY = {"properties": ["bodyValues"], "fetchAllBodyValues": True}


@pytest.fixture
def client(stack, person):
    return login.with_token(stack, stack.nginx, person)


def assert_gone(client, email):
    """An Email that is no longer there, for each method that might name it."""
    for properties in ({"properties": ["subject"]}, BODY):
        got = client.call("Email/get", ids=[email["id"]], **properties)
        assert (got["list"], got["notFound"]) == ([], [email["id"]])
    for change, refused in (({"update": {email["id"]: {"keywords/$seen": True}}}, "notUpdated"),
                            ({"destroy": [email["id"]]}, "notDestroyed")):
        done = client.call("Email/set", **change)
        assert {id_: error["type"] for id_, error in done[refused].items()} == {email["id"]: "notFound"}
        assert not done["updated"] and not done["destroyed"]
    download = client.download(email["blobId"])
    assert (download.status, download.header("Content-Type")) == (404, "application/problem+json")
    assert download.json == {"type": "about:blank", "status": 404, "detail": "there is nothing here"}


def test_mailbox_deleted_by_another_client(stack, client, person):
    name = "Lists/gardeners"
    gone = client.mailboxes()[name]["id"]
    inbox = client.mailbox("inbox")["id"]
    email = client.newest(gone, ("id", "blobId"))[1]["list"][0]
    kept = client.newest(inbox, ("id",))[0]["ids"]
    settle(stack.imap)
    with stack.server.signed_in(person.user) as other:
        assert other.delete(stack.server.mailbox_name(name))[0] == "OK"
    # A question that only the server can answer: of a Mailbox that isn't there, no Email is in it.
    found = client.call("Email/query", filter={"inMailbox": gone}, sort=[{"property": "subject"}])
    assert found["ids"] == []
    assert_gone(client, email)
    moved = client.call("Email/set", update={kept[0]: {"mailboxIds": {gone: True}}})
    assert moved["updated"] is None and moved["notUpdated"][kept[0]]["type"] == "invalidProperties"
    got = client.call("Mailbox/get", ids=[gone])
    assert (got["list"], got["notFound"]) == ([], [gone])
    assert name not in client.mailboxes()
    # The others are as they were, with what could not be moved.
    assert client.newest(inbox, ("id",))[0]["ids"] == kept


def renumber(folder):
    """Gives a Maildir folder of Dovecot's another UIDVALIDITY, as a restored backup may have."""
    for name in os.listdir(folder):
        if name.startswith("dovecot.index"):
            os.unlink(os.path.join(folder, name))
    path = os.path.join(folder, "dovecot-uidlist")
    with open(path, encoding="latin-1") as file:
        header, rest = file.read().split("\n", 1)
    renumbered, count = re.subn(r"V(\d+)", lambda match: f"V{int(match.group(1)) + 1}", header)
    assert count == 1, header
    with open(path, "w", encoding="latin-1") as file:
        file.write(renumbered + "\n" + rest)


def test_uidvalidity_changes(stack, client, person):
    archive = client.mailbox("archive")["id"]
    before = client.newest(archive, ("id", "blobId", "subject", "size"))[1]["list"]
    settle(stack.imap)
    renumber(os.path.join(stack.dovecot.base, "mail", person.user, "Maildir", ".Archive"))
    stack.imap.drop()
    # Asked for what isn't in memory, as the mailbox must be opened for that.
    got = client.call("Email/get", ids=[before[0]["id"]], **BODY)
    assert (got["list"], got["notFound"]) == ([], [before[0]["id"]])
    assert_gone(client, before[0])
    # A mailbox that the server numbers anew may be another one: its old id finds nothing, or the same messages anew.
    archive = client.mailbox("archive")["id"]
    after = client.newest(archive, ("id", "blobId", "subject", "size"))[1]["list"]
    assert [(email["subject"], email["size"]) for email in after] == [
        (email["subject"], email["size"]) for email in before]
    assert not {email["id"] for email in after} & {email["id"] for email in before}
    body = client.download(after[0]["blobId"])
    assert body.status == 200 and len(body.body) == after[0]["size"]


def test_server_says_bye_while_signed_in(stack, client):
    """Nobody notices: the next question brings one new connection, and asks there what it needs."""
    inbox, archive = client.mailbox("inbox")["id"], client.mailbox("archive")["id"]
    before = client.newest(inbox, ("id", "subject"))[1]["list"]
    settle(stack.imap)
    stack.imap.say_bye()
    with cost(stack.imap) as counted:
        query = {"accountId": client.account_id, "filter": {"inMailbox": archive}}
        response = client.api([["Email/query", query, "q"]])
    assert response.status == 200 and response.header("Postern-Stale", None) is None
    (name, result, _), = response.json["methodResponses"]
    assert name == "Email/query" and len(result["ids"]) > 5
    assert (counted["LOGIN"], counted["SELECT"], counted["UID SORT"]) == (1, 1, 1)
    assert client.newest(inbox, ("id", "subject"))[1]["list"] == before
