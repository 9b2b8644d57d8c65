# SPDX-License-Identifier: Apache-2.0
"""Section of nova's driver: two hosts find out whether they share an instance's directory.

One host makes a file, and the other host looks for the file.  Nova asks before it removes the files
of an instance that lives on another host or has another size.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from compute_driver.nova.section import Section

_FILENAME = "filename"


class SharedStorageMethods(Section):
    """Looks for an instance's directory on this host."""

    def instance_on_disk(self, instance: Any) -> bool:
        """Return whether the instance's directory is on this host."""
        return self._directory(instance).exists()

    def check_instance_shared_storage_local(
        self, context: Any, instance: Any
    ) -> dict[str, str] | None:
        """Make the file; return its path, or None if the instance has no directory here."""
        directory = self._directory(instance)
        if not directory.exists():
            return None
        descriptor, name = tempfile.mkstemp(prefix=".shared-", dir=directory)
        os.close(descriptor)
        return {_FILENAME: name}

    def check_instance_shared_storage_remote(self, context: Any, data: dict[str, str]) -> bool:
        """Return whether the other host's file is visible on this host."""
        return Path(data[_FILENAME]).exists()

    def check_instance_shared_storage_cleanup(self, context: Any, data: dict[str, str]) -> None:
        """Remove the file."""
        Path(data[_FILENAME]).unlink(missing_ok=True)
