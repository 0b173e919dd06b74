"""Of a reply its status counts: what curl and Go's client both take is taken."""

from __future__ import annotations

import re

import pytest

from tests.support.callbacks.replies import NOT_BY_CURL, NOT_BY_GO, REPLIES, Replier
from verve._verve import diagnose_callback

TAKEN = REPLIES.keys() - NOT_BY_CURL - NOT_BY_GO
NOT_TAKEN = {
    "reason with a control character",
    "two spaces before the status",
    "HTTP/2.0",
    "10,000 fields",
    "long name",
}
"""What hyper refuses although both take it."""


def test_the_exceptions_are_few() -> None:
    assert NOT_TAKEN < TAKEN
    assert len(TAKEN) > 8 * len(NOT_TAKEN)


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_counts_by_its_status(name: str) -> None:
    reply = REPLIES[name]
    with Replier(reply) as replier:
        found = diagnose_callback(replier.url, 1, allow=["127.0.0.1"])
    assert (found["status"] is None) == (found["failure"] is not None)
    if name in TAKEN - NOT_TAKEN:
        statuses = re.findall(rb"HTTP/1\.[01] (\d{3})", reply.partition(b"content-length")[0])
        assert found["status"] == next(int(one) for one in statuses if int(one) >= 200)
    elif name in NOT_TAKEN:
        assert found["status"] is None
