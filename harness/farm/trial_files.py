"""A trial's files on their way from a host to the hub: their names and bounds, the same at both ends."""

from __future__ import annotations

TELEMETRY = "telemetry"
"""Name of the file with the trial's readings; the others are named as below the trial's artifacts folder."""
MAX_TRIAL_FILES = 1000
MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_TRIAL_BYTES = 1024 * 1024 * 1024
"""Of all files of a trial together."""
MAX_PARTS = 4
"""Of a name, between slashes, ..."""
MAX_PART_BYTES = 200
"""... and of each, so that a disk takes it."""
MAX_NAME_CHARS = 300


def is_file_name(name: str) -> bool:
    """Whether it is `telemetry` or a plain relative path; one that the hub does not take stays on its host."""
    parts = name.split("/")
    plain = all(
        # whatever is no Unicode is not printable either
        part not in ("", ".", "..") and part.isprintable() and "\\" not in part and len(part.encode()) <= MAX_PART_BYTES
        for part in parts
    )
    return plain and len(parts) <= MAX_PARTS and len(name) <= MAX_NAME_CHARS
