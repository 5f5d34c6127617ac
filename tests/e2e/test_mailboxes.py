"""Mailboxes made, renamed, moved, subscribed, destroyed and queried, and quotas; checked over IMAP beside Postern."""

import re

import pytest

from support.imap_server import ok
from support.sample import modified_utf7

QUOTA = "urn:ietf:params:jmap:quota"


@pytest.fixture(scope="module")
def stack(each_stack):
    return each_stack


@pytest.fixture
def person(stack, request):
    return stack.person(request.node.originalname.replace("test_", ""), messages=20)


@pytest.fixture
def client(stack, person):
    return person.client(stack.web("nginx"))


@pytest.fixture
def imap(stack, person):
    with stack.server.signed_in(person.user) as imap:
        yield imap


def names(imap, command="list"):
    """The mailboxes as another client sees them: their names as the server has them."""
    found = set()
    for line in ok(getattr(imap, command)()):
        text = line if isinstance(line, bytes) else b" ".join(line)
        found.add(re.sub(rb'^\([^)]*\) (?:"[^"]*"|NIL) ', b"", text).decode().strip('"'))
    return found


def wire(stack, path):
    return stack.server.mailbox_name(path).strip('"')


def create(client, name, parent=None, **more):
    result = client.call("Mailbox/set", create={"c": {"name": name, "parentId": parent, **more}})
    assert not result["notCreated"], result
    return result["created"]["c"]["id"]


def update(client, mailbox_id, **patch):
    result = client.call("Mailbox/set", update={mailbox_id: patch})
    assert mailbox_id in (result["updated"] or {}), result


def destroy(client, *ids, **more):
    result = client.call("Mailbox/set", destroy=list(ids), **more)
    return {box: error["type"] for box, error in (result["notDestroyed"] or {}).items()}


def test_a_tree_is_made_in_one_call(stack, client, imap):
    before = client.call("Mailbox/get", ids=[])["state"]
    result = client.call("Mailbox/set", create={
        "old": {"name": "Entwürfe & mehr", "parentId": "#work"}, "work": {"name": "Work", "isSubscribed": False}})
    assert result["oldState"] == before != result["newState"]
    made = client.mailboxes()
    assert made["Work"]["id"] == result["created"]["work"]["id"]
    assert made["Work/Entwürfe & mehr"]["id"] == result["created"]["old"]["id"]
    assert not made["Work"]["isSubscribed"] and made["Work/Entwürfe & mehr"]["isSubscribed"]
    assert result["created"]["work"]["totalEmails"] == 0 and "name" not in result["created"]["work"]
    assert {wire(stack, "Work"), wire(stack, "Work/Entwürfe & mehr")} <= names(imap)
    subscribed = names(imap, "lsub")
    assert wire(stack, "Work/Entwürfe & mehr") in subscribed
    assert client.call("Mailbox/get", ids=[])["state"] == result["newState"]


def test_ids_survive_renaming(stack, client, imap):
    work = create(client, "Work")
    old = create(client, "Old", work)
    inbox = client.mailbox("inbox")["id"]
    email = client.call("Email/query", filter={"inMailbox": inbox}, limit=1)["ids"][0]
    client.call("Email/set", update={email: {"mailboxIds": {old: True}}})
    assert len(client.call("Email/query", filter={"inMailbox": old})["ids"]) == 1
    update(client, work, name="Arbeit")
    listed = client.mailboxes()
    assert (listed["Arbeit"]["id"], listed["Arbeit/Old"]["id"]) == (work, old) and "Work" not in listed
    assert listed["Arbeit/Old"]["isSubscribed"] and listed["Arbeit/Old"]["totalEmails"] == 1
    assert wire(stack, "Arbeit/Old") in names(imap) and wire(stack, "Work/Old") not in names(imap, "lsub")
    emails = client.call("Email/query", filter={"inMailbox": old})["ids"]
    assert len(emails) == 1
    # Courier gives the mailbox a new UIDVALIDITY.
    assert stack.server.renames_keep_uids == (emails == [email])
    another = create(client, "Work")
    assert another not in (work, old)
    update(client, old, parentId=another, name="Older")
    assert client.mailboxes()["Work/Older"]["id"] == old
    update(client, old, parentId=None)
    assert client.mailboxes()["Older"]["id"] == old
    assert len(client.call("Email/query", filter={"inMailbox": old})["ids"]) == 1


def test_destroying(stack, client, imap):
    work = create(client, "Work")
    old = create(client, "Old", work)
    inbox = client.mailbox("inbox")
    email = client.call("Email/query", filter={"inMailbox": inbox["id"]}, limit=1)["ids"][0]
    client.call("Email/set", update={email: {"mailboxIds": {old: True}}})
    assert len(client.call("Email/query", filter={"inMailbox": old})["ids"]) == 1  # it is selected now
    assert destroy(client, work) == {work: "mailboxHasChild"}
    assert destroy(client, old) == {old: "mailboxHasEmail"}
    assert destroy(client, inbox["id"], "mAAAAAAAAAAA", onDestroyRemoveEmails=True) == {
        inbox["id"]: "forbidden", "mAAAAAAAAAAA": "notFound"}
    assert destroy(client, work, old, onDestroyRemoveEmails=True) == {}
    assert not {"Work", "Work/Old"} & set(client.mailboxes())
    assert not {wire(stack, "Work"), wire(stack, "Work/Old")} & (names(imap) | names(imap, "lsub"))
    assert client.call("Email/get", ids=[email], properties=["id"])["notFound"] == [email]
    assert client.mailbox("inbox")["totalEmails"] == inbox["totalEmails"] - 1
    # One that is selected, and empty.
    work = create(client, "Work")
    assert client.call("Email/query", filter={"inMailbox": work})["ids"] == []
    assert destroy(client, work) == {}
    assert wire(stack, "Work") not in names(imap)


def test_names(stack, client, imap):
    server = stack.server
    for name in ("Ämter", "日本語", "a&b", "-", "back up"):
        made = create(client, name)
        assert server.prefix + modified_utf7(name) in names(imap)
        update(client, made, name=f"{name} 2")
        assert client.call("Mailbox/get", ids=[made], properties=["name"])["list"] == [
            {"id": made, "name": f"{name} 2"}]

    def refused(name):
        result = client.call("Mailbox/set", create={"c": {"name": name}})
        return (result["notCreated"] or {}).get("c", {}).get("type")

    create(client, "Work")
    longest = client.session["accounts"][client.account_id]["accountCapabilities"][
        "urn:ietf:params:jmap:mail"]["maxSizeMailboxName"]
    assert refused(f"a{server.separator}b") == "invalidProperties"
    assert refused("a\tb") == refused("") == refused("x" * (longest + 1)) == "invalidProperties"
    assert refused("Work") == refused("inbox") == "alreadyExists"
    # However much of it has to be encoded.
    create(client, "aé" * (longest // 3))
    other = "/" if server.separator == "." else "."
    if refused(f"v1{other}2") is None:
        assert f"v1{other}2" in client.mailboxes()
    # What other clients have done since the list was asked for.
    ok(imap.create(server.mailbox_name("Elsewhere")))
    assert refused("Elsewhere") == "alreadyExists"
    work = client.mailboxes()["Work"]["id"]
    ok(imap.delete(server.mailbox_name("Work")))
    assert destroy(client, work) == {work: "notFound"}


def test_subscriptions_roles_and_order(stack, client, imap):
    work = create(client, "Work", sortOrder=10)
    update(client, work, isSubscribed=False)
    assert wire(stack, "Work") not in names(imap, "lsub")
    update(client, work, isSubscribed=True)
    assert wire(stack, "Work") in names(imap, "lsub")
    update(client, work, sortOrder=99)
    assert client.mailboxes()["Work"]["sortOrder"] == 99
    roles = [box["role"] for box in client.mailboxes().values() if box["role"]]
    assert len(roles) == len(set(roles)) and {"inbox", "sent", "trash", "drafts"} <= set(roles)
    result = client.call("Mailbox/set", create={"c": {"name": "Second", "role": "sent"}})
    assert result["notCreated"]["c"]["properties"] == ["role"]
    state = client.call("Mailbox/get", ids=[])["state"]
    update(client, work, isSubscribed=True, sortOrder=99, name="Work")
    assert client.call("Mailbox/get", ids=[])["state"] == state


def test_rights(client):
    listed = client.mailboxes()
    for path, box in listed.items():
        rights = box["myRights"]
        inbox = box["role"] == "inbox"
        # A level of the hierarchy that is no mailbox holds other ones and nothing else.
        is_level = not rights["mayReadItems"]
        assert not is_level or any(other.startswith(f"{path}/") for other in listed), path
        assert all(rights[name] != is_level for name in ("mayReadItems", "mayAddItems", "mayRemoveItems", "maySetSeen",
                                                         "maySetKeywords")), path
        if not is_level:
            assert rights["mayRename"] == rights["mayDelete"] == (not inbox), path
        result = client.call("Mailbox/set", create={"c": {"name": "Below", "parentId": box["id"]}})
        assert bool(result["created"]) == rights["mayCreateChild"], path
    account = client.session["accounts"][client.account_id]["accountCapabilities"]["urn:ietf:params:jmap:mail"]
    assert account["mayCreateTopLevelMailbox"]


def test_query(client):
    create(client, "Child", create(client, "Work"))
    listed = client.mailboxes()
    work, child = listed["Work"]["id"], listed["Work/Child"]["id"]
    assert client.call("Mailbox/query", filter={"parentId": work})["ids"] == [child]
    assert client.call("Mailbox/query", filter={"role": "inbox"})["ids"] == [client.mailbox("inbox")["id"]]
    everything = client.call("Mailbox/query", sort=[{"property": "name"}], sortAsTree=True, calculateTotal=True)
    assert everything["ids"].index(child) == everything["ids"].index(work) + 1
    assert everything["total"] == len(listed) == len(everything["ids"])
    part = client.call("Mailbox/query", sort=[{"property": "name"}], sortAsTree=True, anchor=child, anchorOffset=-1,
                       limit=2)
    assert part["ids"] == [work, child] and part["queryState"] == everything["queryState"]
    assert client.call_error("Mailbox/query", anchor="mAAAAAAAAAAA")["type"] == "anchorNotFound"


def test_query_changes(client):
    """A client that does what it is told has what a new query gives, whatever happens to the tree."""
    work = create(client, "Work")
    query = {"sort": [{"property": "name"}], "sortAsTree": True, "filter": {"isSubscribed": True}}
    known = client.call("Mailbox/query", **query)
    assert known["canCalculateChanges"]
    ids, state = known["ids"], known["queryState"]

    def refresh():
        nonlocal ids, state
        told = client.call("Mailbox/queryChanges", sinceQueryState=state, calculateTotal=True, **query)
        assert told["oldQueryState"] == state
        ids = [box for box in ids if box not in told["removed"]]
        for added in told["added"]:
            ids.insert(added["index"], added["id"])
        now = client.call("Mailbox/query", **query)
        assert (ids, told["newQueryState"], told["total"]) == (now["ids"], now["queryState"], len(ids))
        state = now["queryState"]
        return len(told["removed"]) + len(told["added"])

    assert refresh() == 0
    child = create(client, "Child", work)
    assert refresh() == 1
    update(client, work, name="Zoo")
    assert refresh() > 0
    update(client, work, sortOrder=3)
    assert refresh() == 0  # the query doesn't go by it
    update(client, work, isSubscribed=False)
    assert refresh() > 0
    assert destroy(client, child) == {}
    refresh()
    assert client.call_error("Mailbox/queryChanges", sinceQueryState="x")["type"] == "cannotCalculateChanges"


def test_quota(stack, client):
    capabilities = client.session["accounts"][client.account_id]["accountCapabilities"]
    assert (QUOTA in capabilities) == (QUOTA in client.session["capabilities"]) == stack.server.quotas
    if not stack.server.quotas:
        assert client.call_error("Quota/get", ids=None)["type"] == "unknownMethod"
        return
    got = client.call("Quota/get", ids=None)
    assert [quota["resourceType"] for quota in got["list"]] == ["octets"] * len(got["list"])
    assert client.call("Quota/query")["ids"] == [quota["id"] for quota in got["list"]]
    assert client.call("Quota/changes", sinceState=got["state"])["newState"] == got["state"]
