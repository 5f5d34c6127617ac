#!/usr/bin/python3
"""make_mailbox.py DIRECTORY [--messages N] [--seed S] [...] - writes a realistic sample mailbox as a Maildir.

The result is a Maildir++ for Dovecot: INBOX, Sent, Drafts, Archive, Trash, Junk, nested folders and some with
names outside ASCII; conversations that span INBOX and Sent; attachments, HTML, many charsets, mailing lists,
flags and keywords, UIDs with gaps, and arrival dates that are not in UID order. The same arguments give the same
bytes. --manifest FILE also writes what was made as JSON, for tests that compare. Needs only Python's library.
"""

import argparse
import email.utils
import json
import os
import random
import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import message_bodies as bodies  # noqa: E402
import mime_parts as mime  # noqa: E402
import sample_text as text  # noqa: E402

SEED_DEFAULT = 20250630
UNTIL_DEFAULT = "2025-06-30T18:00:00+00:00"
SPAN = timedelta(days=3 * 365)
UIDVALIDITY_BASE = 1_600_000_000
KEYWORDS = ("$Forwarded", "$Label1", "NonJunk", "Junk", "$MDNSent", "work", "family")  # dovecot-keywords, a..g
PROJECT_FOLDERS = ("Projects/2024/Rollout", "Projects/2025", "Entwürfe & Ideen", "写真")
FOLDERS = ("INBOX", "Sent", "Drafts", "Archive", "Trash", "Junk", "Archive/2023", "Lists/imap-talk",
           "Lists/gardeners", "Projects", "Projects/2024") + PROJECT_FOLDERS


@dataclass
class Message:
    folder: str
    raw: bytes
    received: datetime
    message_id: str
    subject: str
    root: str  # Message-ID of the conversation's first message
    kind: str
    flags: set = field(default_factory=set)  # Maildir letters
    keywords: set = field(default_factory=set)
    uid: int = 0


class Generator:
    """Makes the messages. Owns the random source; every choice comes from it, in a fixed order."""

    def __init__(self, seed, until, owner):
        self.random = random.Random(seed)
        self.until = until
        self.owner = owner
        self.messages = []
        self.counter = 0

    def message_id(self, domain):
        self.counter += 1
        return f"<{self.random.getrandbits(40):010x}.{self.counter}@{domain}>"

    def moment(self):
        """A moment in the three years, denser towards the end as a living mailbox is."""
        return self.until - timedelta(seconds=int(SPAN.total_seconds() * self.random.random() ** 1.4))

    def zone(self, when):
        return when.astimezone(timezone(timedelta(minutes=self.random.choice((0, 60, 120, -300, -480, 330, 540)))))

    def headers(self, pairs):
        return b"".join(f"{name}: {value}\n".encode() if isinstance(value, str) else
                        name.encode() + b": " + value + b"\n" for name, value in pairs if value is not None)

    def standard_headers(self, sender, recipients, subject, when, language, message_id, references=()):
        charset = "utf-8" if language.charsets[0] == "us-ascii" else self.random.choice(language.charsets)
        scheme = self.random.choice("BQ") if charset.startswith(("iso-8859", "windows", "utf")) else "B"
        pairs = [
            ("Received", f"from mx.example.org (mx.example.org [192.0.2.{self.random.randrange(1, 255)}])\n"
             f"\tby mail.example.org with ESMTPS id {self.random.getrandbits(48):x}\n"
             f"\tfor <{self.owner[1]}>; {email.utils.format_datetime(when)}"),
            ("From", mime.mailbox(*sender, charset)),
            ("To", ",\n ".join(mime.mailbox(*person, charset) for person in recipients)),
            ("Subject", mime.unstructured(subject, charset, scheme)),
            ("Date", email.utils.format_datetime(self.zone(when))),
            ("Message-ID", message_id)]
        if references:
            pairs.append(("In-Reply-To", references[-1]))
            if self.random.random() < 0.9:
                pairs.append(("References", "\n ".join(references)))
        pairs.append(("MIME-Version", "1.0"))
        return pairs

    def conversation(self, room):
        """People writing to and fro: theirs land in one folder, the owner's in Sent, all in one thread."""
        rnd = self.random
        language = rnd.choice(text.LANGUAGES)
        others = rnd.sample(language.people, min(len(language.people), rnd.choice((1, 1, 1, 2, 3))))
        subject = rnd.choice(language.subjects).format(n=rnd.randrange(100, 9000))
        when = self.moment()
        folder = rnd.choice(PROJECT_FOLDERS) if rnd.random() < 0.15 else "INBOX"
        if folder == "INBOX" and when < self.until - timedelta(days=420) and rnd.random() < 0.6:
            folder = "Archive/2023" if when.year <= 2023 else "Archive"
        references, previous = [], None
        for turn in range(min(room, rnd.choice((1, 1, 1, 2, 2, 3, 3, 4, 6, 9)))):
            mine = rnd.random() < (0.2 if turn == 0 else 0.45)
            sender = self.owner if mine else rnd.choice(others)
            recipients = others if mine else [self.owner] + [o for o in others if o != sender]
            message_id = self.message_id(sender[1].split("@")[1])
            title = subject if turn == 0 else language.reply_prefix * rnd.choice((1, 1, 1, 2)) + subject
            pairs = self.standard_headers(sender, recipients, title, when, language, message_id, references)
            kind, body = bodies.conversation_body(rnd, language, title, when)
            message = self.add("Sent" if mine else folder, self.headers(pairs) + body, when, message_id, title,
                               references[0] if references else message_id, kind)
            if mine and previous and previous.folder != "Sent":
                previous.flags.add("R")
            previous = message
            references = references + [message_id]
            when += timedelta(minutes=rnd.randrange(5, 3000))
            if when > self.until:
                break

    def list_thread(self, room):
        rnd = self.random
        name, list_id, address, subjects = rnd.choice(text.LISTS)
        subject = rnd.choice(subjects)
        when = self.moment()
        references = []
        for turn in range(min(room, rnd.randrange(1, 12))):
            sender = rnd.choice(text.ENGLISH.people)
            message_id = self.message_id(sender[1].split("@")[1])
            title = f"[{name}] {subject}" if turn == 0 else f"Re: [{name}] {subject}"
            parents = references[:1 + rnd.randrange(len(references))] if references else []
            pairs = self.standard_headers(sender, [(name, address)], title, when, text.ENGLISH, message_id, parents)
            pairs[1:1] = [
                ("List-Id", f"{name} discussion <{list_id}>"), ("List-Post", f"<mailto:{address}>"),
                ("List-Unsubscribe", f"<https://lists.example/u/{name}>,\n <mailto:{name}-leave@lists.example>"),
                ("Precedence", "list")]
            body = bodies.plain(rnd, text.ENGLISH, flowed=rnd.random() < 0.3, footer=f"{name} mailing list")
            self.add(f"Lists/{name}", self.headers(pairs) + body, when, message_id, title,
                     references[0] if references else message_id, "list")
            references.append(message_id)
            when += timedelta(minutes=rnd.randrange(3, 900))
            if when > self.until:
                break

    def newsletter(self):
        rnd = self.random
        when, number = self.moment(), rnd.randrange(10, 500)
        message_id = self.message_id("news.example")
        subject = f"Issue {number}: what happened this week \u2013 and what\u2019s next"
        pairs = self.standard_headers(("The Weekly Post", "news@news.example"), [self.owner], subject, when,
                                      text.ENGLISH, message_id)
        pairs.insert(1, ("List-Unsubscribe", f"<https://news.example/unsubscribe/{number}>"))
        self.add("INBOX", self.headers(pairs) + bodies.newsletter(rnd, number), when, message_id, subject,
                 message_id, "newsletter")

    def junk(self):
        rnd = self.random
        when, message_id = self.moment(), self.message_id("spam.example")
        subject = rnd.choice(text.JUNK_SUBJECTS).format(n=rnd.randrange(1000, 999999))
        pairs = self.standard_headers(("Claims Dept.", "win@spam.example"), [("", "undisclosed@spam.example")],
                                      subject, when, text.ENGLISH, message_id)
        pairs[2] = ("To", "undisclosed-recipients:;")
        message = self.add("Junk", self.headers(pairs) + bodies.html_only(rnd), when, message_id, subject,
                           message_id, "junk")
        message.keywords.add("Junk")

    def draft(self):
        rnd = self.random
        when, message_id = self.moment(), self.message_id("example.org")
        language = rnd.choice(text.LANGUAGES)
        subject = rnd.choice(language.subjects).format(n=1)
        pairs = self.standard_headers(self.owner, [rnd.choice(language.people)], subject, when, language, message_id)
        message = self.add("Drafts", self.headers(pairs[1:]) + bodies.plain(rnd, language), when, message_id,
                           subject, message_id, "draft")
        message.flags |= {"D", "S"}

    def oddity(self, number):
        """Mail that breaks or strains the rules, as every mailbox has some: kind by turns."""
        rnd = self.random
        when, message_id = self.moment(), self.message_id("odd.example")
        kind, subject, change, body = bodies.oddity(rnd, number, when, message_id)
        pairs = self.standard_headers(("Odd Sender", "odd@odd.example"), [self.owner], subject, when,
                                      text.ENGLISH, message_id)
        by_name = dict(pairs)
        by_name.update(change)
        if kind == "duplicate-message-id" and self.messages:
            message_id = rnd.choice(self.messages).message_id or message_id
            by_name["Message-ID"] = message_id
        if by_name.get("Message-ID") is None:
            message_id = ""
        self.add("INBOX", self.headers(by_name.items()) + body, when, message_id, by_name_subject(by_name, subject),
                 message_id, kind)

    def add(self, folder, raw, when, message_id, subject, root, kind):
        rnd = self.random
        received = when + timedelta(seconds=rnd.randrange(1, 180))
        if rnd.random() < 0.02:  # held up on its way, or imported long after
            received = min(self.until, when + timedelta(days=rnd.randrange(1, 30)))
        message = Message(folder, raw, received, message_id, subject, root, kind)
        age = self.until - when
        if folder in ("Sent", "Drafts") or age > timedelta(days=10) and rnd.random() < 0.93 or rnd.random() < 0.3:
            message.flags.add("S")
        if rnd.random() < 0.05:
            message.flags.add("F")
        if rnd.random() < 0.08 and folder not in ("Drafts", "Junk"):
            message.keywords.add(rnd.choice(("$Forwarded", "$Label1", "NonJunk", "$MDNSent", "work", "family")))
        if folder == "INBOX" and rnd.random() < 0.03:
            message.folder = "Trash"
        self.messages.append(message)
        return message

    def fill(self, count):
        oddities = 0
        if count >= 50:
            self.large_message()
        while len(self.messages) < count:
            room = count - len(self.messages)
            draw = self.random.random()
            if draw < 0.70:
                self.conversation(room)
            elif draw < 0.76:
                self.list_thread(room)
            elif draw < 0.86:
                self.newsletter()
            elif draw < 0.92:
                self.junk()
            elif draw < 0.935:
                self.draft()
            else:
                self.oddity(oddities)
                oddities += 1
        self.number()

    def large_message(self):
        when, message_id = self.until - timedelta(days=40), self.message_id("example.com")
        subject = "The recording, uncompressed"
        pairs = self.standard_headers(text.ENGLISH.people[0], [self.owner], subject, when, text.ENGLISH, message_id)
        self.add("INBOX", self.headers(pairs) + bodies.large(self.random), when, message_id, subject, message_id,
                 "large").folder = "INBOX"

    def number(self):
        """UIDs with gaps, mostly in order of arrival: some messages were copied in later and stand further back."""
        rnd = self.random
        for folder in FOLDERS:
            inside = [m for m in self.messages if m.folder == folder]
            late = {id(m): timedelta(days=rnd.randrange(1, 500)) for m in inside if rnd.random() < 0.08}
            inside.sort(key=lambda m: m.received + late.get(id(m), timedelta()))
            uid = rnd.randrange(1, 40)
            for message in inside:
                message.uid = uid
                uid += 1 if rnd.random() < 0.8 else rnd.randrange(2, 12)


def by_name_subject(by_name, subject):
    value = by_name.get("Subject")
    return "" if value is None else subject


def folder_path(maildir, folder):
    if folder == "INBOX":
        return maildir
    return os.path.join(maildir, "." + ".".join(mime.modified_utf7(piece) for piece in folder.split("/")))


def write_folder(maildir, folder, messages, index):
    """Writes one Maildir with Dovecot's uidlist and keywords beside it. messages are in UID order."""
    path = folder_path(maildir, folder)
    for name in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(path, name), mode=0o700)
    if folder != "INBOX":
        open(os.path.join(path, "maildirfolder"), "w").close()
    with open(os.path.join(path, "dovecot-keywords"), "w", encoding="ascii") as keywords:
        keywords.writelines(f"{n} {keyword}\n" for n, keyword in enumerate(KEYWORDS))
    uid_next = messages[-1].uid + 1 if messages else 1
    guid = f"{index:08x}5a6d706c65{UIDVALIDITY_BASE + index:014x}"[:32].ljust(32, "0")
    lines = [f"3 V{UIDVALIDITY_BASE + index} N{uid_next} G{guid}\n"]
    for message in messages:
        stamp = int(message.received.timestamp())
        virtual = len(message.raw) + message.raw.count(b"\n")
        base = f"{stamp}.M{message.uid:06d}P{index + 1}.sample,S={len(message.raw)},W={virtual}"
        letters = message.flags | {chr(ord("a") + KEYWORDS.index(keyword)) for keyword in message.keywords}
        file = os.path.join(path, "cur", f"{base}:2,{''.join(sorted(letters))}")
        with open(file, "wb") as out:
            out.write(message.raw)
        os.utime(file, (stamp, stamp))
        lines.append(f"{message.uid} :{base}\n")
    with open(os.path.join(path, "dovecot-uidlist"), "w", encoding="ascii") as uidlist:
        uidlist.writelines(lines)


def write_maildir(maildir, messages):
    os.makedirs(maildir, mode=0o700)
    with open(os.path.join(maildir, "subscriptions"), "w", encoding="ascii") as subscriptions:
        names = sorted(mime.modified_utf7(folder) for folder in FOLDERS if folder != "INBOX")
        subscriptions.write("V\t2\n\n" + "".join(name.replace("/", "\t") + "\n" for name in names))
    for index, folder in enumerate(FOLDERS):
        inside = sorted((m for m in messages if m.folder == folder), key=lambda m: m.uid)
        write_folder(maildir, folder, inside, index)


def manifest(messages):
    letters = {"S": "$seen", "R": "$answered", "F": "$flagged", "D": "$draft"}
    folders = {folder: [] for folder in FOLDERS}
    for m in sorted(messages, key=lambda m: (m.folder, m.uid)):
        folders[m.folder].append({
            "uid": m.uid, "messageId": m.message_id.strip("<>"), "subject": m.subject, "kind": m.kind,
            "root": m.root.strip("<>"), "size": len(m.raw) + m.raw.count(b"\n"),
            "receivedAt": m.received.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "keywords": sorted([letters[f] for f in m.flags] + [k.lower() for k in m.keywords])})
    return {"folders": folders, "total": len(messages)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", help="the Maildir to make; must not exist")
    parser.add_argument("--messages", type=int, default=3000, metavar="N", help="how many (default 3000)")
    parser.add_argument("--seed", type=int, default=SEED_DEFAULT)
    parser.add_argument("--until", default=UNTIL_DEFAULT, metavar="ISO8601", help="date of the newest message")
    parser.add_argument("--name", default="Sam Sample", help="the owner's name")
    parser.add_argument("--address", default="demo@example.org", help="the owner's address")
    parser.add_argument("--manifest", metavar="FILE", help="write what was made as JSON")
    args = parser.parse_args()
    if os.path.exists(args.directory):
        parser.error(f"{args.directory} exists already")
    until = datetime.fromisoformat(args.until).astimezone(timezone.utc)
    generator = Generator(args.seed, until, (args.name, args.address))
    generator.fill(args.messages)
    write_maildir(args.directory, generator.messages)
    if args.manifest:
        with open(args.manifest, "w", encoding="utf-8") as out:
            json.dump(manifest(generator.messages), out, ensure_ascii=False, indent=1)


if __name__ == "__main__":
    main()
