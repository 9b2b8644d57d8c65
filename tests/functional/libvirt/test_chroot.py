# SPDX-License-Identifier: Apache-2.0
"""The embedded libvirt in a plain chroot, whose root is no mount point.

The chroot is in a mount namespace of its own, whose mounts are shared.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest

from tests.functional import users

SECONDS = 120.0
# The host's directories are the chroot's, but for the directory that is its root.
SCRIPT = """
set -e
top=$1/top
shift
mount --make-rshared /
mkdir -p "$top"
for path in /*; do
    if [ -L "$path" ]; then
        cp -P "$path" "$top$path"
    elif [ -d "$path" ]; then
        mkdir "$top$path"
        mount --rbind "$path" "$top$path"
    fi
done
cat /proc/self/mountinfo | sort >"$top/../before"
chroot "$top" "$@"
sort /proc/self/mountinfo | diff "$top/../before" - >&2
"""
CODE = """
import sys
from pathlib import Path
import libvirt
from compute_driver.libvirt.daemon import EmbeddedDaemon
from tests.functional.processes import ended

daemon = EmbeddedDaemon(Path(sys.argv[1]))
try:
    assert libvirt.open(daemon.ensure()).listAllDomains() == []
    root = Path(f"/proc/{daemon.pid}/root")
    assert root.samefile("/")
    assert (root / "var/lib/libvirt").samefile(Path(sys.argv[1], "libvirt/lib/libvirt"))
finally:
    pid = daemon.pid
    daemon.stop()
    assert pid is None or ended([pid], 60)
"""


@unittest.skipUnless(os.geteuid() == 0, "only root can change its root")
class ChrootTest(unittest.TestCase):
    def test_it_serves_and_no_mount_appears_outside(self) -> None:
        with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as state:
            namespace = ["unshare", "--mount", "--propagation", "private"]
            done = subprocess.run(
                [*namespace, "sh", "-c", SCRIPT, "sh", home, sys.executable, "-c", CODE, state],
                env={**os.environ, "PYTHONPATH": str(users.PACKAGE.parent)},
                cwd="/",
                capture_output=True,
                text=True,
                timeout=SECONDS,
            )
        self.assertEqual(0, done.returncode, done.stderr)
