"""How many phones the device words mean, without a phone: what usbmuxd lists is made up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from harness.core.phone import PhoneFacts, PhoneKind, parse_device_word
from harness.device.listing import ListedPhone
from harness.pytest_plugin import seats
from harness.pytest_plugin.seats import seats_of

PRO, XR = "iPhone17,1", "iPhone11,8"


@dataclass(frozen=True)
class MadeUp:
    number: int
    product: str | None = PRO
    """None: it does not answer."""
    in_use: bool = False
    connection: str = "USB"

    @property
    def udid(self) -> str:
        return f"00008140-{self.number:016X}"

    @property
    def listed(self) -> ListedPhone:
        facts = None
        if self.product is not None:
            facts = PhoneFacts(self.udid, PhoneKind.PHYSICAL, self.product, "18.5", "22F76", "made up")
        return ListedPhone(self.udid, self.connection, facts, self.in_use, None)


def seats_with(
    phones: list[MadeUp], words: list[str], monkeypatch: pytest.MonkeyPatch, limit: int | None = None
) -> dict[str, int]:
    async def listed() -> list[ListedPhone]:
        return [phone.listed for phone in phones]

    monkeypatch.setattr(seats, "list_phones", listed)
    return asyncio.run(seats_of([parse_device_word(word) for word in words], words, limit))


@pytest.mark.parametrize(
    ("words", "limit", "expected"),
    [
        (["virtual"], None, {"virtual": 1}),
        (["virtual", "virtual:iphone-13"], 4, {"virtual": 4, "virtual:iphone-13": 4}),
        (["class:iPhone17,1"], None, {"class:iPhone17,1": 2}),
        (["class:iPhone17,1"], 1, {"class:iPhone17,1": 1}),
        (["class:iPhone9,9"], None, {"class:iPhone9,9": 1}),
        (["any"], 4, {"any": 1}),
        (["all"], None, {"class:iPhone17,1": 2, "class:iPhone11,8": 1}),
        ([MadeUp(1).udid, "all"], None, {MadeUp(1).udid: 1, "class:iPhone17,1": 1, "class:iPhone11,8": 1}),
    ],
)
def test_seats(monkeypatch: pytest.MonkeyPatch, words: list[str], limit: int | None, expected: dict[str, int]) -> None:
    phones = [MadeUp(1), MadeUp(2), MadeUp(3, in_use=True), MadeUp(4, XR), MadeUp(5, connection="Network")]
    assert seats_with(phones, words, monkeypatch, limit) == expected


def test_a_class_whose_phones_are_all_in_use_is_waited_for_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seats_with([MadeUp(1, in_use=True)], ["all"], monkeypatch) == {"class:iPhone17,1": 1}


def test_a_phone_that_does_not_answer_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seats_with([MadeUp(1), MadeUp(2, None)], ["all"], monkeypatch) == {
        "class:iPhone17,1": 1,
        MadeUp(2).udid: 1,
    }
