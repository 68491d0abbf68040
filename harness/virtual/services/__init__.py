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
    dtservicehub,
    heartbeat,
    house_arrest,
    image_mounter,
    installation_proxy,
    notification_proxy,
    os_trace,
    syslog,
)

CLASSIC: dict[str, Handler] = {
    "com.apple.afc": afc.serve,
    "com.apple.crashreportcopymobile": crash_reports.serve_files,
    "com.apple.crashreportmover": crash_reports.serve_mover,
    # which of these two a phone has depends on its iOS: see `availability`
    "com.apple.instruments.remoteserver.DVTSecureSocketProxy": dtservicehub.serve,
    "com.apple.internal.devicecompute.CoreDeviceProxy": core_device_proxy.serve,
    "com.apple.mobile.diagnostics_relay": diagnostics.serve,
    "com.apple.mobile.heartbeat": heartbeat.serve,
    "com.apple.mobile.house_arrest": house_arrest.serve,
    "com.apple.mobile.insecure_notification_proxy": notification_proxy.serve,
    "com.apple.mobile.installation_proxy": installation_proxy.serve,
    "com.apple.mobile.mobile_image_mounter": image_mounter.serve,
    "com.apple.mobile.notification_proxy": notification_proxy.serve,
    "com.apple.os_trace_relay": os_trace.serve,
    "com.apple.syslog_relay": syslog.serve,
}
