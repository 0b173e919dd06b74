"""Makes the page of the comparison from the raw results: `python -m bench.accuracy.page`."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.accuracy import results
from bench.accuracy.cases import AWAY_SECONDS, CASES, LOST_SHARE, REPEATED
from bench.accuracy.contenders import CONTENDERS
from bench.harness.build import BENCH
from bench.report.page import ACCURACY, markdown
from bench.report.result import NOISE, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.accuracy.cases import Case
    from bench.accuracy.contenders import Contender

RESULTS = BENCH / "results" / "accuracy"
REASONS: Mapping[str, Mapping[str, str]] = tomllib.loads(
    Path(__file__).with_name("reasons.toml").read_text()
)
_FEW = 0.005
"""Below this share, refused requests are not named in the first table."""

OPENING = """\
The same ids go to Verve and to what is used in its place. This is how many distinct ids the count
of the minute is off: the median of the rounds, and the worst if it differs. Nothing on this page is
written by hand:"""

METHOD = f"""\
All services get the same ids by the same requests at the same time, at a constant rate: half of the
requests send one of {REPEATED} ids over and over, the others new ones, and two senders send the
same new ones. The sender knows when each request was sent and answered. An id that was answered
`ok` within one minute must be counted in that minute. A request that was in progress at the end of
a minute may be counted on either side; a request that was refused or not answered may be counted or
not. So there is a least and a greatest right count, and **an error is what lies outside**: fewer
ids are negative, more are positive. The tables show the median of the rounds, and the worst.
Percentages are of the distinct ids that were answered `ok`.

A minute is shortened to 5 s, where a restart or an outage has to fit into it to 15 s, for all
services alike. Services with a store run as two instances behind one sender, since that is what a
store is for; the others as one.

* **Gin** runs in [release mode](https://gin-gonic.com/en/docs/deployment/). Its windows follow the
  clock, and a lock keeps requests out while they turn, so its counts are better than those of a
  service that counts and then clears. When it is stopped, it logs what it has counted, and all that
  its instances log of a minute is added up.
* **`SETNX`** is `SET NX EX`, one key per id; an instance counts the ids that are new to Redis.
  go-redis repeats a command whose reply is lost, as it does by default; its
  [pool](https://pkg.go.dev/github.com/redis/go-redis/v9#Options) has a connection per caller.
* **`SADD`** is one set per minute, with `EXPIRE` in the same round trip. The count is read a second
  after the end of the minute.
* **statsd** counts the ids of a
  [set](https://github.com/statsd/statsd/blob/v0.9.0/docs/metric_types.md) between two flushes
  (`flushInterval`), and sends the count to its default backend, Graphite. By UDP each id is a
  datagram; by TCP a line of one connection per instance. Its minutes begin when it starts, and are
  no minutes of the clock: here it is started at the beginning of one. It answers nothing, so the
  sender's `ok` means that the id was sent.
* **Verve** is `verve serve --listener native` with a worker per core, as by default.

In a **restart**, what counts is stopped by SIGTERM and started again: the instances one after the
other, and statsd. Redis is left alone: with its append-only file it would have the ids again.
`kill -9` is the same without a warning. With **lost replies**, a proxy passes
all commands on, and drops each reply and its connection with a probability of {LOST_SHARE:.0%};
what statsd has instead is that a datagram is lost. A **store that is away** refuses connections for
{AWAY_SECONDS:.0f} s and then goes on with its data; datagrams are lost.

For the **speed**, one instance and its store share a core, and the generator has the other: 64
connections, distinct ids. CPU time is that of the instance and the store.
"""


def render(folder: Path, page: Path) -> None:
    """Write the page of the results in a folder."""
    cases, speed = (results.read(folder, name) for name in (results.CASES, results.SPEED))
    raw = os.path.relpath(folder, page.parent)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text_of(cases, speed, raw))


def text_of(cases: Mapping[str, Any], speed: Mapping[str, Any], raw: str) -> str:
    """Return the page, with a link to the raw files."""
    machine = cases.get("machine") or speed.get("machine") or {}
    rows = [["", ""], *([name, str(value)] for name, value in machine.items())]
    rows += [
        [f"{name} measured", f"{str(one['ended'])[:16]} UTC"]
        for name, one in (("counts", cases), ("speeds", speed))
        if "ended" in one
    ]
    counts, speeds = _rounds(cases["samples"]), _rounds(speed["samples"])
    parts = [
        "# How far counts are off\n",
        f"{OPENING} `make accuracy` makes this page from the [raw files]({raw}).\n",
        f"Rounds: {counts} of each case, {speeds} of each speed.\n",
        _overview(cases["samples"], speed["samples"]),
        f"## Method\n\n{METHOD}",
        *(_case(case, cases["samples"]) for case in CASES),
        _speed(speed["samples"]),
        f"## Machine\n\n{markdown(rows, right=False)}",
    ]
    return "\n".join(part for part in parts if part)


def _rounds(samples: results.Samples) -> str:
    """Return how many rounds were measured, as a range if it differs."""
    numbers = [len(rounds) for rounds in samples.values()] or [0]
    return _range(min(numbers), max(numbers))


def _good(samples: results.Samples, case: Case, contender: Contender) -> list[dict[str, Any]]:
    found = samples.get(f"{case.name}/{contender.name}", [])
    return [sample for sample in found if "problem" not in sample]


def _overview(samples: results.Samples, speed: results.Samples) -> str:
    head = ["", *(case.title for case in CASES), "requests/s", "CPU us per id"]
    rows = [head]
    for contender in CONTENDERS:
        speeds = [one for one in speed.get(contender.name, []) if not one.get("problem")]
        rows.append(
            [
                contender.title,
                *(_cell(case, contender, _good(samples, case, contender)) for case in CASES),
                *(
                    number(median(one[figure] for one in speeds)) if speeds else ""
                    for figure in ("rate", "cpu_us")
                ),
            ]
        )
    return markdown(rows)


def _cell(case: Case, contender: Contender, rounds: Sequence[Mapping[str, Any]]) -> str:
    if not case.applies_to(contender):
        return "does not apply"
    if not rounds:
        return "not measured"
    middle, worst = _middle(rounds), _worst(rounds)
    text = _signed(middle["error"], middle["share"])
    if worst["error"] != middle["error"]:
        text += f", worst {worst['error']:+,}"
    refused = middle["refused"] / middle["requests"]
    if case.needs_store and refused > _FEW:
        text += f"; refuses {refused:.0%}"
    return text


def _failures(contender: Contender, rounds: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line per problem."""
    found = [one["problem"] for one in rounds if "problem" in one]
    found += [problem for one in rounds for problem in one.get("problems", [])]
    return [f"* **FAILED: {contender.title}: {problem}**\n" for problem in found]


def _middle(rounds: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return sorted(rounds, key=lambda one: one["error"])[len(rounds) // 2]


def _worst(rounds: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return max(rounds, key=lambda one: abs(one["error"]))


def _range(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _signed(error: int, share: float) -> str:
    return f"{error:+,} ({share:+.1%})" if error else "0"


def _case(case: Case, samples: results.Samples) -> str:
    lost = ["lost"] if case.needs_replies else []
    head = ["", "ids", "not answered `ok`", *lost, "right count", "count", "error", "worst"]
    rows, why = [head], []
    for contender in CONTENDERS:
        rounds = _good(samples, case, contender)
        if not case.applies_to(contender) or not rounds:
            continue
        middle, worst = _middle(rounds), _worst(rounds)
        bounds = [_range(*bounds) for bounds in middle["bounds"].values() if bounds[1]]
        rows.append(
            [
                contender.title,
                f"{middle['acknowledged']:,}",
                f"{middle['refused']:,} of {middle['requests']:,}",
                *([f"{middle['lost_messages']:,}"] if lost else []),
                " and ".join(bounds),
                " and ".join(f"{count:,}" for _, count in sorted(middle["published"].items())),
                _signed(middle["error"], middle["share"]),
                _signed(worst["error"], worst["share"]),
            ]
        )
        reason = REASONS.get(contender.name, {}).get(case.name)
        if reason and (worst["error"] or (case.needs_store and middle["refused"])):
            why.append(f"* {contender.title}: {reason}\n")
    failed = [
        line
        for contender in CONTENDERS
        for line in _failures(contender, samples.get(f"{case.name}/{contender.name}", []))
    ]
    if len(rows) == 1 and not failed:
        return ""
    told = "\n" + "".join([*failed, *why]) if failed or why else ""
    about = f"{case.seconds:.0f} s with {case.rate} requests/s, windows of {case.window} s."
    title = case.title[0].upper() + case.title[1:]
    return f"## {title}\n\n{about}\n\n{markdown(rows)}{told}"


def _speed(samples: results.Samples) -> str:
    rows = [["", "requests/s", "from, to", "CPU us per id", "error of the count"]]
    notes = []
    for contender in CONTENDERS:
        rounds = samples.get(contender.name, [])
        notes += _failures(contender, rounds)
        rounds = [one for one in rounds if "problem" not in one]
        if not rounds:
            continue
        rates = [one["rate"] for one in rounds]
        worst = max(rounds, key=lambda one: abs(one["error"]))
        rows.append(
            [
                contender.title,
                number(median(rates)),
                f"{number(min(rates))}, {number(max(rates))}",
                number(median(one["cpu_us"] for one in rounds)),
                _signed(worst["error"], worst["share"]),
            ]
        )
        reason = REASONS.get(contender.name, {}).get("speed")
        if reason and worst["error"]:
            notes.append(f"* {contender.title}: {reason}\n")
        if any(one["disturbed"] > NOISE for one in rounds):
            notes.append(f"* {contender.title}: other programs used the cores meanwhile.\n")
    if len(rows) == 1 and not notes:
        return ""
    told = "\n" + "".join(notes) if notes else ""
    return f"## Speed\n\n{markdown(rows)}{told}"


if __name__ == "__main__":
    render(RESULTS, ACCURACY)
