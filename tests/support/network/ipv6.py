"""A network of its own that has no IPv4: only `::1`, a private and a public address of IPv6.

without_ipv4(tmp_path, scenario)

`scenario` runs in a thread of its own, which enters the network; so do the processes and threads
that it starts. Nothing else is listening there, so its ports are those that it likes.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PRIVATE = "fd00::1"
PUBLIC = "2600::1"
"""An address as the internet has them, which is this machine here."""
NAME = "receiver.internal"
"""A name of `PRIVATE`."""
_NEW_MOUNTS, _NEW_NETWORK = 0x00020000, 0x40000000


def without_ipv4(directory: Path, scenario: Callable[[], None]) -> None:
    """Run the scenario; a machine that cannot make such a network skips the test."""
    if os.geteuid() != 0 or not shutil.which("ip", path=f"{os.environ['PATH']}:/usr/sbin:/sbin"):
        pytest.skip("a network of one's own takes root, and `ip`")
    raised: list[BaseException] = []

    def run() -> None:
        try:
            _enter(directory)
            scenario()
        except BaseException as error:  # noqa: BLE001 - raised again by the thread of the test
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def _enter(directory: Path) -> None:
    """Move this thread, and no other, into a new network."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NETWORK | _NEW_MOUNTS) != 0:
        pytest.skip(f"no network of one's own: {os.strerror(ctypes.get_errno())}")
    # A host without IPv4 still lists the IPv4 address of the loopback in this file.
    hosts = directory / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n::1 localhost\n{PRIVATE} {NAME}\n", encoding="utf-8")
    for command in (
        "mount --make-rprivate /",
        f"mount --bind {hosts} /etc/hosts",
        "ip link set lo up",
        "ip -4 address flush dev lo",
        f"ip -6 address add {PRIVATE}/128 dev lo nodad",
        f"ip -6 address add {PUBLIC}/128 dev lo nodad",
    ):
        subprocess.run(command.split(), check=True, capture_output=True)
    left = subprocess.run(["ip", "-4", "address"], check=True, capture_output=True)
    assert left.stdout == b""
