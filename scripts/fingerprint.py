"""Print one digest of the named files and folders and of the words given with `--also`.

The scripts beside this file keep it in stamp files, to tell what is unchanged since it was done.
Contents count, times do not: a fresh checkout of the same commit has the same digest.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

UNCOUNTED = {"__pycache__", "target"}


def files_of(names: list[str]) -> Iterator[Path]:
    """All files under `names` in a fixed order; a name that does not exist is an empty folder."""
    for name in sorted(names):
        path = Path(name)
        if path.is_file():
            yield path
        for inner in sorted(path.rglob("*")):
            if inner.is_file() and not UNCOUNTED.intersection(inner.parts):
                yield inner


def digest_of(names: list[str], also: list[str]) -> str:
    """The digest of the paths and contents under `names`, and of `also`."""
    digest = hashlib.sha256("\0".join(also).encode())
    for path in files_of(names):
        content = path.read_bytes()
        digest.update(f"\0{path.as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def main() -> None:
    """Read the command line and print the digest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="files and folders")
    parser.add_argument("--also", action="append", default=[], help="anything else that counts")
    arguments = parser.parse_args()
    sys.stdout.write(digest_of(arguments.names, arguments.also) + "\n")


if __name__ == "__main__":
    main()
