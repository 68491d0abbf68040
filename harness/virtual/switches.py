"""What is broken about a phone at this moment. Services look here before they act; faults turn the switches.

A phone fresh from its box has every switch off, and a service pays one look for that.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from enum import StrEnum


class Harm(StrEnum):
    """What can happen to a file after it has been written."""

    TRUNCATED = "truncated"
    CORRUPTED = "corrupted"


@dataclass(frozen=True)
class FileHarm:
    """What happens to the next file a client writes into an app's container and closes."""

    kind: Harm
    chance: random.Random


# bytes overwritten in a corrupted file; that chance writes what was there already has odds of 2**-128
CORRUPTED_BYTES = 16


def harm_file(descriptor: int, harm: FileHarm) -> None:
    """Cuts the file off, or overwrites a few bytes, at a place that chance chooses. An empty file stays as it is."""
    size = os.fstat(descriptor).st_size
    if size == 0:
        return
    place = harm.chance.randrange(size)
    if harm.kind is Harm.TRUNCATED:
        os.ftruncate(descriptor, place)
    else:
        os.pwrite(descriptor, harm.chance.randbytes(min(CORRUPTED_BYTES, size - place)), place)


@dataclass
class Switches:
    """Everything off means a healthy phone."""

    # service name → the Error lockdownd answers StartService with
    refused_services: dict[str, str] = field(default_factory=dict)
    # services that take a connection and never say a word
    hanging_services: set[str] = field(default_factory=set)
    # the AFC status the next write (or what is left of the present one) ends with
    write_status: int | None = None
    file_harm: FileHarm | None = None
    # what apps send is swallowed on its way to the host
    app_silent: bool = False
    # goes into an app's stream before its next bytes
    app_garbage: bytes = b""
    # RemoteXPC services grant HTTP/2's smallest windows and hang up on a client that oversteps them
    strict_http2_windows: bool = False
    sysmontap_silent: bool = False
    # None: as the client asked
    sysmontap_interval_s: float | None = None

    def reset(self) -> None:
        """Everything off."""
        self.__dict__.update(Switches().__dict__)
