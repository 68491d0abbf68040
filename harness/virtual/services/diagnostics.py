"""com.apple.mobile.diagnostics_relay: battery readings (with its temperature), gas gauge, MobileGestalt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.virtual.services.conversation import receive_plist, send_plist
from harness.virtual.services.values import all_values
from harness.virtual.wire.plist import Plist, PlistFrameError

if TYPE_CHECKING:
    from harness.virtual.phone import Phone
    from harness.virtual.state import Battery, PhoneState
    from harness.virtual.stream import Stream

_BATTERY_ENTRIES = frozenset({"AppleSmartBattery", "IOPMPowerSource", "AppleARMPMUCharger"})
_POWER_REQUESTS = frozenset({"Restart", "Shutdown", "Sleep"})


async def serve(stream: Stream, phone: Phone) -> None:
    """Answers requests until Goodbye or until the client goes."""
    while True:
        try:
            request = await receive_plist(stream)
        except PlistFrameError:
            return
        if request is None:
            return
        await send_plist(stream, _answer(request, phone))
        if request.get("Request") == "Goodbye":
            return


def _answer(request: Plist, phone: Phone) -> dict[str, Any]:
    kind = request.get("Request")
    if kind == "Goodbye":
        return {"Status": "Success"}
    if kind == "IORegistry":
        return _success(_registry(request, phone.state))
    if kind in ("All", "GasGauge"):
        return _success({"GasGauge": _gas_gauge(phone.state.battery)})
    if kind == "MobileGestalt":
        return _success({"MobileGestalt": _gestalt(request, phone)})
    if kind in _POWER_REQUESTS:
        # switching itself off is nothing a virtual phone does for a client; it says so instead of pretending
        return {"Status": "Failure", "Error": "a virtual phone is switched by the process that runs it"}
    return {"Status": "UnknownRequest"}


def _success(diagnostics: dict[str, Any]) -> dict[str, Any]:
    return {"Status": "Success", "Diagnostics": diagnostics}


def _registry(request: Plist, state: PhoneState) -> dict[str, Any]:
    if {request.get("EntryClass"), request.get("EntryName")} & _BATTERY_ENTRIES:
        return {"IORegistry": battery_registry(state.battery, state.unix_time())}
    if request.get("CurrentPlane") is not None:
        return {"IORegistry": {"name": "Root", "children": []}}
    return {}


def battery_registry(battery: Battery, unix_time: float) -> dict[str, Any]:
    """The IORegistry entry of the battery; `Temperature` is in hundredths of a degree Celsius."""
    current = battery.current_milliamperes if battery.charging else -battery.current_milliamperes
    return {
        "AbsoluteCapacity": battery.percent,
        "AppleRawCurrentCapacity": battery.full_capacity_mah * battery.percent // 100,
        "AppleRawMaxCapacity": battery.full_capacity_mah,
        "AtCriticalLevel": False,
        "BatteryInstalled": True,
        "BootVoltage": battery.voltage_millivolts,
        "CurrentCapacity": battery.percent,
        "CycleCount": battery.cycle_count,
        "DesignCapacity": battery.design_capacity_mah,
        "ExternalConnected": True,
        "FullyCharged": battery.percent == 100,
        "InstantAmperage": current,
        "IsCharging": battery.charging,
        "MaxCapacity": 100,
        "NominalChargeCapacity": battery.full_capacity_mah,
        # a made-up number: clients print it, nothing depends on it
        "Serial": "VIRTUALBATTERY000",
        "Temperature": round(battery.temperature_celsius * 100),
        "UpdateTime": int(unix_time),
        "Voltage": battery.voltage_millivolts,
    }


def _gas_gauge(battery: Battery) -> dict[str, Any]:
    return {
        "Status": "Success",
        "CycleCount": battery.cycle_count,
        "DesignCapacity": battery.design_capacity_mah,
        "FullChargeCapacity": battery.full_capacity_mah,
    }


def _gestalt(request: Plist, phone: Phone) -> dict[str, Any]:
    known = all_values(phone, paired=True)
    keys = request.get("MobileGestaltKeys")
    keys = [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []
    return {"Status": "Success", **{key: known[key] for key in keys if key in known}}
