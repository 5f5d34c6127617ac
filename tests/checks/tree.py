"""What the checks share: the files of the source tree, and how a check reports."""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def files(root=ROOT, *suffixes):
    """The tree's own files (tracked, or new and not ignored), as paths relative to root, sorted."""
    root = pathlib.Path(root)
    if (root / ".git").exists():
        listed = subprocess.run(
            ["git", "-c", f"safe.directory={root}", "-C", str(root), "ls-files", "-z", "--cached", "--others",
             "--exclude-standard"], check=True, capture_output=True).stdout.decode().split("\0")
        found = [pathlib.PurePosixPath(name) for name in listed if name and (root / name).is_file()]
    else:
        found = [pathlib.PurePosixPath(p.relative_to(root)) for p in root.rglob("*")
                 if p.is_file() and not p.relative_to(root).parts[0].startswith("build")]
    return sorted({p for p in found if not suffixes or p.suffix in suffixes})


def text(path):
    """The file's text, or None for a binary one."""
    data = pathlib.Path(path).read_bytes()
    if b"\0" in data:
        return None
    return data.decode("utf-8", "replace")


def report(findings):
    """Prints the findings; the exit status."""
    for finding in findings:
        print(finding)
    if findings:
        print(f"{len(findings)} findings", file=sys.stderr)
    return 1 if findings else 0
