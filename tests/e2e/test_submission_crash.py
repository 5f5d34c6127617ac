"""Sending exactly once (docs/architecture.md): the broker is killed, or the browser goes away, at each point of a
submission. With Dovecot, and an outgoing mail server that stops where it is told to.
"""

import http.client
import json
import threading
from urllib.parse import urlsplit

import pytest

from conftest import running
from support.processes import wait_for
from support.sending import DRAFT, USING, Sender, only_submission, outgoing, submit_in_background
from support.smtp import Script
from support.stack import Stack

LARGE = ("x" * 70 + "\r\n") * 60_000  # more than sockets hold


@pytest.fixture(scope="module")
def stack(run, pki, smtp):
    yield from running(Stack, run.part("crash"), pki, outgoing(run, smtp, "crash"), apache=False)


@pytest.fixture
def sender(stack, smtp):
    smtp.reset()
    yield Sender(stack, smtp)
    stack.imap.release()


def restart(sender):
    sender.stack.postern.broker.kill()
    sender.smtp.script = Script()
    sender.stack.postern.broker.start()


def in_flight(sender):
    """A request that sends a draft and moves it to Sent: its URL's parts, headers and body; and where the draft is."""
    client, email = sender.client, sender.draft()
    drafts, sent = client.mailbox("drafts")["id"], client.mailbox("sent")["id"]
    body = json.dumps({"using": list(USING), "methodCalls": [["EmailSubmission/set", {
        "accountId": client.account_id, "create": {"k": {"identityId": sender.identity["id"], "emailId": email}},
        "onSuccessUpdateEmail": {"#k": {f"mailboxIds/{drafts}": None, f"mailboxIds/{sent}": True,
                                        "keywords/$draft": None}}}, "c"]]})
    url = urlsplit(client.session["apiUrl"])
    return email, drafts, sent, (url, {"Content-Type": "application/json", **client.headers}, body)


def ask(request):
    """The connection on which the request has been sent."""
    url, headers, body = request
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    connection.request("POST", url.path, body, headers)
    return connection


def place(sender, email):
    """(Mailbox ids, keywords) of an Email."""
    found, = sender.client.call("Email/get", ids=[email], properties=["mailboxIds", "keywords"])["list"]
    return set(found["mailboxIds"]), set(found["keywords"])


def worker_log(sender):
    with open(sender.stack.postern.worker.log, encoding="utf-8", errors="replace") as log:
        return log.read()


def test_killed_while_the_message_is_read_it_is_asked_for_again_and_sent_once(sender):
    email = sender.draft()
    before = sender.stack.imap.counts()["UID FETCH"]
    sender.stack.imap.hold()
    asking = submit_in_background(sender, email)
    wait_for(lambda: sender.stack.imap.counts()["UID FETCH"] > before, "the message to be asked for")
    sender.stack.postern.broker.kill()
    sender.stack.imap.release()
    sender.stack.postern.broker.start()
    asking.join(30)
    assert only_submission(sender)["undoStatus"] == "final"
    assert len(sender.smtp.messages) == 1


@pytest.mark.parametrize("moment", ["EHLO", "AUTH", "MAIL", "RCPT", "DATA", "content"])
def test_killed_before_the_end_it_is_sent_once_at_the_next_sign_in(sender, moment):
    email = sender.draft(DRAFT + (LARGE if moment == "content" else ""))
    sender.smtp.script = Script(stall=moment)
    asking = submit_in_background(sender, email)
    sender.smtp.wait_for(lambda: any(command.startswith(moment) for command in sender.smtp.commands))
    restart(sender)
    one = only_submission(sender)
    sender.smtp.wait_for(lambda: len(sender.smtp.messages) == 1)
    wait_for(lambda: sender.get(one["id"])["undoStatus"] == "final", "it to be done")
    asking.join(30)
    assert sender.smtp.messages[0].content.endswith(b"the end\r\n" if moment != "content" else b"x\r\n")
    # And not once more at the next start.
    restart(sender)
    assert sender.get(one["id"])["undoStatus"] == "final"
    sender.submitted(sender.draft())
    assert len(sender.smtp.messages) == 2


@pytest.mark.parametrize("taken", [False, True])
def test_killed_in_the_doubtful_moment_it_is_unknown_and_never_sent_again(sender, taken):
    email = sender.draft()
    sender.smtp.script = Script(stall=".", keep_stalled=taken)
    asking = submit_in_background(sender, email)
    sender.smtp.wait_for(lambda: "." in sender.smtp.commands)
    restart(sender)
    one = only_submission(sender)
    assert one["undoStatus"] == "final"
    assert {status["delivered"] for status in one["deliveryStatus"].values()} == {"unknown"}
    assert all("may have been delivered" in status["smtpReply"] for status in one["deliveryStatus"].values())
    asking.join(30)
    restart(sender)
    sender.submitted(sender.draft())
    assert len(sender.smtp.messages) == 1 + taken


def test_killed_behind_the_answer_it_is_told_as_sent_and_the_draft_stays(sender):
    """Before the filing: nothing is sent twice, and the submission says that it was sent."""
    email, drafts, _, request = in_flight(sender)
    sender.smtp.script = Script(gate=True)
    answers = []
    connection = ask(request)
    asking = threading.Thread(target=lambda: answers.append(connection.getresponse().status), daemon=True)
    asking.start()
    sender.smtp.wait_for(lambda: "." in sender.smtp.commands)
    sender.stack.imap.hold()
    sender.smtp.open_gate()
    one = only_submission(sender)
    wait_for(lambda: sender.get(one["id"])["undoStatus"] == "final", "the answer to be written down")
    sender.stack.postern.broker.kill()
    sender.stack.imap.release()
    sender.smtp.script = Script()
    sender.stack.postern.broker.start()
    asking.join(30)
    assert answers == [503]
    assert sender.get(one["id"])["deliveryStatus"]["you@example.net"]["smtpReply"] == "250 2.1.5 ok"
    # Its keywords, which are changed before it is moved, may have been or not.
    assert place(sender, email)[0] == {drafts}
    sender.submitted(sender.draft())
    assert len(sender.smtp.messages) == 2
    connection.close()


@pytest.mark.parametrize("who", ["browser", "worker"])
def test_what_was_sent_is_filed_also_when_nobody_waits_for_it(sender, who):
    email, _, sent, request = in_flight(sender)
    sender.smtp.script = Script(gate=True)
    connection = ask(request)
    sender.smtp.wait_for(lambda: "." in sender.smtp.commands)
    if who == "browser":
        connection.close()
        wait_for(lambda: "browser gone" in worker_log(sender), "the worker to notice")
    else:
        sender.stack.postern.worker.kill()
        wait_for(lambda: sender.stack.postern.control("status")["requests"]["open"] == 0, "the broker to notice")
        sender.stack.postern.worker.start()
    sender.smtp.open_gate()
    wait_for(lambda: place(sender, email) == ({sent}, {"$seen"}), "the message to be filed")
    assert len(sender.smtp.messages) == 1
    assert only_submission(sender)["undoStatus"] == "final"
    connection.close()
