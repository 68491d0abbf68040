"""Unpacking of packages nobody vouches for."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from harness.virtual import ipa
from harness.virtual.apps import BadBundle


def pack(folder: Path, entries: list[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    package = folder / "app.ipa"
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in entries:
            archive.writestr(entry, content)
    return package


def with_mode(name: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    return entry


def test_a_bundle_is_unpacked_and_what_lies_beside_it_is_not(tmp_path: Path) -> None:
    package = pack(
        tmp_path,
        [
            (with_mode("Payload/A.app/A", 0o100755), b"#!"),
            ("Payload/A.app/deep/er/file", b"content"),
            ("iTunesMetadata.plist", b""),
        ],
    )
    bundle = ipa.unpack(package, tmp_path / "out")
    assert bundle == tmp_path / "out" / "A.app"
    assert (bundle / "A").stat().st_mode & 0o111
    assert (bundle / "deep/er/file").read_bytes() == b"content"
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["A.app"]


@pytest.mark.parametrize(
    "entry",
    [
        "Payload/A.app/../../evil",
        "/Payload/A.app/evil",
        "Payload\\A.app\\evil",
        "Payload/B.app/second",
        "Payload/A.app/A",
        "Payload/A.app/A/below-a-file",
        with_mode("Payload/A.app/link", 0o120777),
        with_mode("Payload/A.app/fifo", 0o010644),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")  # that is what one of the cases is about
def test_entries_that_do_not_belong_are_refused(tmp_path: Path, entry: str | zipfile.ZipInfo) -> None:
    package = pack(tmp_path, [("Payload/A.app/A", b"#!"), (entry, b"/etc/passwd")])
    with pytest.raises(BadBundle):
        ipa.unpack(package, tmp_path / "out")
    assert not list(tmp_path.rglob("evil"))


def test_a_package_that_swells_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipa, "UNPACKED_LIMIT_BYTES", 1024 * 1024)
    package = pack(tmp_path, [("Payload/A.app/A", bytes(600 * 1024)), ("Payload/A.app/B", bytes(600 * 1024))])
    with pytest.raises(BadBundle, match="more than 1048576"):
        ipa.unpack(package, tmp_path / "out")


@pytest.mark.parametrize("entries", [[], [("Payload/file", b"")], [("A.app/A", b"")]])
def test_a_package_without_a_bundle_is_refused(
    tmp_path: Path, entries: list[tuple[str | zipfile.ZipInfo, bytes]]
) -> None:
    with pytest.raises(BadBundle, match="Payload"):
        ipa.unpack(pack(tmp_path, entries), tmp_path / "out")
