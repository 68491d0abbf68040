"""How many phones a session of several processes may use, by the words that name them."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.phone import AnyAttached, DeviceWord, PhoneFacts, Virtual
from harness.device.lease import phone_lock
from harness.device.listing import ListedPhone, list_phones
from harness.device.registry import USB, expand


async def seats_of(words: Sequence[DeviceWord], texts: Sequence[str], phones: int | None) -> dict[str, int]:
    """How many phones share the items of each word, in the order of the words; `all` becomes a word for each class.

    A UDID and `any` are one phone. A class is the phones of it that nobody uses now, at least one and at most `phones`
    (None: all); a virtual word is `phones` phones (None: one).

    Raises PhoneNotFound when `all` means none, StepError when there is no usbmuxd.
    """
    attached: list[ListedPhone] = []
    if any(isinstance(word, AnyAttached) and (word.every or word.product_type) for word in words):
        attached = [phone for phone in await list_phones() if phone.connection == USB]
    named = {phone_lock(text) for text in texts}
    others = [phone for phone in attached if phone_lock(phone.udid) not in named]
    seats: dict[str, int] = {}
    for word, text in zip(words, texts, strict=True):
        if isinstance(word, Virtual):
            seats[text] = phones or 1
        elif not isinstance(word, AnyAttached):
            seats[text] = 1
        elif word.product_type is not None:
            seats[text] = _free(word.product_type, others, phones)
        elif not word.every:
            seats[text] = 1
        else:
            if not attached:
                await expand(words)
            for phone in others:
                # one that does not answer is asked for by name, so that its trouble is told
                klass = AnyAttached(False, phone.facts.product_type).text if phone.facts is not None else phone.udid
                seats.setdefault(klass, _free(_product(phone.facts), others, phones) if phone.facts else 1)
    return seats


def _product(facts: PhoneFacts | None) -> str | None:
    return facts.product_type if facts is not None else None


def _free(product_type: str | None, phones: Sequence[ListedPhone], at_most: int | None) -> int:
    """Phones of that product that nobody uses; one when all are in use: its user may let go."""
    free = sum(not phone.in_use for phone in phones if _product(phone.facts) == product_type)
    return max(1, free if at_most is None else min(free, at_most))
