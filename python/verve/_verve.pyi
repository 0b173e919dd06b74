"""The compiled half of Verve: the counter, and the fast path of the service."""

import array
import os
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, Protocol, TypeAlias, TypedDict, final, type_check_only

ARENAS: Final[int]
"""Number of arenas of a segment."""
REJECTIONS: Final[dict[str, int]]
"""HTTP status by the reason for which an accept or a batch is rejected."""
RING_RECORDS: Final[int]
"""Size of the ring. One fewer is readable: the oldest may be replaced at any moment."""
SHARDS: Final[int]
"""Number of shards of a window's ids."""

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
    """The segment cannot be used. `reason` is a word; `alive`: a process uses it."""

    reason: str
    alive: bool

class CapacityError(VerveError):
    """No room for the id. `reason` is full, space or arena."""

    reason: str
    recorded: int
    windows: list[WindowShare]

class ClosedError(VerveError):
    """The counter was closed."""

@final
class ManualClock:
    """A clock that stands still until it is moved, for tests.

    `wall`: seconds since the epoch. `boot`: seconds since its boot. A segment keeps the difference
    of the two: who attaches by the system's clock later goes on at `wall` only if `boot` was that
    of the machine.
    """

    def __new__(cls, wall: float, boot: float = 1000.0) -> ManualClock: ...
    def boot(self) -> int:
        """Nanoseconds since its boot, as `ReferenceClock.boot` returns them."""

    def advance(self, seconds: float) -> None:
        """Advances the clock by `seconds`."""

    def step(self, seconds: float) -> None:
        """Sets the wall clock forward, or back if negative, by `seconds`."""

@final
class WindowRecord:
    """The record of one window on this host; see the attributes."""

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
    """Figures of a segment over all processes: bytes, seconds, counts since its creation."""

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
    listeners: dict[int, tuple[int, int, int, int]]

@type_check_only
class SegmentIdentity(TypedDict):
    """The header of a segment. Of another format, only `format`, `ours` and `alive` count."""

    format: int
    ours: bool
    window: int
    cluster: str
    state_directory: str
    identity: str
    alive: bool

@type_check_only
class SegmentSize(TypedDict):
    """Bytes of a segment; `fixed` is what is not arenas, `table` a table at a window's begin."""

    file: int
    front: int
    fixed: int
    arena: int
    table: int

_Response: TypeAlias = tuple[int, list[tuple[str, str]], bytes]
_Placed: TypeAlias = tuple[int, int]

class WindowShare(NamedTuple):
    """The ids of a batch that were new in a window."""

    window_start: int
    new: int

class Group(NamedTuple):
    """Ids of a shard of a window, each as the 8 bytes of a little-endian int64."""

    window_start: int
    shard: int
    members: list[bytes]

class IdsPiece(NamedTuple):
    """Some ids of a window, and the position to continue at; None at the end."""

    groups: list[Group]
    following: int | None

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
        seed: int | None = None,
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
    def add(self, id: int, /) -> bool: ...
    def add_in_window(self, id: int, /) -> tuple[bool, int]: ...
    def add_many(self, ids: _Buffer | Iterable[int], /) -> int: ...
    def add_many_by_window(self, ids: _Buffer | Iterable[int], /) -> list[WindowShare]: ...
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
    def now(self) -> float: ...
    def until_boundary(self) -> float: ...
    def stats(self) -> Stats: ...
    @property
    def lease(self) -> Lease: ...
    @property
    def ring(self) -> Ring: ...
    @property
    def maintenance(self) -> Maintenance: ...
    @property
    def http(self) -> Http: ...
    @property
    def worker_figures(self) -> WorkerFigures: ...
    @property
    def drain(self) -> Drain: ...
    @property
    def replication(self) -> Replication: ...
    @property
    def retention(self) -> Retention: ...
    @property
    def reference_clock(self) -> ReferenceClock: ...

# The parts of a counter that the service uses; `rust/python/src` documents their methods.

@final
class Leader:
    """The process that holds the lease; a stopped process is alive."""

    @property
    def term(self) -> int: ...
    @property
    def slot(self) -> int: ...
    @property
    def process(self) -> int: ...
    @property
    def alive(self) -> bool: ...

@final
class Lease:
    """The lease, which makes at most one process of the segment the leader."""

    def acquire(self) -> int | None: ...
    def release(self) -> None: ...
    def holder(self) -> Leader | None: ...
    def is_current(self, term: int) -> bool: ...

@final
class Ring:
    """How far windows are sealed, and how far each sink has taken their records."""

    def newest(self) -> int: ...
    def cursor(self, sink: int) -> int: ...
    def advance_cursor(self, sink: int, window_start: int, term: int) -> bool: ...

@final
class Maintenance:
    """Work that any process, mostly the leader, does for the others."""

    def run(self) -> None: ...
    def populate(self) -> None: ...

@final
class Http:
    """Answers to HTTP requests as (status, headers, body), and the count of rejected ones."""

    def accept(self, query: str, /) -> _Response: ...
    def accept_batch(self, kind: str, body: bytes, /) -> _Response: ...
    def accept_placed(self, query: str, /) -> tuple[_Response, _Placed | None]: ...
    def accept_batch_placed(self, kind: str, body: bytes, /) -> tuple[_Response, list[Group]]: ...
    def reject(self, reason: str) -> None: ...

@final
class Drain:
    """Which start of the service drains; a start is a number other than 0."""

    def announce(self, start: int, /) -> None: ...
    def leave(self) -> None: ...
    def figures(self, start: int, /) -> dict[str, int]: ...
    def newest(self) -> int: ...
    def begin(self, start: int, /) -> bool: ...
    def end(self) -> bool: ...
    def drained(self) -> int: ...

@final
class WorkerFigures:
    """The figures that this worker reports of itself; `Counter.stats` has those of all workers."""

    def add(self, name: str, times: int = 1, /) -> None: ...
    def set(self, name: str, value: int, /) -> None: ...
    def report_listeners(
        self, connections: int, accept_lane: int, hyper_lane: int, other: int, /
    ) -> None: ...

@final
class Replication:
    """New ids of this process for a store, acknowledged ids, and the counts of the cluster."""

    def queue(self, limit: int) -> None: ...
    def take(self, most: int) -> list[Group]: ...
    def queued(self) -> int: ...
    def left_out(self) -> int: ...
    def acknowledge(self, window_start: int, count: int) -> bool: ...
    def acknowledged(self, window_start: int) -> int | None: ...
    def note_cluster_count(self, window_start: int, count: int, *, final: bool = False) -> None: ...
    def cluster_count(self, window_start: int) -> int | None: ...

@final
class Retention:
    """Whether arenas of sealed windows are kept until a store has their ids, and which are."""

    def enable(self) -> None: ...
    def disable(self) -> None: ...
    def settle(self, window_start: int) -> None: ...
    def settled(self) -> int: ...
    def kept(self) -> list[int]: ...
    def read_ids(self, window_start: int, position: int, most: int) -> IdsPiece: ...

@final
class ReferenceClock:
    """A clock that many hosts share, which the segment's clock follows."""

    def follow(self) -> None: ...
    def steer(self, offset: int, /) -> None: ...
    @property
    def was_followed(self) -> bool: ...
    def boot(self) -> int: ...

@final
class FastPath:
    """Takes Granian's watchers: answers accepts itself and hands all other requests to `stock`."""

    def __new__(
        cls,
        counter: Counter,
        callbacks: Callbacks | None,
        stock: Callable[[object], object],
        failed: Callable[[BaseException], object],
    ) -> FastPath: ...
    def schedule(self, watcher: object, /) -> None: ...
    def step_aside(self) -> None: ...

@final
class Exchange:
    """A request that the application answers, once."""

    @property
    def number(self) -> int:
        """The number by which parts of the body name the exchange."""

    @property
    def method(self) -> str:
        """The method as it was sent."""

    @property
    def path(self) -> str:
        """The path as it was sent: encoded, without the query."""

    @property
    def query(self) -> str:
        """The query, encoded; empty if there is none."""

    @property
    def authority(self) -> str | None:
        """The authority of an absolute target; None for other targets."""

    @property
    def peer(self) -> str:
        """The address of the peer, without port."""

    def header(self, name: str, /) -> list[str]:
        """All values in visible ASCII of a header, by its name in lower case."""

    def header_names(self) -> list[str]:
        """The names of all headers, in lower case."""

    def pull(self) -> None:
        """Asks for the next part of the body, which `NativeListener.take` returns."""

    def respond(self, status: int, headers: list[tuple[str, str]], body: bytes, /) -> None:
        """Answers the request; length and date are added. Raises `ValueError` for invalid HTTP."""

    def stream(self, status: int, headers: list[tuple[str, str]], /) -> BodySender:
        """Answers with a body in parts, which ends when what this returns is dropped."""

@final
class BodySender:
    """Sends the parts of a body."""

    def send(self, part: bytes, /) -> bool | None:
        """Whether the part was taken: False while the caller reads too slowly, None at the end."""

class BodyPart(NamedTuple):
    """A pulled part of the body of an exchange.

    `data` is None at the end of the body, and False if the body is broken.
    """

    exchange: int
    data: bytes | bool | None

class ListenerFigures(NamedTuple):
    """Open connections; accepts in the accept lane and under hyper; other requests."""

    connections: int
    accept_lane: int
    hyper_lane: int
    other: int

@final
class NativeListener:
    """Serves a listening socket, which it takes over, from a thread without Python.

    Accepts are answered from the counter, or from `callbacks` if given; all other requests wait in
    `take`. With `accepts=False` the application answers accepts too. `head` is in bytes, times are
    in seconds. Create it in the process that serves, after any fork. Raises `OSError`.
    """

    def __new__(
        cls,
        descriptor: int,
        counter: Counter,
        callbacks: Callbacks | None,
        *,
        accepts: bool,
        connections: int,
        head: int,
        fields: int,
        head_timeout: float,
        idle_timeout: float,
        stall_timeout: float,
    ) -> NativeListener: ...
    @property
    def descriptor(self) -> int:
        """A descriptor that is readable while `take` has something."""

    def take(self) -> list[Exchange | BodyPart]:
        """The events since the last call: requests, and pulled parts of bodies."""

    def retire(self) -> None:
        """Ends each connection with its next answer, while new connections are still taken."""

    def stop(self, patience: float) -> bool:
        """Takes the connections in the queue and no more, answers requests in flight, and ends.

        False if that takes longer than `patience` seconds. Releases the GIL.
        """

    def figures(self) -> ListenerFigures:
        """The figures so far."""

@type_check_only
class CallbackReport(TypedDict):
    """The report of one attempt at a callback."""

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
    """The findings of a callback that was sent by hand."""

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
    """The figures of callbacks over all processes, since the segment was created."""

    pending: int
    ended: dict[str, int]
    failures: dict[str, int]
    retried: int
    taken_over: int

class CallbackReports(NamedTuple):
    """The attempts at callbacks since the last look, and the number of unlogged ones by outcome."""

    reports: list[CallbackReport]
    left_out: dict[str, int]

@final
class Callbacks:
    """Takes and sends the callbacks of a counter from this process."""

    def __new__(cls, counter: Counter, **options: object) -> Callbacks: ...
    def accept(self, query: str, /) -> _Response: ...
    def accept_placed(self, query: str, /) -> tuple[_Response, _Placed | None]: ...
    def drain(self) -> CallbackReports: ...
    def stop(self, patience: float) -> None: ...
    def close(self) -> None: ...

@final
class Keeper:
    """Keeps the segment of `counter` while no process counts in it. Raises `SegmentError`."""

    def __new__(cls, counter: Counter, /) -> Keeper: ...
    def close(self) -> None: ...

def boot_nanoseconds() -> int:
    """Nanoseconds since the boot, suspensions included. A counter adds its offset to them."""

def callback_figures(counter: Counter) -> CallbackFigures:
    """The figures of callbacks since the segment was created, over all processes."""

def check_callback_options(**options: object) -> int:
    """Check options of `diagnose_callback`. Returns the number of trusted authorities."""

def diagnose_callback(url: str, count: int, **options: object) -> CallbackDiagnosis:
    """Send one callback that reports `count`. Raises `SettingError`."""

def shard_of(id: int, /) -> int:
    """The shard of `id`, the same on all hosts. Raises `IdError`."""

def remove_segment(path: str | os.PathLike[str]) -> None:
    """Remove a segment and its files. Raises `SegmentError` while a process uses it."""

def segment_identity(path: str | os.PathLike[str]) -> SegmentIdentity:
    """The identity of the segment at `path`, without attaching. Raises `SegmentError`."""

def segment_size(max_ids: int, ids: int) -> SegmentSize:
    """The bytes of a segment for `max_ids` ids. Raises `SettingError` if there can be none."""

def names_single(query: str, /) -> bool:
    """Whether `query` names `id` or `endpoint`, which only that of a single accept may."""

__all__ = [
    "ARENAS",
    "REJECTIONS",
    "RING_RECORDS",
    "SHARDS",
    "BodyPart",
    "BodySender",
    "CallbackReports",
    "Callbacks",
    "CapacityError",
    "ClosedError",
    "Counter",
    "Drain",
    "Exchange",
    "FastPath",
    "Group",
    "Http",
    "IdError",
    "IdsPiece",
    "Keeper",
    "Leader",
    "Lease",
    "ListenerFigures",
    "Maintenance",
    "ManualClock",
    "NativeListener",
    "ReferenceClock",
    "Replication",
    "Retention",
    "Ring",
    "SegmentError",
    "SettingError",
    "VerveError",
    "WindowRecord",
    "WindowShare",
    "WorkerFigures",
    "boot_nanoseconds",
    "callback_figures",
    "check_callback_options",
    "diagnose_callback",
    "names_single",
    "remove_segment",
    "segment_identity",
    "segment_size",
    "shard_of",
]
