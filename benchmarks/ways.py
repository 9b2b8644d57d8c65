# SPDX-License-Identifier: Apache-2.0
"""Three ways to run the same guest: this driver, plain libvirt, plain QEMU.

All three use the guest, the image and the devices that the functional tests use, in this process's
private state directory and, but for plain QEMU, its one embedded libvirt.
"""

from __future__ import annotations

import abc
import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import libvirt
import pycdlib

from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.guest import ConfigDrive, Guest
from compute_driver.images.entry import CachedImage
from compute_driver.libvirt.connection import Connection
from compute_driver.operations.base.context import Parts
from compute_driver.storage.layout import Layout, Role
from compute_driver.system import concurrency
from tests.functional import base

#: Seconds after which plain libvirt is asked again whether a guest is off.
_AGAIN = 0.002


def describe(script: bytes | None = None, **changes: Any) -> Guest:
    """Return a new guest: 192 MiB, a disk image, one user-mode interface, a config drive.

    :param script: user data of the guest.
    :param changes: other fields of the guest.
    """
    drive = ConfigDrive(hostname="benchmark", user_data=script)
    return base.guest(config_drive=drive, **changes)


class Way(abc.ABC):
    """One way to run a guest, for one guest at a time.

    :ivar guest: the next guest, or the running one.
    """

    guest: Guest

    @abc.abstractmethod
    def prepare(self) -> None:
        """Choose the next guest; work that every way needs is done here, unmeasured."""

    @abc.abstractmethod
    def spawn(self) -> None:
        """Make the guest's files and start it."""

    @abc.abstractmethod
    def wait(self, text: str = base.BANNER) -> None:
        """Wait until the guest's console shows *text*."""

    @abc.abstractmethod
    def destroy(self) -> None:
        """End and remove the guest; after a failed spawn, remove its parts."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release the resources of all guests."""


class Driver(Way):
    """The measured way.

    :param cached: whether its image cache keeps the image from one guest to the next.
    :param describe: returns a new guest.
    :param options: of group ``[hypervisor]``.
    """

    def __init__(
        self, *, cached: bool, describe: Callable[[], Guest] = describe, **options: object
    ) -> None:
        self._conf = base.configuration(**options)
        self.driver = LibvirtDriver(self._conf)
        self._cached = cached
        self._describe = describe

    def prepare(self) -> None:
        """Describe a guest."""
        self.guest = self._describe()
        if not self._cached:
            shutil.rmtree(self._conf.hypervisor.image_cache_path, ignore_errors=True)

    def spawn(self) -> None:
        """Call the driver."""
        self.driver.spawn(self.guest)

    def wait(self, text: str = base.BANNER) -> None:
        """Call the driver."""
        self.driver.console_wait(self.guest.uuid, text, timeout=base.BOOT_TIMEOUT)

    def destroy(self) -> None:
        """Call the driver."""
        self.driver.destroy(self.guest.uuid)

    def close(self) -> None:
        """Close the driver."""
        self.driver.close()


class Plain(Way):
    """Common parts of the plain ways: the driver's guest, in another directory.

    :param cached: whether the image needs no copy for each guest.
    :param describe: returns a new guest.
    :param options: of group ``[hypervisor]``.
    """

    def __init__(
        self, *, cached: bool, describe: Callable[[], Guest] = describe, **options: object
    ) -> None:
        # With another instances_path the driver does not take the domains for its own.
        conf = base.configuration(instances_path=str(base.state_path() / "plain"), **options)
        connection = Connection(conf)
        self._parts = Parts.of(conf, connection)
        self._libvirt = connection.open()
        self._cached = cached
        self._describe = describe

    def prepare(self) -> None:
        """Let the driver write the domain's XML."""
        guest = self._describe()
        assert guest.image is not None
        self._image: CachedImage = self._parts.images.get(guest.image)
        self._plan: Layout = self._parts.plan(guest)
        decision = self._parts.decide(guest)
        self._xml = self._parts.blueprint(guest, decision).xml
        self.guest = guest

    def wait(self, text: str = base.BANNER) -> None:
        """Read the console's log at every change."""
        log = self._plan.console_log
        deadline = time.monotonic() + base.BOOT_TIMEOUT
        inotify_simple = concurrency.native_library("inotify_simple", "select")
        with inotify_simple.INotify() as notifier:
            flags = inotify_simple.flags
            notifier.add_watch(str(log.parent), flags.MODIFY | flags.CREATE)
            while not (log.exists() and text.encode() in log.read_bytes()):
                left = deadline - time.monotonic()
                if left < 0:
                    raise TimeoutError(f"{log} did not show {text} in time")
                notifier.read(timeout=1000 * left)

    def close(self) -> None:
        """Close the connections."""
        self._libvirt.close()
        self._parts.connection.close()

    def _make_files(self) -> None:
        directory = self._plan.directory
        directory.mkdir(parents=True)
        backing = self._image.path
        if not self._cached:
            backing = shutil.copyfile(backing, directory / "image")
        for disk in self._plan.disks:
            if disk.role is Role.CONFIG_DRIVE:
                _make_config_drive(self.guest, disk.source.path)
            else:
                formats = ["-f", str(disk.source.format), "-F", str(self._image.format)]
                names = ["-b", str(backing), str(disk.source.path), str(disk.size_bytes)]
                subprocess.run(["qemu-img", "create", "-q", *formats, *names], check=True)

    def _remove_files(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._plan.directory)


class PlainLibvirt(Plain):
    """The minimal calls of libvirt's API that run the domain."""

    def spawn(self) -> None:
        """Define and create."""
        self._make_files()
        self._libvirt.defineXML(self._xml).create()

    @property
    def domain(self) -> libvirt.virDomain:
        """The domain of the guest."""
        return self._libvirt.lookupByUUIDString(self.guest.uuid)

    def stop(self) -> None:
        """Ask the guest to shut down, and return when the guest is off."""
        domain, deadline = self.domain, time.monotonic() + base.BOOT_TIMEOUT
        domain.shutdown()
        while domain.isActive():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{domain.name()} does not shut down")
            time.sleep(_AGAIN)

    def reset(self) -> None:
        """Power the guest off and on."""
        domain = self.domain
        domain.destroy()
        domain.create()

    def destroy(self) -> None:
        """Destroy and undefine."""
        with _unless(libvirt.VIR_ERR_NO_DOMAIN):
            domain = self.domain
            with _unless(libvirt.VIR_ERR_OPERATION_INVALID):  # it was not started
                domain.destroy()
            domain.undefine()
        self._remove_files()


class PlainQemu(Plain):
    """QEMU without libvirt, with libvirt's command line of the domain."""

    _process: subprocess.Popen[str] | None = None

    def prepare(self) -> None:
        """Let libvirt translate the XML."""
        super().prepare()
        native = self._libvirt.domainXMLToNative("qemu-argv", self._xml)
        self._command = _standalone(native, self._plan.directory)

    def spawn(self) -> None:
        """Start QEMU, and wait for the greeting of its monitor."""
        self._make_files()
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # As under libvirt: the kernel shares processors between sessions (sched(7), autogroup).
            start_new_session=True,
        )
        assert self._process.stdout is not None
        said = ""
        while not said.startswith('{"QMP"'):
            line = self._process.stdout.readline()
            if not line:
                raise RuntimeError(f"QEMU does not start: {said}")
            said = line

    def destroy(self) -> None:
        """Send SIGTERM and wait for the end."""
        if self._process is not None:
            with self._process as process:
                process.terminate()
                process.wait()
            self._process = None
        self._remove_files()


W = TypeVar("W", bound=Way)


@contextlib.contextmanager
def opened(
    kinds: Mapping[str, Callable[..., W]], describe: Callable[[], Guest] = describe
) -> Iterator[dict[str, W]]:
    """Yield the ways by name, and close them in the end.

    :param kinds: the classes of the ways.
    :param describe: returns a new guest.
    """
    with contextlib.ExitStack() as stack:
        made: dict[str, W] = {}
        for name, kind in kinds.items():
            made[name] = kind(describe=describe)
            stack.callback(made[name].close)
        yield made


def _make_config_drive(guest: Guest, target: Path) -> None:
    assert guest.config_drive is not None
    said = {"uuid": guest.uuid, "name": guest.name, "hostname": guest.config_drive.hostname}
    data = json.dumps(said).encode()
    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, joliet=3, vol_ident="config-2")
    image.add_directory("/OPENSTACK", joliet_path="/openstack")
    image.add_directory("/OPENSTACK/LATEST", joliet_path="/openstack/latest")
    name = "/OPENSTACK/LATEST/META_DATA.JSON;1"
    image.add_fp(io.BytesIO(data), len(data), name, joliet_path="/openstack/latest/meta_data.json")
    script = guest.config_drive.user_data
    if script is not None:
        name = "/OPENSTACK/LATEST/USER_DATA.;1"
        image.add_fp(
            io.BytesIO(script), len(script), name, joliet_path="/openstack/latest/user_data"
        )
    image.write(str(target))
    image.close()


def _standalone(native: str, directory: Path) -> list[str]:
    """Change a command line of libvirt to work without libvirt.

    :param native: environment and command, in the form of ``virsh domxml-to-native``.
    :param directory: for QEMU's sockets.
    """
    words = shlex.split(native)
    while "=" in words[0]:
        words.pop(0)
    words.remove("-S")  # libvirt would start the processors by the monitor
    secret = next(index for index, word in enumerate(words) if "masterKey0" in word)
    del words[secret - 1 : secret + 1]
    for pattern, replacement in (
        (r"^socket,id=charmonitor,.*", "stdio,id=charmonitor"),
        # libvirt opens taps and makes the directories of sockets itself.
        (r'^\{"type":"tap","fd":"\d+"', '{"type":"user"'),
        (r"(?<=,path=)[^,]*/(?=[^/,]+,server=on)", f"{directory}/"),
    ):
        words = [re.sub(pattern, replacement, word) for word in words]
    return words


@contextlib.contextmanager
def _unless(code: int) -> Iterator[None]:
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() != code:
            raise
