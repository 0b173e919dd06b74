"""Certificates for tests, created with the `openssl` of the machine."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SETTINGS = """
[ca]
default_ca = here
[here]
database = {directory}/{name}.index
new_certs_dir = {directory}
rand_serial = yes
default_md = sha256
policy = any
x509_extensions = leaf
[any]
commonName = supplied
[leaf]
basicConstraints = critical,CA:FALSE
subjectAltName = {subject}
"""
EXPIRED = ("20200101000000Z", "20210101000000Z")
"""The validity of a certificate that has expired."""
FUTURE = ("20900101000000Z", "20910101000000Z")
"""The validity of a certificate that is not valid yet."""


def certificate(
    directory: Path,
    name: str,
    *,
    subject: str = "IP:127.0.0.1",
    validity: tuple[str, str] | None = None,
) -> Path:
    """Create a self-signed certificate for `subject`; the file contains its key as well."""
    path = directory / f"{name}.pem"
    key = directory / f"{name}.key"
    form = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        f"/CN={name}",
    ]
    if validity is None:
        names = [f"subjectAltName={subject}", "basicConstraints=critical,CA:FALSE"]
        named = [part for one in names for part in ("-addext", one)]
        _openssl("req", "-x509", "-days", "2", *form, *named, "-keyout", key, "-out", path)
    else:
        request, settings = directory / f"{name}.csr", directory / f"{name}.conf"
        settings.write_text(_SETTINGS.format(directory=directory, name=name, subject=subject))
        (directory / f"{name}.index").touch()
        _openssl("req", *form, "-keyout", key, "-out", request)
        begin, end = validity
        dates = ["-startdate", begin, "-enddate", end]
        signing: list[str | Path] = ["-config", settings, "-keyfile", key, "-in", request]
        _openssl("ca", "-selfsign", "-batch", "-notext", *signing, *dates, "-out", path)
    path.write_text(path.read_text() + key.read_text())
    return path


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
