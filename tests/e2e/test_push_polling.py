"""Pushing where the IMAP server tells nothing by itself: it has neither NOTIFY nor IDLE, and is asked now and then."""

import pytest

from conftest import running
from support import login
from support.dovecot import Dovecot
from support.stack import Stack
from test_push import append, opened
from test_push_faults import newer

CAPABILITIES = ("IMAP4rev1 SASL-IR LITERAL+ ENABLE UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED CONDSTORE QRESYNC "
                "ESEARCH LIST-STATUS SPECIAL-USE MOVE SORT THREAD=REFERENCES")


class SilentDovecot(Dovecot):
    def _write(self, pki):
        super()._write(pki)
        with open(f"{self.base}/dovecot.conf", "a", encoding="utf-8") as out:
            out.write(f"imap_capability = {CAPABILITIES}\n")


@pytest.fixture(scope="module")
def stack(run, pki):
    configuration = {"push": {"grace": "2s", "poll_min": "5s", "poll_max": "5s"}}
    for stack in running(Stack, run.part("push-polling"), pki, configuration, server=SilentDovecot, apache=False):
        yield stack
        stack.postern.stop()


@pytest.fixture
def client(stack, person):
    """Somebody who knows the mailboxes' counts."""
    client = login.with_token(stack, stack.nginx, person)
    client.call("Mailbox/get", ids=None)
    return client


@pytest.mark.parametrize("mailbox", ("INBOX", "Archive"))
def test_new_mail_is_found(stack, person, client, mailbox):
    stream, first = opened(client)
    with stream:
        last = (stream.settled() or [first])[-1]
        append(stack, person, mailbox)
        seen = stream.until(newer(last), 60)
        assert {"Email", "EmailDelivery", "Mailbox", "Thread"} <= set(seen.changed)
        assert stack.imap.counts()["IDLE"] == 0 and stack.imap.counts()["NOTIFY"] == 0


def test_what_is_read_elsewhere_is_no_new_mail(stack, person, client):
    stream, _ = opened(client)
    with stream:
        stream.settled()
        with stack.server.signed_in(person.user) as imap:
            assert imap.select("INBOX")[0] == "OK"
            assert imap.store("1:*", "+FLAGS", "\\Seen")[0] == "OK"
        assert "EmailDelivery" not in stream.until(lambda event: "Mailbox" in event.changed, 60).changed
