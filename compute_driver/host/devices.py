# SPDX-License-Identifier: Apache-2.0
"""The models of network cards, display adapters and sound cards that this host has.

A machine has the same devices on all hosts, but QEMU is built and packaged with fewer, and older
programs lack the newer models.  The emulator and libvirt tell; no version does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from compute_driver import exceptions
from compute_driver.choices import Choice, NicModel, SoundModel, VideoModel
from compute_driver.hardware.description import Hardware
from compute_driver.hardware.machines import Machine
from compute_driver.host import capabilities
from compute_driver.host.capabilities import Capabilities
from compute_driver.host.emulator import Emulators
from compute_driver.host.kind import Kind
from compute_driver.xml.elements import Element

#: QEMU's devices of the sound cards.
_SOUND_CARDS = {
    SoundModel.ICH9: "ich9-intel-hda",
    SoundModel.ICH6: "intel-hda",
    SoundModel.AC97: "AC97",
    SoundModel.ES1370: "ES1370",
    SoundModel.USB: "usb-audio",
    SoundModel.SB16: "sb16",
    SoundModel.VIRTIO: "virtio-sound-pci",
    SoundModel.PCSPK: "isa-pcspk",
}

#: Sound cards that not every supported libvirt can give to a guest.
_ASKED = frozenset({SoundModel.VIRTIO, SoundModel.PCSPK})

#: Debian's package of SPICE and of display adapter ``qxl``, from Debian 13 on.
SPICE_PACKAGE = "qemu-system-modules-spice"

#: Debian packages of devices that are not in the package of the emulator.
_PACKAGES: Mapping[Choice, str] = {VideoModel.QXL: SPICE_PACKAGE}


class Devices:
    """Checks the devices of guests against one host.

    :param able: asks libvirt.
    :param emulators: asks emulators.
    """

    def __init__(self, able: Capabilities, emulators: Emulators) -> None:
        self._capabilities = able
        self._emulators = emulators

    def check(self, hardware: Hardware, kind: Kind, able: Element) -> None:
        """Refuse a model that the emulator or libvirt lacks.

        :param kind: the kind of the guests with the hardware.
        :param able: libvirt's domain capabilities for the kind.
        :raises NotOnThisHost: names the models that the machine has on this host.
        """
        wanted: Iterable[Iterable[Choice]] = (
            [card.model for card in hardware.cards],
            [hardware.display.model],
            hardware.peripherals.sound,
        )
        for models, (field, offered, has) in zip(
            wanted, self._families(hardware.family, able), strict=True
        ):
            for model in models:
                if not has(kind, model):
                    accepted = ", ".join(other for other in offered if has(kind, other))
                    package = _PACKAGES.get(model) if field == "video" else None
                    hint = f"; Debian's package {package} has it" if package else ""
                    raise exceptions.NotOnThisHost(field, str(model), f"{accepted}{hint}")

    def absent(self, machine: Machine, kind: Kind, able: Element) -> Iterator[str]:
        """Yield family and name of each model of a machine that this host lacks.

        :param able: see :meth:`check`.
        """
        for field, offered, has in self._families(machine, able):
            yield from (f"{field} {model}" for model in offered if not has(kind, model))

    def _families(
        self, machine: Machine, able: Element
    ) -> tuple[tuple[str, tuple[Choice, ...], Callable[[Kind, Choice], bool]], ...]:
        def has_video(_kind: Kind, model: Choice) -> bool:
            return model in capabilities.videos(able)

        return (
            ("nic model", machine.nics, self._has_nic),
            ("video", machine.videos, has_video),
            ("sound", machine.sounds, self._has_sound),
        )

    def _has_nic(self, kind: Kind, model: Choice) -> bool:
        # libvirt knows each machine's kind of virtio, and takes every other name for QEMU's.
        return model is NicModel.VIRTIO or model in self._emulators.describe(kind.emulator).devices

    def _has_sound(self, kind: Kind, model: Choice) -> bool:
        card = _SOUND_CARDS[SoundModel(model)]
        there = card in self._emulators.describe(kind.emulator).devices
        return there and (model not in _ASKED or self._capabilities.has_sound(kind, model))
