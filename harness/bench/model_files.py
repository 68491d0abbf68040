"""Model files on this machine's disk, for `core.model_file`, which does no I/O itself."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from harness.core.errors import UsageError
from harness.core.model_file import ModelFile, ModelFileError, read_model_file


class FileSource:
    """An open file as a `Source`."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._file = file
        self.name = str(path)
        self.size_bytes = os.fstat(file.fileno()).st_size

    def read(self, offset: int, size_bytes: int) -> bytes:
        try:
            return os.pread(self._file.fileno(), size_bytes, offset)
        except OSError as error:
            problem = f"cannot be read at byte {offset}: {error.strerror}"
            raise ModelFileError(self.name, "", problem, "copy it to a sound disk") from error


def inspect_model(path: Path, *, digest: bool = False) -> ModelFile:
    """What the file says of itself; only its tables are read, unless its `digest` is asked for, too.

    Raises ModelFileError (a UsageError) for what is no model, and UsageError for a file that cannot be opened.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; give the path of a model file") from error
    with file:
        model = read_model_file(FileSource(path, file))
        if not digest:
            return model
        return replace(model, sha256=hashlib.file_digest(file, "sha256").hexdigest())
