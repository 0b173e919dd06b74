"""Maps the errors of redis-py to `StoreError`, with the kind of the failure."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from . import acl
from .base import FailureKind, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .address import Address

# By the names of redis-py's classes; the first of an error's classes that is here counts.
_KINDS = {
    "AuthenticationError": FailureKind.AUTHENTICATION,
    "AuthenticationWrongNumberOfArgsError": FailureKind.AUTHENTICATION,
    "AuthorizationError": FailureKind.AUTHORIZATION,
    "NoPermissionError": FailureKind.AUTHORIZATION,
    "OutOfMemoryError": FailureKind.FULL,
    "ReadOnlyError": FailureKind.READ_ONLY,
    "BusyLoadingError": FailureKind.LOADING,
    "TimeoutError": FailureKind.TIMEOUT,
    "ConnectionError": FailureKind.UNREACHABLE,
    "ClusterDownError": FailureKind.UNREACHABLE,
    "OSError": FailureKind.UNREACHABLE,
}
# By the first word of errors without a class of their own.
_PREFIXES = {
    "OOM": FailureKind.FULL,
    "MISCONF": FailureKind.READ_ONLY,
    "NOREPLICAS": FailureKind.READ_ONLY,
    "NOPERM": FailureKind.AUTHORIZATION,
}
# The words of Redis 7, which has no error of its own for it.
_NOT_IN_SCRIPTS = "The user executing the script can't"
_HINTS = {
    FailureKind.AUTHENTICATION: "see the user and the password in `VERVE_REDIS_URL`",
    FailureKind.TLS: "see `VERVE_REDIS_TLS_CA`, and the name in the server's certificate",
    FailureKind.FULL: (
        "give Redis more memory; with another policy than noeviction ids would be lost"
    ),
}
# The server's error about the certificate may be lost with the connection.
_ENDED_UNDER_TLS = (
    "a server that demands a certificate may end connections so: see `VERVE_REDIS_TLS_CERTIFICATE`"
)


def redis_errors() -> tuple[type[Exception], ...]:
    """All errors of redis-py for a fault of a server or of the connection to it."""
    from redis.exceptions import RedisClusterException, RedisError  # noqa: PLC0415

    return RedisError, RedisClusterException, OSError, TimeoutError


def store_error(error: BaseException, address: Address) -> StoreError:
    """The error with a hint, without secrets."""
    kind = failure_kind(error)
    words = address.masked(f"{type(error).__name__}: {error}".rstrip(": "))
    if isinstance(error, TimeoutError) and not str(error):
        words = "no answer in time"
    text = f"Redis: {words}: `{address.shown}`"
    hint = _HINTS.get(kind)
    if kind is FailureKind.AUTHORIZATION:
        hint = f"give the user these rights by `ACL SETUSER`: `{acl.rules(address)}`"
    if kind is FailureKind.UNREACHABLE and address.tls and _was_ended(error):
        hint = _ENDED_UNDER_TLS
    if "WRONGTYPE" in str(error):
        hint = "another program wrote one of the keys `verve:*`: remove it"
    if hint:
        text += f"; hint: {hint}"
    return StoreError(text, kind)


def failure_kind(error: BaseException) -> FailureKind:
    """The kind of failure of an error of redis-py, or of the layers below it."""
    from redis.exceptions import RedisClusterException  # noqa: PLC0415

    for one in _causes(error):
        # If TLS ends a connection, that is the cause of a connection error.
        if isinstance(one, ssl.SSLError):
            return FailureKind.TLS
    for one in _causes(error):
        if (found := _by_class(one)) is not None:
            return found
        if not isinstance(one, RedisClusterException):
            break
        # No node could be used; the cause has the reason.
    if isinstance(error, RedisClusterException):
        return FailureKind.UNREACHABLE
    if _NOT_IN_SCRIPTS in str(error):
        return FailureKind.AUTHORIZATION
    return _PREFIXES.get(str(error).split(" ", 1)[0], FailureKind.OTHER)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _was_ended(error: BaseException) -> bool:
    """Whether the other side accepted the connection and ended it, as far as is known."""
    ended = (ConnectionResetError, BrokenPipeError)
    return all(isinstance(one, ended) for one in _causes(error) if isinstance(one, OSError))


def _by_class(error: BaseException) -> FailureKind | None:
    names = [one.__name__ for one in type(error).__mro__]
    return next((_KINDS[name] for name in names if name in _KINDS), None)
