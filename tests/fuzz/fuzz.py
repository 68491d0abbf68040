"""Coverage-guided fuzzing of one codec: `python tests/fuzz/fuzz.py TARGET [libFuzzer's options]`.

Needs atheris (`pip install '.[fuzz]'`). New inputs go to the first folder named, by default a fresh one that is
thrown away; the committed corpus is always read. README.md beside this file tells how to keep what was found.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]  # ships no types; only the fuzz extra has it

HERE = Path(__file__).resolve().parent
INSTRUMENTED = ["harness", "bpylist2", "plistlib", "hyperframe"]
HANG_S = 10
MEMORY_LIMIT_MIB = 1024


def main(arguments: list[str]) -> None:
    """Runs libFuzzer until its own limit (`-max_total_time=60`) or the first broken promise."""
    sys.path.insert(0, str(HERE.parents[1]))
    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.fuzz.targets import INPUT_LIMIT_BYTES, TARGETS
    if not arguments or arguments[0] not in TARGETS:
        sys.exit(f"name one of: {', '.join(TARGETS)}")
    name, *options = arguments
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as scratch:
        seeds = Path(scratch) / "seeds"
        seeds.mkdir()
        for index, seed in enumerate(target.seeds()):
            (seeds / str(index)).write_bytes(seed)
        folders = [option for option in options if not option.startswith("-")]
        if not folders:
            found = Path(scratch) / "found"
            found.mkdir()
            folders = [str(found)]
        corpus = HERE / "corpus" / name
        if corpus.is_dir() and str(corpus) not in {str(Path(folder).resolve()) for folder in folders}:
            folders.append(str(corpus))
        limits = [f"-timeout={HANG_S}", f"-rss_limit_mb={MEMORY_LIMIT_MIB}", f"-max_len={INPUT_LIMIT_BYTES}"]
        flags = [option for option in options if option.startswith("-")]
        # merging makes libFuzzer start itself again, through a shell, by its first argument
        again = shlex.join([sys.executable, str(HERE / "fuzz.py"), name])
        atheris.Setup([again, *limits, *flags, *folders, str(seeds)], target.run)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
