"""Bodies: their lengths, codings, chunks and trailers; and requests one after the other."""

from __future__ import annotations

from tests.support.probes.probe import (
    HIDDEN,
    HOST,
    OWN,
    SMUGGLED,
    SOUND,
    Demand,
    Probe,
    chunk,
    get,
    post,
)
from tests.support.service import ACCEPT

_SERVED, _EITHER, _REFUSED = Demand.SERVED, Demand.EITHER, Demand.REFUSED
_LAST = Demand.REFUSED_LAST
_LENGTH = "9112 6.3: MUST answer 400 to an invalid Content-Length, and close"
_LEADING = "9110 8.6: a length is of digits"
_BOTH = "9112 6.1: MAY be refused; MUST close after the answer"
_CODING = "9112 6.1: SHOULD answer 501 to a coding that is not known"
_FINAL = "9112 6.3: MUST answer 400 if chunked is not the last coding, and close"
_OLD = "9112 6.1: MUST take the framing as faulty, and close"
_CHUNK = "9112 7.1: the size of a chunk is of hexadecimal digits"
_LARGE = "9112 7.1: MUST expect large sizes and not overflow"
_END = "9112 7.1: the data of a chunk ends with CR LF"
_LINE = "9112 2.2: MAY take LF as a line end"
_EXTENSION = "9112 7.1.1: MUST ignore an extension that is not known"
_BODY = f"{OWN}\n"
_SIZE = len(_BODY)
_CHUNKED = f"{chunk(_BODY)}0\r\n\r\n"
_TE = "Transfer-Encoding: chunked"


def _length(value: str) -> str:
    return post(f"Content-Length:{value}", _BODY)


def _coded(value: str, body: str = _CHUNKED) -> str:
    return post(f"Transfer-Encoding:{value}", body)


def _chunks(body: str) -> str:
    return post(_TE, body)


def _sized(size: str) -> str:
    return _chunks(f"{size}\r\n{_BODY}\r\n0\r\n\r\n")


LENGTHS = (
    Probe("a sound body", _SERVED, "9112 6.2: MUST be read", _length(f" {_SIZE}")),
    Probe("zeros before the length", _SERVED, _LEADING, _length(f" 0000{_SIZE}")),
    Probe("tabs around the length", _SERVED, "9112 5: whitespace is no part of it",
          _length(f"\t{_SIZE}\t")),
    Probe("no length", _EITHER, "9112 6.3: a request without one has no body", post("x: y", "")),
    Probe("an empty length", _LAST, _LENGTH, _length("")),
    Probe("a negative length", _LAST, _LENGTH, _length(" -13")),
    Probe("a length with a plus", _LAST, _LENGTH, _length(f" +{_SIZE}")),
    Probe("a length with letters", _LAST, _LENGTH, _length(f" {_SIZE}x")),
    Probe("a hexadecimal length", _LAST, _LENGTH, _length(" 0xd")),
    Probe("a length with a point", _LAST, _LENGTH, _length(f" {_SIZE}.0")),
    Probe("a length with an exponent", _LAST, _LENGTH, _length(" 13e0")),
    Probe("a length with an underscore", _LAST, _LENGTH, _length(" 1_3")),
    Probe("a length with a space inside", _LAST, _LENGTH, _length(" 1 3")),
    Probe("a length with NUL", _LAST, _LENGTH, _length(f" {_SIZE}\0")),
    Probe("a length with a vertical tab", _LAST, _LENGTH, _length(f" \v{_SIZE}")),
    Probe("a length in another script", _LAST, _LENGTH, _length(" \xb9\xb3")),
    Probe("a length in quotes", _LAST, _LENGTH, _length(f' "{_SIZE}"')),
    Probe("a length above 64 bits", _LAST, _LENGTH, _length(f" {2**64 + _SIZE}")),
    Probe("a length of 400 digits", _LAST, _LENGTH, _length(f" {'9' * 400}")),
    Probe("a length of 2^63", _REFUSED, "9110 15.5.14: MAY answer 413", _length(f" {2**63}")),
    Probe("a length above the bound", _REFUSED, "9110 15.5.14: MAY answer 413",
          _length(" 100000000")),
    Probe("two lengths, different", _LAST, _LENGTH,
          post(f"Content-Length: {_SIZE}\r\nContent-Length: 5", _BODY)),
    Probe("two lengths, the first is 0", _LAST, _LENGTH,
          post(f"Content-Length: 0\r\nContent-Length: {len(SMUGGLED)}", SMUGGLED)),
    Probe("two lengths, the second is 0", _LAST, _LENGTH,
          post(f"Content-Length: {len(SMUGGLED)}\r\nContent-Length: 0", SMUGGLED)),
    Probe("two lengths, equal", _EITHER, "9112 6.3: MAY be taken as one",
          post(f"Content-Length: {_SIZE}\r\nContent-Length: {_SIZE}", _BODY)),
    Probe("a list of lengths, different", _LAST, _LENGTH, _length(f" {_SIZE}, 5")),
    Probe("a list of lengths, equal", _EITHER, "9112 6.3: MAY be taken as one",
          _length(f" {_SIZE}, {_SIZE}")),
    Probe("a comma after the length", _LAST, _LENGTH, _length(f" {_SIZE},")),
    Probe("a length of 0 and a request in the body", _EITHER,
          "9112 6.3: what follows is the next request",
          post("Content-Length: 0", "")),
    Probe("a request in the body of GET", _EITHER, "9110 9.3.1: the body MUST be read as one",
          get(f"{HOST}Content-Length: {len(SMUGGLED)}\r\n") + SMUGGLED),
    Probe("a request in the body of GET, in chunks", _EITHER,
          "9110 9.3.1: the body MUST be read as one",
          get(f"{HOST}{_TE}\r\n") + f"{chunk(SMUGGLED)}0\r\n\r\n"),
    Probe("a request in the body of HEAD", _REFUSED, "9110 9.3.2: the body MUST be read as one",
          f"HEAD {ACCEPT} HTTP/1.1\r\n{HOST}Content-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}"),
    Probe("a request in the body for no route", _REFUSED, "9112 9.3: MUST read the body or close",
          f"POST /nowhere HTTP/1.1\r\n{HOST}Content-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}"),
    Probe("a request in a body of no type", _REFUSED, "9112 9.3: MUST read the body or close",
          f"POST {ACCEPT} HTTP/1.1\r\n{HOST}Content-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}"),
    Probe("a request in a body above the bound", _REFUSED, "9112 9.3: MUST read the body or close",
          post("Content-Length: 200000", SMUGGLED * 2_000)[: 200_200], is_last=True),
    Probe("a body that is too short", _REFUSED, "9112 6.3: the message is not complete",
          post("Content-Length: 1000", _BODY), is_last=True),
)  # fmt: skip

CODINGS = (
    Probe("a sound coding", _SERVED, "9112 7.1: MUST be read", _coded(" chunked")),
    Probe("a coding in capitals", _SERVED, "9112 7: names are case-insensitive",
          _coded(" CHUNKED")),
    Probe("no space before the coding", _SERVED, "9112 5: whitespace is optional",
          _coded("chunked")),
    Probe("a tab before the coding", _SERVED, "9112 5: whitespace is no part of it",
          _coded("\tchunked\t")),
    Probe("a length and a coding", Demand.EITHER_LAST, _BOTH,
          post(f"Content-Length: {_SIZE}\r\n{_TE}", _CHUNKED)),
    Probe("a coding and a length", Demand.EITHER_LAST, _BOTH,
          post(f"{_TE}\r\nContent-Length: {_SIZE}", _CHUNKED)),
    Probe("a coding, and a length that reaches beyond", Demand.EITHER_LAST, _BOTH,
          post(f"{_TE}\r\nContent-Length: {len(_CHUNKED) + len(SMUGGLED)}", _CHUNKED + SMUGGLED),
          is_last=True),
    Probe("a length of 5, and a body of one empty chunk with a request", Demand.EITHER_LAST, _BOTH,
          post(f"Content-Length: {5 + len(SMUGGLED)}\r\n{_TE}", f"0\r\n\r\n{SMUGGLED}")),
    Probe("an invalid length and a coding", Demand.EITHER_LAST, _BOTH,
          post(f"Content-Length: x\r\n{_TE}", _CHUNKED)),
    Probe("a coding in HTTP/1.0", Demand.EITHER_LAST, _OLD, post(_TE, _CHUNKED, version="1.0")),
    Probe("a length and a coding in HTTP/1.0, keep-alive", Demand.EITHER_LAST, _OLD,
          post(f"Connection: keep-alive\r\nContent-Length: {_SIZE}\r\n{_TE}", _CHUNKED,
               version="1.0")),
    Probe("identity", _REFUSED, _CODING, _coded(" identity", _BODY)),
    Probe("identity and a length", Demand.EITHER_LAST, _BOTH,
          post(f"Transfer-Encoding: identity\r\nContent-Length: {_SIZE}", _BODY)),
    Probe("chunked, then identity", _LAST, _FINAL, _coded(" chunked, identity")),
    Probe("identity, then chunked", _EITHER, _CODING, _coded(" identity, chunked")),
    Probe("gzip alone", _LAST, _FINAL, _coded(" gzip")),
    Probe("gzip, then chunked", _EITHER, _CODING, _coded(" gzip, chunked")),
    Probe("chunked, then gzip", _LAST, _FINAL, _coded(" chunked, gzip")),
    Probe("chunked twice", _EITHER, "9112 7.1: MUST NOT be sent", _coded(" chunked, chunked")),
    Probe("chunked on two lines", _EITHER, "9112 7.1: MUST NOT be sent",
          post(f"{_TE}\r\n{_TE}", _CHUNKED)),
    Probe("chunked and identity on two lines", _LAST, _FINAL,
          post(f"{_TE}\r\nTransfer-Encoding: identity", _CHUNKED)),
    Probe("an unknown coding", _LAST, _FINAL, _coded(" xchunked")),
    Probe("a coding with letters after", _LAST, _FINAL, _coded(" chunkedx")),
    Probe("a coding with a space inside", _LAST, _FINAL, _coded(" chun ked")),
    Probe("a coding in quotes", _LAST, _FINAL, _coded(' "chunked"')),
    Probe("a coding with a parameter", _REFUSED, "9112 7.1: SHOULD be treated as an error",
          _coded(" chunked;x=y")),
    Probe("a comma before the coding", _EITHER, "9110 5.6.1: empty elements MUST be ignored",
          _coded(" , chunked")),
    Probe("a comma after the coding", _EITHER, "9110 5.6.1: empty elements MUST be ignored",
          _coded(" chunked,")),
    Probe("a vertical tab before the coding", _LAST, _FINAL, _coded(" \vchunked")),
    Probe("NUL after the coding", _LAST, _FINAL, _coded(" chunked\0")),
    Probe("a bare CR after the coding", _EITHER,
          "9112 2.2: MUST refuse a bare CR or take it as a space",
          _coded(" chunked\r")),
    Probe("a byte above 127 in the coding", _LAST, _FINAL, _coded(" chunk\xe9d")),
    Probe("an empty coding and a length", _EITHER, _BOTH,
          post(f"Transfer-Encoding:\r\nContent-Length: {_SIZE}", _BODY)),
    Probe("a coding of another field", _SERVED, "9110 5.1: MUST be ignored",
          post(f"Transfer_Encoding: chunked\r\nContent-Length: {_SIZE}", _BODY)),
)  # fmt: skip

CHUNKS = (
    Probe("two chunks", _SERVED, "9112 7.1: MUST be read",
          _chunks(f"{chunk(OWN)}{chunk(chr(10))}0\r\n\r\n")),
    Probe("a size in capitals", _SERVED, _CHUNK, _sized(f"{_SIZE:X}")),
    Probe("zeros before a size", _SERVED, _CHUNK, _sized(f"000{_SIZE:x}")),
    Probe("three zeros at the end", _SERVED, '9112 7.1: the last chunk is 1*"0"',
          _chunks(f"{chunk(_BODY)}000\r\n\r\n")),
    Probe("a size that is no number", _REFUSED, _CHUNK, _sized("x")),
    Probe("a negative size", _REFUSED, _CHUNK, _sized(f"-{_SIZE:x}")),
    Probe("a size with a plus", _REFUSED, _CHUNK, _sized(f"+{_SIZE:x}")),
    Probe("a size with 0x", _REFUSED, _CHUNK, _sized(f"0x{_SIZE:x}")),
    Probe("a size with an underscore", _REFUSED, _CHUNK, _sized(f"0_{_SIZE:x}")),
    Probe("an empty size", _REFUSED, _CHUNK, _sized("")),
    Probe("a space before a size", _REFUSED, _CHUNK, _sized(f" {_SIZE:x}")),
    Probe("a space after a size", _EITHER, _CHUNK, _sized(f"{_SIZE:x} ")),
    Probe("a tab after a size", _EITHER, _CHUNK, _sized(f"{_SIZE:x}\t")),
    Probe("a size above 64 bits", _REFUSED, _LARGE, _sized(f"1000000000000000{_SIZE:x}")),
    Probe("a size of 400 digits", _REFUSED, _LARGE, _sized("f" * 400)),
    Probe("a size of 2^64 - 1", _REFUSED, _LARGE, _sized("f" * 16)),
    Probe("an extension", _SERVED, _EXTENSION, _sized(f"{_SIZE:x};x=y")),
    Probe("an extension in quotes", _SERVED, _EXTENSION, _sized(f'{_SIZE:x};x="y z"')),
    Probe("an extension without a name", _EITHER, "9112 7.1.1: an extension has a name",
          _sized(f"{_SIZE:x};")),
    Probe("an extension after a space", _EITHER, "9112 7.1.1: MUST be removed",
          _sized(f"{_SIZE:x} ;x=y")),
    Probe("NUL in an extension", _EITHER, _EXTENSION, _sized(f"{_SIZE:x};\0")),
    Probe("LF in an extension", _REFUSED, "9112 7.1.1: LF ends no extension",
          _chunks(f"{_SIZE:x};x\ny\r\n{_BODY}\r\n0\r\n\r\n")),
    Probe("a bare CR in an extension", _EITHER,
          "9112 2.2: MUST refuse a bare CR or take it as a space",
          _sized(f"{_SIZE:x};x\ry")),
    Probe("an extension of 10,000 bytes", _EITHER, "9112 7.1.1: SHOULD bound them",
          _sized(f"{_SIZE:x};{'x' * 10_000}")),
    Probe("an extension of 1,000,000 bytes", _REFUSED, "9112 7.1.1: SHOULD bound them",
          _sized(f"{_SIZE:x};{'x' * 1_000_000}")),
    Probe("10,000 chunks with extensions of 100 bytes", _EITHER, "9112 7.1.1: SHOULD bound them",
          _chunks(f"1;{'x' * 100}\r\n\n\r\n" * 10_000 + _CHUNKED)),
    Probe("LF after a size", _EITHER, _LINE, _chunks(f"{_SIZE:x}\n{_BODY}\r\n0\r\n\r\n")),
    Probe("LF for all line ends of a body", _EITHER, _LINE, _chunks(f"{_SIZE:x}\n{_BODY}\n0\n\n")),
    Probe("CR for all line ends of a body", _REFUSED, _END, _chunks(f"{_SIZE:x}\r{_BODY}\r0\r\r")),
    Probe("LF after the data", _REFUSED, _END, _chunks(f"{_SIZE:x}\r\n{_BODY}\n0\r\n\r\n")),
    Probe("two letters after the data", _REFUSED, _END,
          _chunks(f"{_SIZE:x}\r\n{_BODY}XX0\r\n\r\n")),
    Probe("nothing after the data", _REFUSED, _END, _chunks(f"{_SIZE:x}\r\n{_BODY}0\r\n\r\n")),
    Probe("a size that is too small", _REFUSED, _END,
          _chunks(f"{_SIZE - 3:x}\r\n{_BODY}\r\n0\r\n\r\n")),
    Probe("a size that is too large", _REFUSED, _END,
          _chunks(f"{_SIZE + 3:x}\r\n{_BODY}\r\n0\r\n\r\n")),
    Probe("no last chunk", _REFUSED, "9112 8: the message is not complete", _chunks(chunk(_BODY)),
          is_last=True),
    Probe("no end after the last chunk", _REFUSED, "9112 8: the message is not complete",
          _chunks(f"{chunk(_BODY)}0\r\n"), is_last=True),
    Probe("a request in the place of the end", _EITHER, "9112 7.1: what stands there is a trailer",
          _chunks(f"{chunk(_BODY)}0\r\n{SMUGGLED}")),
    Probe("a body without an end", _REFUSED, "9110 15.5.14: MAY answer 413",
          _chunks(chunk("0" * 10_000) * 100), is_last=True),
    Probe("a body without an end, by 16 bytes each", _REFUSED, "9110 15.5.14: MAY answer 413",
          _chunks(chunk("0" * 16) * 8_000), is_last=True),
    # Trailers.
    Probe("a trailer", _EITHER, "9112 7.1.2: MAY be kept or dropped",
          _chunks(f"{chunk(_BODY)}0\r\nx: y\r\n\r\n")),
    Probe("a length as a trailer", _EITHER, "9110 6.5.1: MUST NOT be merged",
          _chunks(f"{chunk(_BODY)}0\r\nContent-Length: 5\r\n\r\n")),
    Probe("a coding as a trailer", _EITHER, "9110 6.5.1: MUST NOT be merged",
          _chunks(f"{chunk(_BODY)}0\r\n{_TE}\r\n\r\n")),
    Probe("a Host as a trailer", _EITHER, "9110 6.5.1: MUST NOT be merged",
          _chunks(f"{chunk(_BODY)}0\r\nHost: elsewhere.example\r\n\r\n")),
    Probe("a trailer that is none", _REFUSED, "9112 7.1.2: trailers are fields",
          _chunks(f"{chunk(_BODY)}0\r\nbad trailer\r\n\r\n")),
    Probe("100,000 trailers", _REFUSED, "9110 5.4: MAY be refused",
          _chunks(chunk(_BODY) + "0\r\n" + "x: y\r\n" * 100_000 + "\r\n")),
)  # fmt: skip

_PIPE = "9112 9.3.2: MUST answer in the order of the requests"

SEQUENCES = (
    Probe("a sound batch before", _SERVED, _PIPE,
          post(f"Content-Length: {_SIZE}", _BODY) + get(target="/livez")),
    Probe("a page before", _SERVED, _PIPE, get(target="/livez") + SOUND),
    Probe("40 pages before", _SERVED, _PIPE, get(target="/livez") * 40 + SOUND),
    Probe("200 accepts", _SERVED, _PIPE, SOUND * 200),
    Probe("a malformed line after an accept", Demand.SERVED_LAST, "9112 2.2: SHOULD close",
          f"{SOUND}\0\r\n\r\n"),
    Probe("a malformed field after an accept", Demand.SERVED_LAST, "9112 2.2: SHOULD close",
          SOUND + get(f"{HOST}bad name: x\r\n", target="/livez")),
    Probe("a malformed length after an accept", Demand.SERVED_LAST, _LENGTH,
          SOUND + post("Content-Length: x", f"{HIDDEN}\n")),
    Probe("a malformed chunk after an accept", Demand.SERVED_LAST, _CHUNK,
          SOUND + _chunks(f"x\r\n{HIDDEN}\n\r\n")),
    Probe("an accept after one that closes", Demand.SERVED_LAST, "9112 9.6: MUST NOT be read",
          get(f"{HOST}Connection: close\r\n") + SMUGGLED),
    Probe("an accept after a refused id", _EITHER, "9112 9.3.2: an answer of 400 need not close",
          get(target=f"{ACCEPT}?id=x")),
    Probe("an empty line between requests", _SERVED, "9112 2.2: SHOULD ignore one", f"{SOUND}\r\n"),
    Probe("a line end too many after a body", _SERVED, "9112 2.2: SHOULD ignore one",
          post(f"Content-Length: {_SIZE}", f"{_BODY}\r\n")),
)  # fmt: skip
