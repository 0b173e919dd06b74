"""One round: components started, load and faults for a while, calm, and the judgement."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.paths import ROOT
from tests.torture import witnesses
from tests.torture.faults.host_faults import FOLLOWED_STEP, LONGEST_STEP
from tests.torture.faults.injector import Injector
from tests.torture.faults.probes import serves
from tests.torture.faults.rig import Plan, Rig
from tests.torture.load.config import Config
from tests.torture.reference.judge import (
    Verdict,
    judge_callbacks,
    judge_counts,
    judge_order,
    judge_shown,
)
from tests.torture.reference.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator

WARM_SECONDS = 2.0
CALLBACK_SECONDS = 75.0
"""A callback is attempted for about a minute."""
MOST_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Amount:
    """How much load, and how many seconds of it. Rates are those of all connections."""

    seconds: float
    singles: int = 18
    batches: int = 4
    batch_size: int = 4_000
    singles_rate: int = 0
    batch_rate: int = 20


@dataclass(slots=True)
class Outcome:
    """What a round found."""

    plan: Plan
    verdict: Verdict
    injector: Injector
    report: dict[str, Any]
    problems: list[str]
    kept: Path | None = None
    """The directory of a round with problems."""


def play(plan: Plan, amount: Amount) -> Outcome:
    """Play a round. The directory of one with problems is kept."""
    directory = Path(tempfile.mkdtemp(prefix="verve-torture-"))
    with Rig(plan, directory) as rig:
        outcome = _tortured(rig, amount)
        if outcome.problems:
            injected = [str(one) for one in outcome.injector.injected]
            (directory / "faults").write_text("\n".join(injected))
            outcome.kept = directory
            _keep_disks(rig)
    if not outcome.problems:
        shutil.rmtree(directory, ignore_errors=True)
    return outcome


def _keep_disks(rig: Rig) -> None:
    """Copy what is on disks that end with this program."""
    for host in rig.hosts:
        if host.state is not None:
            kept = rig.directory / f"{host.name}-state"
            with contextlib.suppress(OSError, shutil.Error):
                shutil.copytree(host.service.state_directory, kept)


def _tortured(rig: Rig, amount: Amount) -> Outcome:
    injector = Injector(rig)
    with _sending(rig, amount) as (sender, out):
        time.sleep(WARM_SECONDS)
        injector.start()
        try:
            _wait(sender, amount.seconds)
        finally:
            injector.stop()
        for host in rig.hosts:
            host.service.wait_until(functools.partial(serves, host), 120, "serving at the end")
        time.sleep(2 * rig.plan.window)
        sender.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            sender.wait(CALLBACK_SECONDS)
        sender.send_signal(signal.SIGTERM)
        sender.wait(30)
        report = json.loads(out.read_text())
    return _judged(rig, injector, report)


def _wait(sender: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        code = sender.wait(seconds)
    except subprocess.TimeoutExpired:
        return
    raise AssertionError(f"the sender ended with {code}")


@contextlib.contextmanager
def _sending(rig: Rig, amount: Amount) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    out = rig.directory / "sent.json"
    # The windows of a cluster go by the time of Redis. Those of a host alone follow its wall clock
    # forward, and back only by a small step.
    follows = rig.redis is None and rig.hosts[0].clock is not None
    file = rig.directory / "sender.json"
    Config(
        seed=rig.plan.seed,
        window=rig.plan.window,
        hosts=rig.ports,
        proxy=rig.proxy.port,
        receiver=rig.receiver_port,
        singles=amount.singles,
        batches=amount.batches,
        batch_size=amount.batch_size,
        singles_rate=amount.singles_rate,
        batch_rate=amount.batch_rate,
        ahead=LONGEST_STEP * follows,
        behind=FOLLOWED_STEP * follows,
        out=str(out),
    ).save(file)
    with (rig.directory / "sender.log").open("wb") as log:
        sender = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.load", file], cwd=ROOT, stdout=log, stderr=log
        )
    try:
        yield sender, out
    finally:
        if sender.poll() is None:
            sender.kill()
            sender.wait()


def _judged(rig: Rig, injector: Injector, report: dict[str, Any]) -> Outcome:
    reference = Reference.loaded(report["reference"])
    named = reference.windows() or [0]
    first, last = named[0], named[-1]
    final, problems = witnesses.settled(rig, reference, last)
    verdict = judge_counts(final, reference, last)
    problems += verdict.problems
    for host in rig.hosts:
        problems += judge_order(host.name, witnesses.in_log(host, first, last), final)
    if rig.reader is not None:
        problems += judge_order("Kafka", witnesses.in_kafka(rig, final), final)
    problems += judge_shown(report["shown"], final)
    problems += judge_callbacks(report, final)
    problems += report["wrong"]
    problems += injector.problems
    return Outcome(rig.plan, verdict, injector, report, problems)
