"""From device words to the targets of runs: which phones share one, and that kinds never do."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.bench.suite import Suite, read_suite
from harness.core.errors import UsageError
from harness.farm.board.words import Target
from harness.farm.hub.submissions import notes_on, targets_of
from harness.farm.wire import Announcement, PhoneState, Submission

TEXT = '[[models]]\nname = "tiny"\nsynth = "tiny"\n'
PHYSICAL = ["00008140-000000000000000A", "00008140-000000000000000B"]
BEHIND_USBMUXD = "00008140-00000000000000C0"


def suite(text: str = TEXT) -> Suite:
    return read_suite(f'name = "small"\n{text}', Path("/suites/small.toml"))


def said(phone: str, kind: str, product_type: str, word: str) -> Announcement:
    return Announcement(
        phone=phone, udid=phone.partition("@")[0], kind=kind, product_type=product_type, os_version="18.5",
        os_build="22F76", name="iPhone", word=word, host="host1", worker="tls://host1:1", pid=1, harness_version="1",
        state=PhoneState.FREE,
    )  # fmt: skip  # a phone as it may be


THERE = [
    said(PHYSICAL[0], "physical", "iPhone17,1", PHYSICAL[0]),
    said(PHYSICAL[1], "physical", "iPhone15,2", PHYSICAL[1]),
    said(f"{BEHIND_USBMUXD}@one", "virtual", "iPhone17,1", BEHIND_USBMUXD),
    said(f"{BEHIND_USBMUXD}@two", "virtual", "iPhone17,1", BEHIND_USBMUXD),
    said("00008140-00000000000000D0@one", "virtual", "iPhone17,1", "virtual"),
]


def targets(*words: str, each: bool = False, there: list[Announcement] | None = None) -> dict[str, list[str]]:
    """Target → the phones that it means."""
    there = THERE if there is None else there
    asked = Submission(suite_text=TEXT, base="/suites", words=words, each=each)
    found = targets_of(asked, suite(), there)
    return {target.word: [phone.phone for phone in there if target.means(phone)] for target in found}


def test_all_is_a_run_a_class_and_kind() -> None:
    assert targets("all") == {
        "class:iPhone15,2": [PHYSICAL[1]],
        "class:iPhone17,1": [PHYSICAL[0]],
        "class:iPhone17,1 (virtual)": [f"{BEHIND_USBMUXD}@one", f"{BEHIND_USBMUXD}@two"],
        "virtual:iphone-16-pro": ["00008140-00000000000000D0@one"],
    }


def test_a_class_of_both_kinds_is_two_runs_and_says_so() -> None:
    found = targets("class:iPhone17,1")
    assert list(found) == ["class:iPhone17,1", "class:iPhone17,1 (virtual)"]
    (note,) = notes_on(suite(), [Target(word) for word in found])
    assert "class:iPhone17,1: physical and virtual" in note
    assert notes_on(suite(), [Target(word) for word in targets("class:iPhone15,2")]) == []


def test_a_class_is_of_the_kind_that_is_there() -> None:
    virtual = [phone for phone in THERE if phone.kind == "virtual"]
    assert list(targets("class:iPhone17,1", there=virtual)) == ["class:iPhone17,1 (virtual)"]
    with pytest.raises(UsageError, match=r"no such phone; there is: .*C0@one \(iPhone17,1 \(virtual\)\)"):
        targets("class:iPhone15,2", there=virtual)


def test_a_udid_is_a_phone_of_either_kind() -> None:
    assert targets(PHYSICAL[0]) == {PHYSICAL[0]: [PHYSICAL[0]]}
    without_dash = said(PHYSICAL[0].replace("-", ""), "physical", "iPhone17,1", PHYSICAL[0].replace("-", ""))
    assert targets(PHYSICAL[0], there=[without_dash]) == {PHYSICAL[0]: [without_dash.phone]}
    # two hosts, whose virtual phones have one UDID: each runs the whole suite
    both = {name: [name] for name in (f"{BEHIND_USBMUXD}@one", f"{BEHIND_USBMUXD}@two")}
    assert targets(BEHIND_USBMUXD) == both
    with pytest.raises(UsageError, match="no such phone"):
        targets("00008140-00000000000000D0")


def test_a_physical_phones_udid_never_means_a_virtual_one() -> None:
    impostor = said(f"{PHYSICAL[0]}@two", "virtual", "iPhone17,1", PHYSICAL[0])
    found = targets(PHYSICAL[0], there=[THERE[0], impostor])
    assert found == {PHYSICAL[0]: [PHYSICAL[0]], impostor.phone: [impostor.phone]}


def test_with_each_every_phone_that_is_meant_has_its_run() -> None:
    assert targets("class:iPhone17,1", each=True) == {
        name: [name] for name in (PHYSICAL[0], f"{BEHIND_USBMUXD}@one", f"{BEHIND_USBMUXD}@two")
    }


@pytest.mark.parametrize("word", ["class:iPhone17,1 (virtual)", f"{BEHIND_USBMUXD}@one", "virtual", PHYSICAL[0]])
def test_a_runs_target_may_be_submitted_again(word: str) -> None:
    (target,) = targets(word)
    assert list(targets(target)) == [target]


def test_a_phone_that_announces_a_nonsensical_word_breaks_nothing() -> None:
    odd = said("odd@one", "virtual", "iPhone17,1", "somebody")
    assert targets("all", there=[*THERE, odd])["class:iPhone17,1 (virtual)"][-1] == "odd@one"
    assert not Target("virtual:iphone-16-pro").means(odd)


def test_settings_of_a_suite_need_phones_that_were_joined_with_them() -> None:
    wants = suite('[virtual]\nfootprint_limit = "90MiB"\n' + TEXT)
    asked = Submission(suite_text=TEXT, base="/suites", words=("class:iPhone17,1",))
    with pytest.raises(UsageError, match="settings of a virtual phone"):
        targets_of(asked, wants, THERE)
    fits = said("00008140-00000000000000E0@one", "virtual", "iPhone17,1", "virtual:iphone-16-pro,footprint_limit=90MiB")
    found = targets_of(asked.model_copy(update={"words": ("all",)}), wants, [*THERE, fits])
    assert [target.word for target in found] == [fits.word]


def test_what_a_class_means_is_told_of_the_target() -> None:
    assert Target("class:iPhone17,1").of_class == ("physical", "iPhone17,1")
    assert Target("class:iPhone17,1 (virtual)").of_class == ("virtual", "iPhone17,1")
    assert Target(PHYSICAL[0]).of_class is None
