"""Which phones of this machine `--device` means, and which of them share a suite. Light: without Dask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.core.errors import UsageError
from harness.core.phone import AnyAttached, ByUdid, DeviceWord, PhoneKind, Virtual, with_settings
from harness.device.errors import PhoneNotFound, StepError
from harness.device.lease import Tell, phone_lock, who_holds
from harness.device.listing import ListedPhone, list_phones
from harness.device.registry import USB, none_on_a_cable
from harness.farm.board.words import both_kinds, class_text, same_udid

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
    kind: PhoneKind = PhoneKind.PHYSICAL
    """Of the phones of a class."""

    @property
    def target(self) -> str:
        """What a submission says, and the run's target; a virtual phone that was named is the run's by its own name."""
        if isinstance(self.word, AnyAttached) and self.word.product_type is not None:
            return class_text(self.word.product_type, self.kind)
        return self.word.text

    def phone_of(self, target: str) -> ByUdid | None:
        """The phone that is meant by a run's target which is one phone; None: it is none of these."""
        # a virtual one's name has its host's, too
        udid = target.partition("@")[0]
        named = (phone for phone in self.phones if isinstance(phone, ByUdid))
        return next((phone for phone in named if same_udid(phone.udid, udid)), None)

    def with_settings(self, settings: dict[str, str]) -> Share:
        """With a suite's settings of virtual phones, which are a part of the phones; UsageError for a physical one."""

        def of(word: DeviceWord) -> DeviceWord:
            return with_settings(word, settings)

        return replace(self, word=of(self.word), phones=tuple(map(of, self.phones)), alone=of(self.alone))


@dataclass(frozen=True)
class Meant:
    """The phones of a command."""

    shares: tuple[Share, ...]
    """One at least."""
    missing: tuple[PhoneNotFound, ...] = ()
    """A word for each phone that was named, with others, and is not there: those run without it."""


async def phones_meant(words: Sequence[DeviceWord], phones: int | None, *, each: bool, tell: Tell) -> Meant:
    """A share for each word; one for each class and kind that `all` means.

    `phones`: so many of each virtual word, and at most so many of a class. The same virtual word several times means
    as many phones that each run the suite. Raises PhoneNotFound when nothing is attached that a word means, UsageError
    for words that do not go together, StepError when there is no usbmuxd to ask.
    """
    of_class = any(isinstance(word, AnyAttached) and (word.every or word.product_type) for word in words)
    named = any(isinstance(word, ByUdid) for word in words) and len(words) > 1
    missing: list[PhoneNotFound] = []
    attached: list[ListedPhone] = []
    if of_class or named:
        try:
            attached = await list_phones()
        except StepError:
            if of_class or all(isinstance(word, ByUdid) for word in words):
                raise
    if named:
        words, missing = _there(words, attached)
    shares = _shares(words, attached, phones, each=each, tell=tell)
    count = sum(len(share.phones) for share in shares)
    if count > MAX_PHONES:
        raise UsageError(
            f"--device: {count} phones, and one machine takes {MAX_PHONES}; join further machines to a farm"
        )
    return Meant(tuple(shares), tuple(missing))


def _there(
    words: Sequence[DeviceWord], attached: Sequence[ListedPhone]
) -> tuple[list[DeviceWord], list[PhoneNotFound]]:
    """The words without UDIDs that are not on a cable. One whose user is known may just restart; it is waited for."""
    held = who_holds()
    found: list[DeviceWord] = []
    missing = []
    for word in words:
        if not isinstance(word, ByUdid) or phone_lock(word.udid) in held:
            found.append(word)
            continue
        seen = [phone for phone in attached if same_udid(phone.udid, word.udid)]
        if any(phone.connection == USB for phone in seen):
            found.append(word)
        else:
            why = "only on the network, not attached by USB" if seen else "not attached"
            missing.append(PhoneNotFound(f"phone {word.udid} is {why}; `harness devices` lists those that are"))
    if not found:
        raise PhoneNotFound("; ".join(map(str, missing)))
    return found, missing


def _shares(
    words: Sequence[DeviceWord], attached: Sequence[ListedPhone], phones: int | None, *, each: bool, tell: Tell
) -> list[Share]:
    taken = [word.udid for word in words if isinstance(word, ByUdid)]
    virtual = Counter(word.text for word in words if isinstance(word, Virtual))
    shares: list[Share] = []
    for number, word in enumerate(words):
        if isinstance(word, Virtual):
            shares += _of_virtual(word, virtual.pop(word.text, 0), phones, each=each)
        elif isinstance(word, ByUdid):
            if word not in words[:number]:
                shares.append(Share(word, (word,), word))
        elif word.every or word.product_type is not None:
            found = _of_attached(word, attached, taken, phones, each=each, tell=tell)
            taken += [phone.udid for share in found for phone in share.phones if isinstance(phone, ByUdid)]
            shares += found
        elif len(words) > 1 or phones not in (None, 1):
            raise UsageError("--device=any is one phone, and cannot be told from the others; name it by its UDID")
        else:
            shares.append(Share(word, (word,), word))
    if phones is not None and all(isinstance(word, ByUdid) for word in words):
        raise UsageError("--phones does not go with a UDID, which is one phone; leave it out")
    return shares


def _of_virtual(word: Virtual, times: int, phones: int | None, *, each: bool) -> list[Share]:
    if not times:
        # it stood there before
        return []
    if phones is not None and times > 1:
        raise UsageError(f"--phones={phones}: {word.text} is there {times} times; give it once")
    return [Share(word, (word,) * (phones or times), word, each or times > 1, PhoneKind.VIRTUAL)]


def _of_attached(
    word: AnyAttached,
    attached: Sequence[ListedPhone],
    taken: Sequence[str],
    phones: int | None,
    *,
    each: bool,
    tell: Tell,
) -> list[Share]:
    cabled = [phone for phone in attached if phone.connection == USB]
    if not cabled:
        raise none_on_a_cable(phone.udid for phone in attached)
    classes: dict[tuple[str, PhoneKind], list[ListedPhone]] = {}
    has_some = False
    for phone in cabled:
        is_taken = any(same_udid(phone.udid, udid) for udid in taken)
        if phone.facts is None:
            if not is_taken:
                tell(f"left out: {phone.udid} does not answer: {phone.problem}")
        elif is_taken:
            has_some = has_some or word.product_type in (None, phone.facts.product_type)
        elif word.product_type in (None, phone.facts.product_type):
            classes.setdefault((phone.facts.product_type, phone.facts.kind), []).append(phone)
    if not classes and not has_some:
        there = ", ".join(
            f"{one.udid} ({one.facts.product_type if one.facts else 'does not answer'})" for one in cabled
        )
        raise PhoneNotFound(f"--device={word.text}: no such phone is attached by USB; there is: {there}")
    kinds = Counter(product_type for product_type, _ in classes)
    shares = []
    for (product_type, kind), of_class in sorted(classes.items()):
        # those that are free come first where only some are wanted
        wanted = sorted(of_class, key=lambda phone: (phone.in_use, phone.udid))[:phones]
        meant = AnyAttached(every=False, product_type=product_type)
        udids = tuple(ByUdid(phone.udid) for phone in wanted)
        any_will_do = not word.every and kinds[product_type] == 1
        shares.append(Share(meant, udids, word if any_will_do else udids[0], each, kind))
    if word.product_type is not None and kinds[word.product_type] > 1:
        tell(both_kinds(word.product_type))
    return shares
