"""The compiled half of Verve: the counter, and the fast path of the service."""

import array
import os
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeAlias, TypedDict, final, type_check_only

SHARDS: Final[int]
"""Sets of a store over which the ids of a window are spread."""

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
    def boot(self) -> int:
        """Nanoseconds since its boot, as `Counter.boot` gives them."""

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
    workers: dict[str, int]

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
_Placed: TypeAlias = tuple[int, int]
_Members: TypeAlias = list[bytes]
_WindowGroup: TypeAlias = tuple[int, int, _Members]

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
        clock_offset: int | None = None,
    ) -> Counter: ...
    @property
    def path(self) -> str | None: ...
    @property
    def window(self) -> int: ...
    @property
    def max_ids(self) -> int: ...
    @property
    def is_closed(self) -> bool: ...
    def in_place(self) -> bool: ...
    def keep(self) -> Keeper: ...
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
    def add_to_worker_figure(self, name: str, times: int = 1, /) -> None: ...
    def set_worker_figure(self, name: str, value: int, /) -> None: ...
    def stats(self) -> Stats: ...
    def accept(self, query: str, /) -> _Response: ...
    def accept_batch(self, kind: str, body: bytes, /) -> _Response: ...
    def accept_placed(self, query: str, /) -> tuple[_Response, _Placed | None]:
        """As `accept`, with the start of the window and the id, unless it was refused."""

    def accept_batch_placed(
        self, kind: str, body: bytes, /
    ) -> tuple[_Response, list[_WindowGroup]]:
        """As `accept_batch`, with the ids that were recorded, duplicates too, as by `take_new`."""

    def send_new(self, limit: int) -> None:
        """Keep ids that this process finds new for `take_new`, `limit` at the most; 0: no more."""

    def take_new(self, most: int) -> list[_WindowGroup]:
        """The ids that waited longest: (start of the window, shard, ids as 8 bytes each)."""

    def waiting_new(self) -> int:
        """Ids that wait to be taken."""

    def left_out_new(self) -> int:
        """Ids that were left out, since more than the limit would have waited."""

    def acknowledge(self, window_start: int, count: int) -> bool:
        """Count ids that a store has acknowledged; False when the window's arena is gone."""

    def acknowledged(self, window_start: int) -> int | None:
        """Ids that a store has acknowledged, over all processes; None when the arena is gone."""

    def retain(self, on: bool, /) -> None:
        """Keep arenas of sealed windows until `settle`, for all processes, or do so no more."""

    def settle(self, window_start: int) -> None:
        """Let go of the arenas of the published windows up to that one."""

    def settled(self) -> int:
        """Start of the window up to which all are settled; 0 while arenas are not kept."""

    def kept(self) -> list[int]:
        """Starts of the published, unsettled windows whose arenas are there, oldest first."""

    def read_ids(
        self, window_start: int, position: int, most: int
    ) -> tuple[list[tuple[int, _Members]], int | None]:
        """About `most` ids as (shard, ids as 8 bytes each), and where to go on. `SettingError`."""

    def follow_reference(self) -> None:
        """From now on `tend` in this process leaves the clock to `steer`."""

    def steer(self, offset: int, /) -> None:
        """Follow a reference that is `offset` nanoseconds ahead of `boot`, by the clock's rules."""

    @property
    def has_reference(self) -> bool:
        """Whether the clock has ever followed a reference, or was made with one."""

    def boot(self) -> int:
        """Nanoseconds since the boot, by the counter's clock."""

    def note_cluster_count(self, window_start: int, count: int, *, final: bool = False) -> None:
        """Note what the cluster counted in a window; it rises until a final count comes."""

    def cluster_count(self, window_start: int) -> int | None:
        """What the cluster counted in a window, if it was noted."""

@final
class FastPath:
    """Takes Granian's watchers: answers accepts itself and hands all else to `stock`."""

    def __new__(
        cls,
        counter: Counter,
        callbacks: Callbacks | None,
        stock: Callable[[object], object],
        failed: Callable[[BaseException], object],
    ) -> FastPath: ...
    def schedule(self, watcher: object, /) -> None: ...
    def step_aside(self) -> None: ...

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
class CallbackDiagnosis(TypedDict):
    """What was found when a callback was sent by hand."""

    endpoint: str | None
    refusal: str | None
    resolver_error: str | None
    addresses: list[tuple[str, bool]]
    authorities: int
    status: int | None
    failure: str | None
    proxy_status: int | None
    seconds: float

@type_check_only
class CallbackFigures(TypedDict):
    """What is counted of callbacks over all processes, since the segment was made."""

    pending: int
    ended: dict[str, int]
    failures: dict[str, int]
    retried: int
    taken_over: int

@final
class Callbacks:
    """Takes and sends the callbacks of a counter from this process."""

    def __new__(cls, counter: Counter, **options: object) -> Callbacks: ...
    def accept(self, query: str, /) -> _Response: ...
    def accept_placed(self, query: str, /) -> tuple[_Response, _Placed | None]: ...
    def drain(self) -> tuple[list[CallbackReport], dict[str, int]]: ...
    def stop(self, patience: float) -> None: ...
    def close(self) -> None: ...

@final
class Keeper:
    """Keeps a segment that no process counts in; see `Counter.keep`."""

    def close(self) -> None: ...

def boot_nanoseconds() -> int:
    """Nanoseconds since the boot, suspensions included: what a counter adds its offset to."""

def callback_figures(counter: Counter) -> CallbackFigures:
    """What is counted of callbacks since the segment was made, over all processes."""

def check_callback_options(**options: object) -> int:
    """Read options as `diagnose_callback` takes them: the number of trusted authorities."""

def diagnose_callback(url: str, count: int, **options: object) -> CallbackDiagnosis:
    """Send one callback that reports `count`. Raises `SettingError`."""

def shard_of(id: int, /) -> int:
    """The shard of `id`, the same on all hosts. Raises `IdError`."""

def remove_segment(path: str | os.PathLike[str]) -> None:
    """Remove a segment and what lies beside it. Raises `SegmentError` while one lives in it."""

def segment_identity(path: str | os.PathLike[str]) -> SegmentIdentity:
    """What the segment at `path` is, without attaching. Raises `SegmentError`."""

def names_single(query: str, /) -> bool:
    """Whether `query` names `id` or `endpoint`, as only that of a single accept may."""

__all__ = [
    "SHARDS",
    "Callbacks",
    "CapacityError",
    "ClosedError",
    "Counter",
    "FastPath",
    "IdError",
    "Keeper",
    "ManualClock",
    "SegmentError",
    "SettingError",
    "VerveError",
    "WindowRecord",
    "boot_nanoseconds",
    "callback_figures",
    "check_callback_options",
    "diagnose_callback",
    "names_single",
    "remove_segment",
    "segment_identity",
    "shard_of",
]
