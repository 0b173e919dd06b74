"""Write what a wheel contains and what it needs as two lists in CycloneDX.

    python scripts/sbom.py WHEEL DIRECTORY

`*.crates.cdx.json` lists the crates inside: maturin puts it into the wheel. `*.python.cdx.json`
lists the packages of an environment that has the wheel with all extras.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path


def crates_of(wheel: Path) -> str:
    """The list of crates, as it is in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if "/sboms/" in name]
        return archive.read(name).decode()


def packages_of(wheel: Path, output: Path) -> None:
    """Write the list of the packages that the wheel needs, at their newest releases."""
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory, symlinks=True)  # without pip, which would be in the list
        python = Path(directory) / "bin/python"
        pip = [sys.executable, "-m", "pip", "--python", str(python)]
        subprocess.run([*pip, "install", "--quiet", f"{wheel}[all]"], check=True)
        listing = [sys.executable, "-m", "cyclonedx_py", "environment", str(python)]
        options = ["--output-reproducible", "--output-format", "JSON", "--output-file"]
        subprocess.run([*listing, *options, str(output)], check=True)


def main() -> None:
    """Write both lists, and say how long they are."""
    wheel, directory = Path(sys.argv[1]), Path(sys.argv[2])
    name = "-".join(wheel.name.split("-")[:2])
    crates, packages = (directory / f"{name}.{kind}.cdx.json" for kind in ("crates", "python"))
    crates.write_text(crates_of(wheel))
    packages_of(wheel, packages)
    for path in (crates, packages):
        components = json.loads(path.read_text())["components"]
        if not components:
            sys.exit(f"error: the list is empty: `{path}`")
        print(f"{path}: {len(components)} components")


if __name__ == "__main__":
    main()
