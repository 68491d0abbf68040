"""What a run has to say while pytest's own output goes on."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

from harness.bench.listener import Listener

if TYPE_CHECKING:
    import pytest


class TerminalListener(Listener):
    """Notes become lines of pytest's terminal, also while a test's own output is captured."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def note(self, text: str) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        # the line comes while a test is set up, when what is written to the terminal is captured too
        with nullcontext() if capture is None else capture.global_and_fixture_disabled():
            if reporter is None:
                # in a worker of xdist, whose stdout leads nowhere and whose stderr is the terminal
                sys.stderr.write(f"[{os.environ.get('PYTEST_XDIST_WORKER')}] {text}\n")
                sys.stderr.flush()
                return
            reporter.ensure_newline()
            reporter.write_line(text)
            reporter.flush()
