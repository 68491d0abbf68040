"""Device words: what is understood, and what the complaint about the rest says."""

from __future__ import annotations

import pytest

from harness.core.errors import UsageError
from harness.core.phone import (
    AnyAttached,
    ByUdid,
    PhoneFacts,
    PhoneKind,
    Virtual,
    parse_device_word,
    with_settings,
)

NEW_UDID = "00008140-001A2B3C4D5E6F70"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("virtual", Virtual()),
        ("virtual:iphone-16-pro", Virtual("iphone-16-pro")),
        ("virtual:iphone-16-pro,footprint_limit=90MiB", Virtual("iphone-16-pro", {"footprint_limit": "90MiB"})),
        ("virtual:,ios=18.5", Virtual(settings={"ios": "18.5"})),
        (NEW_UDID, ByUdid(NEW_UDID)),
        ("a" * 40, ByUdid("a" * 40)),
        ("any", AnyAttached(every=False)),
        ("all", AnyAttached(every=True)),
        ("class:iPhone17,1", AnyAttached(every=False, product_type="iPhone17,1")),
    ],
)
def test_words(text: str, word: object) -> None:
    parsed = parse_device_word(text)
    assert parsed == word
    assert parse_device_word(parsed.text) == word


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not a device word"),
        ("my phone", "not a device word"),
        ("class:Pixel", "product type"),
        ("virtual:iphone-16-pro,90MiB", "not key=value"),
        ("virtual:iphone-16-pro,ios=18,ios=17", "given twice"),
        ("virtual:../../etc", "no profile name"),
    ],
)
def test_other_words_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        parse_device_word(text)


def test_settings_text_does_not_depend_on_their_order() -> None:
    one = parse_device_word("virtual:p,a=1,b=2")
    other = parse_device_word("virtual:p,b=2,a=1")
    assert isinstance(one, Virtual)
    assert isinstance(other, Virtual)
    assert one.settings_text == other.settings_text == "a=1,b=2"


def test_a_virtual_phone_is_labelled() -> None:
    facts = PhoneFacts(NEW_UDID, PhoneKind.VIRTUAL, "iPhone17,1", "18.5", "22F76", "x")
    assert "virtual" in facts.label


def test_a_suite_may_bring_settings_for_a_virtual_phone_only() -> None:
    word = with_settings(parse_device_word("virtual:p,a=1"), {"a": "2", "fault": "unplug:seconds=2@load"})
    assert isinstance(word, Virtual)
    assert word.settings == {"a": "1", "fault": "unplug:seconds=2@load"}
    assert parse_device_word(word.text) == word
    assert with_settings(ByUdid(NEW_UDID), {}) == ByUdid(NEW_UDID)
    with pytest.raises(UsageError, match="physical"):
        with_settings(ByUdid(NEW_UDID), {"a": "1"})
