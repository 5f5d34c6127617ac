#!/usr/bin/python3
"""Checks documents against the code: check_docs.py [ROOT].

- deploy/postern.toml (the sample that is installed): each key has a comment, is in postern.toml(5), and is a key that
  the broker reads; each key the broker reads is in the sample.
- Man pages: each --option of a page is one of the program's, and each of the program's is in its page.
- Markdown: each relative link leads to a file, and to a heading of it.
"""
import pathlib
import re
import sys

import tree

SAMPLE = "deploy/postern.toml"
CONFIG_PAGE = "docs/man/postern.toml.5"
CONFIG_CODE = "src/broker/config*.cpp"
# man page, in whichever section: the folder with the program's source.
PROGRAMS = {
    "docs/man/posternd": "src/broker",
    "docs/man/postern-fcgi": "src/worker",
    "docs/man/posternctl": "src/ctl",
}
TABLE = re.compile(r"^#?\s?\[{1,2}([\w.-]+)\]{1,2}\s*(#.*)?$")
KEY = re.compile(r"^#?\s?([a-z][a-z0-9_]*)\s*=\s*(?=[\"'\[{0-9tf-])")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def roff_text(code):
    """A man page's text, without the requests and escapes that matter here."""
    code = re.sub(r'^[.\']\\".*$', "", code, flags=re.M)
    code = re.sub(r"\\f(\[\w*\]|\(..|.)", "", code)
    code = re.sub(r"^\.([A-Z]{1,2})\s+", "", code, flags=re.M)
    code = re.sub(r"(^\.?|\s)Fl (?:\\?-)(?=[a-z])", r"\1--", code.replace("\\&", ""), flags=re.M)  # mdoc
    return code.replace("\\-", "-").replace("\\(hy", "-").replace("\\&", "").replace("\\e", "\\")


def sample_keys(code):
    """Yields (table, key, line number, is documented) for each key, also one that is commented out."""
    table = ""
    commented = False
    for number, line in enumerate(code.splitlines(), 1):
        if TABLE.match(line):
            table = TABLE.match(line).group(1)
            commented = False
        elif KEY.match(line):
            yield table, KEY.match(line).group(1), number, commented or "#" in line.lstrip("#")
        else:
            commented = line.startswith("#") or (commented and line.startswith((" ", "]", "}")))


def read_keys(code):
    """The (section, key) pairs that config*.cpp bind: all["section"] = {{"key", number(...)}, ...}, or a function
    `Section NAME_section(...)` with the same."""
    code = re.sub(r'\bSection (\w+)_section\(', r'all["\1"] =', code)
    parts = re.split(r'\ball\["([\w.-]+)"\]\s*=', code)
    return {(section, key) for section, body in zip(parts[1::2], parts[2::2])
            for key in re.findall(r'\{"([a-z][a-z0-9_]*)",\s*(?:\w+\(|\[)', body)}


def check_sample(root, findings):
    if not (root / SAMPLE).is_file():
        findings.append(f"{SAMPLE}: missing")
        return
    keys = list(sample_keys((root / SAMPLE).read_text()))
    page = roff_text((root / CONFIG_PAGE).read_text()) if (root / CONFIG_PAGE).is_file() else ""
    if not page:
        findings.append(f"{CONFIG_PAGE}: missing")
    read = read_keys("".join(path.read_text() for path in sorted(root.glob(CONFIG_CODE))))
    if not read:
        findings.append(f"{CONFIG_CODE}: no key found")
    for section, key in sorted(read - {(table, key) for table, key, _, _ in keys}):
        findings.append(f"{SAMPLE}: [{section}] {key} is read by the broker, but not in the sample")
    for table, key, number, documented in keys:
        where = f"{SAMPLE}:{number}: [{table}] {key} "
        if not documented:
            findings.append(where + "has no comment")
        if page and not re.search(rf"(?<![\w-]){key}(?![\w-])", page):
            findings.append(where + f"is not in {CONFIG_PAGE}")
        if (table, key) not in read:
            findings.append(where + "is not read by the broker")
    if not keys:
        findings.append(f"{SAMPLE}: no key found")


def check_options(root, findings):
    sources = tree.files(root, ".cpp", ".hpp")
    for program, folder in PROGRAMS.items():
        page = next((f"{program}.{section}" for section in "18" if (root / f"{program}.{section}").is_file()), program)
        code = "".join((root / p).read_text() for p in sources if str(p).startswith(folder + "/"))
        options = {o for literal in re.findall(r'"((?:-\w,)?--[a-z][a-z0-9-]*[^"]*)"', code)
                   for o in OPTION.findall(literal)}
        if not (root / page).is_file():
            findings.append(f"{page}: missing")
            continue
        described = set(OPTION.findall(roff_text((root / page).read_text())))
        for option in sorted(described - options - {"--help", "--version"}):
            findings.append(f"{page}: {option} is no option of {folder}")
        for option in sorted(options - described):
            findings.append(f"{page}: {option} of {folder} is not described")


def anchors(code):
    """The anchors of a Markdown file's headings, as GitHub makes them."""
    code = re.sub(r"^```.*?^```", "", code, flags=re.M | re.S)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)$", code, re.M)}


def check_links(root, findings):
    for path in tree.files(root, ".md"):
        code = (root / path).read_text()
        for match in LINK.finditer(code):
            target = match.group(1)
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            file = (root / path).parent / name if name else root / path
            where = f"{path}:{code.count(chr(10), 0, match.start()) + 1}: "
            if not file.exists():
                findings.append(where + f"link to {target}, which is not there")
            elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text()):
                findings.append(where + f"link to {target}: no such heading")


def check(root=tree.ROOT):
    root = pathlib.Path(root)
    findings = []
    check_sample(root, findings)
    check_options(root, findings)
    check_links(root, findings)
    return findings


if __name__ == "__main__":
    sys.exit(tree.report(check(*sys.argv[1:2])))
