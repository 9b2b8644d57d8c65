# SPDX-License-Identifier: Apache-2.0
"""Makes files that are complete and private, or are not there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from compute_driver.filesystem import host_errors


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Fill an empty file that only its owner may read; it becomes *target* in the end.

    The block writes to the path it is given; if it fails, that file is removed and *target* is
    as it was before.

    :raises NotEnoughSpace: if the file system is full.
    :raises HostError: if the operating system refuses for another reason.
    """
    with host_errors(f"{target} cannot be made"):
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(descriptor)
        temporary = Path(name)
        try:
            yield temporary
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
