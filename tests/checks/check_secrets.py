#!/usr/bin/python3
"""Checks that no secret is in the tree: check_secrets.py [ROOT].

Keys and certificates of the tests are made when they run; passwords of the tests are plain words that no real
account has. What looks like a private key, a provider's token or a password in an address is a finding.
"""
import pathlib
import re
import sys

import tree

PATTERNS = [
    ("a private key", re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s*[A-Za-z0-9+/=]{20}")),
    ("an AWS key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a GitHub token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22,})\b")),
    ("a Google API key", re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b")),
    ("a Slack token", re.compile(r"\bxox[abprs]-[0-9A-Za-z-]{10,}")),
    ("a signed JSON web token", re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")),
    ("a password in an address", re.compile(
        r"\b[a-z][a-z0-9+.-]*://[^\s/:@<>\"'{}$%]+:[^\s/:@<>\"'{}$%]+@"
        r"(?!example\.|127\.0\.0\.1|localhost)[\w.-]+")),
]
# By name: what holds keys has no place in the tree.
NAMES = re.compile(r"(^|/)(id_(rsa|dsa|ecdsa|ed25519)|\.netrc|\.pgpass|\.env)$|\.(key|p12|pfx|jks|kdbx)$")
SELF = {"tests/checks/test_checks.py"}


def check(root=tree.ROOT):
    findings = []
    for path in tree.files(root):
        if str(path) in SELF:
            continue
        if NAMES.search(str(path)):
            findings.append(f"{path}: its name says that it holds a secret")
        code = tree.text(pathlib.Path(root) / path)
        if code is None:
            continue
        for what, pattern in PATTERNS:
            for match in pattern.finditer(code):
                line = code.count("\n", 0, match.start()) + 1
                findings.append(f"{path}:{line}: looks like {what}")
    return findings


if __name__ == "__main__":
    sys.exit(tree.report(check(*sys.argv[1:2])))
