"""Changing mail with Email/set: keywords, mailboxes, destroy; checked over IMAP beside Postern."""

import re
import time

import pytest


@pytest.fixture(scope="module")
def stack(each_stack):
    return each_stack


@pytest.fixture
def person(stack, request):
    """A person with a fresh mailbox, for one test."""
    return stack.person(request.node.originalname.replace("test_", ""), messages=150)


@pytest.fixture
def client(web, person):
    return person.client(web)


class Imap:
    """What another client of the same mailbox sees."""

    def __init__(self, stack, person):
        self.server = stack.server
        self.imap = stack.server.sign_in(person.user)

    def flags(self, mailbox, message_id):
        """The flags, in lower case, of the message with this Message-ID; None when it isn't in the mailbox."""
        self.imap.select(self.server.mailbox_name(mailbox), readonly=True)
        uids = self.imap.uid("SEARCH", "HEADER", "Message-ID", f'"{message_id}"')[1][0].split()
        if not uids:
            return None
        answer = self.imap.uid("FETCH", uids[0].decode(), "(FLAGS)")[1][0].decode()
        found = re.search(r"FLAGS \(([^)]*)\)", answer).group(1).lower().split()
        return set(found) - {"\\recent"}

    def count(self, mailbox):
        return int(self.imap.select(self.server.mailbox_name(mailbox), readonly=True)[1][0])


@pytest.fixture
def imap(stack, person):
    imap = Imap(stack, person)
    yield imap
    imap.imap.logout()


def newest(client, count=5):
    """Emails of the INBOX, newest first, that have a Message-ID of their own."""
    _, got = client.newest(client.mailbox("inbox")["id"], ("id", "messageId", "keywords", "mailboxIds", "threadId"),
                           limit=count * 3)
    ids = [email["messageId"] for email in got["list"]]
    return [email for email in got["list"] if email["messageId"] and ids.count(email["messageId"]) == 1][:count]


def email(client, email_id, *properties):
    result = client.call("Email/get", ids=[email_id], properties=list(properties or ("keywords", "mailboxIds")))
    return result["list"][0] if result["list"] else None


def test_keywords_by_patch(client, imap):
    target = newest(client)[0]
    message_id = target["messageId"][0]
    changes = {"keywords/$seen": True, "keywords/$flagged": True, "keywords/holiday": True}
    result = client.call("Email/set", update={target["id"]: changes})
    assert target["id"] in result["updated"] and not result["notUpdated"]
    assert result["newState"] != result["oldState"]
    assert {"\\seen", "\\flagged", "holiday"} <= imap.flags("INBOX", message_id)
    assert {"$seen", "$flagged", "holiday"} <= set(email(client, target["id"])["keywords"])
    client.call("Email/set", update={target["id"]: {"keywords/$flagged": None, "keywords/holiday": None}})
    assert imap.flags("INBOX", message_id) & {"\\flagged", "holiday"} == set()
    assert "\\seen" in imap.flags("INBOX", message_id)


def test_keywords_replaced_as_a_whole(client, imap):
    target = newest(client)[0]
    client.call("Email/set", update={target["id"]: {"keywords": {"$answered": True, "$forwarded": True}}})
    assert imap.flags("INBOX", target["messageId"][0]) == {"\\answered", "$forwarded"}
    client.call("Email/set", update={target["id"]: {"keywords": {}}})
    assert imap.flags("INBOX", target["messageId"][0]) == set()


def test_seen_changes_the_count_of_the_mailbox(client):
    before = client.mailbox("inbox")["unreadEmails"]
    targets = [e for e in newest(client, 20) if "$seen" not in e["keywords"]][:3]
    assert targets
    client.call("Email/set", update={e["id"]: {"keywords/$seen": True} for e in targets})
    assert client.mailbox("inbox")["unreadEmails"] == before - len(targets)


def test_move(client, imap):
    target = newest(client)[0]
    inbox, archive = client.mailbox("inbox"), client.mailbox("archive")
    result = client.call("Email/set", update={target["id"]: {"mailboxIds": {archive["id"]: True}}})
    assert target["id"] in result["updated"], result
    assert imap.flags("INBOX", target["messageId"][0]) is None
    assert imap.flags("Archive", target["messageId"][0]) is not None
    # The id goes on meaning the same message.
    moved = email(client, target["id"], "mailboxIds", "messageId", "threadId")
    assert moved["mailboxIds"] == {archive["id"]: True}
    assert (moved["messageId"], moved["threadId"]) == (target["messageId"], target["threadId"])
    assert client.mailbox("inbox")["totalEmails"] == inbox["totalEmails"] - 1
    assert client.mailbox("archive")["totalEmails"] == archive["totalEmails"] + 1
    ids = client.call("Email/query", filter={"inMailbox": archive["id"]})["ids"]
    assert target["id"] in ids
    ids = client.call("Email/query", filter={"inMailbox": inbox["id"]})["ids"]
    assert target["id"] not in ids


def test_move_by_patch_and_back(client, imap):
    target = newest(client)[0]
    inbox, trash = client.mailbox("inbox")["id"], client.mailbox("trash")["id"]
    client.call("Email/set", update={target["id"]: {f"mailboxIds/{inbox}": None, f"mailboxIds/{trash}": True}})
    assert imap.flags("Trash", target["messageId"][0]) is not None
    client.call("Email/set", update={target["id"]: {f"mailboxIds/{inbox}": True, f"mailboxIds/{trash}": None}})
    assert imap.flags("Trash", target["messageId"][0]) is None
    assert imap.flags("INBOX", target["messageId"][0]) is not None
    assert email(client, target["id"])["mailboxIds"] == {inbox: True}


def test_move_into_a_mailbox_with_a_name_outside_ascii(client, imap):
    target = newest(client)[0]
    box = client.mailboxes()["Entwürfe & Ideen"]
    client.call("Email/set", update={target["id"]: {"mailboxIds": {box["id"]: True}}})
    assert imap.flags("Entwürfe & Ideen", target["messageId"][0]) is not None


def test_destroy(client, imap):
    first, second, kept = newest(client)[:3]
    before = imap.count("INBOX")
    result = client.call("Email/set", destroy=[first["id"], second["id"], "nonsense"])
    assert sorted(result["destroyed"]) == sorted([first["id"], second["id"]])
    assert result["notDestroyed"]["nonsense"]["type"] == "notFound"
    assert imap.count("INBOX") == before - 2
    assert email(client, first["id"]) is None
    assert email(client, kept["id"]) is not None


def test_destroy_spares_what_another_client_marked_deleted(stack, client, person, imap):
    target, marked = newest(client)[:2]
    other = stack.server.sign_in(person.user)
    other.select("INBOX")
    uid = other.uid("SEARCH", "HEADER", "Message-ID", f'"{marked["messageId"][0]}"')[1][0].split()[0].decode()
    other.uid("STORE", uid, "+FLAGS", "(\\Deleted)")
    client.call("Email/set", destroy=[target["id"]])
    assert imap.flags("INBOX", target["messageId"][0]) is None
    assert "\\deleted" in imap.flags("INBOX", marked["messageId"][0])
    other.logout()


def test_set_errors(client):
    target = newest(client)[0]
    inbox = client.mailbox("inbox")["id"]
    cases = {
        "unknown mailbox": {"mailboxIds": {"nonsense": True}},
        "no mailbox at all": {"mailboxIds": {}},
        "bad value": {f"mailboxIds/{inbox}": "yes"},
        "bad keyword": {"keywords/two words": True},
        "keyword with line end": {"keywords/x\r\nA1 NOOP": True},
        "immutable": {"subject": "Another one"},
        "unknown property": {"colour": "red"},
    }
    for label, patch in cases.items():
        result = client.call("Email/set", update={target["id"]: patch})
        assert result["notUpdated"][target["id"]]["type"] in ("invalidProperties", "invalidPatch"), label
        assert not result["updated"]
    result = client.call("Email/set", update={"nonsense": {"keywords/$seen": True}})
    assert result["notUpdated"]["nonsense"]["type"] == "notFound"
    assert email(client, target["id"])["mailboxIds"] == {inbox: True}


def test_if_in_state(client):
    target = newest(client)[0]
    state = client.call("Email/get", ids=[])["state"]
    result = client.call("Email/set", ifInState=state, update={target["id"]: {"keywords/$flagged": True}})
    assert result["oldState"] == state
    error = client.call_error("Email/set", ifInState=state, update={target["id"]: {"keywords/$flagged": None}})
    assert error["type"] == "stateMismatch"
    assert "$flagged" in email(client, target["id"])["keywords"]


def test_changes_of_another_client_are_seen(stack, client, person):
    target = newest(client)[0]
    total = client.mailbox("inbox")["totalEmails"]
    other = stack.server.sign_in(person.user)
    other.append("INBOX", None, None, b"Subject: fresh\r\nMessage-ID: <fresh@example.com>\r\n\r\nhello\r\n")
    other.select("INBOX")
    uid = other.uid("SEARCH", "HEADER", "Message-ID", f'"{target["messageId"][0]}"')[1][0].split()[0].decode()
    other.uid("STORE", uid, "+FLAGS", "(\\Deleted)")
    other.uid("EXPUNGE", uid)
    other.logout()
    inbox = client.mailbox("inbox")["id"]
    # The server tells of it once the connection idles (idle_after).
    deadline = time.monotonic() + 10
    query, got = client.newest(inbox, ("subject",))
    while got["list"][0]["subject"] != "fresh" and time.monotonic() < deadline:
        query, got = client.newest(inbox, ("subject",))
    assert target["id"] not in query["ids"]
    assert query["total"] == total
    assert got["list"][0]["subject"] == "fresh"


def test_one_email_in_several_mailboxes(client, imap):
    """On every server: one id, in each of its mailboxes until it is taken out of that one, and destroyed everywhere."""
    target = newest(client)[0]
    message_id = target["messageId"][0]
    inbox, archive, trash = (client.mailbox(role) for role in ("inbox", "archive", "trash"))
    everything = client.call("Email/query", calculateTotal=True)["total"]
    exact = b"CONDSTORE" in imap.imap.capability()[1][0]

    def told(since, updated=(), destroyed=()):
        """What has changed; without CONDSTORE that can't always be told."""
        arguments = {"accountId": client.account_id, "sinceState": since}
        (name, changes, _), = client.calls([["Email/changes", arguments, "0"]])
        if name == "error" and not exact:
            assert changes["type"] == "cannotCalculateChanges"
            return client.call("Email/get", ids=[])["state"]
        assert (changes["created"], changes["updated"], changes["destroyed"]) == ([], list(updated), list(destroyed))
        return changes["newState"]

    state = client.call("Email/get", ids=[])["state"]
    result = client.call("Email/set", update={target["id"]: {f"mailboxIds/{archive['id']}": True}})
    assert target["id"] in result["updated"], result
    assert imap.flags("INBOX", message_id) is not None and imap.flags("Archive", message_id) is not None
    both = email(client, target["id"], "mailboxIds", "messageId", "threadId")
    assert both["mailboxIds"] == {inbox["id"]: True, archive["id"]: True}
    assert both["threadId"] == target["threadId"]
    for mailbox in (inbox, archive):
        found = client.call("Email/query", filter={"inMailbox": mailbox["id"]}, limit=500)
        assert found["ids"].count(target["id"]) == 1
    found = client.call("Email/query", calculateTotal=True, limit=500)
    assert found["total"] == everything and found["ids"].count(target["id"]) == 1
    assert client.call("Thread/get", ids=[target["threadId"]])["list"][0]["emailIds"].count(target["id"]) == 1
    assert client.mailbox("archive")["totalEmails"] == archive["totalEmails"] + 1
    assert client.mailbox("inbox")["totalEmails"] == inbox["totalEmails"]
    state = told(state, updated=[target["id"]])

    client.call("Email/set", update={target["id"]: {"keywords/$flagged": True}})
    assert "\\flagged" in imap.flags("INBOX", message_id) & imap.flags("Archive", message_id)

    client.call("Email/set", update={target["id"]: {f"mailboxIds/{inbox['id']}": None}})
    assert imap.flags("INBOX", message_id) is None and imap.flags("Archive", message_id) is not None
    assert email(client, target["id"])["mailboxIds"] == {archive["id"]: True}
    state = told(state, updated=[target["id"]])

    wanted = {inbox["id"]: True, trash["id"]: True}
    client.call("Email/set", update={target["id"]: {"mailboxIds": wanted}})
    assert imap.flags("Archive", message_id) is None
    assert email(client, target["id"], "mailboxIds", "messageId") == {
        "id": target["id"], "mailboxIds": wanted, "messageId": target["messageId"]}
    result = client.call("Email/set", destroy=[target["id"]])
    assert result["destroyed"] == [target["id"]]
    assert imap.flags("INBOX", message_id) is None and imap.flags("Trash", message_id) is None
    assert email(client, target["id"]) is None
    told(state, destroyed=[target["id"]])


def test_moves_and_copies_of_another_client(client, imap):
    """They are other Emails, unless [mail] join_by_identity says otherwise."""
    capabilities = imap.imap.capability()[1][0]
    moves = b"MOVE" in capabilities.split()
    moved, copied = newest(client)[:2]
    message_ids = [email["messageId"][0] for email in (moved, copied)]
    inbox, archive = (client.mailbox(role) for role in ("inbox", "archive"))
    # Both mailboxes have been looked into, with all that is in them.
    for mailbox in (archive, inbox):
        client.call("Email/query", filter={"inMailbox": mailbox["id"], "minSize": 1})
    state = client.call("Email/get", ids=[])["state"]
    imap.imap.select("INBOX")
    uids = [imap.imap.uid("SEARCH", "HEADER", "Message-ID", f'"{one}"')[1][0].split()[0].decode()
            for one in message_ids]
    target = imap.server.mailbox_name("Archive")
    if moves:
        assert imap.imap.uid("MOVE", uids[0], target)[0] == "OK"
    else:
        imap.imap.uid("COPY", uids[0], target)
        imap.imap.uid("STORE", uids[0], "+FLAGS", "(\\Deleted)")
        imap.imap.uid("EXPUNGE", uids[0])
    assert imap.imap.uid("COPY", uids[1], target)[0] == "OK"
    # By when Postern has heard of it, the list of mailboxes has it as well.
    deadline = time.monotonic() + 60
    while client.mailbox("archive")["totalEmails"] < archive["totalEmails"] + 2 and time.monotonic() < deadline:
        time.sleep(0.5)
    while client.mailbox("inbox")["totalEmails"] >= inbox["totalEmails"] and time.monotonic() < deadline:
        time.sleep(0.5)
    arguments = {"accountId": client.account_id, "sinceState": state}
    (name, changes, _), = client.calls([["Email/changes", arguments, "0"]])
    assert name == "error" or (moved["id"] in changes["destroyed"] and len(changes["created"]) == 2), changes
    assert email(client, copied["id"], "mailboxIds") == {"id": copied["id"], "mailboxIds": {inbox["id"]: True}}

def test_email_created_in_several_mailboxes(client, imap):
    inbox, archive = client.mailbox("inbox")["id"], client.mailbox("archive")["id"]
    result = client.call("Email/set", create={"new": {
        "mailboxIds": {inbox: True, archive: True}, "subject": "both", "messageId": ["both@example.com"],
        "from": [{"email": "a@example.com"}], "bodyValues": {"1": {"value": "text"}},
        "textBody": [{"partId": "1", "type": "text/plain"}]}})
    created = result["created"]["new"]["id"]
    assert email(client, created)["mailboxIds"] == {inbox: True, archive: True}
    assert imap.flags("INBOX", "<both@example.com>") is not None
    assert imap.flags("Archive", "<both@example.com>") is not None
