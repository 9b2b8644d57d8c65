# SPDX-License-Identifier: Apache-2.0
"""Making, resizing and removing guests."""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Iterator

from compute_driver import exceptions
from compute_driver.choices import NicModel, PowerState
from compute_driver.guest import MIB, ConfigDrive, Disk, Image, Interface, shown_size
from compute_driver.info import GuestInfo
from tests.contract.base import RESCUE, Case


class Lifecycle(Case):
    """See :class:`compute_driver.contract.lifecycle.Lifecycle`."""

    def test_taken_uuid_is_refused_and_its_guest_unharmed(self) -> None:
        guest = self.shared()
        with self.assertRaises(exceptions.GuestExists):
            self.driver.spawn(self.make_guest(uuid=guest.uuid))
        self.assert_unharmed(guest)

    def test_taken_name_is_refused_and_its_guest_unharmed(self) -> None:
        guest = self.shared()
        other = self.make_guest(name=guest.name)
        with self.assertRaises(exceptions.GuestExists):
            self.driver.spawn(other)
        self.assertNotIn(other.uuid, self.listed())
        self.assert_unharmed(guest)

    def test_name_that_outgrows_the_paths_of_sockets_is_refused(self) -> None:
        for name in ("\u865a" * 13, "\u865a" * 12 + "-1", "\U0001f642" * 10):
            made = self.make_guest(name=name)
            with self.assertRaisesRegex(exceptions.InvalidParameter, "name: .* bytes in UTF-8"):
                self.driver.spawn(made)
            self.assert_nothing_left(made)

    def test_guest_is_paused_until_the_network_is_ready(self) -> None:
        made = self.make_guest()
        self.addCleanup(self.driver.destroy, made.uuid)
        seen: list[object] = []

        @contextlib.contextmanager
        def network() -> Iterator[None]:
            seen.append("entered")
            yield
            seen.append(self.state(made))
            seen.append(self.driver.console_log(made.uuid))

        self.driver.spawn(made, network=network())
        self.assertEqual(["entered", PowerState.PAUSED, b""], seen)
        self.assertIs(self.state(made), PowerState.RUNNING)

    def test_network_that_fails_leaves_nothing(self) -> None:
        class NeverReadyError(Exception):
            pass

        @contextlib.contextmanager
        def network() -> Iterator[None]:
            yield
            raise NeverReadyError

        made = self.make_guest()
        with self.assertRaises(NeverReadyError):
            self.driver.spawn(made, network=network())
        self.assertNotIn(made.uuid, self.listed())
        self.assertEqual((), self.driver.audit())

    def test_guest_can_be_made_without_power(self) -> None:
        made = self.make_guest()
        self.addCleanup(self.driver.destroy, made.uuid)

        @contextlib.contextmanager
        def network() -> Iterator[None]:
            self.fail("there is nothing to wait for")
            yield

        info = self.driver.spawn(made, network=network(), power_on=False)
        self.assertIs(info.state, PowerState.STOPPED)
        self.driver.start(made.uuid)
        self.assertIs(self.state(made), PowerState.RUNNING)

    def test_missing_image_leaves_nothing(self) -> None:
        guest = self.make_guest(image=Image(location="/nonexistent/image.qcow2"))
        with self.assertRaises(exceptions.ImageNotFound):
            self.driver.spawn(guest)
        self.assert_nothing_left(guest)

    def test_name_that_may_be_read_as_a_uuid_leaves_nothing(self) -> None:
        guest = self.make_guest()
        guest = dataclasses.replace(guest, name=guest.uuid.replace("-", ""))
        with self.assertRaisesRegex(exceptions.InvalidParameter, "not a UUID"):
            self.driver.spawn(guest)
        self.assert_nothing_left(guest)

    def test_description_that_no_new_guest_has_leaves_nothing(self) -> None:
        location = RESCUE.image.location
        for changes, text in (
            (
                {"rescue": RESCUE},
                (
                    f"rescue: {location!r} is not usable; accepted: None, because a new guest"
                    " is not rescued"
                ),
            ),
            (
                {"config_drive": ConfigDrive(hostname="a b")},
                "hostname: 'a b' is not usable; accepted: no blanks and no '/'",
            ),
        ):
            guest = self.make_guest(**changes)
            with self.subTest(text), self.refuses(exceptions.InvalidParameter, text):
                self.driver.spawn(guest)
            self.assert_nothing_left(guest)

    def test_device_that_the_architecture_lacks_leaves_nothing(self) -> None:
        guest = self.make_guest(architecture="s390x", interfaces=(Interface(model=NicModel.E1000),))
        with self.assertRaises(exceptions.ComputeDriverError):
            self.driver.spawn(guest)
        self.assert_nothing_left(guest)

    def test_places_of_devices_are_told_before_the_guest_starts(self) -> None:
        seen: list[GuestInfo] = []

        def make_config_drive(info: GuestInfo) -> ConfigDrive:
            seen.append(info)
            return ConfigDrive(hostname="told")

        guest = self.make_guest(config_drive=ConfigDrive(hostname="placeholder"))
        self.addCleanup(self.driver.destroy, guest.uuid)
        made = self.driver.spawn(guest, power_on=False, make_config_drive=make_config_drive)
        (info,) = seen
        self.assertIs(info.state, PowerState.STOPPED)
        found = {device.mac: device for device in info.devices}
        nic = found[guest.interfaces[0].mac]
        self.assertEqual("pci", nic.bus)
        self.assertRegex(nic.address, r"\A0000:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\Z")
        self.assertEqual(info.devices, made.devices)

    def test_annotations_change_at_once_and_bad_ones_change_nothing(self) -> None:
        guest = self.driver.show(self.shared().uuid).guest
        identity = dataclasses.replace(guest.identity, product="Another Computer")
        owner = '<shop:owner xmlns:shop="urn:shop"><shop:name>Ann</shop:name></shop:owner>'
        self.driver.identify(guest.uuid, identity, [owner])
        self.addCleanup(self.driver.identify, guest.uuid, guest.identity, ())
        changed = dataclasses.replace(guest, identity=identity, annotations=(owner,))
        self.assertEqual(changed, self.driver.show(guest.uuid).guest)
        for bad in ("text", "<owner/>", '<owner xmlns="urn:shop"/>', "<a:b/>"):
            with self.subTest(bad), self.assertRaises(exceptions.InvalidParameter):
                self.driver.identify(guest.uuid, identity, [bad])
        with self.assertRaises(exceptions.InvalidParameter):
            self.driver.identify(guest.uuid, identity, [owner, owner])
        self.assertEqual(changed, self.driver.show(guest.uuid).guest)
        made = self.make_guest(annotations=("text",))
        with self.assertRaises(exceptions.InvalidParameter):
            self.driver.spawn(made)
        self.assert_nothing_left(made)

    def test_resized_guest_runs_in_its_new_size_and_can_be_reverted(self) -> None:
        guest = self.driver.show(self.shared().uuid).guest
        larger = dataclasses.replace(guest, memory_mib=guest.memory_mib + 64)
        with self.boots(guest):
            self.driver.resize(guest.uuid, larger)
        shown = self.driver.show(guest.uuid)
        self.assertEqual((larger, guest), (shown.guest, shown.before))
        confirmed = "a guest after 'confirm resize' or 'revert resize'"
        with self.refuses_state(guest, "resize", "resized and not yet confirmed", confirmed):
            self.driver.resize(guest.uuid, larger)
        self.assertEqual((), self.driver.audit())
        with self.boots(guest):
            self.driver.revert_resize(guest.uuid)
        shown = self.driver.show(guest.uuid)
        self.assertEqual((guest, None), (shown.guest, shown.before))
        self.driver.revert_resize(guest.uuid)
        self.assertIs(self.state(guest), PowerState.RUNNING)

    def test_resize_of_a_stopped_guest_is_confirmed(self) -> None:
        made = self.make_guest()
        self.addCleanup(self.driver.destroy, made.uuid)
        guest = self.driver.spawn(made, power_on=False).guest
        assert guest.root is not None
        grown = dataclasses.replace(guest.root, size_bytes=guest.root.size_bytes * 2)
        swap = Disk(size_bytes=MIB)
        larger = dataclasses.replace(guest, root=grown, swap=swap, ephemerals=(swap,))
        self.driver.resize(guest.uuid, larger)
        self.assertIs(self.state(guest), PowerState.STOPPED)
        for _twice in range(2):
            self.driver.confirm_resize(guest.uuid)
            shown = self.driver.show(guest.uuid)
            self.assertEqual((larger, None), (shown.guest, shown.before))
        self.driver.revert_resize(guest.uuid)
        self.assertEqual(larger, self.driver.show(guest.uuid).guest)
        self.assertEqual((), self.driver.audit())

    def test_what_cannot_be_resized_is_refused_and_left_as_it_is(self) -> None:
        guest = self.driver.show(self.shared().uuid).guest
        assert guest.root is not None
        smaller = dataclasses.replace(guest.root, size_bytes=512)
        size = shown_size(guest.root.size_bytes)
        for changes, text in (
            (
                {"root": smaller},
                (
                    f"root: {shown_size(512)!r} is not usable; accepted: {size} or more: disks of"
                    f" guest {guest.name!r} do not shrink"
                ),
            ),
            (
                {"name": "another"},
                f"name: 'another' is not usable; accepted: {guest.name}, which no resize changes",
            ),
        ):
            with self.subTest(changes), self.refuses(exceptions.InvalidParameter, text):
                self.driver.resize(guest.uuid, dataclasses.replace(guest, **changes))
        self.driver.check_resize(guest.uuid, dataclasses.replace(guest, memory_mib=256))
        self.driver.check_resize(guest.uuid, guest)  # the same size is no reason
        shown = self.driver.show(guest.uuid)
        self.assertEqual((guest, None), (shown.guest, shown.before))
        self.assert_unharmed(guest)

    def test_resized_guest_is_destroyed_with_all_that_was_kept(self) -> None:
        guest = self.make_guest()
        self.addCleanup(self.driver.destroy, guest.uuid)
        self.driver.spawn(guest, power_on=False)
        self.driver.resize(guest.uuid, dataclasses.replace(guest, memory_mib=256))
        self.driver.destroy(guest.uuid)
        self.assert_nothing_left(guest)

    def test_guest_of_which_the_files_were_kept_comes_back(self) -> None:
        guest = self.make_guest()
        self.addCleanup(self.driver.destroy, guest.uuid)
        made = self.driver.spawn(guest, power_on=False)
        self.driver.resize(guest.uuid, dataclasses.replace(made.guest, memory_mib=256))
        for bring_back, expected in (
            (lambda: self.driver.revert_resize(guest.uuid), made.guest),
            (lambda: self.driver.spawn(guest, power_on=False), made.guest),
        ):
            for _twice in range(2):
                self.driver.destroy(guest.uuid, keep_files=True)
                self.assertNotIn(guest.uuid, self.listed())
                self.assertEqual(guest.uuid, self.driver.find(guest.uuid))
            bring_back()
            self.assertEqual(expected, self.driver.show(guest.uuid).guest)
        self.driver.destroy(guest.uuid, keep_files=True)
        self.driver.destroy(guest.uuid)
        self.assert_nothing_left(guest)

    def test_spawn_that_fails_leaves_what_was_kept(self) -> None:
        guest = self.make_guest()
        self.addCleanup(self.driver.destroy, guest.uuid)
        made = self.driver.spawn(guest, power_on=False).guest
        self.driver.destroy(guest.uuid, keep_files=True)

        def make_config_drive(info: GuestInfo) -> None:
            raise RuntimeError

        taken = dataclasses.replace(guest, name=self.shared().name)
        for failing, failure in (
            (lambda: self.driver.spawn(guest, make_config_drive=make_config_drive), RuntimeError),
            (lambda: self.driver.spawn(taken), exceptions.GuestExists),
        ):
            with self.assertRaises(failure):
                failing()
            self.assertNotIn(guest.uuid, self.listed())
        self.driver.revert_resize(guest.uuid)
        self.assertEqual(made, self.driver.show(guest.uuid).guest)

    def test_destroyed_guest_is_gone_and_its_name_free(self) -> None:
        guest = self.spawn()
        for _twice in range(2):
            self.driver.destroy(guest.uuid)
        self.assertNotIn(guest.uuid, self.listed())
        with self.assertRaises(exceptions.GuestNotFound):
            self.driver.find(guest.name)
        again = self.spawn(name=guest.name)
        self.driver.stop(again.uuid, timeout=0)
        self.driver.destroy(again.uuid)
        self.assert_nothing_left(guest)

    def test_destroying_what_is_not_there_is_no_error(self) -> None:
        for name in (str(uuid.uuid4()), "x", ""):
            with self.subTest(name):
                self.driver.destroy(name)
