"""The phone's lockdown services, one module each, and the table that names them.

A handler speaks with one client over a `Stream` and returns when the conversation is over; StreamClosed may escape.
"""

from __future__ import annotations

from harness.virtual.phone import Handler
from harness.virtual.services import (
    afc,
    core_device_proxy,
    crash_reports,
    diagnostics,
    house_arrest,
    installation_proxy,
)

CLASSIC: dict[str, Handler] = {
    "com.apple.afc": afc.serve,
    "com.apple.crashreportcopymobile": crash_reports.serve_files,
    "com.apple.crashreportmover": crash_reports.serve_mover,
    "com.apple.internal.devicecompute.CoreDeviceProxy": core_device_proxy.serve,
    "com.apple.mobile.diagnostics_relay": diagnostics.serve,
    "com.apple.mobile.house_arrest": house_arrest.serve,
    "com.apple.mobile.installation_proxy": installation_proxy.serve,
}
