"""A real Prometheus that scrapes a service, and promtool.

with Prometheus(tmp_path / "prometheus", f"127.0.0.1:{service.port}") as prometheus:
    prometheus.value("verve_ids_total")
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest

from tests.support.network.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

MISSING = "prometheus is missing; hint: on Debian and Ubuntu: sudo apt-get install prometheus"
START_SECONDS = 60.0
"""Time limit of a start, on a machine that has much else to do."""


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`; without them the test is skipped, in CI it fails."""
    found = shutil.which(name)
    if found is not None:
        return found
    if os.environ.get("CI"):
        pytest.fail(MISSING)
    pytest.skip(MISSING)


class Prometheus:
    """One Prometheus on a free port of the loopback, for as long as the block lasts."""

    def __init__(
        self, directory: Path, *targets: str, token: str | None = None, rules: str | None = None
    ) -> None:
        """`targets` are the addresses to scrape, each second; `token` is their bearer token.

        `rules` is the text of a file of rules, which are evaluated each second.
        """
        self._port = free_port()
        self._directory = directory
        self._targets = targets
        self._token = token
        self._rules = rules

    def __enter__(self) -> Self:
        binary = program("prometheus")
        self._directory.mkdir(parents=True)
        job: dict[str, Any] = {
            "job_name": "verve",
            "static_configs": [{"targets": self._targets}],
        }
        if self._token is not None:
            job["authorization"] = {"credentials": self._token}
        timing = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        configuration = self._directory / "prometheus.yml"
        files = []
        if self._rules is not None:
            (self._directory / "rules.yaml").write_text(self._rules, encoding="utf-8")
            files = ["rules.yaml"]
        # JSON is YAML.
        text = json.dumps({"global": timing, "rule_files": files, "scrape_configs": [job]})
        configuration.write_text(text, encoding="utf-8")
        with (self._directory / "output.log").open("wb") as output:
            self._process = subprocess.Popen(
                [
                    binary,
                    f"--config.file={configuration}",
                    f"--storage.tsdb.path={self._directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        atexit.register(self._process.kill)
        end = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > end:
                said = (self._directory / "output.log").read_text(errors="replace")
                raise AssertionError(f"prometheus does not start: {said[-2_000:]}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        finally:
            self._process.kill()
            atexit.unregister(self._process.kill)

    def value(self, query: str) -> float | None:
        """The present value of a query that gives one series; None if it gives another number."""
        found = self._ask("query", query=query)["result"]
        return float(found[0]["value"][1]) if len(found) == 1 else None

    def series(self, query: str) -> list[tuple[dict[str, str], float]]:
        """The labels and the present value of each series of a query. Raises if it is invalid."""
        found = self._ask("query", query=query)["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that fire, with their labels and annotations."""
        return [one for one in self._ask("alerts")["alerts"] if one["state"] == "firing"]

    def target(self) -> tuple[str, str]:
        """The health of the target, and the error of its last scrape."""
        (one,) = self._ask("targets")["activeTargets"]
        return one["health"], one["lastError"]

    def metadata(self) -> dict[str, tuple[str, str, str]]:
        """Type, unit and help of each metric, as it was scraped last."""
        found = self._ask("metadata")
        return {name: (one["type"], one["unit"], one["help"]) for name, (one,) in found.items()}

    def _ask(self, what: str, **parameters: str) -> Any:  # noqa: ANN401 - its JSON
        url = f"http://127.0.0.1:{self._port}/api/v1/{what}"
        answer = httpx.get(url, params=parameters, trust_env=False, timeout=30)
        answer.raise_for_status()
        return answer.json()["data"]

    def _is_ready(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self._port}/-/ready"
            return httpx.get(url, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False
