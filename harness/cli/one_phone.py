"""For verbs that ask one phone: its device word."""

from __future__ import annotations

from harness.core.errors import UsageError
from harness.core.phone import AnyAttached, DeviceWord, parse_device_word


def one_phone(verb: str, text: str) -> DeviceWord:
    """The word behind `--device`. Raises UsageError for `all`."""
    word = parse_device_word(text)
    if isinstance(word, AnyAttached) and word.every:
        raise UsageError(f"{verb} asks one phone, and its answer is that phone's; take --device=any, or a UDID")
    return word
