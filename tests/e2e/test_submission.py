"""Sending: identities, submissions, refusals, delayed sends, and connections and brokers that break at any moment; with
Dovecot, and an outgoing mail server that does what it is told to.
"""

import re

import pytest

from conftest import running
from support.jmap import CORE
from support.processes import wait_for
from support.sending import DOMAIN, DRAFT, SUBMISSION, USING, Sender, outgoing
from support.smtp import Script, SmtpServer
from support.stack import Stack

@pytest.fixture(scope="module")
def stack(run, pki, smtp):
    yield from running(Stack, run.part("submission"), pki, outgoing(run, smtp, "submission"))


@pytest.fixture
def sender(stack, smtp):
    smtp.reset()
    return Sender(stack, smtp)


def test_what_is_offered(sender):
    session = sender.client.session
    assert session["capabilities"][SUBMISSION] == {}
    account = session["accounts"][sender.client.account_id]["accountCapabilities"][SUBMISSION]
    assert account == {"maxDelayedSend": 30 * 86400, "submissionExtensions": {"FUTURERELEASE": ["2592000"], "DSN": []}}
    assert session["primaryAccounts"][SUBMISSION] == sender.client.account_id
    identity = sender.identity
    assert (identity["email"], identity["mayDelete"], identity["name"]) == (sender.address, False, "")


def test_identities_last(sender):
    answer = sender.client.call("Identity/set", create={
        "a": {"email": sender.address, "name": "Me", "htmlSignature": "<b>me</b>", "bcc": [{"email": "x@y.z"}]},
        "b": {"email": "somebody@example.com"}, "c": {"email": "no address"}})
    made = answer["created"]["a"]
    assert made["mayDelete"] is True and made["textSignature"] == ""
    assert answer["notCreated"]["b"]["type"] == "forbiddenFrom"
    assert answer["notCreated"]["c"]["type"] == "invalidProperties"
    sender.stack.postern.broker.kill()
    sender.stack.postern.broker.start()
    got = sender.client.call("Identity/get", ids=[made["id"]])
    assert got["list"][0]["name"] == "Me" and got["list"][0]["bcc"] == [{"name": None, "email": "x@y.z"}]
    assert got["state"] == answer["newState"]
    assert sender.client.call("Identity/changes", sinceState=answer["oldState"])["created"] == [made["id"]]
    answer = sender.client.call("Identity/set", update={made["id"]: {"name": "You", "replyTo": [{"email": "r@s"}]}},
                                destroy=[sender.identity["id"]])
    assert answer["updated"] == {made["id"]: None}
    assert list(answer["notDestroyed"].values())[0]["type"] == "forbidden"
    assert sender.client.call("Identity/set", destroy=[made["id"]])["destroyed"] == [made["id"]]


def test_sent_once_without_bcc_and_filed_once(sender):
    email = sender.draft()
    client, account = sender.client, sender.client.account_id
    drafts, sent = client.mailbox("drafts")["id"], client.mailbox("sent")["id"]
    response = client.post(client.session["apiUrl"], {
        "using": list(USING), "createdIds": {"draft": email}, "methodCalls": [["EmailSubmission/set", {
            "accountId": account, "create": {"k1": {"identityId": sender.identity["id"], "emailId": "#draft"}},
            "onSuccessUpdateEmail": {"#k1": {f"mailboxIds/{drafts}": None, f"mailboxIds/{sent}": True,
                                             "keywords/$draft": None}}}, "c"]]}).json
    (first, made, _), (second, moved, call_id) = response["methodResponses"]
    assert (first, second, call_id) == ("EmailSubmission/set", "Email/set", "c"), response
    assert response["createdIds"]["k1"] == made["created"]["k1"]["id"]
    assert moved["updated"] == {email: None}
    message, = sender.smtp.messages
    assert message.login == sender.person.user and message.sender == sender.address
    assert message.addresses == ["you@example.net", "a@example.net", "secret@example.net", "hidden@example.net"]
    text = message.content.decode()
    header, body = text.split("\r\n\r\n", 1)
    assert "bcc" not in header.lower() and "hidden" not in header and "Subject: draft" in header
    assert body == "Bcc: this stays\r\n.a dot\r\n.\r\nthe end\r\n"
    submission = sender.get(made["created"]["k1"]["id"])
    assert submission["undoStatus"] == "final" and submission["emailId"] == email
    email_now, = client.call("Email/get", ids=[email], properties=["threadId"])["list"]
    assert submission["threadId"] == email_now["threadId"]
    assert submission["deliveryStatus"]["you@example.net"] == {
        "smtpReply": "250 2.1.5 ok", "delivered": "unknown", "displayed": "unknown"}
    assert [r["email"] for r in submission["envelope"]["rcptTo"]] == message.addresses
    assert client.call("Email/query", filter={"inMailbox": sent, "subject": "draft"})["ids"] == [email]
    assert email not in client.call("Email/query", filter={"inMailbox": drafts})["ids"]


def test_envelope_of_the_client(sender):
    email = sender.draft()
    envelope = sender.envelope("one@example.net", "two@example.net", RET="HDRS", ENVID="a+b=c")
    envelope["rcptTo"][1]["parameters"] = {"NOTIFY": "success,failure"}
    answer, second = sender.submit(email, envelope, onSuccessDestroyEmail=["#one"])
    message, = sender.smtp.messages
    assert "RET=HDRS ENVID=a+2Bb+3Dc" in message.parameters
    assert message.recipients == [("one@example.net", ""), ("two@example.net", "NOTIFY=SUCCESS,FAILURE")]
    assert second["destroyed"] == [email]
    assert sender.get(answer["created"]["one"]["id"])["envelope"] == envelope
    assert "envelope" not in answer["created"]["one"]


@pytest.mark.parametrize("change, error", [
    ({"identityId": "i999999"}, ("invalidProperties", "identityId")),
    ({"emailId": "nothing"}, ("invalidProperties", "emailId")),
    ({"sendAt": "2026-01-01T00:00:00Z"}, ("invalidProperties", "sendAt")),
    ({"envelope": {"mailFrom": {"email": "a@b.c"}, "rcptTo": []}}, ("forbiddenMailFrom", None)),
    ({"envelope": {"mailFrom": {"email": "{me}"}, "rcptTo": []}}, ("noRecipients", None)),
    ({"envelope": {"mailFrom": {"email": "{me}"}, "rcptTo": [{"email": "x@y>\r\nRCPT TO:<z@y"}]}},
     ("invalidRecipients", None)),
    ({"envelope": {"mailFrom": {"email": "{me}"}, "rcptTo": [{"email": f"r{i}@y.z"} for i in range(101)]}},
     ("tooManyRecipients", None)),
    ({"envelope": {"mailFrom": {"email": "{me}", "parameters": {"SIZE": "1"}}, "rcptTo": [{"email": "x@y.z"}]}},
     ("invalidProperties", "envelope")),
    ({"envelope": {"mailFrom": {"email": "{me}", "parameters": {"ENVID": "a\r\nb"}}, "rcptTo": [{"email": "x@y.z"}]}},
     ("invalidProperties", "envelope")),
    ({"envelope": {"mailFrom": {"email": "{me}", "parameters": {"HOLDFOR": "99999999"}},
                   "rcptTo": [{"email": "x@y.z"}]}}, ("invalidProperties", "envelope")),
])
def test_what_cant_be_sent(sender, change, error):
    create = {"identityId": sender.identity["id"], "emailId": sender.draft(), **change}
    if "envelope" in create and create["envelope"]["mailFrom"]["email"] == "{me}":
        create["envelope"]["mailFrom"]["email"] = sender.address
    answer = sender.client.call("EmailSubmission/set", create={"x": create})
    refused = answer["notCreated"]["x"]
    assert refused["type"] == error[0] and answer["oldState"] == answer["newState"]
    if error[1]:
        assert refused["properties"] == [error[1]]
    if error[0] == "tooManyRecipients":
        assert refused["maxRecipients"] == 100
    if error[0] == "invalidRecipients":
        assert refused["invalidRecipients"] == ["x@y>\r\nRCPT TO:<z@y"]
    assert sender.smtp.connections == 0 or not sender.smtp.commands


def test_from_must_be_ones_own(sender):
    assert sender.refused(sender.draft(sender="other@example.org"))["type"] == "forbiddenFrom"
    twice = DRAFT.replace("Subject:", "From: x@y.z\r\nSubject:")
    refused = sender.refused(sender.draft(twice))
    assert (refused["type"], refused["properties"]) == ("invalidEmail", ["from"])
    assert not sender.smtp.messages


@pytest.mark.parametrize("command, reply, error", [
    ("AUTH", "535 5.7.8 no", "forbiddenToSend"),
    ("AUTH", "454 4.7.0 later", "serverUnavailable"),
    ("MAIL", "550 5.7.1 not you", "forbiddenMailFrom"),
    ("MAIL", "552 5.3.4 too big", "tooLarge"),
    ("MAIL", "451 4.3.0 later", "serverUnavailable"),
    ("RCPT TO:<two", "550 5.1.1 no such user", "invalidRecipients"),
    ("RCPT", "450 4.2.0 greylisted", "serverUnavailable"),
    ("DATA", "554 5.7.0 no", "forbiddenToSend"),
    (".", "552 5.3.4 too big", "tooLarge"),
    (".", "554 5.6.0 bad content", "invalidEmail"),
    (".", "550-5.7.1 looks like\r\n550 5.7.1 spam", "forbiddenToSend"),
    (".", "451 4.3.0 later", "serverUnavailable"),
    ("connect", "554 go away", "serverUnavailable"),
])
def test_each_refusal_has_its_error(sender, command, reply, error):
    sender.smtp.script = Script(answers={command: reply})
    email = sender.draft()
    refused = sender.refused(email, sender.envelope("one@example.net", "two@example.net"))
    assert refused["type"] == error, refused
    if error == "invalidRecipients":
        assert refused["invalidRecipients"] == ["two@example.net"]
    if error == "tooLarge":
        assert refused["maxSize"] > 0
    assert not sender.smtp.messages
    assert sender.client.call("EmailSubmission/get", ids=None)["list"] == []
    sender.smtp.reset()
    assert sender.submitted(email)["undoStatus"] == "final"
    assert len(sender.smtp.messages) == 1


@pytest.mark.parametrize("moment", ["EHLO", "AUTH", "MAIL", "RCPT", "DATA", "content"])
def test_a_connection_that_breaks_before_the_end_sends_nothing(sender, moment):
    sender.smtp.script = Script(drop=moment)
    # More than fits into the sockets: otherwise all of it has been said before anybody can notice.
    email = sender.draft(DRAFT + ("x" * 70 + "\r\n") * 120_000)
    assert sender.refused(email)["type"] == "serverUnavailable"
    assert not sender.smtp.messages
    assert sender.client.call("EmailSubmission/get", ids=None)["list"] == []


def test_a_connection_that_breaks_behind_the_end_is_unknown_and_no_failure(sender):
    sender.smtp.script = Script(drop=".")
    made = sender.submitted(sender.draft(), sender.envelope())
    assert made["undoStatus"] == "final"
    status = made["deliveryStatus"]["you@example.net"]
    assert status["delivered"] == "unknown"
    sender.smtp.script = Script()
    sender.stack.postern.broker.kill()
    sender.stack.postern.broker.start()
    assert sender.get(made["id"])["deliveryStatus"]["you@example.net"]["delivered"] == "unknown"
    assert sender.submitted(sender.draft(), sender.envelope())["undoStatus"] == "final"
    assert len(sender.smtp.messages) == 2  # and the first one not again


def test_refused_for_the_moment_is_tried_again_for_those_alone(sender):
    sender.smtp.script = Script(answers={"RCPT TO:<two": ["450 4.2.0 greylisted"]})
    made = sender.submitted(sender.draft(), sender.envelope("one@example.net", "two@example.net"))
    assert made["deliveryStatus"]["one@example.net"]["delivered"] == "unknown"
    assert made["deliveryStatus"]["two@example.net"]["delivered"] == "queued"
    sender.smtp.wait_for(lambda: len(sender.smtp.messages) == 2)
    assert sender.smtp.messages[1].addresses == ["two@example.net"]

    def status():
        return sender.get(made["id"])["deliveryStatus"]["two@example.net"]["delivered"]

    wait_for(lambda: status() == "unknown", "the second")


def test_delayed_canceled_and_restarted(sender):
    client = sender.client
    before = client.call("EmailSubmission/get", ids=[])["state"]
    email = sender.draft()
    later = sender.submitted(email, sender.envelope(HOLDFOR="3600"))
    soon = sender.submitted(email, sender.envelope("soon@example.net", HOLDFOR="2"))
    assert (later["undoStatus"], soon["undoStatus"], later["deliveryStatus"]) == ("pending", "pending", None)
    client.call("Email/set", destroy=[email])
    sender.stack.postern.broker.kill()
    sender.stack.postern.broker.start()
    # Without the person's password it waits; a request brings it.
    assert sender.get(soon["id"])["sendAt"] == soon["sendAt"]
    sender.smtp.wait_for(lambda: len(sender.smtp.messages) == 1)
    message, = sender.smtp.messages
    assert message.addresses == ["soon@example.net"] and b"the end" in message.content
    wait_for(lambda: sender.get(soon["id"])["undoStatus"] == "final", "it to be sent")
    assert client.call("EmailSubmission/set", update={soon["id"]: {"undoStatus": "canceled"}})["notUpdated"][
        soon["id"]]["type"] == "cannotUnsend"
    assert client.call("EmailSubmission/set", update={later["id"]: {"undoStatus": "canceled"}})["updated"] == {
        later["id"]: None}
    assert sender.get(later["id"])["undoStatus"] == "canceled"

    # What has become of it all.
    changes = client.call("EmailSubmission/changes", sinceState=before)
    assert changes["created"] == [later["id"], soon["id"]] and not changes["updated"] + changes["destroyed"]
    query = {"filter": {"undoStatus": "canceled"}, "sort": [{"property": "sentAt", "isAscending": False}]}
    asked = client.call("EmailSubmission/query", calculateTotal=True, **query)
    assert (asked["ids"], asked["total"], asked["canCalculateChanges"]) == ([later["id"]], 1, True)
    assert client.call("EmailSubmission/query", sort=query["sort"])["ids"] == [later["id"], soon["id"]]
    news = client.call("EmailSubmission/queryChanges", sinceQueryState=before, calculateTotal=True, **query)
    assert news["added"] == [{"id": later["id"], "index": 0}] and news["total"] == 1
    assert client.call("EmailSubmission/set", destroy=[later["id"]])["destroyed"] == [later["id"]]
    news = client.call("EmailSubmission/queryChanges", sinceQueryState=asked["queryState"], **query)
    assert news["removed"] == [later["id"]] and news["added"] == []


@pytest.fixture(scope="module")
def relay(pki):
    server = SmtpServer(pki, "starttls", passwords={"relay": "relay-password-1"})
    yield server
    server.close()


@pytest.fixture(scope="module")
def relay_stack(run, pki, relay):
    secret = run.make_dir("relay-secret", mode=0o700) + "/password"
    with open(secret, "w", encoding="ascii") as out:
        out.write("relay-password-1\n")
    import os
    os.chmod(secret, 0o600)
    run.own(os.path.dirname(secret))
    run.register_secret("relay-password-1")
    yield from running(Stack, run.part("relay"), pki, outgoing(
        run, relay, "relay", host="localhost", tls="starttls", ca_file=pki.ca, sign_in="relay", user="relay",
        password_file=secret, **{"from": "domain"}))


def test_a_relay_sends_by_itself_after_a_restart_and_over_tls(relay_stack, relay):
    relay.reset()
    sender = Sender(relay_stack, relay, "relayed")
    made = sender.submitted(sender.draft(), sender.envelope(HOLDFOR="2"))
    assert sender.submitted(sender.draft(sender=f"shop@{DOMAIN}"))["undoStatus"] == "final"
    relay_stack.postern.broker.kill()
    relay_stack.postern.broker.start()
    relay.wait_for(lambda: len(relay.messages) == 2)
    assert {(message.login, message.tls) for message in relay.messages} == {("relay", True)}
    assert relay.messages[0].sender == sender.address
    wait_for(lambda: sender.get(made["id"])["undoStatus"] == "final", "it to be told")


def test_a_server_that_nobody_vouches_for_gets_nothing(relay_stack, relay, pki):
    relay.reset()
    sender = Sender(relay_stack, relay, "stranger")
    email = sender.draft()
    relay.use_certificate(pki.stranger)
    try:
        refused = sender.refused(email)
        assert refused["type"] == "serverUnavailable" and "securely" in refused["description"]
        assert relay.commands[-1] == "STARTTLS" and not relay.messages
    finally:
        relay.use_certificate(pki.localhost)
    relay.tls = "none"
    try:
        assert sender.refused(email)["type"] == "serverUnavailable"
        assert not [command for command in relay.commands if re.match("AUTH|MAIL", command)]
    finally:
        relay.tls = "starttls"


def test_without_a_server_nothing_is_offered(shared_stack):
    client = shared_stack.person("silent", messages=10).client(shared_stack.nginx)
    assert SUBMISSION not in client.session["capabilities"]
    assert client.call_error("Identity/get", ids=None)["type"] == "unknownMethod"
    assert client.api([["Core/echo", {}, "c"]], (CORE, SUBMISSION)).json["type"].endswith("unknownCapability")
