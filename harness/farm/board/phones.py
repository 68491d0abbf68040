"""The rules by which a phone is taken out and comes back, and the words for how it stands. Sans-IO; for the board."""

from __future__ import annotations

from collections.abc import Iterable

from harness.farm.board.words import STRIKES, Mark, PhoneStanding
from harness.farm.wire import PhoneState

EXAMINE_AGAIN_S = (60.0, 300.0, 900.0)
"""A phone that is out is examined at once, then so much later each; the last goes on."""
SUSPECT_PHONES = 3
"""A case whose trials were spoilt on so many phones, and never ended with a result, is itself to blame."""

StruckBy = tuple[str, str, int]


class Marks:
    """Who is drained, out or reserved: by name, so that it outlives the phone's process and the hub."""

    def __init__(self) -> None:
        self._marks: dict[str, Mark] = {}
        self._changed: dict[str, None] = {}

    def __getitem__(self, what: str) -> Mark:
        return self._marks.get(what) or Mark(what)

    def keep(self, mark: Mark, *, tell: bool = True) -> None:
        """Instead of what was known."""
        if mark == self[mark.what]:
            return
        self._marks[mark.what] = mark
        if tell:
            self._changed[mark.what] = None

    def take_changes(self) -> list[Mark]:
        """Those to be kept in the ledger; one without anything is to be forgotten."""
        changed = [self[what] for what in self._changed]
        self._changed.clear()
        return changed


class Suspects:
    """Cases that spoil phone after phone: a poison job is not the phones' fault."""

    def __init__(self) -> None:
        self._spoilt: dict[tuple[str, str], set[str]] = {}
        self._fine: set[tuple[str, str]] = set()

    def spoilt(self, case: tuple[str, str], phone: str) -> bool:
        """Whether the case itself is to blame for what it did to the phone."""
        if case in self._fine:
            return False
        phones = self._spoilt.setdefault(case, set())
        phones.add(phone)
        return len(phones) >= SUSPECT_PHONES

    def fine(self, case: tuple[str, str]) -> None:
        """A trial of it has ended with a result somewhere."""
        self._fine.add(case)
        self._spoilt.pop(case, None)

    def forget(self, run_id: str) -> None:
        """The run is over."""
        self._fine = {case for case in self._fine if case[0] != run_id}
        self._spoilt = {case: phones for case, phones in self._spoilt.items() if case[0] != run_id}


def strike(phone: PhoneStanding, by: StruckBy, reason: str) -> bool:
    """A trial was spoilt on the phone; whether that takes it out."""
    if by in phone.struck_by:
        return False
    phone.struck_by.append(by)
    phone.strikes.append(reason)
    return phone.out is None and len(phone.strikes) >= STRIKES


def acquit(phones: Iterable[PhoneStanding], case: tuple[str, str]) -> None:
    """Takes back what a case did to the phones that are not out."""
    for phone in phones:
        if phone.out is None and phone.struck_by:
            left = [(by, reason) for by, reason in zip(phone.struck_by, phone.strikes, strict=True) if by[:2] != case]
            phone.struck_by = [by for by, _ in left]
            phone.strikes = [reason for _, reason in left]


def is_reserved(phone: PhoneStanding, now_s: float) -> bool:
    return phone.reserved_until_s is not None and now_s < phone.reserved_until_s


def standing_word(phone: PhoneStanding, now_s: float) -> str:
    """For `PhoneView.state`: the first that is true."""
    if phone.gone is not None:
        return "gone"
    if phone.out is not None:
        return "out"
    if phone.drained is not None:
        return "drained"
    if is_reserved(phone, now_s):
        return "reserved"
    if phone.job is not None:
        return "busy"
    if phone.said.state is PhoneState.FREE and now_s < phone.rests_until_s:
        return "resting"
    return phone.said.state.value
