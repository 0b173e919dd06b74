"""No callback connects to an inner address, whatever its URL looks like and its DNS says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from ipaddress import ip_address
from typing import Any

import pytest

from tests.support.egress.corpus import INNER_4, INNER_6, PUBLIC, PUBLIC_6, Names, urls
from tests.support.http import grammar
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What happens in a network in which every address is this machine."""
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("a network of one's own takes root, `unshare` and `ip`")
    directory = tmp_path_factory.mktemp("world")
    command = ["unshare", "--net", "--mount", sys.executable, "-m", "tests.support.egress.network"]
    done = subprocess.run(
        [*command, directory], cwd=ROOT, capture_output=True, text=True, check=False, timeout=170
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


pytestmark = pytest.mark.timeout(180)


def test_the_corpus_is_large() -> None:
    assert len(set(urls(Names()))) >= 300


def test_nobody_inside_is_reached(seen: dict[str, Any]) -> None:
    reached = set(seen["plain"]["seen"])
    assert {address for address in reached if grammar.is_refused(ip_address(address))} == set()
    assert reached <= {PUBLIC, PUBLIC_6, "8.8.8.8"}
    # The way out was open: those that have a public address were reached there.
    assert reached >= {PUBLIC, PUBLIC_6}


def test_literals_are_refused_when_they_are_asked_for(seen: dict[str, Any]) -> None:
    answers = seen["plain"]["answers"]
    names = {*Names().inner(), *Names().mixed(), *Names().rebinding()}
    taken = {url for url, answer in answers.items() if answer == "ok"}
    # After `#` there is no host, and what is before it is inside.
    assert taken == names
    assert set(answers.values()) <= {
        "ok",
        "endpoint address",
        "endpoint invalid",
        "endpoint userinfo",
    }


def test_names_are_judged_by_their_addresses(seen: dict[str, Any]) -> None:
    ends = seen["plain"]["ends"]
    inner = len(INNER_4) + len(INNER_6)
    assert ends["refused"] >= inner
    assert ends["delivered"] >= inner
    assert ends["refused"] + ends["delivered"] == sum(ends.values())


def test_the_list_opens_exactly_what_it_names(seen: dict[str, Any]) -> None:
    reached = set(seen["listed"]["seen"])
    assert reached - Names.REACHED_ONE_OF == Names.REACHED
    assert reached & Names.REACHED_ONE_OF
