"""What errors of redis-py come to: one `StoreError`, with what kind of trouble it is."""

from __future__ import annotations

import importlib
import ssl
from typing import TYPE_CHECKING

from . import acl
from .base import FailureKind, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .address import Address

# By the names of redis-py's errors, the first that one of them has among its classes.
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
# What an error that has no class of its own begins with.
_PREFIXES = {
    "OOM": FailureKind.FULL,
    "MISCONF": FailureKind.READ_ONLY,
    "NOREPLICAS": FailureKind.READ_ONLY,
    "NOPERM": FailureKind.AUTHORIZATION,
}
# In the words of Redis 7, where it is no error of its own.
_NOT_IN_SCRIPTS = "The user executing the script can't"
_HINTS = {
    FailureKind.AUTHENTICATION: "see the user and the password in `VERVE_REDIS_URL`",
    FailureKind.TLS: "see `VERVE_REDIS_TLS_CA`, and the name in the server's certificate",
    FailureKind.FULL: (
        "give Redis more memory; with another policy than noeviction ids would be lost"
    ),
}
# Its word on the certificate may get lost with the connection.
_ENDED_UNDER_TLS = (
    "a server that demands a certificate may end connections so: see `VERVE_REDIS_TLS_CERTIFICATE`"
)


def error_named(name: str) -> type[Exception]:
    """A class of redis-py's errors."""
    found: type[Exception] = getattr(importlib.import_module("redis.exceptions"), name)
    return found


def redis_errors() -> tuple[type[Exception], ...]:
    """All that redis-py raises where a server or the way to it is at fault."""
    clustered = error_named("RedisClusterException")
    return error_named("RedisError"), clustered, OSError, TimeoutError


def store_error(error: BaseException, address: Address) -> StoreError:
    """The error in our words, without a secret."""
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
    """What kind of trouble an error of redis-py, or of what is below it, tells of."""
    for one in _causes(error):
        # A connection that TLS has ended is a connection error with that cause.
        if isinstance(one, ssl.SSLError):
            return FailureKind.TLS
    for one in _causes(error):
        if (found := _by_class(one)) is not None:
            return found
        if not isinstance(one, error_named("RedisClusterException")):
            break
        # No node could be used, and why stands in the cause.
    if isinstance(error, error_named("RedisClusterException")):
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
    """Whether the other side took the connection and ended it, as far as one can tell."""
    ended = (ConnectionResetError, BrokenPipeError)
    return all(isinstance(one, ended) for one in _causes(error) if isinstance(one, OSError))


def _by_class(error: BaseException) -> FailureKind | None:
    names = [one.__name__ for one in type(error).__mro__]
    return next((_KINDS[name] for name in names if name in _KINDS), None)
