# SPDX-License-Identifier: Apache-2.0
"""An example of a distribution that adds a verb and an image source."""

import urllib.error
import urllib.request
import urllib.response
from pathlib import Path

from compute_driver import exceptions
from compute_driver.driver import ComputeDriver, Progress
from compute_driver.images.sources import ImageSource, basename, shown


def cpu_seconds(driver: ComputeDriver, uuid: str, *, digits: int = 1) -> float:
    """Tell how much processor time a guest has used since it was started.

    :param digits: digits after the decimal point.
    """
    (stats,) = driver.stats(uuid)
    return round(stats.cpu_time_ns / 1e9, digits)


class FtpSource(ImageSource):
    """Images on FTP servers."""

    def identify(self, location: str) -> str:
        """Return the location and the file's size."""
        with self._open(location) as response:
            return f"{location} {response.headers['Content-Length']}"

    def fetch(
        self, location: str, target: Path, progress: Progress, *, verified: bool = False
    ) -> None:
        """Download the file from its beginning."""
        try:
            with self._open(location) as response, target.open("wb") as copy:
                while data := response.read(1024**2):
                    copy.write(data)
                    progress(f"fetching {basename(location)}", copy.tell(), 0)
            if not verified and str(target.stat().st_size) != response.headers["Content-Length"]:
                raise OSError("it is not known whether all of it came")
        except OSError as error:
            target.unlink(missing_ok=True)
            raise exceptions.ImageFetchFailed(f"{shown(location)}: {error}") from error

    def _open(self, location: str) -> urllib.response.addinfourl:
        timeout = self.conf.hypervisor.image_fetch_timeout
        try:
            return urllib.request.urlopen(location, timeout=timeout)
        except urllib.error.URLError as error:
            raise exceptions.ImageFetchFailed(f"{shown(location)}: {error.reason}") from error
