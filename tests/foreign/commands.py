"""What is asked of the virtual iPhone by clients that know nothing of this project: one row a command.

`{…}` in a command is filled in by the test: udid, address, ipa, bundle, folder, pid.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    WORKS = "works"
    REFUSED = "refused as a phone would"
    """The phone answers, and the answer is no."""
    NOT_OFFERED = "not offered"
    """The virtual phone has no such service."""


@dataclass(frozen=True)
class Command:
    client: str
    line: str
    says: str
    """A regular expression that the client's output must match."""
    verdict: Verdict = Verdict.WORKS
    ios: str = "18.5"
    stream: bool = False
    """Goes on until it is stopped; it is, once it has said what it must."""
    launch: bool = False
    """Needs a running app, whose pid is {pid}."""

    @property
    def name(self) -> str:
        return f"{self.line} (iOS {self.ios})"


_LIBIMOBILEDEVICE = "libimobiledevice 1.3.0"
_INSTALLER = "ideviceinstaller 1.1.1"
_USBMUXD_TOOLS = "libusbmuxd-tools 2.0.2"
_IFUSE = "ifuse 1.1.4"
_TIDEVICE = "tidevice 0.12.11"
_PYMOBILEDEVICE3 = "pymobiledevice3 11.45"

REFUSED, NOT_OFFERED = Verdict.REFUSED, Verdict.NOT_OFFERED

COMMANDS = (
    Command(_LIBIMOBILEDEVICE, "idevice_id -l", "{udid}"),
    Command(_LIBIMOBILEDEVICE, "idevicepair pair", "SUCCESS: Paired"),
    Command(_LIBIMOBILEDEVICE, "idevicepair validate", "SUCCESS: Validated"),
    Command(_LIBIMOBILEDEVICE, "idevicepair systembuid", r"\d"),
    Command(_LIBIMOBILEDEVICE, "ideviceinfo", "ProductType: iPhone17,1"),
    Command(_LIBIMOBILEDEVICE, "ideviceinfo -q com.apple.mobile.battery", "BatteryCurrentCapacity: "),
    Command(_LIBIMOBILEDEVICE, "idevicename", "Virtual iPhone"),
    Command(_LIBIMOBILEDEVICE, "idevicecrashreport -k {folder}", "Done"),
    Command(_LIBIMOBILEDEVICE, "idevicesyslog", "probe", stream=True, launch=True),
    Command(_LIBIMOBILEDEVICE, "idevicediagnostics diagnostics GasGauge", "CycleCount"),
    Command(_LIBIMOBILEDEVICE, "idevicediagnostics ioregentry AppleSmartBattery", "Temperature"),
    Command(_LIBIMOBILEDEVICE, "idevicescreenshot {folder}/screen.png", "(?i)could not start screenshotr", NOT_OFFERED),
    Command(_LIBIMOBILEDEVICE, "idevicebackup2 info {folder}", "(?i)could not start service", NOT_OFFERED),
    Command(_INSTALLER, "ideviceinstaller -i {ipa}", "Install: Complete"),
    Command(_INSTALLER, "ideviceinstaller -l", "{bundle}"),
    Command(_INSTALLER, "ideviceinstaller -i {folder}", "(?i)error|could not", REFUSED),
    Command(_USBMUXD_TOOLS, "stdbuf -oL iproxy {port}:8100", "waiting for connection", stream=True),
    Command(_IFUSE, "ifuse --documents {bundle} {folder}", ""),
    Command(_TIDEVICE, "tidevice --socket {address} list", "{udid}"),
    Command(_TIDEVICE, "tidevice --socket {address} info", "iPhone17,1|iPhone 16 Pro"),
    Command(_TIDEVICE, "tidevice --socket {address} applist", "{bundle}"),
    Command(_TIDEVICE, "tidevice --socket {address} install {ipa}", "Complete"),
    Command(_TIDEVICE, "tidevice --socket {address} fsync -B {bundle} push {file} /Documents/pushed.txt", "push"),
    Command(_TIDEVICE, "tidevice --socket {address} fsync -B {bundle} pull /Documents/pushed.txt {folder}", "pull"),
    Command(_TIDEVICE, "tidevice --socket {address} crashreport --keep {folder}", ""),
    Command(_TIDEVICE, "tidevice --socket {address} battery", "(?i)level|capacity|电池|%"),
    Command(_TIDEVICE, "tidevice --socket {address} launch {bundle}", "(?i)iOS ?17|not support|error", REFUSED),
    Command(_TIDEVICE, "tidevice --socket {address} launch {bundle}", r"PID: \d+", ios="16.7"),
    Command(_TIDEVICE, "tidevice --socket {address} ps", "Probe", ios="16.7", launch=True),
    Command(_TIDEVICE, "tidevice --socket {address} kill {pid}", "", ios="16.7", launch=True),
    Command(
        _TIDEVICE, "tidevice --socket {address} perf -B {bundle} -o memory", "rss_value", ios="16.7", stream=True,
        launch=True,
    ),
    Command(_PYMOBILEDEVICE3, "pymobiledevice3 usbmux list", "{udid}"),
    Command(_PYMOBILEDEVICE3, "pymobiledevice3 lockdown info", "iPhone17,1"),
    Command(_PYMOBILEDEVICE3, "pymobiledevice3 apps list --type User", "{bundle}"),
    Command(_PYMOBILEDEVICE3, "pymobiledevice3 afc ls /", "PublicStaging"),
    Command(_PYMOBILEDEVICE3, "pymobiledevice3 crash ls", ""),
    Command(_PYMOBILEDEVICE3, "pymobiledevice3 syslog live", "probe", stream=True, launch=True),
    Command(_PYMOBILEDEVICE3, "pymobiledevice3 mounter list", ""),
    Command(_PYMOBILEDEVICE3, "pymobiledevice3 diagnostics battery single", "Temperature"),
    Command(_PYMOBILEDEVICE3, "pymobiledevice3 developer dvt proclist", "launchd"),
    Command(_PYMOBILEDEVICE3, "pymobiledevice3 developer dvt launch {bundle}", r"pid \d+"),
    Command(_PYMOBILEDEVICE3, "pymobiledevice3 developer dvt kill {pid}", "", launch=True),
    Command(
        _PYMOBILEDEVICE3, "pymobiledevice3 developer dvt sysmon process single --filter pid={pid}", "physFootprint",
        launch=True,
    ),
    Command(_PYMOBILEDEVICE3, "pymobiledevice3 developer dvt launch com.example.nothing", "(?i)fail|error", REFUSED),
    Command(
        _PYMOBILEDEVICE3, "pymobiledevice3 developer dvt screenshot {folder}/screen.png", "(?i)error|unsupported|not",
        NOT_OFFERED,
    ),
    Command(_PYMOBILEDEVICE3, "pymobiledevice3 developer dvt proclist", "launchd", ios="16.7"),
)  # fmt: skip  # a row a command
