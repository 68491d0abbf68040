"""What a phone says never reaches the terminal as a command."""

from __future__ import annotations

from harness.core.text import printable


def test_controls_are_shown_and_not_sent() -> None:
    told = printable("CHECK failed\x1b]0;title\x07\x9b31m\r gone \ud800 Größe 3 µs\n\tnext")
    assert not any(one in told for one in "\x1b\x07\x9b\r\ud800")
    assert told.endswith("Größe 3 µs\n\tnext")
    assert told.startswith("CHECK failed")
