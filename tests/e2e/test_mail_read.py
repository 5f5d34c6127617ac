"""Reading mail: mailboxes, list pages, one message, threads, downloads; all compared with what was put there."""

import pytest

from support import jmap
from support.imap_server import ok

LIST_PROPERTIES = ("id", "threadId", "mailboxIds", "keywords", "size", "receivedAt", "messageId", "subject", "from",
                   "to", "preview", "hasAttachment")
# The kinds whose text is make_mailbox's "Something is odd about this message."
SAYS_IT_IS_ODD = ("no-date", "no-from", "no-subject", "no-message-id", "duplicate-message-id", "long-subject",
                  "bad-date", "old-date", "no-end-boundary", "group", "many-recipients")
ODD_SUBJECTS = ("raw-8bit", "raw-utf8", "control-characters")


@pytest.fixture(scope="module")
def stack(each_stack):
    return each_stack


@pytest.fixture(scope="module")
def reader(stack):
    """So many messages that each kind of odd one is among them."""
    return stack.person("reader", messages=500)


@pytest.fixture
def client(web, reader):
    return reader.client(web)


def visible(keywords):
    return sorted(keywords)


def matches(email, message):
    """Whether an Email is this message of the manifest."""
    return (email["size"] == message["size"] and email["receivedAt"] == message["receivedAt"]
            and visible(k for k, on in email["keywords"].items() if on) == visible(message["keywords"]))


def test_mailboxes(client, reader):
    boxes = client.mailboxes()
    for path, messages in reader.manifest["folders"].items():
        name = "Inbox" if path == "INBOX" and "Inbox" in boxes else path
        box = boxes[name]
        assert box["totalEmails"] == len(messages), path
        assert box["unreadEmails"] == sum("$seen" not in m["keywords"] for m in messages
                                          if "$draft" not in m["keywords"]), path
        assert box["isSubscribed"] is True
        assert box["myRights"]["mayReadItems"] is True
    assert {box["role"] for box in boxes.values()} - {None} == {"inbox", "sent", "drafts", "archive", "trash", "junk"}
    # What exists only as a level of the hierarchy can be listed, but holds no mail.
    if "Lists" in boxes:
        assert boxes["Lists"]["totalEmails"] == 0


def test_mailbox_get_by_id(client):
    inbox = client.mailbox("inbox")
    result = client.call("Mailbox/get", ids=[inbox["id"], "nonsense"], properties=["name", "role"])
    assert [sorted(box) for box in result["list"]] == [["id", "name", "role"]]
    assert result["notFound"] == ["nonsense"]
    assert result["state"]


def test_name_of_unusual_characters(stack, web, person):
    with stack.server.signed_in(person.user) as imap:
        ok(imap.create(stack.server.mailbox_name("outer")))
        ok(imap.create(stack.server.name_of_levels(["outer", stack.server.odd_name])))
    boxes = person.client(web).call("Mailbox/get")["list"]
    outer, = (box for box in boxes if box["name"] == "outer")
    inner, = (box for box in boxes if box["name"] == stack.server.odd_name)
    assert (outer["parentId"], inner["parentId"]) == (None, outer["id"])


def test_newest_twenty(client, reader):
    query, got = client.newest(client.mailbox("inbox")["id"], LIST_PROPERTIES)
    expected = reader.inbox()
    assert query["total"] == len(expected) and query["position"] == 0 and query["queryState"]
    assert len(query["ids"]) == 20 and [email["id"] for email in got["list"]] == query["ids"]
    assert got["notFound"] == []
    for email, message in zip(got["list"], expected):
        assert matches(email, message), (email, message)
        if message["messageId"]:
            assert email["messageId"] == [message["messageId"]]
        if message["kind"] not in ODD_SUBJECTS:
            assert (email["subject"] or "") == message["subject"]
        assert isinstance(email["preview"], str) and len(email["preview"]) <= 256


def test_every_page(client, reader):
    inbox, seen = client.mailbox("inbox")["id"], []
    for position in range(0, len(reader.inbox()) + 20, 20):
        query, got = client.newest(inbox, ("receivedAt", "size", "keywords"), position=position)
        assert len(query["ids"]) == len(got["list"])
        seen += got["list"]
    assert len(seen) == len(reader.inbox()) and len({email["id"] for email in seen}) == len(seen)
    assert [e["receivedAt"] for e in seen] == [m["receivedAt"] for m in reader.inbox()]
    assert sorted(e["size"] for e in seen) == sorted(m["size"] for m in reader.inbox())


def query(client, condition, sort=None, **arguments):
    """Sizes and dates of the messages that a query over the INBOX finds, in its order."""
    condition = {"operator": "AND", "conditions": [{"inMailbox": client.mailbox("inbox")["id"]}] + condition}
    ids = client.call("Email/query", filter=condition, sort=sort or [{"property": "receivedAt", "isAscending": False}],
                      **arguments)["ids"]
    limit = client.session["capabilities"][jmap.CORE]["maxObjectsInGet"]
    listed = []
    for start in range(0, len(ids), limit):
        listed += client.call("Email/get", ids=ids[start:start + limit], properties=["size", "receivedAt"])["list"]
    return [(email["size"], email["receivedAt"]) for email in listed]


def described(messages):
    return [(m["size"], m["receivedAt"]) for m in messages]


@pytest.mark.parametrize("name", ("flagged", "unseen", "keyword", "not", "or", "size", "date"))
def test_filters(client, reader, name):
    messages = reader.inbox()
    middle, size = messages[len(messages) // 2]["receivedAt"], sorted(m["size"] for m in messages)[len(messages) // 2]
    conditions, expected = {
        "flagged": ([{"hasKeyword": "$flagged"}], lambda m: "$flagged" in m["keywords"]),
        "unseen": ([{"notKeyword": "$seen"}], lambda m: "$seen" not in m["keywords"]),
        "keyword": ([{"hasKeyword": "work"}], lambda m: "work" in m["keywords"]),
        "not": ([{"operator": "NOT", "conditions": [{"hasKeyword": "$seen"}, {"hasKeyword": "$flagged"}]}],
                lambda m: not {"$seen", "$flagged"} & set(m["keywords"])),
        "or": ([{"operator": "OR", "conditions": [{"hasKeyword": "$answered"}, {"hasKeyword": "$flagged"}]}],
               lambda m: bool({"$answered", "$flagged"} & set(m["keywords"]))),
        "size": ([{"minSize": size, "maxSize": size * 4}], lambda m: size <= m["size"] < size * 4),
        "date": ([{"after": middle}], lambda m: m["receivedAt"] >= middle),
    }[name]
    assert query(client, conditions) == described(m for m in messages if expected(m))


def test_before_and_after_meet(client, reader):
    middle = reader.inbox()[40]["receivedAt"]
    before, after = query(client, [{"before": middle}]), query(client, [{"after": middle}])
    assert len(before) + len(after) == len(reader.inbox())
    assert not set(before) & set(after)


def test_sort_by_size(client, reader):
    sizes = [size for size, _ in query(client, [], sort=[{"property": "size", "isAscending": True}])]
    assert sizes == sorted(m["size"] for m in reader.inbox())


@pytest.mark.parametrize("property_name", ("sentAt", "from", "to", "subject"))
def test_other_sorts_hold_every_message_once(client, reader, property_name):
    for ascending in (True, False):
        found = query(client, [], sort=[{"property": property_name, "isAscending": ascending}])
        assert sorted(found) == sorted(described(reader.inbox()))


def test_subject_header_and_address_filters(client, reader):
    target = next(m for m in reader.inbox() if m["kind"] == "newsletter")
    found = query(client, [{"subject": "what happened this week"}])
    assert (target["size"], target["receivedAt"]) in found
    assert len(found) == sum(m["kind"] == "newsletter" for m in reader.inbox())
    assert query(client, [{"header": ["List-Unsubscribe"]}]) == found
    assert query(client, [{"from": "news@news.example"}]) == found
    assert query(client, [{"header": ["Message-ID", target["messageId"]]}]) == described([target])


def test_search_outside_ascii(client, reader):
    words = {word for m in reader.inbox() for word in m["subject"].split() if not word.isascii() and word.isalpha()}
    for word in sorted(words)[::10]:
        expected = [m for m in reader.inbox() if word.lower() in m["subject"].lower() and m["kind"] not in ODD_SUBJECTS]
        found = query(client, [{"subject": word}])
        assert set(described(expected)) <= set(found), word
        assert len(found) <= len(expected) + sum(m["kind"] in ODD_SUBJECTS for m in reader.inbox()), word


def test_search_in_bodies(client, reader):
    found = query(client, [{"body": "something is ODD about this"}])
    assert found == described(m for m in reader.inbox() if m["kind"] in SAYS_IT_IS_ODD)
    assert query(client, [{"text": "odd@odd.example"}, {"body": "something is odd about this"}]) == [
        email for email in found if email in described(m for m in reader.inbox() if m["kind"] != "no-from")]


def test_unsupported_filter_and_sort(client):
    assert client.call_error("Email/query", filter={"colour": "red"})["type"] == "unsupportedFilter"
    assert client.call_error("Email/query", sort=[{"property": "colour"}])["type"] == "unsupportedSort"


def by_message_id(client, message):
    """The id of the manifest's message, which is in the INBOX."""
    conditions = [{"inMailbox": client.mailbox("inbox")["id"]}, {"header": ["Message-ID", message["messageId"]]}]
    ids = client.call("Email/query", filter={"operator": "AND", "conditions": conditions})["ids"]
    assert len(ids) >= 1, message
    return ids[0]


BODY = {"fetchAllBodyValues": True,
        "properties": ["id", "blobId", "threadId", "subject", "from", "bodyStructure", "bodyValues", "textBody",
                       "htmlBody", "attachments", "hasAttachment", "preview", "sentAt", "headers"]}


@pytest.mark.parametrize("kind", ("plain", "flowed", "alternative", "related", "attachment", "newsletter"))
def test_one_message_of_each_kind(client, reader, kind):
    message = next(m for m in reader.inbox() if m["kind"] == kind and m["messageId"])
    email, = client.call("Email/get", ids=[by_message_id(client, message)], **BODY)["list"]
    assert email["subject"] == message["subject"]
    assert email["textBody"] and email["htmlBody"]
    for part in email["textBody"] + email["htmlBody"]:
        if part["type"].startswith("text/"):
            value = email["bodyValues"][part["partId"]]
            assert value["value"].strip() and "\ufffd" not in value["value"]
            assert value["isEncodingProblem"] is False and value["isTruncated"] is False
    types = {part["type"] for part in email["htmlBody"]}
    if kind in ("alternative", "related", "newsletter"):
        assert "text/html" in types
    assert email["hasAttachment"] is (kind == "attachment")
    if kind == "attachment":
        assert email["attachments"]
        for part in email["attachments"]:
            assert part["blobId"] and part["size"] > 0


def test_every_message_can_be_opened(client, reader):
    """Also those that break the rules."""
    for path, box in client.mailboxes().items():
        ids = client.call("Email/query", filter={"inMailbox": box["id"]}, limit=500)["ids"]
        for start in range(0, len(ids), 50):
            got = client.call("Email/get", ids=ids[start:start + 50], maxBodyValueBytes=20000, **BODY)
            assert len(got["list"]) == len(ids[start:start + 50]) and got["notFound"] == [], path
            for email in got["list"]:
                for value in email["bodyValues"].values():
                    assert len(value["value"].encode()) <= 20000


def test_body_value_is_truncated_at_a_character(client, reader):
    message = next(m for m in reader.inbox() if m["kind"] == "newsletter")
    email, = client.call("Email/get", ids=[by_message_id(client, message)], maxBodyValueBytes=31, **BODY)["list"]
    for value in email["bodyValues"].values():
        assert len(value["value"].encode()) <= 31
        assert value["isTruncated"] is True


def test_download_is_the_message_as_the_server_has_it(stack, client, reader):
    message = next(m for m in reader.inbox() if m["kind"] == "attachment" and m["messageId"])
    email, = client.call("Email/get", ids=[by_message_id(client, message)], **BODY)["list"]
    response = client.download(email["blobId"], "a b/ü.eml", "message/rfc822")
    assert response.status == 200
    assert response.header("Content-Type").split(";")[0] == "message/rfc822"
    assert response.header("Content-Disposition").startswith("attachment")
    with stack.server.signed_in(reader.user) as imap:
        imap.select("INBOX", readonly=True)
        raw = imap.uid("FETCH", str(message["uid"]), "(BODY.PEEK[])")[1][0][1]
    assert response.body == raw
    # A name longer than any file's.
    assert client.download(email["blobId"], "n" * 1000, "message/rfc822").body == raw
    part = email["attachments"][0]
    attachment = client.download(part["blobId"], part["name"] or "part", part["type"])
    assert attachment.status == 200 and len(attachment.body) == part["size"]


def test_download_of_a_large_attachment(client, reader):
    message = next(m for m in reader.inbox() if m["kind"] == "large")
    email, = client.call("Email/get", ids=[by_message_id(client, message)], **BODY)["list"]
    part, = email["attachments"]
    response = client.download(part["blobId"], part["name"], "audio/x-wav")
    assert response.status == 200
    assert len(response.body) == part["size"] == 3_000_000


@pytest.mark.parametrize("blob", ("nonsense", "../../etc/passwd", "%00", "a" * 5000))
def test_download_of_nothing(client, blob):
    assert client.download(blob).status in (400, 404, 414)


def test_download_of_another_account(client):
    response = client.get(f"/jmap/download/nobody/{'x' * 10}/name?accept=text/plain")
    assert response.status in (403, 404)


def test_thread_spans_inbox_and_sent(client, reader):
    folders = reader.manifest["folders"]
    by_root = {}
    for path in folders:
        for message in folders[path]:
            by_root.setdefault(message["root"], []).append((path, message))
    # In a conversation of two, the answer names the first message whichever headers its program writes.
    pair = next(found for found in by_root.values()
                if len(found) == 2 and {path for path, _ in found} == {"INBOX", "Sent"})
    received = next(message for path, message in pair if path == "INBOX")
    email, = client.call("Email/get", ids=[by_message_id(client, received)], properties=["threadId"])["list"]
    result = client.call("Thread/get", ids=[email["threadId"], "nonsense"])
    assert result["notFound"] == ["nonsense"]
    thread, = result["list"]
    emails = client.call("Email/get", ids=thread["emailIds"],
                         properties=["messageId", "receivedAt", "threadId"])["list"]
    assert {e["messageId"][0] for e in emails} == {m["messageId"] for _, m in pair}
    assert [e["receivedAt"] for e in emails] == sorted(e["receivedAt"] for e in emails)
    assert {e["threadId"] for e in emails} == {email["threadId"]}


def test_ids_that_mean_nothing(client):
    result = client.call("Email/get", ids=["nonsense", "x" * 255, "M1", "-"])
    assert result["list"] == [] and set(result["notFound"]) == {"nonsense", "x" * 255, "M1", "-"}
    for wrong in ("", "x" * 256, "a b", "ü", 5):
        assert client.call_error("Email/get", ids=[wrong])["type"] == "invalidArguments"


def test_too_many_ids(client):
    limit = client.session["capabilities"][jmap.CORE]["maxObjectsInGet"]
    assert client.call_error("Email/get", ids=[f"x{n}" for n in range(limit + 1)])["type"] == "requestTooLarge"


def test_answers_are_the_same_at_both_web_servers(stack, reader):
    pages = []
    for web in (stack.nginx, stack.apache):
        client = reader.client(web)
        pages.append(client.newest(client.mailbox("inbox")["id"], LIST_PROPERTIES))
    assert pages[0] == pages[1]
