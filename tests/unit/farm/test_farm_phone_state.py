"""What a phone says of itself, and its app of it: it may be anything, and the hub gets what it understands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.bench.plan import plan_trials
from harness.bench.suite import read_suite
from harness.core.errors import UsageError
from harness.core.phone import ByUdid, PhoneFacts, PhoneKind
from harness.farm.host.phone_state import Standing
from harness.farm.wire import Announcement
from tests.kept_trials import a_trial

UDID = "00008140-0018303932C99EF3"
FACTS = PhoneFacts(UDID, PhoneKind.PHYSICAL, "iPhone17,1", "18.5", "22F76", "one")


def standing(facts: PhoneFacts) -> Standing:
    return Standing(facts, ByUdid(UDID), "bench", lambda _text: None)


@pytest.mark.parametrize(
    "odd",
    [{"udid": "--help"}, {"udid": ""}, {"udid": "a/../b"}, {"udid": "x" * 300}, {"product_type": "iPhone\x1b[2J"}],
    ids=str,
)
def test_a_phone_that_is_none_is_told_in_words(odd: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="none of a phone") as refused:
        standing(replace(FACTS, **odd))
    assert str(refused.value).isprintable()


def test_what_is_too_long_is_cut() -> None:
    long = "x" * 100_000
    one = standing(replace(FACTS, os_version=long, os_build=long, name=long))
    planned = plan_trials(read_suite('name = "s"\n[[models]]\nname = "m"\nsynth = "tiny"\n', Path("s.toml")))
    one.phase(long)
    one.trial_ended(planned[0], replace(a_trial("t-1"), thermal_state_start=long, battery_celsius=1e9))
    said = Announcement.read(one.announcement("tls://bench:1").plain())
    assert {len(text or "") for text in (said.os_version, said.name, said.doing, said.thermal)} == {500}
    assert said.battery_celsius is None
