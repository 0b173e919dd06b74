"""A service whose archive is a bucket of a real server that speaks S3."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import obstore
import pyarrow.parquet as pq
import pytest
from obstore.store import from_url

from tests.faults.archive.test_archive_faults import archive_in
from tests.support.archive.places import BUCKET, s3
from tests.support.service import ACCEPT, Server
from tests.support.witnesses import moment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve


@pytest.mark.timeout(300)
def test_windows_go_to_a_bucket(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"s3://{BUCKET}/ids"
    with s3(tmp_path / "s3.log") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        bucket = from_url(place, client_options={"allow_http": True})

        def archived() -> dict[int, set[int]]:
            names = [one["path"] for page in obstore.list(bucket) for one in page]
            found = {}
            for name in names:
                if name.endswith(".json"):
                    manifest = json.loads(bytes(obstore.get(bucket, name).bytes()))
                    for entry in manifest["windows"]:
                        if entry["file"]:
                            path = f"{name.rpartition('/')[0]}/{entry['file']}"
                            body = io.BytesIO(bytes(obstore.get(bucket, path).bytes()))
                            ids = pq.read_table(body)["id"].to_pylist()
                            found[moment(entry["start"])] = set(ids)
            return found

        service = serve(
            Server.VERVE,
            workers=2,
            window=1,
            environment=archive_in(tmp_path) | environment | {"VERVE_ARCHIVE": place},
        )
        placed: dict[int, set[int]] = {}
        for number in range(100):
            answer = service.get(f"{ACCEPT}?id={number}&verdict=1")
            placed.setdefault(int(answer.headers["verve-window"]), set()).add(number)
        service.wait_until(lambda: max(placed) in archived(), 90, "in the bucket")
        found = archived()
        assert {start: found[start] for start in placed} == placed
        assert not service.events("archive.delayed")
        assert not list(tmp_path.rglob("*.parquet"))
