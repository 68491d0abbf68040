"""Which root hub a phone is on, from what Linux shows of its USB devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.phone import PhoneFacts, PhoneKind
from harness.device.usb import root_hub

UDID = "00008140-000A1B2C3D4E5F60"


def facts(udid: str = UDID, kind: PhoneKind = PhoneKind.PHYSICAL) -> PhoneFacts:
    return PhoneFacts(
        udid=udid, kind=kind, product_type="iPhone17,1", os_version="18.5", os_build="22F76", name="a", settings=""
    )


def device(folder: Path, name: str, **files: str) -> None:
    (folder / name).mkdir(parents=True)
    for file, content in files.items():
        (folder / name / file).write_text(content)


def test_linux_tells_the_bus(tmp_path: Path) -> None:
    device(tmp_path, "usb1", busnum="1\n")
    device(tmp_path, "1-4", serial="0001\n", busnum="1\n")
    device(tmp_path, "3-2.1", serial="00008140000A1B2C3D4E5F60\n", busnum="3\n")
    assert root_hub(facts(), tmp_path) == "bus-3"
    assert root_hub(facts("a" * 40), tmp_path) == "host", "not among them"


@pytest.mark.parametrize("busnum", ["", "../3\n", "12345\n"])
def test_what_is_no_bus_is_the_whole_host(tmp_path: Path, busnum: str) -> None:
    device(tmp_path, "3-2", serial="00008140000a1b2c3d4e5f60\n", busnum=busnum)
    assert root_hub(facts(), tmp_path) == "host"


def test_without_sysfs_the_host_is_one_hub(tmp_path: Path) -> None:
    assert root_hub(facts(), tmp_path / "none") == "host"


def test_a_virtual_phone_hangs_on_its_usbmuxd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", "127.0.0.1:27015")
    assert root_hub(facts(kind=PhoneKind.VIRTUAL), tmp_path) == "virtual-127-0-0-1-27015"
    monkeypatch.delenv("USBMUXD_SOCKET_ADDRESS")
    assert root_hub(facts(kind=PhoneKind.VIRTUAL), tmp_path) == "virtual"
