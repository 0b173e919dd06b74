"""Hostile batches, as data: bodies of `POST /api/verve/accept`, and what each is answered."""

from __future__ import annotations

from tests.support.http.hostile_queries import MAX, MIN, Batch

_BINARY = "application/octet-stream"
_JSON = "application/json"
_TEXT = "text/plain"


def _little(*ids: int) -> bytes:
    return b"".join(id.to_bytes(8, "little", signed=True) for id in ids)


# Strange, but batches all the same.
_COUNTED: tuple[tuple[str, bytes, tuple[int, ...]], ...] = (
    (_BINARY, b"", ()),
    (_BINARY, _little(0, -1, MIN, MAX), (0, -1, MIN, MAX)),
    (_BINARY, b"[1,2,3]\n", (int.from_bytes(b"[1,2,3]\n", "little"),)),
    (_BINARY, _little(*[7] * 1000), (7,) * 1000),
    (_JSON, b"[]", ()),
    (_JSON, b" \t\r\n[ \t\r\n] \t\r\n", ()),
    (_JSON, b"[7]", (7,)),
    (_JSON, b"[-0, 0]", (0, 0)),
    (_JSON, b"\n[ 7 ,\r-8\t, 9 ]\n", (7, -8, 9)),
    (_JSON, f"[{MIN},{MAX}]".encode(), (MIN, MAX)),
    (_JSON, b"[7" + b" " * 9000 + b"]", (7,)),
    # To JSON Schema each of these is an integer. None is read as a float.
    (_JSON, b"[7.0, -8.00, 0.0, -0.0]", (7, -8, 0, 0)),
    (_JSON, b"[7e0, 1E+2, 150e-1, 0.07e2, 0e" + b"9" * 9000 + b"]", (7, 100, 15, 7, 0)),
    (_JSON, b"[9007199254740993.0, 9.007199254740993e15]", (9007199254740993,) * 2),
    (_JSON, f"[{MIN}.0,{MAX}.000]".encode(), (MIN, MAX)),
    (_JSON, b"[7." + b"0" * 9000 + b"]", (7,)),
    (_TEXT, b"", ()),
    (_TEXT, b"7", (7,)),
    (_TEXT, b"7\n", (7,)),
    (_TEXT, b"7\r\n8\n-9", (7, 8, -9)),
    (_TEXT, b"007\n-0\n" + b"0" * 9000 + b"7\n", (7, 0, 7)),
    (_TEXT, f"{MIN}\n{MAX}\r\n".encode(), (MIN, MAX)),
)

_INVALID = "id invalid"
_RANGE = "id out of range"
_BODY = "body invalid"

_REFUSED: tuple[tuple[str, bytes, str, int], ...] = (
    # Binary: a length that is no multiple of eight.
    (_BINARY, b"7", _BODY, 0),
    (_BINARY, b"\0" * 7, _BODY, 0),
    (_BINARY, b"\0" * 9, _BODY, 1),
    (_BINARY, _little(7, 8) + b"\xff" * 7, _BODY, 2),
    (_BINARY, b"7\n8\n9\n", _BODY, 0),
    # JSON: no array, or no more than an array.
    (_JSON, b"", _BODY, 0),
    (_JSON, b" \n", _BODY, 0),
    (_JSON, b"7", _BODY, 0),
    (_JSON, b"7\n8\n", _BODY, 0),
    (_JSON, b"null", _BODY, 0),
    (_JSON, b'"[7]"', _BODY, 0),
    (_JSON, b'{"ids": [7]}', _BODY, 0),
    (_JSON, b"]", _BODY, 0),
    (_JSON, b"\xef\xbb\xbf[7]", _BODY, 0),
    (_JSON, "[7]".encode("utf-16-le"), _INVALID, 0),
    (_JSON, "[7]".encode("utf-16"), _BODY, 0),
    (_JSON, b"[] []", _BODY, 0),
    (_JSON, b"[7]]", _BODY, 1),
    (_JSON, b"[7] 8", _BODY, 1),
    (_JSON, b"[7]\0", _BODY, 1),
    (_JSON, b"[7, 8", _BODY, 2),
    (_JSON, b"[7 8]", _BODY, 1),
    (_JSON, b"[7, 8} ]", _INVALID, 1),
    (_JSON, b"/**/[7]", _BODY, 0),
    # JSON: items that are no integers, or not JSON's.
    (_JSON, b"[", _INVALID, 0),
    (_JSON, b"[" * 9000, _INVALID, 0),
    (_JSON, b"[[7]]", _INVALID, 0),
    (_JSON, b"[7, [8]]", _INVALID, 1),
    (_JSON, b"[7, {}]", _INVALID, 1),
    (_JSON, b"[,]", _INVALID, 0),
    (_JSON, b"[, 7]", _INVALID, 0),
    (_JSON, b"[7, ]", _INVALID, 1),
    (_JSON, b"[7,, 8]", _INVALID, 1),
    (_JSON, b"[7,", _INVALID, 1),
    (_JSON, b"[7; 8]", _INVALID, 0),
    (_JSON, b"[07]", _INVALID, 0),
    (_JSON, b"[7, -01]", _INVALID, 1),
    (_JSON, b"[00]", _INVALID, 0),
    (_JSON, b"[+7]", _INVALID, 0),
    (_JSON, b"[-]", _INVALID, 0),
    (_JSON, b"[- 7]", _INVALID, 0),
    (_JSON, b"[--7]", _INVALID, 0),
    (_JSON, b"[7.5]", _INVALID, 0),
    (_JSON, b"[7, 8.]", _INVALID, 1),
    (_JSON, b"[.0]", _INVALID, 0),
    (_JSON, b"[1e-3]", _INVALID, 0),
    (_JSON, b"[7, 1E+]", _INVALID, 1),
    (_JSON, b"[7, 1e-" + b"9" * 9000 + b"]", _INVALID, 1),
    (_JSON, b"[07.0]", _INVALID, 0),
    (_JSON, b"[0x7]", _INVALID, 0),
    (_JSON, b"[1_000]", _INVALID, 0),
    (_JSON, b'["7"]', _INVALID, 0),
    (_JSON, b'[7, "8, 9"]', _INVALID, 1),
    (_JSON, b"[7, null]", _INVALID, 1),
    (_JSON, b"[true]", _INVALID, 0),
    (_JSON, b"[NaN]", _INVALID, 0),
    (_JSON, b"[-Infinity]", _INVALID, 0),
    (_JSON, b"[7, \x0c8]", _INVALID, 1),
    (_JSON, b"[7, \xc2\xa08]", _INVALID, 1),
    (_JSON, b"[7\0]", _INVALID, 0),
    (_JSON, b"[\xff]", _INVALID, 0),
    (_JSON, b"[7, \xd9\xa7]", _INVALID, 1),
    (_JSON, b"[7, 8 // x\n]", _BODY, 2),
    (_JSON, f"[7, {MAX + 1}]".encode(), _RANGE, 1),
    (_JSON, f"[{MIN - 1}]".encode(), _RANGE, 0),
    (_JSON, b"[7, 8, " + b"9" * 400 + b"]", _RANGE, 2),
    (_JSON, b"[7, -" + b"9" * 9000 + b", x]", _RANGE, 1),
    (_JSON, f"[{MAX + 1}.0]".encode(), _RANGE, 0),
    (_JSON, b"[7, 1e19]", _RANGE, 1),
    (_JSON, b"[7, 1e" + b"9" * 9000 + b"]", _RANGE, 1),
    # Text: lines that are no ids.
    (_TEXT, b"\n", _INVALID, 0),
    (_TEXT, b"\r\n", _INVALID, 0),
    (_TEXT, b"7\n\n", _INVALID, 1),
    (_TEXT, b"7\n\n8\n", _INVALID, 1),
    (_TEXT, b"7\r8", _INVALID, 0),
    (_TEXT, b"7\n8\r", _INVALID, 1),
    (_TEXT, b"7\r\r\n", _INVALID, 0),
    (_TEXT, b" 7", _INVALID, 0),
    (_TEXT, b"7 \n8", _INVALID, 0),
    (_TEXT, b"7\n\t8", _INVALID, 1),
    (_TEXT, b"7,8", _INVALID, 0),
    (_TEXT, b"7 8", _INVALID, 0),
    (_TEXT, b"[7]", _INVALID, 0),
    (_TEXT, b"+7", _INVALID, 0),
    (_TEXT, b"7\n-\n8", _INVALID, 1),
    (_TEXT, b"7.0", _INVALID, 0),
    (_TEXT, b"7\n8e3", _INVALID, 1),
    (_TEXT, b"7\n%38", _INVALID, 1),
    (_TEXT, b"id=7", _INVALID, 0),
    (_TEXT, b"7\0\n", _INVALID, 0),
    (_TEXT, b"7\n\0", _INVALID, 1),
    (_TEXT, b"\xef\xbb\xbf7", _INVALID, 0),
    (_TEXT, b"7\n\xd9\xa7", _INVALID, 1),
    (_TEXT, b"7\n\xff\n", _INVALID, 1),
    (_TEXT, b"7\xe2\x80\xa88", _INVALID, 0),
    (_TEXT, b"7\x0b8", _INVALID, 0),
    (_TEXT, "7\n".encode("utf-16-le"), _INVALID, 0),
    (_TEXT, b"7\n" * 1000 + b"x\n" + b"y\n" * 1000, _INVALID, 1000),
    (_TEXT, f"7\n{MAX + 1}\nx".encode(), _RANGE, 1),
    (_TEXT, f"{MIN - 1}".encode(), _RANGE, 0),
    (_TEXT, b"7\n" + b"9" * 9000, _RANGE, 1),
)

BATCHES = (
    *(Batch(kind, body, 200, ids=ids) for kind, body, ids in _COUNTED),
    *(Batch(kind, body, 400, error, position) for kind, body, error, position in _REFUSED),
    *(
        Batch(kind, b"7", 415, "body type")
        for kind in (None, "", "text", "text/html", "application/xml", "application/jsonx")
    ),
    *(
        Batch("text/plain", b"7", 415, "body encoding", encoding=encoding)
        for encoding in ("gzip", "deflate, br", "x")
    ),
)
"""Batches, and what each is answered."""
