"""Chooses what is worth keeping of a fuzzing run: `python tests/fuzz/keep.py TARGET FOLDER`.

libFuzzer's merge picks the inputs that add coverage to the committed corpus; the smallest are copied into it until
the target's share of the repository is used up. Regressions stay whatever they weigh.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHARE_BYTES = 12 * 1024
MERGE_LIMIT_S = 300


def main(arguments: list[str]) -> None:
    """Rebuilds `corpus/TARGET` from itself and FOLDER."""
    if len(arguments) != 2:
        sys.exit("usage: keep.py TARGET FOLDER")
    name, found = arguments[0], Path(arguments[1])
    corpus = HERE / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        chosen = Path(scratch) / "chosen"
        chosen.mkdir()
        command = [sys.executable, str(HERE / "fuzz.py"), name, "-merge=1", str(chosen), str(found)]
        subprocess.run(command, check=True, timeout=MERGE_LIMIT_S, stderr=subprocess.DEVNULL)
        inputs = sorted((file.read_bytes() for file in chosen.iterdir()), key=len)
    for old in corpus.iterdir():
        if not old.name.startswith("regression-"):
            old.unlink()
    left = SHARE_BYTES
    for data in inputs:
        left -= len(data)
        if left < 0:
            break
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    kept = list(corpus.iterdir())
    print(f"{name}: {len(kept)} inputs, {sum(file.stat().st_size for file in kept)} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
