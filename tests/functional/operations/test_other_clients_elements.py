# SPDX-License-Identifier: Apache-2.0
"""Another client of the same libvirt changes any element of a guest's domain."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import uuid
from collections.abc import Callable

import libvirt
from lxml import etree

from compute_driver import exceptions
from compute_driver.choices import PowerState, RebootKind
from compute_driver.guest import MIB, Disk, Guest, Image, Interface, Rescue
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt.daemon import EmbeddedDaemon
from compute_driver.operations.base import changes
from tests.functional import base
from tests.functional.other_client import OtherClientTestCase
from tests.unit.xml.cases import FOREIGN, PLAIN

LATER = libvirt.VIR_DOMAIN_AFFECT_CONFIG
ROOT = "devices/disk[serial='root']"
QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"

#: Elements that a client adds: the place, the element, and where the new domain has the element.
ADDED = (
    (
        "devices",
        "<channel type='unix'><target type='virtio' name='org.other.0'/></channel>",
        "devices/channel/target[@name='org.other.0']",
    ),
    ("devices", "<panic model='isa'/>", "devices/panic[@model='isa']"),
    ("devices", "<sound model='ac97'/>", "devices/sound[@model='ac97']"),
    (
        "devices",
        "<input type='mouse' bus='virtio'/>",
        "devices/input[@type='mouse'][@bus='virtio']",
    ),
    (
        "devices",
        "<watchdog model='i6300esb' action='reset'/>",
        "devices/watchdog[@model='i6300esb']",
    ),
    (
        "devices",
        "<rng model='virtio'><backend model='random'>/dev/random</backend></rng>",
        "devices/rng/backend[text()='/dev/random']",
    ),
    ("devices", "<serial type='null'/>", "devices/serial[@type='null']"),
    (
        "devices",
        "<graphics type='vnc' autoport='yes' passwd='secret'/>",
        "devices/graphics[@passwd='secret']",
    ),
    (
        "devices",
        "<controller type='scsi' index='2' model='lsilogic'/>",
        "devices/controller[@index='2'][@model='lsilogic']",
    ),
    (
        "devices",
        "<memory model='dimm'><target><size unit='MiB'>64</size><node>0</node></target></memory>",
        "devices/memory[@model='dimm']",
    ),
    (".", "<maxMemory slots='2' unit='MiB'>512</maxMemory>", "maxMemory[@slots='2']"),
    ("cpu", "<numa><cell id='0' cpus='0' memory='16' unit='MiB'/></numa>", "cpu/numa/cell"),
    ("features", "<pmu state='off'/>", "features/pmu[@state='off']"),
    ("clock", "<timer name='pit' present='no'/>", "clock/timer[@name='pit'][@present='no']"),
    (
        ".",
        f"<q:commandline xmlns:q='{QEMU}'><q:env name='OTHER' value='1'/></q:commandline>",
        f"*[namespace-uri()='{QEMU}']/*[@name='OTHER']",
    ),
    (
        ROOT,
        "<iotune><total_iops_sec>900</total_iops_sec></iotune>",
        f"{ROOT}/iotune/total_iops_sec",
    ),
    (
        "devices/interface",
        "<bandwidth><inbound average='999'/></bandwidth>",
        "devices/interface/bandwidth/inbound[@average='999']",
    ),
    ("devices/interface", "<link state='down'/>", "devices/interface/link[@state='down']"),
)

#: Likewise, elements that need control groups, or other abilities of the host, at the start.
TUNING = (
    (
        ".",
        "<cputune><shares>512</shares><vcpupin vcpu='0' cpuset='0'/></cputune>",
        "cputune[shares='512'][vcpupin]",
    ),
    (".", "<blkiotune><weight>300</weight></blkiotune>", "blkiotune[weight='300']"),
    (".", "<memtune><hard_limit unit='GiB'>2</hard_limit></memtune>", "memtune/hard_limit"),
    (".", "<perf><event name='cmt' enabled='no'/></perf>", "perf/event"),
    (".", "<resource><partition>/machine</partition></resource>", "resource/partition"),
)

#: Attributes and texts that a client changes: the element, the attribute, and the new value.
CHANGED = (
    ("on_crash", None, "restart"),
    (f"{ROOT}/driver", "cache", "unsafe"),
    ("clock", "offset", "localtime"),
    ("devices/memballoon/stats", "period", "77"),
)


class TestElements(OtherClientTestCase):
    """The guest keeps all that another client adds and changes, or the change is named."""

    def setUp(self) -> None:
        super().setUp()
        self.made = self.spawn_tiny(interfaces=(Interface(),))
        self.assertEqual((), self.driver.audit())

    def inactive(self) -> etree._Element:
        flags = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
        return etree.fromstring(self.domain(self.made).XMLDesc(flags))

    def redefine(self, change: Callable[[etree._Element], object]) -> None:
        """Change the guest's domain from its next power-on."""
        domain = self.inactive()
        change(domain)
        self.client.defineXML(etree.tostring(domain, encoding="unicode"))

    def add(self, *rows: tuple[str, str, str]) -> None:
        def change(domain: etree._Element) -> None:
            for place, xml, _ in rows:
                domain.xpath(place)[0].append(etree.fromstring(xml))

        self.redefine(change)

    def set(self, *rows: tuple[str, str | None, str]) -> None:
        def change(domain: etree._Element) -> None:
            for place, name, value in rows:
                (element,) = domain.xpath(place)
                if name is None:
                    element.text = value
                else:
                    element.set(name, value)

        self.redefine(change)

    def missing(self, *, added: bool = True, changed: bool = True) -> list[object]:
        """Return the rows that the guest's domain does not have."""
        domain = self.inactive()
        lost: list[object] = [row for row in ADDED if added is (len(domain.xpath(row[2])) != 1)]
        for place, name, value in CHANGED:
            (element,) = domain.xpath(place)
            if changed is (value != (element.text if name is None else element.get(name))):
                lost.append((place, name, value))
        return lost

    def details(self) -> list[str]:
        return [f"{finding.kind}: {finding.detail}" for finding in self.driver.audit()]

    def test_all_elements_stay(self) -> None:
        self.add(*ADDED)
        self.set(*CHANGED)
        self.assertEqual([], self.missing())
        before = self.details()
        self.assertEqual({"added device", "changed setting"}, {d.split(":")[0] for d in before})
        self.assertNotIn("secret", "".join(before))
        self.assertEqual([], [detail for detail in before if "takes" in detail])
        image = self.home / "rescue"
        image.write_bytes(bytes(MIB))
        rescue = Rescue(image=Image(location=str(image)))
        for operation in (
            lambda: self.driver.reboot(self.made.uuid, kind=RebootKind.HARD),
            lambda: self.driver.rescue(self.made.uuid, rescue, timeout=0),
            lambda: self.driver.unrescue(self.made.uuid),
            lambda: self.driver.attach_interface(self.made.uuid, Interface()),
            lambda: self.driver.stop(self.made.uuid, timeout=0),
            lambda: self.driver.start(self.made.uuid),
            lambda: self.driver.resize(self.made.uuid, self.made, timeout=0),
            lambda: self.driver.revert_resize(self.made.uuid, timeout=0),
        ):
            operation()
            self.assertEqual([], self.missing())
            self.assertEqual(before, self.details())
        self.assertIs(PowerState.RUNNING, self.driver.state(self.made.uuid))
        larger = dataclasses.replace(self.made, memory_mib=32)
        with self.assertRaisesRegex(exceptions.InvalidParameter, "memory_mib.*NUMA"):
            self.driver.resize(self.made.uuid, larger, timeout=0)

    def test_tuning_stays(self) -> None:
        self.driver.stop(self.made.uuid, timeout=0)
        self.add(*TUNING)
        before = self.details()
        self.assertEqual(len(TUNING), len(before))
        for operation in (self.driver.resize, self.driver.revert_resize):
            made = (self.made,) if operation == self.driver.resize else ()
            operation(self.made.uuid, *made, timeout=0, power_on=False)
            domain = self.inactive()
            self.assertEqual([], [row for row in TUNING if len(domain.xpath(row[2])) != 1])
            self.assertEqual(before, self.details())

    def test_what_the_driver_decides_is_taken_back_and_named(self) -> None:
        self.add(("os", "<bootmenu enable='yes'/>", ""))
        self.redefine(lambda domain: domain.find("devices").remove(domain.find("devices/rng")))
        self.set(("devices/memballoon/stats", "period", "77"))
        self.assertEqual(3, len(self.details()))
        self.driver.conf.set_override("memory_stats_seconds", 5, "hypervisor")
        with self.assertLogs("compute_driver", "WARNING") as logs:
            self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
        for words in ("set os/bootmenu", "removed devices/rng", "memballoon/stats@period"):
            self.assertEqual(1, "".join(logs.output).count(words), words)
        self.assertEqual([], self.details())

    def test_change_that_is_undone_is_no_change(self) -> None:
        self.set(*CHANGED)
        before = self.inactive()
        self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
        self.assertEqual(len(CHANGED), len(self.details()))
        self.set(("on_crash", None, "destroy"), ("clock", "offset", "utc"))
        self.assertEqual(len(CHANGED) - 2, len(self.details()))
        self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
        self.assertEqual("destroy", self.inactive().findtext("on_crash"))
        self.assertEqual("restart", before.findtext("on_crash"))

    def test_guest_of_an_earlier_release(self) -> None:
        latest = self.directory(self.made) / ".domain.xml"
        description = etree.fromstring(latest.read_text())
        for note in description.iterfind("{*}baseline"):
            description.remove(note)
        latest.write_bytes(etree.tostring(description))
        self.assertEqual([], self.details())
        self.attach_disk(self.made)
        share = f"<filesystem><source dir='{self.home}'/><target dir='share'/></filesystem>"
        self.add(("devices", share, ""))
        self.assertEqual(2, len(self.details()))
        for _ in range(2):
            self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
            self.assertEqual(2, len(self.details()))
        self.assertEqual(1, len(self.inactive().xpath("devices/filesystem")))

    def test_directory_that_is_gone_is_refused_while_the_guest_runs_on(self) -> None:
        shared = self.home / "shared"
        shared.mkdir()
        share = f"<filesystem><source dir='{shared}'/><target dir='share'/></filesystem>"
        self.add(("devices", share, ""))
        self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
        shared.rmdir()
        with self.assertRaisesRegex(exceptions.DiskUnusable, f"filesystem share.*{shared}"):
            self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
        self.assertIs(PowerState.RUNNING, self.driver.state(self.made.uuid))
        self.assertIn(str(shared), {finding.subject for finding in self.driver.audit()})

    def test_disks_from_before_a_resize(self) -> None:
        self.attach_disk(self.made)
        larger = dataclasses.replace(self.made, swap=Disk(size_bytes=MIB))
        self.driver.resize(self.made.uuid, larger, timeout=0)
        names = {
            target.getparent().findtext("serial"): target.get("dev")
            for target in self.inactive().iterfind("devices/disk/target")
        }
        self.assertEqual({"root": "vda", None: "vdb", "swap": "vdc"}, names)
        added = self.home / f"{self.made.uuid}.data"
        hidden = added.rename(self.home / "hidden")
        with self.assertRaisesRegex(exceptions.DiskUnusable, f"{added} is gone"):
            self.driver.revert_resize(self.made.uuid, timeout=0)
        self.assertIs(PowerState.RUNNING, self.driver.state(self.made.uuid))
        hidden.rename(added)
        self.driver.revert_resize(self.made.uuid, timeout=0)


class TestUntouchedGuests(OtherClientTestCase):
    """Domains of every architecture and device family, as libvirt makes them."""

    def remove(self, guest: Guest) -> None:
        """Remove a guest that has neither started nor plugged its interfaces."""
        parts = self.driver._parts
        with contextlib.suppress(exceptions.GuestNotFound):
            parts.on_domain(guest.uuid, domains.undefine)
        shutil.rmtree(parts.directory(guest.uuid))

    def test_nothing_is_found_also_after_a_restart_of_libvirt(self) -> None:
        parts = self.driver._parts
        guests, refused = {}, set()
        for name, (made, decision) in (PLAIN | FOREIGN).items():
            unique = str(uuid.uuid4())
            guest = dataclasses.replace(made, uuid=unique, name=f"untouched-{unique}")
            directory = parts.directory(guest.uuid)
            self.addCleanup(self.remove, guest)
            directory.mkdir(parents=True)
            try:
                parts.define(parts.blueprint(guest, decision, new_files=True).xml)
            except exceptions.ComputeDriverError:
                refused.add(name)
            else:
                guests[name] = guest, decision
        # The machine of the test may lack KVM, or an emulator.
        self.assertLess(len(refused), len(guests) // 2)
        EmbeddedDaemon(base.state_path()).stop()
        unchanged = 0
        for name, (guest, decision) in guests.items():
            with self.subTest(name):
                present = parts.present(guest.uuid)
                assert present is not None
                self.assertIsNotNone(present.baseline)
                unchanged += present.unchanged
                # Also without the digest of libvirt's form, nothing is found.
                plan = parts.plan(guest, new_files=True)
                doubted = dataclasses.replace(present, unchanged=False)
                self.assertEqual([], list(changes.findings(doubted, plan, plan)))
                again = parts.blueprint(guest, decision, present=doubted)
                self.assertNotIn("carried", again.xml)
        # libvirt 9.0 writes a domain with a floppy drive otherwise after its restart.
        self.assertGreater(unchanged, len(guests) * 3 // 4)
