"""Archives for tests: a folder, and a bucket of a real server that speaks S3."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from tests.support.network.ports import free_port
from verve.archive.format.head import Head
from verve.archive.format.id_file_writer import write
from verve.archive.format.layout import FileName
from verve.archive.format.levels import Level, hour_of
from verve.archive.format.manifest import Manifest, State, WindowEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from verve.archive.store import ArchiveStore

BUCKET = "verve"
SECRETS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test-secret",
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
}


@contextmanager
def s3(log: Path) -> Iterator[dict[str, str]]:
    """Run a server that speaks S3, with an empty bucket; the environment of its clients."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        try:
            deadline = time.monotonic() + 60
            while True:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                with suppress(httpx.TransportError):
                    httpx.put(f"{url}/{BUCKET}", timeout=5).raise_for_status()
                    break
                time.sleep(0.05)
            yield {**SECRETS, "AWS_ENDPOINT_URL": url}
        finally:
            process.terminate()
            process.wait(30)


def put_window(  # noqa: PLR0913 - what a host knows of a window
    store: ArchiveStore,
    scratch: Path,
    start: int,
    ids: Iterable[int],
    *,
    host: str = "one",
    segment: str = "",
    length: int = 60,
    cluster: str = "",
    hosts: tuple[str, ...] | None = None,
    cluster_count: int | None = None,
    final: bool = True,
) -> FileName:
    """Archive a window as its host does: the file, then the manifest."""
    segment = segment or f"{host}0"
    file = FileName(start, length, segment, Level.MINUTE, cluster)
    sorted_ids = np.unique(np.fromiter(ids, dtype=np.int64))
    path = scratch / f"{segment}.parquet"
    contents = write(path, Head(file=file, host=host), sorted_ids)
    store.put(file.name, path)
    path.unlink()
    put_entry(
        store,
        WindowEntry(
            start=start,
            length=length,
            state=State.ARCHIVED if contents.rows else State.EMPTY,
            rows=contents.rows,
            digest=contents.digest,
            file=file.name.rpartition("/")[2],
            hosts=hosts,
            cluster_count=cluster_count,
            final=final,
        ),
        host=host,
        segment=segment,
        cluster=cluster,
    )
    return file


def put_entry(
    store: ArchiveStore, entry: WindowEntry, *, host: str, segment: str = "", cluster: str = ""
) -> None:
    """Note a window in the manifest of its host and hour."""
    segment = segment or f"{host}0"
    empty = Manifest(cluster=cluster, host=host, segment=segment, hour=hour_of(entry.start))
    folder = empty.name.rpartition("/")[0] + "/"
    if any(one.name == empty.name for one in store.list(folder)):
        empty = Manifest.from_json(store.get(empty.name), empty.name)
    store.put(empty.name, empty.with_window(entry).to_json())


def ask(  # noqa: PLR0913 - a query and its process
    archive: str | Path,
    state_dir: Path,
    since: int,
    until: int,
    *,
    seconds: int = 60,
    command: tuple[str, ...] = (sys.executable, "-P", "-m", "verve.archive.query"),
) -> dict[str, Any]:
    """What the process of a query answers."""
    query = {
        "archive": str(archive),
        "cluster": "",
        "state_dir": str(state_dir),
        "memory": 2**20,
        "seconds": seconds,
        "since": since,
        "until": until,
        "by": None,
    }
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        # It ends when its input does.
        process.stdin.write(json.dumps(query).encode() + b"\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.read())
    return answer
