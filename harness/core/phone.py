"""A phone as everyone above the device layer knows it, and the words that name one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.core.errors import UsageError

DEFAULT_PROFILE = "iphone-16-pro"

# 40 hex digits up to the iPhone 8; 8 + 16 hex digits with a dash since the XS.
_UDID = re.compile(r"(?:[0-9a-fA-F]{40}|[0-9a-fA-F]{8}-[0-9a-fA-F]{16})\Z")
_PROFILE = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}\Z")


class PhoneKind(StrEnum):
    PHYSICAL = "physical"
    VIRTUAL = "virtual"
    """Speaks a phone's protocols on this machine; its figures are never mixed with a phone's."""


@dataclass(frozen=True)
class PhoneFacts:
    """Who a phone is. `settings` are a virtual phone's departures from its profile, empty for a physical one."""

    udid: str
    kind: PhoneKind
    product_type: str
    os_version: str
    os_build: str
    name: str
    settings: str = ""

    @property
    def label(self) -> str:
        """One short line for tables: `iPhone17,1 iOS 18.5 (virtual)`."""
        mark = " (virtual)" if self.kind is PhoneKind.VIRTUAL else ""
        return f"{self.product_type} iOS {self.os_version}{mark}"


@dataclass(frozen=True)
class AnyAttached:
    """`any` or `all` or `class:iPhone17,1`: chosen among the phones that usbmuxd has on a cable."""

    every: bool
    product_type: str | None = None

    @property
    def text(self) -> str:
        """The device word that `parse_device_word` reads as this."""
        if self.product_type is not None:
            return f"class:{self.product_type}"
        return "all" if self.every else "any"


@dataclass(frozen=True)
class ByUdid:
    udid: str

    @property
    def text(self) -> str:
        """The device word that `parse_device_word` reads as this."""
        return self.udid


@dataclass(frozen=True)
class Virtual:
    """`virtual` or `virtual:<profile>[,key=value…]`."""

    profile: str = DEFAULT_PROFILE
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def settings_text(self) -> str:
        return ",".join(f"{key}={value}" for key, value in sorted(self.settings.items()))

    @property
    def text(self) -> str:
        """The device word that `parse_device_word` reads as this."""
        return f"virtual:{self.profile},{self.settings_text}".rstrip(",")


DeviceWord = AnyAttached | ByUdid | Virtual


def with_settings(word: DeviceWord, settings: Mapping[str, str]) -> DeviceWord:
    """The word with a suite's settings of the virtual phone; those of the word itself win.

    Raises UsageError for a physical phone: a suite that wants a fault means nothing without it.
    """
    if not settings:
        return word
    if not isinstance(word, Virtual):
        raise UsageError("the suite has settings of a virtual phone ([virtual]); a physical one has none")
    return Virtual(word.profile, {**settings, **word.settings})


FORMS = "a UDID, any, all, class:<product type>, virtual, virtual:<profile>[,key=value…]"


def parse_device_word(text: str) -> DeviceWord:
    """Reads what follows `--device`; raises UsageError naming the word and the accepted forms."""
    word = text.strip()
    if word in ("any", "all"):
        return AnyAttached(every=word == "all")
    if word.startswith("class:"):
        product_type = word.removeprefix("class:")
        if not re.fullmatch(r"iPhone\d{1,3},\d{1,3}", product_type):
            raise UsageError(f"--device={text}: after class: comes a product type such as iPhone17,1")
        return AnyAttached(every=False, product_type=product_type)
    if word == "virtual":
        return Virtual()
    if word.startswith("virtual:"):
        return _parse_virtual(text, word.removeprefix("virtual:"))
    if _UDID.match(word):
        return ByUdid(word)
    raise UsageError(f"--device={text}: not a device word; it is one of: {FORMS}")


def _parse_virtual(text: str, rest: str) -> Virtual:
    profile, *pairs = rest.split(",")
    profile = profile or DEFAULT_PROFILE
    if not _PROFILE.match(profile):
        raise UsageError(f"--device={text}: {profile!r} is no profile name; `harness virtual list` shows them")
    settings: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key or not value:
            raise UsageError(f"--device={text}: {pair!r} is not key=value (as in footprint_limit=90MiB)")
        if key in settings:
            raise UsageError(f"--device={text}: {key} is given twice")
        settings[key] = value
    return Virtual(profile, settings)
