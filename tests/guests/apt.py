# SPDX-License-Identifier: Apache-2.0
"""apt for any architecture, with a private state: apt neither reads nor changes the machine's.

apt looks at the release only: the packages of a release stay in the archive until the next point
release, while an update can replace another update at any time. While a mirror takes over a point
release, lists and checksums of a suite may differ, but seldom those of several suites.
"""

import fcntl
import logging
import platform
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.guests.errors import GuestBuildError
from tests.guests.tools import run

LOG = logging.getLogger(__name__)

#: Seconds after which apt reads the package lists again.
FRESH = 24 * 3600

# A dependency of apt installs this file, which also holds the keys of later releases.
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_COMPONENT = "main"


@dataclass(frozen=True)
class Apt:
    """The packages of one release of Debian for one architecture.

    :param states: folder with the states of all releases and architectures
    :param architecture: Debian's name of the architecture
    :param suites: acceptable suites, best first; none: the machine's own release
    """

    states: Path
    architecture: str
    suites: tuple[str, ...] = ()

    def run(self, tool: str, *arguments: str, cwd: Path | None = None) -> str:
        """Run a tool of apt with current lists, and return its standard output.

        :param tool: such as ``apt-cache``
        :param arguments: of the tool
        :param cwd: folder to run it in
        :raises: GuestBuildError
        """
        self._state.mkdir(parents=True, exist_ok=True)
        with (self._state / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._is_fresh():
                self._update()
            return run([tool, *self._options(), *arguments], cwd)

    @property
    def sources(self) -> Path:
        """The list of sources, for another program; known after the first command."""
        return self._state / "sources.list"

    def forget(self) -> None:
        """Have the next command read the lists anew."""
        self._stamp.unlink(missing_ok=True)

    @property
    def _accepted(self) -> tuple[str, ...]:
        return self.suites or (own_release(),)

    @property
    def _state(self) -> Path:
        return self.states / f"{self._accepted[0]}-{self.architecture}"

    @property
    def _stamp(self) -> Path:
        return self._state / "updated"

    def _is_fresh(self) -> bool:
        return self._stamp.exists() and time.time() - self._stamp.stat().st_mtime < FRESH

    def _update(self) -> None:
        for folder in ("lists/partial", "cache/archives/partial"):
            (self._state / folder).mkdir(parents=True, exist_ok=True)
        # An empty status file means that no package is installed.
        (self._state / "status").touch()
        for suite in self._accepted:
            LOG.info("reading the package lists of %s for %s", suite, self.architecture)
            self._select(suite)
            try:
                run(["apt-get", *self._options(), "update", "--error-on=any"])
            except GuestBuildError as error:
                failure = error
                LOG.warning("no package lists of %s: %s", suite, error)
            else:
                self._stamp.write_text(suite)
                return
        if not self._stamp.exists():
            raise failure
        LOG.warning("going on with old package lists")
        self._select(self._stamp.read_text())
        self._stamp.touch()

    def _select(self, suite: str) -> None:
        lines = [f"deb [signed-by={_KEYRING}] {site} {suite} {_COMPONENT}\n" for site in sites()]
        self.sources.write_text("".join(lines))

    def _options(self) -> Iterable[str]:
        state = self._state
        options = {
            "APT::Architecture": self.architecture,
            "APT::Architectures": self.architecture,
            # By default root's apt downloads as another user, who may not write to this folder.
            "APT::Sandbox::User": "root",
            "Acquire::GzipIndexes": "true",
            "Acquire::Languages": "none",
            "Dir::Cache": str(state / "cache"),
            # Without this cache every query takes a second.
            "Dir::Cache::pkgcache": "pkgcache.bin",
            "Dir::Cache::srcpkgcache": "",
            "Dir::Etc::sourcelist": str(self.sources),
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State": str(state),
            "Dir::State::status": str(state / "status"),
        }
        return [f"--option={name}={value}" for name, value in options.items()]


def own_release() -> str:
    """Return the code name of the release of Debian that this machine runs."""
    try:
        return platform.freedesktop_os_release()["VERSION_CODENAME"]
    except (OSError, KeyError) as error:
        raise GuestBuildError("test guests are built of Debian's packages: use Debian") from error


def sites() -> list[str]:
    """Return the sites that the machine gets its release from."""
    fields = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    targets = run(["apt-get", "indextargets", "--format", fields, "Created-By: Packages"])
    own = [own_release(), _COMPONENT]
    sites = [site for site, *rest in map(str.split, targets.splitlines()) if rest == own]
    if not sites:
        raise GuestBuildError(f"apt's sources lack the suite {' '.join(own)}: add it")
    return list(dict.fromkeys(sites))
