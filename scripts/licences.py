"""Write the licences of all third-party code that is inside the wheel, or check the file of them.

    python scripts/licences.py          writes LICENSES-THIRD-PARTY.txt
    python scripts/licences.py --check  fails if that file is not what it would write

That code is the crates that the binding links, as `cargo metadata` names them for each platform of
the wheel, and the files under `python/verve/page/vendor`. Macros run in the compiler only, and are
left out. A crate without a licence file is an error.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "LICENSES-THIRD-PARTY.txt"
VENDOR = ROOT / "python" / "verve" / "page" / "vendor"
PLATFORMS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")
BINDING = "verve-python"
_NAMES = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE")
_RULE = "=" * 80
_HEAD = """\
Third-party code inside Verve, and its licences. `python scripts/licences.py` writes this file.

The packages that Verve installs beside itself, such as granian, bring their own licences.
"""


def metadata(platform: str) -> Mapping[str, Any]:
    """What cargo knows of the crates for one platform."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform"]
    done = subprocess.run([*command, platform], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found


def linked(found: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The packages from elsewhere that the binding links."""
    packages = {package["id"]: package for package in found["packages"]}
    nodes = {node["id"]: node for node in found["resolve"]["nodes"]}
    waiting = [one for one, package in packages.items() if package["name"] == BINDING]
    seen = set(waiting)
    while waiting:
        current = waiting.pop()
        if packages[current]["source"] is not None:
            yield packages[current]
        for dependency in nodes[current]["deps"]:
            package = dependency["pkg"]
            kinds = [kind["kind"] for kind in dependency["dep_kinds"]]
            if None in kinds and package not in seen and not is_macro(packages[package]):
                seen.add(package)
                waiting.append(package)


def is_macro(package: Mapping[str, Any]) -> bool:
    """Whether it runs in the compiler, and is not linked."""
    return any("proc-macro" in target["kind"] for target in package["targets"])


def crates() -> Iterator[tuple[str, list[Path]]]:
    """The title of each crate, with its licence files."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for platform in PLATFORMS:
        for package in linked(metadata(platform)):
            found[package["name"], package["version"]] = package
    for (name, version), package in sorted(found.items()):
        directory = Path(package["manifest_path"]).parent
        files = [
            path
            for path in sorted(directory.iterdir())
            if path.is_file() and path.name.upper().startswith(_NAMES)
        ]
        if not files:
            sys.exit(f"error: a crate has no licence file: `{name} {version}`")
        yield f"{name} {version} ({package['license']})", files


def vendored() -> Iterator[tuple[str, list[Path]]]:
    """The title of each vendored library, with its licence file."""
    named = {path.stem: path for path in sorted(VENDOR.glob("*.LICENSE"))}
    for path in sorted(VENDOR.iterdir()):
        if path.suffix != ".LICENSE" and path.stem not in named:
            sys.exit(f"error: a vendored file has no licence beside it: `{path.name}`")
    for name, path in named.items():
        yield f"{name} (the live page)", [path]


def rendered(parts: Iterable[tuple[str, list[Path]]]) -> str:
    """The whole file: each text once, under the titles of all that it belongs to."""
    titles: list[str] = []
    texts: dict[str, tuple[list[str], str]] = {}
    for title, files in parts:
        titles.append(title)
        for path in files:
            lines = path.read_text(encoding="utf-8").splitlines()
            text = "\n".join(line.rstrip() for line in lines).strip("\n")
            owners, _ = texts.setdefault(" ".join(text.split()), ([], text))
            if title not in owners:
                owners.append(title)
    sections = (
        f"{_RULE}\n{chr(10).join(owners)}\n{_RULE}\n\n{text}\n" for owners, text in texts.values()
    )
    return "\n".join([_HEAD, *(f"  {title}" for title in titles), "", *sections])


def main() -> None:
    """Read the command line, and write or check the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; compare")
    check = parser.parse_args().check
    text = rendered([*vendored(), *crates()])
    if not check:
        TARGET.write_text(text, encoding="utf-8")
    elif TARGET.read_text(encoding="utf-8") != text:
        sys.exit(f"error: {TARGET.name} is out of date; hint: python scripts/licences.py")


if __name__ == "__main__":
    main()
