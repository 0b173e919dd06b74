"""Certificates for tests, by the `openssl` of the machine."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def certificate(directory: Path, name: str) -> Path:
    """A certificate for 127.0.0.1 that signs itself, in a file with its key."""
    path = directory / f"{name}.pem"
    key = directory / f"{name}.key"
    form = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["subjectAltName=IP:127.0.0.1", "basicConstraints=critical,CA:FALSE"]
    named = ["-subj", f"/CN={name}", *(part for one in names for part in ("-addext", one))]
    command: list[str | Path] = ["openssl", "req", *form, *named, "-keyout", key, "-out", path]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + key.read_text())
    return path
