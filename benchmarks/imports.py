# SPDX-License-Identifier: Apache-2.0
"""Start the command line: the time of its imports and of ``list``, in this source tree and others.

``python -m benchmarks.imports --tree PATH`` from the top of a checkout compares with another one.
"""

from __future__ import annotations

import configparser
import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks import command, measure
from benchmarks.report import Report

#: This source tree, and what the report calls it.
TREE = Path(__file__).parents[1]
OWN = "this"

#: Prints the seconds that the imports of the command line take.
_IMPORT = """
import time
began = time.perf_counter()
import compute_driver.cmd.main, compute_driver.cmd.app
print(time.perf_counter() - began)
"""

_STOP = """
import pathlib, sys
from compute_driver.libvirt.daemon import EmbeddedDaemon
EmbeddedDaemon(pathlib.Path(sys.argv[1])).stop()
"""

_LIST = ("-m", "compute_driver.cmd.main", f"--config-file={os.devnull}", "list")


@dataclasses.dataclass(frozen=True)
class Tree:
    """The command line of one source tree, which runs in processes of its own.

    :param source: top of the tree.
    :param scratch: a directory for the tree's entry points, caches and guests.
    """

    source: Path
    scratch: Path

    @contextlib.contextmanager
    def prepared(self) -> Iterator[Tree]:
        """Make the tree's entry points known, and stop its libvirt in the end."""
        self._write_entry_points()
        try:
            yield self
        finally:
            self._run("-c", _STOP, str(self.scratch / "state"))

    def measured(self) -> measure.Sample:
        """Return the seconds of the imports, and of ``list`` from start to end of the process."""
        seconds = {"import": float(self._run("-c", _IMPORT))}
        for driver in ("fake", "libvirt"):
            began = time.perf_counter()
            self._run(*_LIST, OS_HYPERVISOR__DRIVER=driver)
            seconds[f"list {driver}"] = time.perf_counter() - began
        return seconds

    def _run(self, *words: str, **variables: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.scratch,
            env=self._environment() | variables,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        return done.stdout

    def _environment(self) -> dict[str, str]:
        # Every tree finds its modules compiled, whoever used the tree before.
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        return inherited | {
            "OS_HYPERVISOR__STATE_PATH": str(self.scratch / "state"),
            "PYTHONPATH": f"{self.scratch}:{self.source}",
            "PYTHONPYCACHEPREFIX": str(self.scratch / "compiled"),
            "XDG_CACHE_HOME": str(self.scratch / "cache"),
        }

    def _write_entry_points(self) -> None:
        """Give the tree's entry points precedence over those of an installed package."""
        setup = configparser.ConfigParser()
        setup.read(self.source / "setup.cfg")
        groups = [f"[{group}]\n{points}\n" for group, points in setup["entry_points"].items()]
        metadata = self.scratch / "compute_driver-0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Name: compute-driver\nVersion: 0\n")
        (metadata / "entry_points.txt").write_text("\n".join(groups))


def run(count: int, others: Mapping[str, Path]) -> Report:
    """Run the benchmark.

    :param count: rounds.
    :param others: further source trees by name; the first one is the baseline.
    """
    with contextlib.ExitStack() as stack:
        ways = {}
        for name, source in {OWN: TREE, **others}.items():
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cd-")))
            ways[name] = stack.enter_context(Tree(source.resolve(), scratch).prepared()).measured
        taken = measure.interleave(ways, command.rounds(count))
    return Report(
        benchmark="imports",
        conditions={"rounds": count},
        baseline=next(iter(others), OWN),
        taken=taken,
    )


def main() -> int:
    """Run the command line and return its exit status."""
    parser = command.parser("imports", __doc__, count=10)
    parser.add_argument(
        "--tree",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="another source tree, which takes turns with this one; can be given more than once",
    )
    options = command.options(parser)
    report = run(options.count, {path.resolve().name: path for path in options.tree})
    return command.show(report, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
