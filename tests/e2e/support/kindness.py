"""The cost of web requests in IMAP commands, exactly, as a CountingProxy sees it."""

import contextlib
import time


def settle(proxy):
    """Waits until the broker has left the IMAP server alone for a moment."""
    before, quiet_since = -1, time.monotonic()
    while time.monotonic() - quiet_since < 0.3:
        now = len(proxy.commands())
        if now != before:
            before, quiet_since = now, time.monotonic()
        time.sleep(0.02)


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
