"""People who send mail through Postern and an outgoing mail server of the test's own."""

import threading

from .jmap import CORE, MAIL
from .processes import wait_for

SUBMISSION = "urn:ietf:params:jmap:submission"
USING = (CORE, MAIL, SUBMISSION)
DOMAIN = "example.org"
DRAFT = ("From: Me <{sender}>\r\nTo: You <you@example.net>\r\nCc: \"Group\": a@example.net, YOU@example.net;\r\n"
         "Bcc: secret@example.net,\r\n hidden@example.net\r\nSubject: {subject}\r\nMessage-ID: <{subject}@b>\r\n"
         "Date: Sun, 22 Nov 2026 04:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
         "Bcc: this stays\r\n.a dot\r\n.\r\nthe end\r\n")


def outgoing(run, smtp, name, **more):
    """Tables of the configuration for sending through smtp."""
    return {"server": {"state_dir": run.make_dir(f"{name}-state", mode=0o700)},
            "smtp": {"host": "127.0.0.1", "port": smtp.port, "tls": "none", "domain": DOMAIN, "extensions": ["DSN"],
                     "retry_min": "1s", "retry_max": "2s", **more}}


class Sender:
    """Somebody who sends, from their own address. client: makes their JMAP client, by default one with a password."""

    def __init__(self, stack, smtp, label="sender", client=None):
        self.stack, self.smtp = stack, smtp
        self.person = stack.person(label, messages=10)
        smtp.passwords[self.person.user] = self.person.password
        self.address = f"{self.person.user}@{DOMAIN}"
        self.client = client(self.person) if client else self.person.client(stack.nginx)
        self.count = 0

    @property
    def identity(self):
        return self.client.call("Identity/get", ids=None)["list"][0]

    def draft(self, text=DRAFT, **fields):
        """The id of a draft with this text, appended beside Postern."""
        self.count += 1
        subject = f"draft{self.count}-{self.person.user}"
        content = text.format(sender=fields.get("sender", self.address), subject=subject)
        with self.stack.server.signed_in(self.person.user) as imap:
            assert imap.append("Drafts", "(\\Draft \\Seen)", None, content.encode())[0] == "OK"
        drafts = self.client.mailbox("drafts")["id"]

        def find():
            ids = self.client.call("Email/query", filter={"inMailbox": drafts})["ids"]
            got = self.client.call("Email/get", ids=ids, properties=["subject"])["list"]
            return next((email["id"] for email in got if email["subject"] == subject), None)

        wait_for(lambda: find() is not None, "the draft")
        return find()

    def submit(self, email, envelope=None, **arguments):
        """The responses to an EmailSubmission/set that creates one."""
        create = {"identityId": self.identity["id"], "emailId": email}
        if envelope is not None:
            create["envelope"] = envelope
        answers = self.client.calls([["EmailSubmission/set", {
            "accountId": self.client.account_id, "create": {"one": create}, **arguments}, "s"]], USING)
        assert all(answer[0] != "error" and answer[2] == "s" for answer in answers), answers
        return [answer[1] for answer in answers]

    def submitted(self, email, envelope=None):
        """What was created."""
        answer, = self.submit(email, envelope)
        assert answer["created"], answer["notCreated"]
        return answer["created"]["one"]

    def refused(self, email, envelope=None):
        """The SetError."""
        answer, = self.submit(email, envelope)
        assert answer["notCreated"], answer
        return answer["notCreated"]["one"]

    def get(self, submission):
        return self.client.call("EmailSubmission/get", ids=[submission])["list"][0]

    def envelope(self, *recipients, **parameters):
        return {"mailFrom": {"email": self.address, "parameters": parameters or None},
                "rcptTo": [{"email": recipient, "parameters": None} for recipient in recipients or ["you@example.net"]]}


def submit_in_background(sender, email):
    """Starts a submission whose answer is not waited for."""
    other = sender.person.client(sender.stack.nginx)
    body = {"using": list(USING), "methodCalls": [["EmailSubmission/set", {
        "accountId": sender.client.account_id,
        "create": {"x": {"identityId": sender.identity["id"], "emailId": email}}}, "s"]]}
    url = sender.client.session["apiUrl"]
    thread = threading.Thread(target=lambda: other.post(url, body), daemon=True)
    thread.start()
    return thread


def only_submission(sender):
    wait_for(lambda: sender.client.call("EmailSubmission/get", ids=None)["list"], "a submission")
    one, = sender.client.call("EmailSubmission/get", ids=None)["list"]
    return one
