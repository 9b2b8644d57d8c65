# SPDX-License-Identifier: Apache-2.0
"""A host with emulators and a libvirt that a test controls."""

from __future__ import annotations

import os
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from lxml import etree

from compute_driver import exceptions
from compute_driver.hardware import architecture
from compute_driver.hardware.acceleration import Ability
from compute_driver.host import kvm
from compute_driver.host.detection import Detection
from compute_driver.libvirt.connection import Connection
from compute_driver.system import tools
from tests.unit import base

#: An emulator that knows three machines, and refuses CPU models that begin with "bad".
EMULATOR = """\
    #!{python}
    import json, os, sys
    with open(os.path.join(os.path.dirname(__file__), "started"), "a") as log:
        log.write(os.path.basename(__file__) + " " + " ".join(sys.argv[1:]) + "\\n")
    cpu = sys.argv[sys.argv.index("-cpu") + 1] if "-cpu" in sys.argv else ""
    if cpu.startswith("bad"):
        sys.exit(f"emulator: CPU type {{cpu}} not supported")
    if cpu.startswith("partial"):
        sys.stderr.write("TCG doesn't support requested feature: CPUID.01H:ECX.x2apic [bit 21]")
    answers = {{
        "query-version": {{"qemu": {{"major": 7, "minor": 2, "micro": 22}}}},
        "query-machines": [
            {{"name": "pc-q35-7.2", "alias": "q35", "deprecated": False}},
            {{"name": "pc-q35-2.4", "deprecated": True}},
            {{"name": "isapc", "deprecated": False}},
        ],
        "qom-list-types": [
            {{"name": name}}
            for name in ("e1000", "ich9-intel-hda", "isa-pcspk", "virtio-sound-pci")
        ],
        "query-cpu-model-expansion": {{"model": {{"props": {{"avx2": True, "avx512f": False}}}}}},
    }}
    print(json.dumps({{"QMP": {{}}}}))
    for line in sys.stdin:
        print(json.dumps({{"return": answers.get(json.loads(line)["execute"], {{}})}}))
"""

CAPABILITIES = """
<domainCapabilities><path>{path}</path><domain>{kind}</domain><machine>pc-q35-7.2</machine>
  <arch>{arch}</arch><vcpu max='288'/>
  <os supported='yes'><enum name='firmware'>{firmware}</enum>
    <loader supported='yes'><enum name='secure'>{secure}<value>no</value></enum></loader></os>
  <cpu><mode name='host-passthrough' supported='no'/><mode name='maximum' supported='yes'/>
    <mode name='host-model' supported='yes'><model fallback='forbid'>EPYC</model></mode>
    <mode name='custom' supported='yes'><model usable='yes'>Nehalem</model>
      <model usable='yes'>Westmere</model><model usable='yes'>badly</model>
      <model usable='no'>partial-Haswell</model></mode></cpu>
  <devices><graphics supported='yes'><enum name='type'><value>vnc</value></enum></graphics>
    <video supported='yes'><enum name='modelType'><value>virtio</value><value>vga</value>
      <value>none</value></enum></video></devices>
</domainCapabilities>
"""


#: The features of CPU models.
MODELS = {
    "EPYC": ("avx2", "sse4.1", "sse4.2"),
    "Nehalem": ("sse4.1", "sse4.2"),
    "Westmere": ("aes", "sse4.1", "sse4.2"),
}


class FakeLibvirt:
    """Answers for one emulator as libvirt does, and counts the questions."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.kvm = True
        self.firmware = "<value>efi</value>"
        self.secure = "<value>yes</value>"
        self.native: str | Exception = ""

    def run(self, function: Any, *arguments: Any) -> Any:
        self.asked.append(function.__name__)
        return getattr(self, function.__name__)(*arguments)

    def version(self) -> int:
        return 9000000

    def getDomainCapabilities(self, path: str, arch: str, machine: str, kind: str) -> str:  # noqa: N802
        if kind == "kvm" and not self.kvm:
            raise exceptions.LibvirtError("invalid argument: the accel 'kvm' is not supported")
        return CAPABILITIES.format(
            path=path, arch=arch, kind=kind, firmware=self.firmware, secure=self.secure
        )

    def baselineHypervisorCPU(self, *arguments: Any) -> str:  # noqa: N802
        (cpu,) = arguments[4]
        names = MODELS.get(etree.fromstring(cpu).findtext("model") or "", MODELS["EPYC"])
        features = "".join(f"<feature policy='require' name='{name}'/>" for name in names)
        return f"<cpu>{features}</cpu>"

    def domainXMLToNative(self, _kind: str, xml: str) -> str:  # noqa: N802
        if isinstance(self.native, Exception):
            raise self.native
        model = xml.partition('forbid">')[2].partition("<")[0] or "max"
        return self.native or f"LC_ALL=C qemu -cpu {model} -m 64"


class DetectionTestCase(unittest.TestCase):
    """An x86_64 host with emulators for x86_64 and s390x."""

    def setUp(self) -> None:
        super().setUp()
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.root = Path(place.name)
        for name in ("x86_64", "s390x"):
            program = self.root / f"qemu-system-{name}"
            program.write_text(textwrap.dedent(EMULATOR).format(python=sys.executable))
            program.chmod(0o755)
        for patch in (
            mock.patch.dict(os.environ, {"PATH": str(self.root)}),
            mock.patch.object(tools, "SYSTEM_DIRECTORIES", ()),
            mock.patch.object(architecture, "of_host", return_value="x86_64"),
        ):
            patch.start()
            self.addCleanup(patch.stop)
        self.libvirt = FakeLibvirt()
        self.ability = Ability(frozenset({"x86_64", "i686"}), "it was probed")

    def detection(self, **options: Any) -> Detection:
        connection = mock.create_autospec(Connection, instance=True)
        connection.run.side_effect = self.libvirt.run
        connection.uri = "test:///"
        configuration = base.configuration(state_path=str(self.root / "state"), **options)
        detector = mock.create_autospec(kvm.Detector, instance=True)
        detector.ability.side_effect = lambda **_how: self.ability
        detector.fingerprint.side_effect = lambda: self.ability.reason
        with mock.patch.object(kvm, "Detector", return_value=detector):
            return Detection(configuration, connection)

    def started(self) -> list[str]:
        log = self.root / "started"
        return log.read_text().splitlines() if log.exists() else []
