"""Which phones of this machine `--device` means, and which of them share a suite. Light: without Dask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.errors import UsageError
from harness.core.phone import AnyAttached, ByUdid, DeviceWord, Virtual
from harness.device.errors import PhoneNotFound
from harness.device.lease import Tell
from harness.device.listing import ListedPhone, list_phones
from harness.device.registry import USB

MAX_PHONES = 64
"""At once on one machine."""


@dataclass(frozen=True)
class Share:
    """Phones that run one suite together, or with `each` one after the other's own."""

    word: DeviceWord
    """That means them."""
    phones: tuple[DeviceWord, ...]
    """Each one's own word: a UDID, or a virtual one's."""
    alone: DeviceWord
    """The word by which the phone is opened if there is only one: of a class it may be any."""
    each: bool = False


async def shares_of(words: Sequence[DeviceWord], phones: int | None, *, each: bool, tell: Tell) -> list[Share]:
    """A share for each word; one for each class that `all` means.

    `phones`: so many of each virtual word, and at most so many of a class. The same virtual word several times means
    as many phones that each run the suite. Raises PhoneNotFound when nothing is attached that a word means, UsageError
    for words that do not go together, StepError when there is no usbmuxd to ask for a class.
    """
    asks_usb = any(isinstance(word, AnyAttached) and (word.every or word.product_type) for word in words)
    attached = await list_phones() if asks_usb else []
    shares = _shares(words, attached, phones, each=each, tell=tell)
    count = sum(len(share.phones) for share in shares)
    if count > MAX_PHONES:
        raise UsageError(
            f"--device: {count} phones, and one machine takes {MAX_PHONES}; join further machines to a farm"
        )
    return shares


def _shares(
    words: Sequence[DeviceWord], attached: Sequence[ListedPhone], phones: int | None, *, each: bool, tell: Tell
) -> list[Share]:
    named = [word.udid for word in words if isinstance(word, ByUdid)]
    virtual = Counter(word.text for word in words if isinstance(word, Virtual))
    shares: list[Share] = []
    for word in words:
        if isinstance(word, Virtual):
            shares += _of_virtual(word, virtual.pop(word.text, 0), phones, each=each)
        elif isinstance(word, ByUdid):
            shares.append(Share(word, (word,), word))
        elif word.every or word.product_type is not None:
            shares += _of_attached(word, attached, named, phones, each=each, tell=tell)
        elif len(words) > 1 or phones not in (None, 1):
            raise UsageError("--device=any is one phone, and cannot be told from the others; name it by its UDID")
        else:
            shares.append(Share(word, (word,), word))
    if not shares:
        raise PhoneNotFound("--device=all: no further phone is attached by USB")
    if phones is not None and all(isinstance(word, ByUdid) for word in words):
        raise UsageError("--phones does not go with a UDID, which is one phone; leave it out")
    return shares


def _of_virtual(word: Virtual, times: int, phones: int | None, *, each: bool) -> list[Share]:
    if not times:
        # it stood there before
        return []
    if phones is not None and times > 1:
        raise UsageError(f"--phones={phones}: {word.text} is there {times} times; give it once")
    return [Share(word, (word,) * (phones or times), word, each or times > 1)]


def _of_attached(
    word: AnyAttached,
    attached: Sequence[ListedPhone],
    named: Sequence[str],
    phones: int | None,
    *,
    each: bool,
    tell: Tell,
) -> list[Share]:
    classes: dict[str, list[ListedPhone]] = {}
    for phone in attached:
        if phone.connection != USB or phone.udid in named:
            continue
        if phone.facts is None:
            tell(f"left out: {phone.udid} does not answer: {phone.problem}")
        elif word.product_type in (None, phone.facts.product_type):
            classes.setdefault(phone.facts.product_type, []).append(phone)
    if not classes and not (word.every and named):
        there = ", ".join(
            f"{one.udid} ({one.facts.product_type if one.facts else 'does not answer'})" for one in attached
        )
        raise PhoneNotFound(f"--device={word.text}: no such phone is attached by USB; there is: {there or 'none'}")
    shares = []
    for product_type, of_class in sorted(classes.items()):
        # those that are free come first where only some are wanted
        wanted = sorted(of_class, key=lambda phone: (phone.in_use, phone.udid))[:phones]
        meant = AnyAttached(every=False, product_type=product_type)
        udids = tuple(ByUdid(phone.udid) for phone in wanted)
        shares.append(Share(meant, udids, udids[0] if word.every else word, each))
    return shares
