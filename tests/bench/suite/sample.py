"""A Maildir of any size, quickly: short messages in conversations, one a file, with dates that rise.

deploy/demo/make_mailbox.py makes a more lifelike one, but takes a minute and a half for 100,000 messages.
"""

import email.utils
import os

BEGIN = 1_600_000_000
STEP_S = 600
NAMES = ("Anna Berger", "Bo Chen", "Carla Diaz", "Dmitri Egorov", "Emine Fidan", "Farid Ghazi", "Greta Holm",
         "Hiro Ito", "Ines Jorge", "Jonas Keller")
TOPICS = ("Minutes of Tuesday's meeting", "Travel to Lisbon", "Invoice for June", "Garden plans for the spring",
          "Re-run of the build last night", "Photographs of the summer party", "Question about the new contract")
TEXT = ("Hello,\r\n\r\nthank you for your message. I have looked at the figures and think that we should talk about "
        "them next week.\r\n\r\nBest wishes\r\n")


def message(number):
    sender, recipient = NAMES[number % len(NAMES)], NAMES[(number // 7) % len(NAMES)]
    root = number - number % 4  # conversations of four
    reply = number != root
    lines = [
        f"Return-Path: <{address(sender)}>",
        f"Received: from mx.example.org by mail.example.org with ESMTPS id {number:08x};",
        f"\t{email.utils.formatdate(BEGIN + number * STEP_S)}",
        f"From: {sender} <{address(sender)}>",
        f"To: {recipient} <{address(recipient)}>",
        f"Subject: {'Re: ' if reply else ''}{TOPICS[root // 4 % len(TOPICS)]} ({root})",
        f"Date: {email.utils.formatdate(BEGIN + number * STEP_S)}",
        f"Message-ID: <{number}@mail.example.org>",
    ]
    if reply:
        lines += [f"In-Reply-To: <{number - 1}@mail.example.org>",
                  "References: " + " ".join(f"<{n}@mail.example.org>" for n in range(root, number))]
    lines += ["MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 7bit", "",
              f"{number}. {TEXT}"]
    return "\r\n".join(lines).encode()


def address(name):
    return name.lower().replace(" ", ".") + "@example.org"


def make_maildir(directory, messages):
    """Writes the Maildir; the newest message has the greatest number."""
    for folder in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(directory, folder), exist_ok=True)
    for number in range(messages):
        raw = message(number)
        flags = "S" if number % 10 else ""
        path = os.path.join(directory, "cur", f"{BEGIN + number * STEP_S}.M{number:07d}.bench,S={len(raw)}:2,{flags}")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(descriptor, raw)
        os.close(descriptor)
        moment = BEGIN + number * STEP_S
        os.utime(path, (moment, moment))
