"""What a phone says of itself, by lockdownd and its battery's registry entry."""

from __future__ import annotations

import time
from typing import Any

from packaging.version import Version

from harness.device.interface import PhoneCondition
from harness.device.tidevice_.phone import LABEL, ServiceRefused, TidevicePhone
from harness.device.values import celsius, clock_offset_ns, percent, whole, yes_or_no

BATTERY_DOMAIN = "com.apple.mobile.battery"
DISK_DOMAIN = "com.apple.disk_usage"
DEVELOPER_MODE_DOMAIN = "com.apple.security.mac.amfi"
DEVELOPER_MODE_SINCE = Version("16.0")
PERSONALIZED_IMAGE_SINCE = Version("17.0")
IMAGE_SERVICE = "com.apple.mobile.mobile_image_mounter"


def read_condition(phone: TidevicePhone, version: Version) -> PhoneCondition:
    """Blocking. What the phone does not tell is None."""
    with phone.create_session() as session:
        sent_ns = time.time_ns()
        unix_s = _value(session, None, "TimeIntervalSince1970")
        offset_ns = clock_offset_ns(unix_s, sent_ns=sent_ns, received_ns=time.time_ns())
        battery = _domain(session, BATTERY_DOMAIN)
        disk = _domain(session, DISK_DOMAIN)
        locked = yes_or_no(_value(session, None, "PasswordProtected"))
        developer_mode = None
        if version >= DEVELOPER_MODE_SINCE:
            developer_mode = yes_or_no(_value(session, DEVELOPER_MODE_DOMAIN, "DeveloperModeStatus"))
    return PhoneCondition(
        battery_celsius=_battery_celsius(phone),
        battery_percent=percent(battery.get("BatteryCurrentCapacity")),
        charging=yes_or_no(battery.get("BatteryIsCharging")),
        free_bytes=whole(disk.get("TotalDataAvailable")),
        locked=locked,
        developer_mode=developer_mode,
        developer_image=None if developer_mode is False else _developer_image(phone, version),
        clock_offset_ns=offset_ns,
    )


def _value(session: Any, domain: str | None, key: str | None) -> Any:
    """None where lockdownd has no such value."""
    request = {"Request": "GetValue", "Label": LABEL}
    request |= {name: value for name, value in (("Domain", domain), ("Key", key)) if value is not None}
    return session.send_recv_packet(request).get("Value")


def _domain(session: Any, domain: str) -> dict[str, Any]:
    values = _value(session, domain, None)
    return values if isinstance(values, dict) else {}


def _battery_celsius(phone: TidevicePhone) -> float | None:
    answer: Any = phone.get_io_registry("AppleSmartBattery")
    for key in ("Diagnostics", "IORegistry"):
        answer = answer.get(key) if isinstance(answer, dict) else None
    return celsius(answer.get("Temperature")) if isinstance(answer, dict) else None


def _developer_image(phone: TidevicePhone, version: Version) -> bool | None:
    """tidevice's own question knows only the images of before iOS 17."""
    kind = "Personalized" if version >= PERSONALIZED_IMAGE_SINCE else "Developer"
    try:
        mounter = phone.start_service(IMAGE_SERVICE)
    except ServiceRefused:
        return None
    answer = mounter.send_recv_packet({"Command": "LookupImage", "ImageType": kind})
    # older phones only send a signature, newer ones say it in a word
    if "Error" in answer or not {"ImagePresent", "ImageSignature"} & answer.keys():
        return None
    return bool(answer.get("ImagePresent", answer.get("ImageSignature")))
