"""The command in this process, for tests that ask what it does and not how it starts.

A process of its own takes some three seconds to import what a run needs; test_faces.py starts real ones.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from pathlib import Path

import pytest

from harness.cli.main import entry


def harness(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`harness` with these arguments in `folder`, to its exit code and what it said; the environment stays."""
    out, err = io.StringIO(), io.StringIO()
    environment = dict(os.environ)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.argv", ["harness", *arguments])
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
                entry()
        finally:
            # whoever opens a phone tells the client libraries by a variable where it is
            os.environ.clear()
            os.environ.update(environment)
    code = ended.value.code
    assert code is None or isinstance(code, int)
    return subprocess.CompletedProcess(["harness", *arguments], code or 0, out.getvalue(), err.getvalue())
