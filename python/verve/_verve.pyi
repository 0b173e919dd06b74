"""The compiled half of Verve: the counter, and the fast path of the service."""

import array
import os
from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias, TypedDict, final, type_check_only

class _Buffer(Protocol):
    def __buffer__(self, flags: int, /) -> memoryview: ...

class VerveError(Exception):
    """Base of all errors of Verve."""

class IdError(VerveError, ValueError):
    """An id is no integer of 64 bits. `position` is its index in a batch, or None."""

    position: int | None

class SettingError(VerveError, ValueError):
    """An argument or a setting is out of its range."""

class SegmentError(VerveError):
    """The segment cannot be used. `reason` says why in a word; `alive`: a process lives in it."""

    reason: str
    alive: bool

class CapacityError(VerveError):
    """No room for the id. `reason` is full, space or arena."""

    reason: str
    recorded: int
    windows: list[tuple[int, int]]

class ClosedError(VerveError):
    """The counter was closed."""

@final
class ManualClock:
    """A clock that stands still until it is moved, for tests. `wall`: seconds since the epoch."""

    def __new__(cls, wall: float) -> ManualClock: ...
    def advance(self, seconds: float) -> None:
        """Lets `seconds` go by."""

    def step(self, seconds: float) -> None:
        """Sets the wall clock forward, or back if negative, by `seconds`."""

@final
class WindowRecord:
    """What is known of one window on this host; see the attributes."""

    @property
    def window_start(self) -> int: ...
    @property
    def window_seconds(self) -> int: ...
    @property
    def unique(self) -> int: ...
    @property
    def requests(self) -> int: ...
    @property
    def duplicates(self) -> int: ...
    @property
    def late(self) -> int: ...
    @property
    def rejected(self) -> int: ...
    @property
    def gap(self) -> bool: ...
    @property
    def sealed_at(self) -> float: ...

@type_check_only
class Stats(TypedDict):
    """Figures of a segment over all processes; bytes, seconds, counts since it was made."""

    requests_total: int
    new_total: int
    late_total: int
    batches_total: int
    rejected: dict[str, int]
    arenas: dict[str, int]
    arena_bytes: int
    window_slots: int
    processes: list[int]
    leader_term: int
    clock_offset_seconds: float
    skew_seconds: float
    clock_distrusted: int
    max_ids: int
    identity: str

@type_check_only
class SegmentIdentity(TypedDict):
    """What the header of a segment says; of another format only `format`, `ours`, `alive` count."""

    format: int
    ours: bool
    window: int
    cluster: str
    state_directory: str
    identity: str
    alive: bool

_Response: TypeAlias = tuple[int, list[tuple[str, str]], bytes]

@final
class Counter:
    """Counts distinct 64-bit ids per window, exactly, for many threads and processes at once."""

    def __new__(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        window: int | None = 60,
        max_ids: int | None = None,
        cluster: str = "",
        state_directory: str = "",
        clock: ManualClock | None = None,
    ) -> Counter: ...
    @property
    def path(self) -> str | None: ...
    @property
    def window(self) -> int: ...
    @property
    def max_ids(self) -> int: ...
    @property
    def is_closed(self) -> bool: ...
    def add(self, id: int, /) -> bool: ...
    def add_in_window(self, id: int, /) -> tuple[bool, int]: ...
    def add_many(self, ids: _Buffer | Iterable[int], /) -> int: ...
    def add_many_by_window(self, ids: _Buffer | Iterable[int], /) -> list[tuple[int, int]]: ...
    def count(self) -> int: ...
    def current(self) -> WindowRecord: ...
    def ids(self, window_start: int | None = None) -> array.array[int]: ...
    def hold(self) -> int: ...
    def release(self, window_start: int) -> None: ...
    def seal(self) -> WindowRecord: ...
    def closed(self, limit: int | None = None) -> list[WindowRecord]: ...
    def close(self) -> None: ...
    def __enter__(self) -> Counter: ...
    def __exit__(self, *_exception: object) -> None: ...
    def lead(self) -> int | None: ...
    def resign(self) -> None: ...
    def leader(self) -> tuple[int, int, int, bool] | None: ...
    def is_term(self, term: int) -> bool: ...
    def tend(self) -> None: ...
    def populate(self) -> None: ...
    def now(self) -> float: ...
    def until_boundary(self) -> float: ...
    def published(self) -> int: ...
    def cursor(self, sink: int) -> int: ...
    def advance_cursor(self, sink: int, window_start: int, term: int) -> bool: ...
    def reject(self, reason: str) -> None: ...
    def stats(self) -> Stats: ...
    def accept(self, query: str, /) -> _Response: ...
    def accept_batch(self, kind: str, body: bytes, /) -> _Response: ...

@final
class FastPath:
    """Takes Granian's watchers: answers accepts itself and hands all else to `stock`."""

    def __new__(
        cls, counter: Counter, callbacks: Callbacks | None, stock: Callable[[object], object]
    ) -> FastPath: ...
    def schedule(self, watcher: object, /) -> None: ...

@type_check_only
class CallbackReport(TypedDict):
    """What came of one attempt at a callback."""

    endpoint: str
    outcome: str
    status: int | None
    reason: str
    attempt: int
    seconds: float
    window_start: int
    unique: int | None
    id: str
    logged: bool
    failed: bool

@type_check_only
class CallbackProbe(TypedDict):
    """What was found when a callback was sent by hand."""

    endpoint: str | None
    refusal: str | None
    resolver_error: str | None
    addresses: list[tuple[str, bool]]
    status: int | None
    failure: str | None
    seconds: float

@type_check_only
class CallbackFigures(TypedDict):
    """What is counted of callbacks over all processes, since the segment was made."""

    pending: int
    ended: dict[str, int]
    retried: int
    taken_over: int

@final
class Callbacks:
    """Takes and sends the callbacks of a counter from this process."""

    def __new__(cls, counter: Counter, **options: object) -> Callbacks: ...
    def accept(self, query: str, /) -> _Response: ...
    def drain(self) -> tuple[list[CallbackReport], dict[str, int]]: ...
    def stop(self, patience: float) -> None: ...
    def close(self) -> None: ...

def callback_figures(counter: Counter) -> CallbackFigures:
    """What is counted of callbacks since the segment was made, over all processes."""

def check_callback_options(**options: object) -> None:
    """Read options as `probe_callback` takes them. Raises `SettingError`."""

def probe_callback(url: str, count: int, **options: object) -> CallbackProbe:
    """Send one callback that reports `count`. Raises `SettingError`."""

def segment_identity(path: str | os.PathLike[str]) -> SegmentIdentity:
    """What the segment at `path` is, without attaching. Raises `SegmentError`."""

def names_single(query: str, /) -> bool:
    """Whether `query` names `id` or `endpoint`, as only that of a single accept may."""

__all__ = [
    "Callbacks",
    "CapacityError",
    "ClosedError",
    "Counter",
    "FastPath",
    "IdError",
    "ManualClock",
    "SegmentError",
    "SettingError",
    "VerveError",
    "WindowRecord",
    "callback_figures",
    "check_callback_options",
    "names_single",
    "probe_callback",
    "segment_identity",
]
