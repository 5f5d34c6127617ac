"""The cost of web requests in IMAP commands, exactly, as a CountingProxy sees it."""

import contextlib
import time

from support import login

LIST_PROPERTIES = ("id", "threadId", "mailboxIds", "keywords", "size", "receivedAt", "subject", "from", "to", "preview",
                   "hasAttachment")
OPEN_PROPERTIES = ("id", "subject", "bodyValues", "textBody", "htmlBody", "attachments", "bodyStructure")


def settle(proxy):
    """Waits until the broker has left the IMAP server alone for a moment."""
    before, quiet_since = -1, time.monotonic()
    while time.monotonic() - quiet_since < 0.4:
        now = len(proxy.commands())
        if now != before:
            before, quiet_since = now, time.monotonic()
        time.sleep(0.02)


def first_page_seen(stack, web, person):
    """(client, INBOX id) of one who has seen the first page; what follows in the background is over."""
    client = login.with_token(stack, web, person)
    inbox = client.mailbox("inbox")["id"]
    client.newest(inbox, LIST_PROPERTIES, limit=50)
    settle(stack.imap)
    return client, inbox


@contextlib.contextmanager
def cost(proxy):
    """with cost(proxy) as commands: ...; afterwards commands is {name: number} of all that was sent inside and in what
    follows in the background, without IDLE. LOGIN stands for AUTHENTICATE as well."""
    commands = {}
    settle(proxy)
    with proxy.counting() as counted:
        yield commands
        settle(proxy)
    del counted["IDLE"]
    commands.update(counted)
