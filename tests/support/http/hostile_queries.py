"""Hostile input to the accept family, as data: queries and batches, and what each is answered.

For tests that ask the counter itself and for tests that send the same to a running service.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

MAX = 2**63 - 1
MIN = -(2**63)
_DIGITS = "9" * 400


@dataclass(frozen=True, slots=True)
class Query:
    """A query of `GET /api/verve/accept`, without its `?`."""

    text: str
    status: int
    """200, 400, or 503 for an endpoint that is fine as long as there are no callbacks."""
    error: str | None = None
    """The header `verve-error`; None: the header is absent."""
    id: int | None = None
    """The id that is counted; None: nothing is."""
    verdict: bool = False
    """Whether the answer carries `verve-seen` and `verve-window`."""

    @property
    def sendable(self) -> bool:
        """Whether an HTTP request may carry it as it stands; a server may refuse others itself."""
        return all("!" <= char <= "~" and char not in '"#<>' for char in self.text)


@dataclass(frozen=True, slots=True)
class Batch:
    """A body of `POST /api/verve/accept`."""

    content_type: str | None
    body: bytes
    status: int
    error: str | None = None
    """The header `verve-error`."""
    position: int | None = None
    """The header `verve-position`: the index of the bad id."""
    ids: tuple[int, ...] | None = None
    """The ids that are counted; None: none is."""
    encoding: str | None = None
    """The Content-Encoding, if there is one."""

    @property
    def kind(self) -> str | None:
        """What the counter calls the content type; None if it never gets to see the body."""
        return _KINDS.get(self.content_type or "") if self.encoding is None else None


_KINDS = {"application/octet-stream": "binary", "application/json": "json", "text/plain": "text"}

# Strange, but an id all the same.
_COUNTED: dict[int, tuple[str, ...]] = {
    7: (
        *("id=7", "id=07", "id=007", f"id={'0' * 400}7", "id=%37", "id=%30%37", "id=0%37"),
        *("%69d=7", "i%64=7", "%69%64=%37", "&id=7", "id=7&", "&&id=7&&", "=&id=7", "=x&id=7"),
        *("x&id=7", "x=&id=7", "ID=8&id=7", "Id=8&id=7", "id%00=8&id=7", "id%20=8&id=7"),
        *("+id=8&id=7", "id+=8&id=7", "id[]=8&id=7", "id%3D8&id=7", "i%2564=8&id=7", "?id=8&id=7"),
        *("x=%&id=7", "x=%zz&id=7", "%=x&id=7", "%zz&id=7", "%ff=%ff&id=7", "x=%00&id=7"),
        *("x=\0&id=7", "x=\u00e9&id=7", "\u03b9d=8&id=7", "\uff49d=8&id=7", "x=1;id=8&id=7"),
        *("id=7&amp;id=8", "x=id=8&id=7", "x=1%26id=8&id=7", f"x={'a' * 8000}&id=7"),
        *(f"{'x&' * 2000}id=7", "id=7&verdict", "id=7&verdict=", "id=7&verdict=0"),
        *("id=7&verdict=true", "id=7&verdict=01", "id=7&verdict=1%20", "id=7&verdict=%2531"),
        *("id=7&VERDICT=1", "id=7&verdict=1;x", "id=7&endpoint", "id=7&endpoint="),
        *("endpoint=&id=7&endpoint=", "%65ndpoint=&id=7", "id=7&Endpoint=x", "id=7&endpoints=x"),
    ),
    0: ("id=0", "id=-0", "id=-000", f"id={'0' * 8000}", "id=%2D0", "id=%2d%30"),
    -7: ("id=-7", "id=-007", "id=%2D7", "id=%2d%37", f"id=-{'0' * 400}7"),
    MAX: (f"id={MAX}", f"id={'0' * 400}{MAX}", f"x=%&id={MAX}"),
    MIN: (f"id={MIN}", f"id=-{'0' * 400}{-MIN}", f"id=%2D{-MIN}"),
}

_VERDICTS = (
    *("id=7&verdict=1", "verdict=1&id=7", "id=7&verdict=%31", "%76erdict=1&id=7"),
    *("id=7&verdict=1&verdict=1", "id=7&verdict=0&verdict=1", "id=7&verdict=1&verdict=0"),
)

_REFUSED: dict[str, tuple[str, ...]] = {
    "id missing": (
        *("", "&", "&&&&", "=", "=7", "7", "?id=7", "ID=7", "Id=7", "ids=7", "uid=7", "id7"),
        *("id:7", "id%=7", "id%6=7", "id%20=7", "%20id=7", "+id=7", "id+=7", "id%00=7", "%00id=7"),
        *("id.=7", "id[]=7", "id%5B%5D=7", "id%3D7", "i%2564=7", "%2569d=7", "x=1;id=7", ";id=7"),
        *("amp;id=7", "x=id=7", "x=1%26id=7", "%zz=7", "%EF%BB%BFid=7", "id%C2%A0=7", "%C9%AAd=7"),
        *("\u0131d=7", "\uff49\uff44=7", "\u0456d=7", "id\u200b=7", "\ufeffid=7", "id\0=7"),
        *("verdict=1", "endpoint=x", "endpoint=https://x.example/", "x" * 8000, "x=7&" * 2000),
    ),
    "id repeated": (
        *("id=7&id=7", "id=7&id=8", "id=7&id=", "id&id=7", "id=&id=", "id&id", "id=7&%69d=7"),
        *("id=7&x=1&id=7", "id=x&id=7", "id=7&&id=7", "id=7&id=x&endpoint=x"),
        *("&".join(["id=7"] * 999), f"id={_DIGITS}&id=7", "id=7&verdict=1&id=7"),
    ),
    "id invalid": (
        # Nothing, signs and blanks.
        *("id", "id=", "id=&x=1", "id=-", "id=--7", "id=+7", "id=%2B7", "id=+-7", "id=-+7"),
        *("id=7-", "id=7+", "id=-%207", "id=%207", "id=7%20", "id=%097", "id=7%0A", "id=7%0D%0A"),
        *("id=7%0B", "id=7%C2%A0", "id=%E2%80%837", "id= 7", "id=7 ", "id=7\n", "id=\t7"),
        *("id=\u00a07", "id=+"),
        # Other numbers and other words.
        *("id=7.0", "id=7.", "id=.7", "id=1,000", "id=1_000", "id=1'000", "id=7e0", "id=7E3"),
        *("id=0x7", "id=0b1", "id=0o7", "id=7n", "id=7L", "id=x", "id=seven", "id=null", "id=true"),
        *("id=NaN", "id=-inf", "id=%227%22", "id='7'", "id=[7]", "id=%5B7%5D", "id={}", "id=(7)"),
        # Separators that are none, and escapes that are none.
        *("id=7;", "id=7;id=8", "id=7;x=1", "id=7;verdict=1", "id=7=", "id=7=8", "id==7"),
        *("id=%3D7", "id=7%26", "id=7%26x=1", "id=7|8", "id=7/", "id=../7", "id=7%2F", "id=7\\"),
        *(
            "id=7:",
            "id=7?",
            "id=7#",
            "id=7%",
            "id=7%3",
            "id=%",
            "id=%%",
            "id=%3",
            "id=%zz",
            "id=%3g",
        ),
        *("id=%g7", "id=%+7", "id=%-7", "id=%%37", "id=%2537", "id=%252D7", "id=%u0037"),
        *("id=%26%2355%3B", "id=\\u0037"),
        # NUL, other digits and other minuses.
        *("id=7%00", "id=%007", "id=%00", "id=7%008", "id=7\0", "id=\0", "id=%D9%A7"),
        *("id=%EF%BC%97", "id=\u0667", "id=\uff17", "id=\u0967", "id=\U0001d7d5", "id=\u00b2"),
        *("id=\u2460", "id=\u216f", "id=\u4e03", "id=\u22127", "id=%E2%88%927", "id=\u20137"),
        *("id=\uff0d7", "id=\u200b7", "id=7\u200b", "id=\u202e7", "id=\ufeff7"),
        *("id=%EF%BB%BF7", "id=7\u0301"),
        # Overlong, truncated and surrogate UTF-8, and what is no UTF-8 at all.
        *("id=%C0%B7", "id=%E0%80%B7", "id=%F0%80%80%B7", "id=%C0%AD7", "id=%B7", "id=%FF"),
        *("id=7%FF", "id=%D9", "id=7%C3", "id=%ED%A0%80", "id=%F4%90%80%80", "id=%FF%FE7%00"),
        # Long ones, and what is meant for somebody else.
        *(f"id={_DIGITS}x", f"id={'-' * 400}", f"id={'0' * 8000}x", f"id=7{'%20' * 1000}"),
        *(f"id={'%30' * 1000}%78", "id=7%0d%0aset-cookie:%20a=b", "id=7%27%20OR%201=1--"),
        *("id=%3Cscript%3E", "id=$%7Bjndi:ldap://x%7D", "id=x&endpoint=x&id%00=8"),
    ),
    "id out of range": (
        *(f"id={MAX + 1}", f"id={MIN - 1}", f"id={2**64 - 1}", f"id={2**64 + 7}"),
        *(f"id={7 - 2**64}", f"id={2**128 + 7}", f"id={'9' * 20}", f"id={_DIGITS}"),
        *(f"id=-{_DIGITS}", f"id=1{'0' * 400}", f"id={'0' * 400}{MAX + 1}"),
        *(f"id=-{'0' * 400}{1 - MIN}", f"id={'%39' * 20}", f"id={'9' * 8000}"),
        *(f"id={_DIGITS}&verdict=1&endpoint=x", f"x=%&id={_DIGITS}"),
    ),
    "endpoint repeated": (
        "id=7&endpoint=https://x.example/&endpoint=https://x.example/",
        "id=7&endpoint=https://x.example/&%65ndpoint=https://y.example/",
        "endpoint=x&id=7&endpoint=&endpoint=y",
    ),
    "endpoint invalid": (
        *("id=7&endpoint=%", "id=7&endpoint=https://x.example/%", "id=7&endpoint=%00"),
        *("endpoint=+&id=7", "id=7&endpoint=https://x.example/%zz"),
        *("id=7&endpoint=https://x.example/%%41", "id=7&endpoint=https://x.example/%ff"),
        *("id=7&endpoint=https://x.example/%ed%a0%80",),
        *("id=7&endpoint=https%253A%252F%252Fx.example%252F", "id=7&endpoint=+https://x.example/"),
        *("id=7&endpoint=https://x.example;verdict=1", "id=7&endpoint=https://x.example+"),
    ),
}

# From here on endpoints as such; each is sent percent-encoded.
_ENDPOINTS_TAKEN = (
    *("https://x.example/hook", "http://x.example", "HTTPS://X.EXAMPLE:443/"),
    *("http://x.example:8080/?a=b", "http://8.8.8.8/", "http://[2606:4700:4700::1111]:8443/"),
    *("http://x.example/a@b", "http://intranet/", "http://b\u00fccher.example/\u00e4"),
    *("http://x.example?u=http://127.0.0.1/", "http://a_b.example/", "http://127.0.0.1.example/"),
    *("http://localhost.example/", f"http://x.example/{'a' * 2031}", "http://x.example/%2500"),
    *("http://x.example/a+b;c", "http://x.example:/"),
)

_ENDPOINTS_REFUSED: dict[str, tuple[str, ...]] = {
    "endpoint invalid": (
        *("x", "/hook", "//x.example/", "x.example/hook", "ftp://x.example/", "file:///etc/passwd"),
        *("javascript:alert(1)", "gopher://x.example/", "http:x.example", "http:/x.example/"),
        *("http://", "http:///x.example/", "http://?x", "http://:80/", " http://x.example/"),
        *("http://x.example/ ", "http://x.example/a b", "ht\ttp://x.example/"),
        *("http://x.exa\nmple/", "http://x.example/\0", "http://x.example\\@127.0.0.1/"),
        *("http:\\\\x.example/", "http://x.example:65536/", "http://x.example:-1/"),
        *("http://x.example:8o/", "http://x.example:80:80/", "http://[::1", "http://::1/"),
        *("http://[localhost]/", "http://[127.0.0.1]/", "http://[fe80::1%25eth0]/"),
        *("http://[fe80::1%eth0]/", "http://[x.example]/", "http://256.256.256.256/"),
        *("http://1.2.3.4.5/", "http://x.example./", "http://x\u3002example/"),
        *("http://x\uff0eexample/", "http://\uff58.example/", "http://x\u00ad.example/"),
        *("http://x\u200b.example/", "http://ex%61mple.example/", "http://\u2460.example/"),
        *("http://x..example/", f"http://{'a' * 64}.example/", "http://a*b/"),
        *("http://x.example/\r\nx: y", "http://x.example/\u0085", "https://\u202ex.example/"),
    ),
    "endpoint too long": (
        *(f"http://x.example/{'a' * 2032}", f"http://x.example/{'a' * 8000}", "x" * 2049),
        *(f"http://127.0.0.1/{'a' * 2048}", f"http://x.example/{chr(0xE4) * 400}"),
    ),
    "endpoint userinfo": (
        *("http://user@x.example/", "http://u:p@x.example/", "http://@x.example/"),
        *("http://:@x.example/", "http://8.8.8.8@127.0.0.1/"),
        *("http://127.0.0.1@8.8.8.8/", "http://a@b@x.example/"),
    ),
    "endpoint address": (
        *("http://127.0.0.1/", "https://127.0.0.1:8443/", "http://127.255.255.254/"),
        *("http://0.0.0.0/", "http://10.0.0.1/", "http://172.16.0.1/", "http://192.168.0.1/"),
        *("http://100.64.0.1/", "http://169.254.169.254/", "http://192.0.0.1/"),
        *("http://192.0.2.1/", "http://198.18.0.1/", "http://198.51.100.1/", "http://203.0.113.1/"),
        *("http://224.0.0.1/", "http://255.255.255.255/"),
        # Short, hexadecimal, octal, decimal, with a dot behind, escaped, other digits and dots.
        *("http://127.1/", "http://0x7f.1/", "http://0X7F000001/", "http://2130706433/"),
        *("http://0/", "http://017700000001/", "http://127.0.0.1./", "http://%31%32%37.0.0.1/"),
        *("http://127.0.1/", "http://127\u30020\u30020\u30021/"),
        *("http://\uff11\uff12\uff17.0.0.1/", "http://127.0.0.1%2e/"),
        # Public addresses, but not to every parser.
        *("http://010.8.8.8/", "http://134744072/", "http://0x8.8.8.8/", "http://8.8.2056/"),
        # IPv6, and IPv4 inside of it.
        *("http://[::]/", "http://[::1]/", "http://[0:0:0:0:0:0:0:1]/", "http://[fe80::1]/"),
        *("http://[fd00:ec2::254]/", "http://[fec0::1]/", "http://[ff02::1]/"),
        *("http://[2001:db8::1]/", "http://[100::1]/", "http://[5f00::1]/"),
        *("http://[::ffff:127.0.0.1]/", "http://[::FFFF:7F00:1]/", "http://[::ffff:8.8.8.8]/"),
        *("http://[::ffff:0:127.0.0.1]/", "http://[::127.0.0.1]/", "http://[64:ff9b::7f00:1]/"),
        *("http://[64:ff9b:1::7f00:1]/", "http://[2002:7f00:1::]/"),
        *("http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", "http://[2001:2::1]/"),
        # Names of the loopback.
        *("http://localhost/", "http://LOCALHOST:9000/", "http://localhost./"),
        *("http://a.localhost/", "http://\uff4c\uff4fcalhost/", "http://a.localhost./"),
        *("http://ip6-localhost/", "http://localho%73t/"),
    ),
    "endpoint port": (
        *("http://x.example:22/", "https://x.example:25/", "http://x.example:0/"),
        *("http://8.8.8.8:6000/", "http://x.example:6667/"),
        *("http://x.example:00025/", "http://x.example:10080/"),
    ),
}


def _with(endpoint: str) -> str:
    return f"id=7&endpoint={quote(endpoint, safe='')}"


QUERIES = (
    *(Query(text, 200, id=id) for id, texts in _COUNTED.items() for text in texts),
    *(Query(text, 200, id=7, verdict=True) for text in _VERDICTS),
    *(Query(text, 400, error) for error, texts in _REFUSED.items() for text in texts),
    *(Query(_with(text), 503, "callbacks unavailable") for text in _ENDPOINTS_TAKEN),
    *(
        Query(_with(text), 400, error)
        for error, texts in _ENDPOINTS_REFUSED.items()
        for text in texts
    ),
)
"""Queries, and what each is answered."""
