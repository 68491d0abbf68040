"""Who this app is and what it runs on: the facts of ``hello``."""

from __future__ import annotations

import json
import os
import pkgutil
from typing import NamedTuple

from .memory_linux import SAMPLE_COLUMNS

BUILD_INFO = "build_info.json"
"""Written into the app by its builder; absent when it runs from a checkout."""


class BuildInfo(NamedTuple):
    """What the builder knew."""

    version: str
    build: str
    commit: str | None
    entitlements: dict[str, object]
    ballast_bytes: int


UNBUILT = BuildInfo("0", "unbuilt", None, {}, 0)


def read_build_info() -> BuildInfo:
    """Read the builder's note from the app's archive."""
    try:
        data = pkgutil.get_data(__package__, BUILD_INFO)
    except FileNotFoundError:
        data = None
    except OSError:
        data = None  # zipimport says OSError for a member that is not there
    return UNBUILT if data is None else BuildInfo(**json.loads(data))


def describe(build: BuildInfo, engines: dict[str, str]) -> dict[str, object]:
    """Return the constant fields of ``hello``. A virtual iPhone says through the environment which phone it is."""
    system = os.uname()
    page_size = os.sysconf("SC_PAGE_SIZE")
    return {
        "app_version": build.version,
        "build": build.build,
        "commit": build.commit,
        "engines": engines,
        "platform": "linux",
        "hw_machine": os.environ.get("VIRTUAL_HW_MACHINE", system.machine),
        "os_build": os.environ.get("VIRTUAL_OS_BUILD", system.release),
        "ram_bytes": int(os.environ.get("VIRTUAL_RAM_BYTES", os.sysconf("SC_PHYS_PAGES") * page_size)),
        "pid": os.getpid(),
        "page_size": page_size,
        "entitlements": build.entitlements,
        "sample_columns": SAMPLE_COLUMNS,
    }
