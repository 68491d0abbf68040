"""Model files on the disk."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest

from harness.bench.model_files import inspect_model
from harness.core.errors import UsageError
from harness.core.model_file import ModelFileError, ModelFormat
from tests.model_files import small_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "named.task"
    path.write_bytes(small_model())
    return path


def test_the_content_tells_the_format_and_not_the_name(model: Path) -> None:
    found = inspect_model(model)
    assert found.format is ModelFormat.TFLITE
    assert found.size_bytes == model.stat().st_size
    assert found.sha256 is None


def test_the_digest_is_of_the_whole_file(model: Path) -> None:
    assert inspect_model(model, digest=True).sha256 == hashlib.sha256(model.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["absent.task", "."])
def test_what_cannot_be_opened_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        inspect_model(tmp_path / name)


def test_a_broken_disk_is_told(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int, size: int, offset: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("harness.bench.model_files.os.pread", broken)
    with pytest.raises(ModelFileError, match=r"cannot be read at byte 0: Input/output error"):
        inspect_model(model)
