# SPDX-License-Identifier: Apache-2.0
"""The value of a field of the hardware that several properties set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from compute_driver import exceptions

#: The ranks of the names of the architecture; the name with the highest rank wins.
ARCHITECTURES = {"architecture": 1, "hw_architecture": 2, "hw_emulation_architecture": 3}


@dataclasses.dataclass(frozen=True)
class _Given:
    """One property as the user wrote it.

    :param name: its name; extra specs of flavors have a scope.
    :param text: its value.
    :param value: the value of one field that the property sets.
    """

    name: str
    text: str
    value: Any

    @property
    def of_flavor(self) -> bool:
        """Whether the property is an extra spec of a flavor."""
        return ":" in self.name or self.name == "hide_hypervisor_id"


def join(settings: Iterable[tuple[str, str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Return the values of all fields.

    :param settings: name and text of each property, and the fields that the property sets.
    :raises InvalidParameter: if two values of a field contradict each other.
    """
    values: dict[str, Any] = {}
    sources: dict[str, _Given] = {}
    for name, text, fields in sorted(settings, key=lambda setting: _rank(setting[0])):
        for field, value in fields.items():
            now = _Given(name, text, value)
            if field in values and _rank(name) == _rank(sources[field].name):
                earlier = dataclasses.replace(sources[field], value=values[field])
                value = _together(earlier, now, field)
            values[field], sources[field] = value, now
    _check_video_ram(values)
    return values


def _rank(name: str) -> int:
    return ARCHITECTURES.get(name, 0)


def _together(earlier: _Given, now: _Given, field: str) -> Any:
    if isinstance(now.value, tuple):
        return tuple(dict.fromkeys((*earlier.value, *now.value)))
    join_values = _JOINS.get(field, _same)
    if isinstance(now.value, dict):
        both = {
            key: join_values(
                dataclasses.replace(earlier, value=earlier.value[key]),
                dataclasses.replace(now, value=now.value[key]),
            )
            for key in earlier.value.keys() & now.value.keys()
        }
        return {**earlier.value, **now.value, **both}
    return join_values(earlier, now)


def _same(earlier: _Given, now: _Given) -> Any:
    if earlier.value != now.value:
        accepted = f"a value that agrees with {earlier.name}={earlier.text}"
        raise exceptions.InvalidParameter(now.name, now.text, accepted)
    return now.value


def _least(earlier: _Given, now: _Given) -> Any:
    return min(earlier.value, now.value)


def _any(earlier: _Given, now: _Given) -> bool:
    return bool(earlier.value or now.value)


def _image_wins(earlier: _Given, now: _Given) -> Any:
    if earlier.of_flavor == now.of_flavor:
        return _same(earlier, now)
    return earlier.value if now.of_flavor else now.value


def _image_up_to_flavor(earlier: _Given, now: _Given) -> Any:
    value = _image_wins(earlier, now)
    flavor, image = (earlier, now) if earlier.of_flavor else (now, earlier)
    if image.value > flavor.value:
        accepted = f"at most {flavor.text}, as {flavor.name} says"
        raise exceptions.InvalidParameter(image.name, image.text, accepted)
    return value


#: Functions that join several values of one field, where the values can differ.
#: Source: nova's ``virt/hardware.py`` and ``virt/libvirt/driver.py``.
_JOINS: Mapping[str, Callable[[_Given, _Given], Any]] = {
    "topology_limits": _least,
    "video_ram_limit_mib": _least,
    "hide_hypervisor": _any,
    "boot_menu": _image_wins,
    "watchdog": _image_wins,
    "serial_ports": _image_up_to_flavor,
}


def _check_video_ram(values: Mapping[str, Any]) -> None:
    wanted, limit = values.get("video_ram_mib"), values.get("video_ram_limit_mib")
    if wanted is not None and limit is not None and wanted > limit:
        accepted = f"at most {limit}, which hw_video:ram_max_mb of the flavor allows"
        raise exceptions.InvalidParameter("hw_video_ram", str(wanted), accepted)
