# SPDX-License-Identifier: Apache-2.0
"""Bad input is refused with a helpful message, and leaves nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from compute_driver import exceptions
from compute_driver.choices import (
    DiskBus,
    DiskFormat,
    Firmware,
    InterfaceKind,
    PowerState,
    RebootKind,
    VirtioForm,
)
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.guest import (
    GIB,
    MAX_DISK_BYTES,
    MIB,
    ConfigDrive,
    Cpu,
    DirectBoot,
    Disk,
    Image,
    Interface,
)
from compute_driver.hardware import architecture
from compute_driver.host import capabilities
from compute_driver.system import tools
from tests import guests
from tests.functional import base, tiny

HUGE = 10**15

#: Descriptions that no host accepts, by the refused field.
NEVER: dict[str, tuple[Callable[[], object], ...]] = {
    "disk": (
        lambda: Disk(size_bytes=-512),
        lambda: Disk(size_bytes=513),
        lambda: Disk(size_bytes=MAX_DISK_BYTES + 512),
    ),
    "ephemeral": (lambda: tiny.guest(ephemerals=(Disk(),)),),
    "swap": (lambda: tiny.guest(swap=Disk(size_bytes=512)),),
    "memory": tuple(lambda n=n: tiny.guest(memory_mib=n) for n in (-1, 0, HUGE, 1.5)),
    "vcpus": tuple(lambda n=n: tiny.guest(vcpus=n) for n in (-1, 0, 5000, True)),
    "uuid": tuple(
        lambda u=u: tiny.guest(uuid=u)
        for u in ("", "../../etc", "0" * 32, "ABCDEF00-0000-4000-8000-000000000000")
    ),
    "name": tuple(
        lambda n=n: tiny.guest(name=n)
        for n in ("", "a/b", "a\nb", "a\x00b", "x" * 300, "ä" * 65, " a", ".", "..", "-a", "\ud800")
    ),
}

#: Allowed names with difficult characters.
NAMES = ("""it's "quoted" <&> ]]>""", "güäst 東京 🐧", "a,b=c;$(d)`e`%s\\", "x" * 128, "*")


class BadInputTestCase(tiny.TinyTestCase):
    """A test beside another running guest, which must stay as it is."""

    def setUp(self) -> None:
        super().setUp()
        self.scratch = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.scratch)
        self.spawn_tiny()

    def refused(
        self,
        kind: type[exceptions.ComputeDriverError],
        *words: str,
        driver: LibvirtDriver | None = None,
        **changes: Any,
    ) -> exceptions.ComputeDriverError:
        """Expect that a spawn is refused with words in the message, and changes nothing."""
        described = tiny.guest(**changes)
        before = tiny.kept()
        with self.assertRaises(kind) as caught:
            (driver or self.driver).spawn(described)
            (driver or self.driver).destroy(
                described.uuid
            )  # only after a spawn that was not refused
        for word in words:
            self.assertIn(word, str(caught.exception))
        self.assertEqual(before, tiny.kept())
        return caught.exception

    def wrong(self, field: str, *words: str, **changes: Any) -> None:
        """Expect that a spawn is refused because of one field."""
        error = self.refused(exceptions.InvalidParameter, *words, **changes)
        assert isinstance(error, exceptions.InvalidParameter)
        self.assertEqual(field, error.field)
        self.assertTrue(error.accepted)
        self.assertIn(error.accepted, str(error))


class TestDescription(BadInputTestCase):
    def test_values_that_never_work(self) -> None:
        for field, makers in NEVER.items():
            for number, make in enumerate(makers):
                with (
                    self.subTest(field, number=number),
                    self.assertRaises(exceptions.InvalidParameter) as caught,
                ):
                    make()
                self.assertEqual(field, caught.exception.field)
                self.assertTrue(caught.exception.accepted)

    def test_empty_disk_without_a_size(self) -> None:
        self.wrong("disk", root=Disk())

    def test_disk_that_no_file_can_hold(self) -> None:
        largest = "the largest file of the file system of"
        self.wrong("ephemeral", largest, ephemerals=(Disk(size_bytes=MAX_DISK_BYTES),))
        self.wrong("swap", largest, swap=Disk(size_bytes=MAX_DISK_BYTES))

    def test_more_memory_than_the_host_has(self) -> None:
        self.wrong("memory", "at most", memory_mib=32 * MIB)

    def test_more_processors_than_the_machine_takes(self) -> None:
        self.wrong("vcpus", "at most 255", vcpus=256)
        self.wrong("vcpus", "at most 255", vcpus=256, machine="pc")

    def test_unknown_machine_and_processor(self) -> None:
        self.wrong("machine", "accepted: q35, ", machine="q36")
        self.wrong("machine", "accepted: pc, ", machine="isapc")
        self.wrong("cpu", "accepted: Haswell, ", cpu=Cpu(model="Haswel"))
        self.wrong("cpu", "accepted: maximum, ", cpu=Cpu(model="max"))
        self.wrong("cpu feature", "avx2", cpu=Cpu(enable=("avx3",)))
        self.wrong("architecture", "x86_64", architecture="vax")

    def test_devices_that_the_machine_lacks(self) -> None:
        self.wrong("disk_bus", "sata", root=Disk(size_bytes=MIB, bus=DiskBus.IDE), machine="q35")
        crowd = (Disk(size_bytes=MIB, bus=DiskBus.IDE),) * 5
        self.wrong("disk_bus", "at most 4", ephemerals=crowd, machine="pc")
        self.wrong("kernel", "a kernel", machine="microvm")
        kernel = DirectBoot(kernel=Image(location=str(guests.build().kernel)))
        for virtio in (VirtioForm.TRANSITIONAL, VirtioForm.NON_TRANSITIONAL):
            changes = {"machine": "microvm", "boot": kernel, "virtio": virtio}
            self.wrong("virtio", "accepted: virtio", **changes)

    def test_unknown_network_and_bridge(self) -> None:
        for kind in (InterfaceKind.NETWORK, InterfaceKind.BRIDGE):
            nowhere = Interface(kind=kind, source="no-such-one")
            self.wrong("nic", f"{kind}=no-such-one", interfaces=(Interface(), nowhere))

    def test_uefi_without_firmware(self) -> None:
        with mock.patch.object(capabilities, "has_uefi", return_value=False):
            self.wrong("firmware", "ovmf", firmware=Firmware.UEFI)

    def test_taken_name_and_uuid(self) -> None:
        (info,) = self.driver.list()
        for taken in ({"name": info.guest.name}, {"uuid": info.guest.uuid}):
            self.refused(exceptions.GuestExists, *taken.values(), **taken)

    def test_bad_uuid_names_no_guest(self) -> None:
        (info,) = self.driver.list()
        before = tiny.kept()
        for name in ("", ".", "../instances", info.guest.name, "x" * 300, info.guest.uuid.upper()):
            with self.subTest(name):
                for verb in (self.driver.stop, self.driver.reboot):
                    with self.assertRaises(exceptions.GuestNotFound):
                        verb(name)
                self.driver.destroy(name)
        self.assertEqual(before, tiny.kept())

    def test_difficult_names(self) -> None:
        for name in NAMES:
            with self.subTest(name):
                made = self.spawn_tiny(name=name)
                self.assertEqual(made.uuid, self.driver.find(name))
                self.driver.reboot(made.uuid, kind=RebootKind.HARD)
                shown = self.driver.show(made.uuid)
                self.assertEqual((name, PowerState.RUNNING), (shown.guest.name, shown.state))
                self.driver.destroy(made.uuid)
                with self.assertRaises(exceptions.GuestNotFound):
                    self.driver.find(name)


class TestImages(BadInputTestCase):
    def qcow2(self, name: str, *arguments: str) -> Path:
        path = self.scratch / name
        command = ["qemu-img", "create", "-q", "-f", "qcow2", *arguments[:-1], str(path)]
        subprocess.run([*command, arguments[-1]], check=True)
        return path

    def unacceptable(self, path: Path, *words: str, claimed: DiskFormat | None = None) -> None:
        image = Image(location=str(path), format=claimed)
        self.refused(
            exceptions.ImageUnacceptable, str(path), *words, image=image, root=Disk(size_bytes=GIB)
        )

    def test_unknown(self) -> None:
        image = Image(location=f"{self.scratch}/none")
        self.refused(exceptions.ImageNotFound, image.location, image=image)
        self.wrong("image", "http", image=Image(location="gopher://host/image"))

    def test_corrupt(self) -> None:
        whole = Path(base.disk_image().location).read_bytes()
        for name, content in {
            "cut in its data": whole[: len(whole) // 2],
            "cut in its tables": whole[: 3 * 65536],
            "cut in its header": whole[:60],
            "header and garbage": whole[:512] + os.urandom(MIB),
            "empty": b"",
        }.items():
            with self.subTest(name):
                path = self.scratch / name.replace(" ", "-")
                path.write_bytes(content)
                self.unacceptable(path)

    def test_mislabelled(self) -> None:
        qcow2 = Path(base.disk_image().location)
        self.unacceptable(qcow2, "is said to be raw, but is qcow2", claimed=DiskFormat.RAW)
        raw = self.scratch / "raw"
        raw.write_bytes(os.urandom(MIB))
        self.unacceptable(raw, "is said to be qcow2, but is raw", claimed=DiskFormat.QCOW2)

    def test_image_with_a_backing_file(self) -> None:
        path = self.qcow2("backed", "-u", "-F", "raw", "-b", "/etc/shadow", "1M")
        self.unacceptable(path, "accepted")

    def test_larger_than_the_disk(self) -> None:
        path = self.qcow2("large", "3G")
        self.refused(
            exceptions.ImageTooLarge,
            "3.00 GiB",
            "1.00 GiB",
            "accepted",
            image=Image(location=str(path)),
            root=Disk(size_bytes=GIB),
        )

    def test_checksum_of_other_bytes(self) -> None:
        image = Image(location=base.disk_image().location, checksum=f"sha256:{'0' * 64}")
        self.refused(exceptions.ImageUnacceptable, "checksum", image=image)

    def test_kernel_and_ramdisk_that_cannot_be_read(self) -> None:
        built = guests.build()
        kernel = Image(location=str(built.kernel))
        absent = Image(location=f"{self.scratch}/absent")
        directory = Image(location=str(self.scratch))
        for boot, kind in (
            (DirectBoot(kernel=absent), exceptions.ImageNotFound),
            (DirectBoot(kernel=kernel, ramdisk=absent), exceptions.ImageNotFound),
            (DirectBoot(kernel=directory), exceptions.ImageUnacceptable),
            (DirectBoot(kernel=kernel, ramdisk=directory), exceptions.ImageUnacceptable),
        ):
            self.refused(kind, str(self.scratch), boot=boot)


class TestHost(BadInputTestCase):
    def test_full_image_cache(self) -> None:
        image = self.scratch / "image"
        image.write_bytes(os.urandom(4 * MIB))
        with tiny.file_system(1024) as small:
            driver = self.other_driver(image_cache_path=str(small / "cache"))
            self.refused(
                exceptions.NotEnoughSpace,
                str(small),
                driver=driver,
                image=Image(location=str(image)),
                root=Disk(),
            )
            self.assertEqual([], [path for path in small.rglob("*") if path.is_file()])

    def test_full_instances(self) -> None:
        built = guests.build()
        boot = DirectBoot(kernel=Image(location=str(built.kernel)))
        talk = ConfigDrive(hostname="guest", user_data=os.urandom(65535))
        image = Image(location=str(built.disk))
        for size_kib, disk_format, changes in (
            (100, "qcow2", {"root": Disk(size_bytes=GIB)}),
            (100, "qcow2", {"image": image, "root": Disk(size_bytes=GIB)}),
            (1024, "raw", {"image": image, "root": Disk(size_bytes=GIB)}),
            (1024, "qcow2", {"ephemerals": (Disk(size_bytes=4 * GIB),)}),
            (208, "qcow2", {"config_drive": talk}),
            (1024, "qcow2", {"boot": boot}),
        ):
            with self.subTest(changes), tiny.file_system(size_kib) as small:
                options = {"instances_path": str(small / "guests"), "disk_format": disk_format}
                self.refused(
                    exceptions.NotEnoughSpace, driver=self.other_driver(**options), **changes
                )
                self.assertEqual([], base.entries(small / "guests"))

    def test_full_state_directory_allows_destroy(self) -> None:
        made = self.spawn_tiny()
        with tiny.file_system(64, at=base.state_path() / "locks") as small:
            tiny.fill(small)
            self.refused(exceptions.NotEnoughSpace, str(small))
            self.driver.destroy(made.uuid)
            self.assertEqual(1, len(self.driver.list()))

    def test_directories_that_cannot_be_written(self) -> None:
        image = Image(location=base.disk_image().location)
        with tiny.file_system(64, readonly=True) as small:
            for options, changes in (
                ({"instances_path": str(small / "guests")}, {}),
                ({"image_cache_path": str(small / "cache")}, {"image": image, "root": Disk()}),
            ):
                driver = self.other_driver(**options)
                self.refused(exceptions.HostError, str(small), driver=driver, **changes)
        for instances in ("/proc/guests", "/dev/null/guests"):
            with self.assertRaisesRegex(ValueError, instances):
                self.other_driver(instances_path=instances)

    def test_emulator_that_is_not_installed(self) -> None:
        for facts in architecture.TABLE.values():
            if shutil.which(facts.emulator) is None:
                with self.subTest(facts.name):
                    self.refused(
                        exceptions.MissingDependency, facts.package, architecture=facts.name
                    )

    def test_program_that_is_not_installed(self) -> None:
        for name in ("prlimit", "qemu-system-x86_64"):
            (self.scratch / name).symlink_to(shutil.which(name) or self.skipTest(name))
        with (
            mock.patch.dict(os.environ, PATH=str(self.scratch)),
            mock.patch.object(tools, "SYSTEM_DIRECTORIES", ()),
        ):
            self.refused(exceptions.MissingDependency, "qemu-img", "qemu-utils")

    def test_libvirt_that_does_not_answer(self) -> None:
        uri = f"qemu+unix:///system?socket={self.scratch}/none"
        driver = self.other_driver(connection_uri=uri)
        self.refused(exceptions.LibvirtUnavailable, "not reachable", driver=driver)
        with self.assertRaises(exceptions.LibvirtUnavailable):
            driver.list()
        self.assertIn("failure", [check.verdict for check in driver.host_check()])

    def test_refused_hard_reboot_leaves_the_guest_running(self) -> None:
        made = self.spawn_tiny()
        before = tiny.emulators()
        for options in (
            {"tcg_cpu_models": {"x86_64": "NoSuch"}},
            {"virt_type": "kvm", "emulation_fallback": False},
        ):
            driver = self.other_driver(**{"virt_type": "qemu", **options})
            with self.subTest(options), self.assertRaises(exceptions.ComputeDriverError) as caught:
                driver.reboot(made.uuid, kind=RebootKind.HARD)
            self.assertIsInstance(
                caught.exception,
                exceptions.InvalidParameter | exceptions.AccelerationUnavailable,
            )
            self.assertIs(PowerState.RUNNING, self.driver.show(made.uuid).state)
            self.assertEqual(before, tiny.emulators())

    def test_another_hypervisor(self) -> None:
        driver = self.other_driver(connection_uri="test:///default")
        self.refused(exceptions.ConfigurationError, "connection_uri", "qemu:///", driver=driver)
        with self.assertRaises(exceptions.ConfigurationError):
            driver.list()

    def test_demanded_acceleration_is_refused_before_anything_is_made(self) -> None:
        state = self.scratch / "state"
        options = {"virt_type": "kvm", "emulation_fallback": False, "state_path": str(state)}
        driver = self.other_driver(**options)
        if any(info.accelerator == "kvm" for info in self.driver.list()):
            raise unittest.SkipTest("KVM is usable here")
        self.refused(exceptions.AccelerationUnavailable, "emulation_fallback", driver=driver)
        self.assertFalse(state.exists())
