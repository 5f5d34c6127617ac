"""The sample mailbox of deploy/demo/make_mailbox.py, as a Maildir to copy and as messages to append."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass

from .templates import DEPLOY

MAKE_MAILBOX = os.path.join(DEPLOY, "demo", "make_mailbox.py")
FILE_NAME = re.compile(r"(\d+)\.M(\d+)P.*:2,(\w*)$")
FLAGS = {"D": "\\Draft", "F": "\\Flagged", "R": "\\Answered", "S": "\\Seen"}

sys.path.insert(0, os.path.join(DEPLOY, "demo"))
from make_mailbox import KEYWORDS, folder_path  # noqa: E402 # pylint: disable=wrong-import-position
from mime_parts import modified_utf7  # noqa: E402,F401 # pylint: disable=wrong-import-position,unused-import


@dataclass
class Message:
    raw: bytes  # with CRLF
    received_s: int
    flags: list


def sample(run, messages):
    """(Maildir, manifest) of a sample mailbox with so many messages; made once a run."""
    maildir = os.path.join(run.top, f"template-{messages}")
    if not os.path.exists(maildir + ".json"):
        subprocess.run(["/usr/bin/python3", MAKE_MAILBOX, maildir, "--messages", str(messages), "--manifest",
                        maildir + ".json"], check=True)
    with open(maildir + ".json", encoding="utf-8") as file:
        return maildir, json.load(file)


def messages_of(maildir, folder):
    """The Messages of a folder of sample()'s Maildir, in the order of their UIDs."""
    cur = os.path.join(folder_path(maildir, folder), "cur")
    found = []
    for name in os.listdir(cur):
        received_s, uid, letters = FILE_NAME.match(name).groups()
        with open(os.path.join(cur, name), "rb") as file:
            raw = file.read().replace(b"\n", b"\r\n")
        flags = [FLAGS[letter] if letter in FLAGS else KEYWORDS[ord(letter) - ord("a")] for letter in letters]
        found.append((int(uid), Message(raw, int(received_s), flags)))
    return [message for _, message in sorted(found, key=lambda pair: pair[0])]
