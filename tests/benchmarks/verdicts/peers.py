"""The peers: installed into environments of their own, fed the same series through a file.

Their packages pin versions that the harness does not want, so none of them is imported here.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from tests.benchmarks.verdicts.scoring import Places

_APP_NAME = "iphone-load-harness"
_INSTALL_LIMIT_S = 600
RUN_LIMIT_S = 3600


@dataclass(frozen=True)
class Peer:
    """One row of the table."""

    detector: str
    """Its name in `peer_detectors.py`."""
    title: str
    requirements: tuple[str, ...]
    without_dependencies: str = ""
    """Installed alone: what its detector needs is in `requirements`."""

    @property
    def home(self) -> Path:
        """One environment for each set of packages."""
        pins = "+".join(sorted({*self.requirements, self.without_dependencies} - {""}))
        return platformdirs.user_cache_path(_APP_NAME) / "verdict-peers" / pins.replace("=", "-").replace(".", "_")


PEERS: tuple[Peer, ...] = (
    Peer("otava", "Otava 0.8.0, default", ("numpy==2.2.0", "scipy==1.16.3"), "apache-otava==0.8.0"),
    Peer("otava-strict", "Otava 0.8.0, p 1e-5, ≥ 2 %", ("numpy==2.2.0", "scipy==1.16.3"), "apache-otava==0.8.0"),
    Peer("asv", "asv 0.6.6, 5 %", ("asv==0.6.6", "numpy==2.2.0")),
    Peer("ruptures-l2", "ruptures 1.1.10, PELT-l2, ≥ 2 %", ("ruptures==1.1.10", "numpy==2.2.0")),
)
ORACLE = Peer("ruptures-rbf", "ruptures 1.1.10, kernel", ("ruptures==1.1.10", "numpy==2.2.0"))


class PeerMissing(Exception):
    """A peer could not be installed or did not run; says why."""


@dataclass(frozen=True)
class Answer:
    """What a peer said."""

    places: dict[str, Places]
    """By scenario."""
    seconds: float
    """Processor time for 1000 series of 100 nights."""


def write_series(target: Path, series: dict[str, tuple[NDArray[np.float64], int]]) -> None:
    """By scenario: the series, and the first night to ask about."""
    arrays = {name: values for name, (values, _) in series.items()}
    firsts = {f"first:{name}": np.asarray(first) for name, (_, first) in series.items()}
    np.savez(target, **arrays, **firsts)  # type: ignore[arg-type]  # its stub takes keywords for allow_pickle


def ask(peer: Peer, source: Path, target: Path) -> Answer:
    """Runs a peer over the series of a file. Raises PeerMissing."""
    _run(
        [_interpreter(peer), Path(__file__).with_name("peer_detectors.py"), peer.detector, source, target], RUN_LIMIT_S
    )
    with np.load(target) as told:
        places = {name: told[name] for name in told.files if name != "seconds"}
        return Answer(places, float(told["seconds"]))


def install(peer: Peer) -> None:
    """Makes the peer's environment, once. Raises PeerMissing."""
    if (peer.home / "complete").exists():
        return
    try:
        venv.create(peer.home, with_pip=True, clear=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise PeerMissing(f"no environment at {peer.home}: {error}") from error
    pip: list[Path | str] = [_interpreter(peer), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, *peer.requirements], _INSTALL_LIMIT_S)
    if peer.without_dependencies:
        _run([*pip, "--no-deps", peer.without_dependencies], _INSTALL_LIMIT_S)
    (peer.home / "complete").touch()


def _interpreter(peer: Peer) -> Path:
    return peer.home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _run(command: list[Path | str], limit_s: float) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerMissing(str(error)) from error
    if done.returncode:
        raise PeerMissing((done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1])
