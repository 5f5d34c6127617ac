"""Uploads, and mail that is written: Email/set create and Email/import, checked over IMAP beside Postern."""

import email
import email.policy
import json
import os
import random

import pytest

from support import jmap
from support.postern import build_directory


@pytest.fixture(scope="module")
def stack(each_stack):
    return each_stack


@pytest.fixture
def person(stack, request):
    return stack.person(request.node.originalname.replace("test_", ""), messages=20)


@pytest.fixture
def client(web, person):
    return person.client(web)


def random_octets(size, seed=1):
    return random.Random(seed).randbytes(size)


def raw_messages(stack, person, mailbox):
    """All messages of a mailbox, parsed, as another client gets them."""
    imap = stack.server.sign_in(person.user)
    try:
        count = int(imap.select(stack.server.mailbox_name(mailbox), readonly=True)[1][0])
        if count == 0:
            return []
        answer = imap.fetch("1:*", "(FLAGS BODY.PEEK[])")[1]
        return [(item[0].decode(), email.message_from_bytes(item[1], policy=email.policy.default))
                for item in answer if isinstance(item, tuple)]
    finally:
        imap.logout()


def create(client, draft):
    answer = client.call("Email/set", create={"new": draft})
    assert answer["notCreated"] is None, answer
    assert answer["oldState"] != answer["newState"]
    return answer["created"]["new"]


def draft_in(mailbox, **properties):
    return {"mailboxIds": {mailbox: True}, "keywords": {"$draft": True, "$seen": True},
            "from": [{"name": "Anna Ünlü", "email": "anna@example.org"}], "subject": "Grüße 🐎",
            "to": [{"name": None, "email": "bert@example.org"}], **properties}


def test_upload_and_download(client):
    content = random_octets(300_000)
    answer = client.upload(content, "image/png")
    assert answer.status == 201, answer.body
    made = answer.json
    assert made == {"accountId": client.account_id, "blobId": made["blobId"], "type": "image/png", "size": 300_000}
    got = client.download(made["blobId"], "a.png", "image/png")
    assert (got.status, got.body) == (200, content)
    assert got.header("Content-Type") == "image/png"
    assert got.header("Content-Length") == "300000"
    assert got.header("Content-Disposition") == 'attachment; filename="a.png"'
    assert "immutable" in got.header("Cache-Control") and "private" in got.header("Cache-Control")
    again = client.download(made["blobId"], "a.png", **{"If-None-Match": got.header("ETag")})
    assert (again.status, again.body) == (304, b"")


def test_ranges_of_uploads_and_messages(client):
    content = random_octets(100_000)
    blob = client.blob(content)
    message = client.newest(client.mailbox("inbox")["id"], ("blobId",))[1]["list"][0]["blobId"]
    for blob_id, whole in ((blob, content), (message, client.download(message).body)):
        for field, begin, end in (("bytes=0-9", 0, 10), (f"bytes={len(whole) - 5}-", len(whole) - 5, len(whole)),
                                  ("bytes=-7", len(whole) - 7, len(whole)), ("bytes=3-1000000000", 3, len(whole))):
            got = client.download(blob_id, Range=field)
            assert got.status == 206, (field, got.status)
            assert got.body == whole[begin:end]
            assert got.header("Content-Range") == f"bytes {begin}-{end - 1}/{len(whole)}"
        beyond = client.download(blob_id, Range=f"bytes={len(whole)}-")
        assert (beyond.status, beyond.header("Content-Range")) == (416, f"bytes */{len(whole)}")
        for ignored in ({"Range": "bytes=0-1,3-4"}, {"Range": "lines=1-2"},
                        {"Range": "bytes=0-9", "If-Range": '"other"'}):
            assert client.download(blob_id, **ignored).body == whole


def test_uploads_are_somebodys(stack, client, web):
    blob = client.blob(b"mine")
    other = stack.person("other", messages=1).client(web)
    assert other.download(blob).status == 404
    assert other.upload(b"x", account=client.account_id).status == 404
    refused = other.call("Email/set", create={"new": draft_in(
        other.mailbox("inbox")["id"], attachments=[{"blobId": blob}])})["notCreated"]["new"]
    assert (refused["type"], refused["notFound"]) == ("blobNotFound", [blob])


def test_too_large_an_upload(client):
    size = client.session["capabilities"][jmap.CORE]["maxSizeUpload"]
    answer = client.upload(bytes(size + 1))
    assert answer.status == 413
    assert answer.json["limit"] == "maxSizeUpload"


def test_draft_with_text_html_and_attachments(stack, client, person):
    picture, document = random_octets(5_000), random_octets(200_000, seed=2)
    attached = client.newest(client.mailbox("inbox")["id"], ("blobId", "size"))[1]["list"][0]
    drafts = client.mailbox("drafts")["id"]
    made = create(client, draft_in(
        drafts,
        bodyValues={"t": {"value": "Hallo Bert,\nwie geht's? äöü"}, "h": {"value": '<p>Hallo <img src="cid:p1"></p>'}},
        textBody=[{"partId": "t", "type": "text/plain"}], htmlBody=[{"partId": "h", "type": "text/html"}],
        attachments=[
            {"blobId": client.blob(picture), "type": "image/png", "cid": "p1", "disposition": "inline"},
            {"blobId": client.blob(document), "type": "application/pdf", "name": "Übersicht.pdf",
             "disposition": "attachment"},
            {"blobId": attached["blobId"], "type": "message/rfc822", "disposition": "attachment"}]))
    assert set(made) == {"id", "blobId", "threadId", "size"}
    raw = client.download(made["blobId"]).body
    assert len(raw) == made["size"]
    (flags, message), = raw_messages(stack, person, "Drafts")
    assert "\\Draft" in flags and "\\Seen" in flags
    assert message["Subject"] == "Grüße 🐎"
    parts = {part.get_content_type(): part for part in reversed(list(message.walk()))}  # ours before the attached one's
    assert parts["text/plain"].get_content().strip().replace("\r\n", "\n") == "Hallo Bert,\nwie geht's? äöü"
    assert parts["application/pdf"].get_content() == document
    assert parts["application/pdf"].get_filename() == "Übersicht.pdf"
    assert client.download(attached["blobId"]).body.strip() in raw
    got = client.call("Email/get", ids=[made["id"]], fetchAllBodyValues=True, properties=[
        "threadId", "mailboxIds", "keywords", "size", "attachments", "textBody", "bodyValues", "messageId", "sentAt"])
    seen, = got["list"]
    assert seen["threadId"] == made["threadId"]
    assert seen["mailboxIds"] == {drafts: True}
    assert seen["keywords"] == {"$draft": True, "$seen": True}
    assert seen["messageId"] and seen["sentAt"]
    pdf = next(part for part in seen["attachments"] if part["type"] == "application/pdf")
    assert client.download(pdf["blobId"]).body == document
    assert client.download(pdf["blobId"], Range="bytes=1000-1999").body == document[1000:2000]
    # A part of one message is an attachment of the next.
    forwarded = create(client, draft_in(drafts, attachments=[{"blobId": pdf["blobId"], "type": "application/pdf"}]))
    again, = client.call("Email/get", ids=[forwarded["id"]], properties=["attachments"])["list"]
    assert client.download(again["attachments"][0]["blobId"]).body == document


def test_a_reply_is_in_its_thread(client):
    inbox = client.mailbox("inbox")["id"]
    _, got = client.newest(inbox, ("id", "messageId", "threadId", "references"))
    original = next(e for e in got["list"] if e["messageId"])
    references = (original["references"] or []) + original["messageId"]
    made = create(client, draft_in(client.mailbox("drafts")["id"], inReplyTo=original["messageId"],
                                   references=references, receivedAt="2024-02-03T04:05:06Z",
                                   subject="Re: it", textBody=[{"partId": "1"}], bodyValues={"1": {"value": "yes"}}))
    seen, = client.call("Email/get", ids=[made["id"]], properties=["receivedAt", "threadId", "references"])["list"]
    assert seen["receivedAt"] == "2024-02-03T04:05:06Z"
    assert seen["references"] == references
    assert made["threadId"] == seen["threadId"]


def test_what_is_wrong_creates_nothing(stack, client, person):
    drafts = client.mailbox("drafts")["id"]
    text = {"textBody": [{"partId": "1"}], "bodyValues": {"1": {"value": "x"}}}
    wrong = {
        "mailbox": {**draft_in("mAAAAAAAAAAA"), **text},
        "none": {**draft_in(drafts), "mailboxIds": {}, **text},
        "two": {**draft_in(drafts), "mailboxIds": {drafts: True, "mAAAAAAAAAAA": True}, **text},
        "blob": draft_in(drafts, attachments=[{"blobId": "uAAAAAAAAAAAAAAAAAAAAAA"}, {"blobId": "nothing"}]),
        "header": draft_in(drafts, **text, subject="a\r\nBcc: eve@example.org"),
        "keyword": {**draft_in(drafts, **text), "keywords": {"a b": True}},
    }
    refused = client.call("Email/set", create=wrong)["notCreated"]
    assert {name: error["type"] for name, error in refused.items()} == {
        "mailbox": "invalidProperties", "none": "invalidProperties", "two": "invalidProperties",
        "blob": "blobNotFound", "header": "invalidProperties", "keyword": "invalidProperties"}
    assert refused["blob"]["notFound"] == ["uAAAAAAAAAAAAAAAAAAAAAA", "nothing"]
    assert refused["header"]["properties"] == ["subject"]
    assert raw_messages(stack, person, "Drafts") == []


def test_import(stack, client, person):
    raw = (b"Received: from a by b; Sat, 03 Feb 2024 04:05:06 +0000\nFrom: anna@example.org\nSubject: imported\n"
           b"Message-ID: <imported@example.org>\n\nline\n")
    drafts = client.mailbox("drafts")["id"]
    blob, nothing = client.blob(raw, "message/rfc822"), client.blob(b"\0\1 no message")
    answer = client.call("Email/import", emails={
        "a": {"blobId": blob, "mailboxIds": {drafts: True}, "keywords": {"$flagged": True}},
        "b": {"blobId": nothing, "mailboxIds": {drafts: True}},
        "c": {"blobId": "uAAAAAAAAAAAAAAAAAAAAAA", "mailboxIds": {drafts: True}}})
    assert {name: error["type"] for name, error in answer["notCreated"].items()} == {
        "b": "invalidEmail", "c": "invalidProperties"}
    made = answer["created"]["a"]
    seen, = client.call("Email/get", ids=[made["id"]], properties=["receivedAt", "keywords", "subject"])["list"]
    assert (seen["receivedAt"], seen["subject"]) == ("2024-02-03T04:05:06Z", "imported")
    assert seen["keywords"] == {"$flagged": True}
    assert client.download(made["blobId"]).body == raw.replace(b"\n", b"\r\n")
    (flags, _), = raw_messages(stack, person, "Drafts")
    assert "\\Flagged" in flags
    stale = client.call_error("Email/import", ifInState="0", emails={})
    assert stale["type"] == "stateMismatch"


def memory_kb(pid):
    """The most that the process and its children have had in memory, files apart: VmHWM of /proc."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def test_memory_is_bounded_for_large_uploads(stack, client):
    content = random_octets(1_000_000) * 49
    client.blob(b"warm")
    workers = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and is_child_of(pid, stack.postern.worker)]
    processes = [stack.postern.broker.pid, *workers]
    before = {pid: memory_kb(pid) for pid in processes}
    blob = client.blob(content)
    made = create(client, draft_in(client.mailbox("drafts")["id"], attachments=[{"blobId": blob}]))
    for blob_id in (blob, made["blobId"]):
        assert client.download(blob_id).status == 200
    grown = {pid: memory_kb(pid) - before[pid] for pid in processes}
    # A sanitizer keeps what has been freed.
    assert is_sanitized() or max(grown.values()) < 12_000, f"{grown} kB for {len(content)} octets"


def is_sanitized():
    with open(os.path.join(build_directory(), "meson-info", "intro-buildoptions.json"), encoding="utf-8") as options:
        return any(option["name"] == "b_sanitize" and option["value"] != "none" for option in json.load(options))


def is_child_of(pid, process):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[1] == str(process.pid)
    except OSError:
        return False


def test_parse(client):
    inner = (b"From: anna@example.org\r\nSubject: inner\r\nContent-Type: text/plain\r\n"
             b"Content-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n")
    outer = (b"From: bert@example.org\r\nSubject: outer\r\nMIME-Version: 1.0\r\n"
             b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n"
             b"Content-Type: message/rfc822\r\n\r\n" + inner + b"\r\n--b--\r\n")
    blob, nothing = client.blob(outer, "message/rfc822"), client.blob(b"\r\nno header")
    filed = client.call("Email/import", emails={"a": {
        "blobId": blob, "mailboxIds": {client.mailbox("drafts")["id"]: True}}})["created"]["a"]
    for blob_id in (blob, filed["blobId"]):
        answer = client.call("Email/parse", blobIds=[blob_id, nothing, "uAAAAAAAAAAAAAAAAAAAAAA"],
                             fetchAllBodyValues=True, properties=[
                                 "id", "mailboxIds", "subject", "size", "textBody", "attachments", "bodyValues"])
        assert (answer["notParsable"], answer["notFound"]) == ([nothing], ["uAAAAAAAAAAAAAAAAAAAAAA"])
        parsed = answer["parsed"][blob_id]
        assert (parsed["id"], parsed["mailboxIds"], parsed["subject"]) == (None, None, "outer")
        assert parsed["size"] == len(outer)
        assert parsed["bodyValues"][parsed["textBody"][0]["partId"]]["value"] == "text"
        attached = parsed["attachments"][0]["blobId"]
        assert client.download(attached).body == inner
        within = client.call("Email/parse", blobIds=[attached], fetchAllBodyValues=True)["parsed"][attached]
        assert within["subject"] == "inner"
        part, = within["textBody"]
        assert within["bodyValues"][part["partId"]]["value"] == "hello"
        assert client.download(part["blobId"]).body == b"hello"


def test_blob_methods(client):
    using = (jmap.CORE, jmap.MAIL, "urn:ietf:params:jmap:blob")
    account = client.account_id
    assert client.session["accounts"][account]["accountCapabilities"]["urn:ietf:params:jmap:blob"][
        "supportedDigestAlgorithms"] == ["sha", "sha-256"]
    text = "The quick brown fox jumped over the lazy dog."
    answers = client.calls([
        ["Blob/upload", {"accountId": account, "create": {
            "a": {"data": [{"data:asText": text}], "type": "text/plain"},
            "b": {"data": [{"data:asBase64": "gYE="}, {"data:asText": "!"}]},
            "c": {"data": [{"data:asText": "How "}, {"blobId": "#a", "offset": 4, "length": 5}]},
            "d": {"data": [{"blobId": "#a", "offset": 40, "length": 6}]},
            "e": {"data": [{"blobId": "uAAAAAAAAAAAAAAAAAAAAAA"}]},
            "f": {"data": [{"data:asText": "x", "blobId": "#a"}]}}}, "0"],
        ["Blob/get", {"accountId": account, "ids": ["#a", "#b", "#c", "nothing"],
                      "properties": ["data", "size", "digest:sha", "digest:sha-256"]}, "1"],
        ["Blob/get", {"accountId": account, "ids": ["#a", "#b"], "properties": ["data:asText", "data:asBase64"],
                      "offset": 2, "length": 1000}, "2"],
        ["Blob/lookup", {"accountId": account, "typeNames": ["Email", "Mailbox"], "ids": ["#a"]}, "3"],
        ["Blob/lookup", {"accountId": account, "typeNames": ["Calendar"], "ids": ["#a"]}, "4"],
        ["Blob/copy", {"accountId": account, "fromAccountId": "other", "blobIds": ["#a"]}, "5"],
        ["Email/copy", {"accountId": account, "fromAccountId": account, "create": {}}, "6"]], using)
    made, got, cut, looked, unknown, copied, copy = [answer[1] for answer in answers]
    assert {name: one["size"] for name, one in made["created"].items()} == {"a": 45, "b": 3, "c": 9}
    assert made["created"]["a"]["type"] == "text/plain"
    assert {name: error["type"] for name, error in made["notCreated"].items()} == {
        "d": "invalidProperties", "e": "blobNotFound", "f": "invalidProperties"}
    whole, binary, pieces = got["list"]
    assert whole["data:asText"] == text and whole["size"] == 45 and "isTruncated" not in whole
    assert whole["digest:sha"] == "wIVPufsDxBzOOALLDSIFKebu+U4="
    assert whole["digest:sha-256"] == "aLEoK5HeLAVMNmKcuN1EfxLwltPjxYeXjcIkhERjNIM="
    assert (binary["data:asBase64"], binary["isEncodingProblem"]) == ("gYEh", True)
    assert pieces["data:asText"] == "How quick"
    assert got["notFound"] == ["nothing"]
    assert cut["list"][0]["data:asText"] == text[2:] and cut["list"][0]["isTruncated"] is True
    assert cut["list"][1]["data:asText"] == "!"
    assert looked["list"][0]["matchedIds"] == {"Email": [], "Mailbox": []}
    assert (unknown["type"], copied["type"], copy["type"]) == (
        "unknownDataType", "fromAccountNotFound", "invalidArguments")
    message = client.newest(client.mailbox("inbox")["id"], ("id", "blobId"))[1]["list"][0]
    found, = client.calls([["Blob/lookup", {"accountId": account, "typeNames": ["Email", "Thread", "Mailbox"],
                                            "ids": [message["blobId"]]}, "0"]], using)[0][1]["list"]
    assert found["matchedIds"]["Email"] == [message["id"]]
    assert found["matchedIds"]["Mailbox"] == [client.mailbox("inbox")["id"]] and found["matchedIds"]["Thread"]
