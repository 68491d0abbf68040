"""Several phones in one process: which ones were asked for, where each lives, and how they begin and end together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.virtual.home import Home, open_home
from harness.virtual.profiles import BadProfile, check_profile, make_state, parse_settings

if TYPE_CHECKING:
    from harness.virtual.phone import Phone
    from harness.virtual.server import Usbmuxd

PHONES_LIMIT = 64
"""As many as one process hosts: beyond it a single interpreter is the bottleneck, start another one."""


@dataclass(frozen=True)
class PhonePlan:
    """One phone to be: its profile and its settings."""

    profile: str
    settings: Mapping[str, str]


@dataclass(frozen=True)
class HousedPhone:
    """A planned phone that has a home, locked for it."""

    plan: PhonePlan
    home: Home


def plan_phones(profiles: Sequence[str], count: int, common: Sequence[str]) -> list[PhonePlan]:
    """`count` phones of each profile word, `NAME[,key=value…]`, each with the `common` settings too; BadProfile.

    The words of one phone win over the common ones. Phones that share a seed get identities of their own.
    """
    if not 1 <= count <= PHONES_LIMIT or count * len(profiles) > PHONES_LIMIT:
        raise BadProfile(f"one process hosts 1…{PHONES_LIMIT} phones, not {count * len(profiles)}: start several")
    plans: list[PhonePlan] = []
    shared = parse_settings(list(common))
    seeds: dict[str, int] = {}
    for word in profiles:
        name, *own = word.split(",")
        check_profile(name)
        for _ in range(count):
            settings = {**shared, **parse_settings(own)}
            if (seed := settings.get("seed")) is not None:
                seeds[seed] = seeds.get(seed, 0) + 1
                settings["seed"] = seed if seeds[seed] == 1 else f"{seed}/{seeds[seed]}"
            plans.append(PhonePlan(name, settings))
    udids = [plan.settings["udid"] for plan in plans if "udid" in plan.settings]
    if len(set(udids)) != len(udids):
        raise BadProfile("two phones cannot have one udid: give it to one, as --profile NAME,udid=…")
    return plans


def house_phones(plans: Sequence[PhonePlan], folder: Path | None, homes: ExitStack) -> list[HousedPhone]:
    """A home for each: `folder` for a single phone, `folder`/1, 2… for several, free slots of its own without one.

    Every setting is checked, so that nothing is started in vain: BadProfile, HomeTaken. `homes` releases them.
    """
    housed = []
    for number, plan in enumerate(plans, 1):
        path = None if folder is None else folder if len(plans) == 1 else folder / str(number)
        home = open_home(plan.profile, path)
        homes.callback(home.release)
        make_state(plan.profile, plan.settings, home.path, home.identity)
        housed.append(HousedPhone(plan, home))
    return housed


async def start_phones(housed: Sequence[HousedPhone], stack: AsyncExitStack) -> tuple[Usbmuxd, list[Phone]]:
    """Switches all of them on, each with its control socket, none on its cable yet; `stack` ends everything.

    usbmuxd does not listen yet, but its end is already seen to.
    """
    # imported late: `--help` and wrong use should not wait for cryptography and every service
    from harness.virtual.control_socket import ControlSocket
    from harness.virtual.phone import Phone
    from harness.virtual.server import Usbmuxd
    from harness.virtual.services import CLASSIC
    from harness.virtual.usecases import Usecases

    phones = []
    for one in housed:
        state = make_state(one.plan.profile, one.plan.settings, one.home.path, one.home.identity)
        phone = Phone(state, CLASSIC)
        stack.push_async_callback(phone.close)
        phone.switch_on()
        phones.append(phone)
    usbmuxd = Usbmuxd(phones)
    stack.push_async_callback(usbmuxd.close)
    for phone in phones:
        usecases = Usecases(phone, usbmuxd)
        stack.push_async_callback(usecases.close)
        control = ControlSocket(usecases, phone.state.home / "control.sock")
        stack.push_async_callback(control.close)
        await control.start()
        usecases.arm_faults()
    return usbmuxd, phones
