"""The smallest IMAP client that will do: a blocking socket, one command at a time, nothing parsed.

It stands for "the bare commands": what a connection costs its server and the wire, with next to nothing of its own.
"""

import socket
import ssl

# What a list page needs of each message. PREVIEW (RFC 8970) is what Dovecot keeps in its cache, as all the rest.
PAGE_ITEMS = ("UID FLAGS INTERNALDATE RFC822.SIZE BODYSTRUCTURE PREVIEW "
              "BODY.PEEK[HEADER.FIELDS (FROM MESSAGE-ID SUBJECT TO IN-REPLY-TO REFERENCES)]")


def trusting(ca):
    return ssl.create_default_context(cafile=ca)


class Imap:
    def __init__(self, address, context=None):
        plain = socket.create_connection(address, 60)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(plain, server_hostname="localhost") if context else plain
        self.number = 0
        self._read_until(lambda data: data.endswith(b"\r\n"))

    def _read_until(self, complete):
        pieces = bytearray()
        while True:
            piece = self.socket.recv(262144)
            assert piece, "the IMAP server has closed the connection"
            pieces += piece
            if complete(pieces):
                return pieces

    def commands(self, *lines):
        """Sends the lines in one piece and returns all that comes until the last one's tagged answer, which must
        be OK."""
        tags = [f"a{self.number + i}".encode() for i in range(len(lines))]
        self.number += len(lines)
        self.socket.sendall(b"".join(tag + b" " + line.encode() + b"\r\n" for tag, line in zip(tags, lines)))
        last = tags[-1] + b" "

        def complete(data):
            start = data.rfind(b"\n", 0, len(data) - 1) + 1
            return data.endswith(b"\r\n") and data.startswith(last, start)

        answer = self._read_until(complete)
        start = answer.rfind(b"\n", 0, len(answer) - 1) + 1
        assert answer.startswith(last + b"OK", start), bytes(answer[-500:])
        return answer

    def login(self, user, password):
        return self.commands(f'LOGIN "{user}" "{password}"')

    def newest(self, count):
        """UIDs of the newest messages of the selected mailbox, by SORT."""
        return self._first_sorted(self.commands("UID SORT (REVERSE ARRIVAL) UTF-8 UNDELETED"), count)

    def newest_of_all(self, count):
        """The same as Postern asks: all in order, since sequence numbers can be told by no less, and beside that which
        of them are \\Deleted."""
        return self._first_sorted(
            self.commands("UID SORT (REVERSE ARRIVAL) UTF-8 ALL", "UID SEARCH RETURN (ALL) DELETED"), count)

    @staticmethod
    def _first_sorted(answer, count):
        start = answer.index(b"* SORT")
        return [uid.decode() for uid in answer[start:start + 12 * count + 16].split()[2:2 + count]]

    def page(self, uids):
        """What a list page shows of these messages."""
        return self.commands(f"UID FETCH {','.join(uids)} ({PAGE_ITEMS})")

    def close(self):
        self.socket.close()


def full_cycle(address, context, user, password, count):
    """What a webmail application without a kept connection does for each page."""
    client = Imap(address, context)
    client.login(user, password)
    client.commands("SELECT INBOX")
    client.page(client.newest(count))
    client.commands("LOGOUT")
    client.close()
