"""The states in which a loss of power may leave files, by the method of ALICE.

Pillai and others describe it in "All File Systems Are Not Created Equal" (OSDI 2014). A call is
durable once its file was synchronised after it; what changes names, once the directory was.
All other calls before the crash may have reached the disk or not, in any order. Of them all, these
states are made: all calls; the last one torn; none that is not durable; all but one; one alone; and
some by chance.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.support.crashes.record import Call

_SECTOR = 512
_NAMES = {"create", "rename", "unlink", "mkdir"}


@dataclass(frozen=True, slots=True)
class State:
    """Files by name (None: a directory), what was promised before the crash, and what was done."""

    files: Mapping[str, bytes | None]
    promised: tuple[str, ...]
    what: str

    def write(self, directory: Path) -> None:
        """Write the files into `directory`, which is empty."""
        for name, content in sorted(self.files.items()):
            path = directory / name
            if content is None:
                path.mkdir(mode=0o700)
            else:
                path.write_bytes(content)
                path.chmod(0o600)


@dataclass(frozen=True, slots=True)
class _Step:
    """A call with the file that it changes, whatever that is called later."""

    call: Call
    file: int


def states(
    calls: Sequence[Call], chance: random.Random, subsets: int, share: float = 1
) -> Iterator[State]:
    """Give a random `share` of the states, each once per promise; `subsets` per crash."""
    steps = _resolved(calls)
    seen: set[tuple[bytes, int]] = set()
    promised: list[str] = []
    for end, step in enumerate(steps):
        if step.call.kind == "mark":
            promised.append(step.call.data.decode())
            if end + 1 < len(steps) and steps[end + 1].call.kind == "mark":
                continue
        done = steps[: end + 1]
        for what, kept, torn in _crashes(done, chance, subsets):
            if chance.random() >= share:
                continue
            files = _applied(done, kept, torn)
            digest = hashlib.blake2b()
            for name in sorted(files):
                content = files[name]
                digest.update(f"{name} {-1 if content is None else len(content)} ".encode())
                digest.update(content or b"")
            if (digest.digest(), len(promised)) not in seen:
                seen.add((digest.digest(), len(promised)))
                yield State(files, tuple(promised), f"call {end}: {what}")


def _resolved(calls: Sequence[Call]) -> list[_Step]:
    names: dict[str, int] = {}
    steps = []
    for number, call in enumerate(calls):
        if call.kind in {"create", "mkdir"}:
            names[call.name] = number
        steps.append(_Step(call, names.get(call.name, -1)))
        if call.kind == "rename":
            names[call.data.decode()] = names.pop(call.name)
        elif call.kind == "unlink":
            names.pop(call.name)
    return steps


def _crashes(
    done: Sequence[_Step], chance: random.Random, subsets: int
) -> Iterator[tuple[str, Collection[int], int | None]]:
    """What is said of the crash, the steps that reached the disk, the bytes kept of the last."""
    everything = set(range(len(done)))
    yield "all", everything, None
    last = done[-1].call
    if last.kind == "write" and len(last.data) > 1:
        for kept in {1, _SECTOR, len(last.data) // 2 // _SECTOR * _SECTOR, len(last.data) - 1}:
            if 0 < kept < len(last.data):
                yield f"{kept} bytes of the last", everything, kept
    pending = _pending(done)
    durable = everything - set(pending)
    yield "only what is durable", durable, None
    if len(pending) > 1:
        for one in pending:
            yield f"all but call {one}", everything - {one}, None
            yield f"only call {one}", durable | {one}, None
        for _ in range(subsets):
            some = {one for one in pending if chance.random() < 0.5}
            yield f"calls {sorted(some)}", durable | some, None


def _pending(done: Sequence[_Step]) -> list[int]:
    """The steps that nothing has made durable."""
    found = []
    files: set[int] = set()
    directories: set[str] = set()
    for number, step in reversed(list(enumerate(done))):
        call = step.call
        if call.kind == "sync":
            files.add(step.file)
        elif call.kind == "sync-names":
            directories.add(call.name)
        elif call.kind in _NAMES:
            if str(PurePosixPath(call.name).parent) not in directories:
                found.append(number)
        elif call.kind != "mark" and step.file not in files:
            found.append(number)
    return found[::-1]


def _applied(
    done: Sequence[_Step], kept: Collection[int], torn: int | None
) -> dict[str, bytes | None]:
    contents: dict[int, bytearray] = {}
    names: dict[str, int | None] = {}
    for number, step in enumerate(done):
        call = step.call
        if number not in kept:
            continue
        data = call.data[:torn] if torn is not None and number == len(done) - 1 else call.data
        match call.kind:
            case "create":
                names[call.name] = step.file
            case "mkdir":
                names[call.name] = None
            case "rename":
                names.pop(call.name, None)
                names[call.data.decode()] = step.file
            case "unlink":
                names.pop(call.name, None)
            case "write" | "truncate":
                content = contents.setdefault(step.file, bytearray())
                if call.kind == "truncate":
                    del content[call.number :]
                content.extend(bytes(max(0, call.number - len(content))))
                content[call.number : call.number + len(data)] = data
            case _:
                pass
    return _reachable(names, contents)


def _reachable(
    names: Mapping[str, int | None], contents: Mapping[int, bytearray]
) -> dict[str, bytes | None]:
    """The files whose directories are there."""
    found: dict[str, bytes | None] = {}
    for name, file in names.items():
        above = [str(one) for one in PurePosixPath(name).parents if str(one) != "."]
        if any(names.get(one, 0) is not None for one in above):
            continue
        found[name] = None if file is None else bytes(contents.get(file, b""))
    return found
