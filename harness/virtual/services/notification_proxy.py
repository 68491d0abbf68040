"""com.apple.mobile.notification_proxy and its insecure sister: Darwin notifications, both ways.

The phone itself posts those of NAMES; everything a client posts reaches the clients that observe it. Notifications
that come faster than a client reads are dropped, oldest first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from harness.virtual.events import Event, NotificationPosted
from harness.virtual.services.conversation import receive_plist, send_plist, until_first
from harness.virtual.wire.plist import Plist, PlistFrameError

if TYPE_CHECKING:
    from harness.virtual.phone import Phone
    from harness.virtual.stream import Stream

# libimobiledevice's notification_proxy.h lists these and more
APP_INSTALLED = "com.apple.mobile.application_installed"
APP_UNINSTALLED = "com.apple.mobile.application_uninstalled"
DEVICE_NAME_CHANGED = "com.apple.mobile.lockdown.device_name_changed"
DEVELOPER_IMAGE_MOUNTED = "com.apple.mobile.developer_image_mounted"
NAMES = (APP_INSTALLED, APP_UNINSTALLED, DEVICE_NAME_CHANGED, DEVELOPER_IMAGE_MOUNTED)

NAME_LIMIT_CHARS = 255
OBSERVED_LIMIT = 1000
QUEUE_LIMIT = 256
_PROXY_DEATH: Plist = {"Command": "ProxyDeath"}


async def serve(stream: Stream, phone: Phone) -> None:
    """Both halves of one client's conversation: what it asks for, and what it is told."""
    client = _Client(stream, phone)
    unsubscribe = phone.events.subscribe(NotificationPosted, client.hear)
    try:
        await until_first(client.listen(), client.tell())
    finally:
        unsubscribe()


class _Client:
    def __init__(self, stream: Stream, phone: Phone) -> None:
        self._stream = stream
        self._phone = phone
        self._observed: set[str] = set()
        # one sender for everything: two sends at once could mix their bytes
        self._outbox: deque[Plist] = deque(maxlen=QUEUE_LIMIT)
        self._filled = asyncio.Event()

    def hear(self, event: Event) -> None:
        if isinstance(event, NotificationPosted) and event.name in self._observed:
            self._post({"Command": "RelayNotification", "Name": event.name})

    async def listen(self) -> None:
        """Until the client goes, or sends what is no property list."""
        while True:
            try:
                request = await receive_plist(self._stream)
            except PlistFrameError:
                return
            if request is None:
                return
            self._obey(request)

    async def tell(self) -> None:
        """Sends what is to be sent, to the death of the proxy."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._outbox:
                message = self._outbox.popleft()
                await send_plist(self._stream, message)
                if message is _PROXY_DEATH:
                    return

    def _obey(self, request: Plist) -> None:
        """There is no answer to any request, not even to a wrong one."""
        command, name = request.get("Command"), request.get("Name")
        if command == "Shutdown":
            self._post(_PROXY_DEATH)
        if not isinstance(name, str) or not 0 < len(name) <= NAME_LIMIT_CHARS:
            return
        if command == "ObserveNotification" and len(self._observed) < OBSERVED_LIMIT:
            self._observed.add(name)
        elif command == "PostNotification":
            self._phone.events.emit(NotificationPosted(name))

    def _post(self, message: Plist) -> None:
        self._outbox.append(message)
        self._filled.set()
