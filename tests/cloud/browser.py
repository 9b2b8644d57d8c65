# SPDX-License-Identifier: Apache-2.0
"""A guest's screen in noVNC's page, in Chromium without a window."""

from __future__ import annotations

import base64
import io
import tempfile
from typing import Any

import PIL.Image
import PIL.ImageChops
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

_BROWSER = "/usr/bin/chromium"
_DRIVER = "/usr/bin/chromedriver"

#: The browser shows the page and calls nobody. Root cannot use its sandbox.
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1400,1000",
)

#: Seconds between looks at the page.
_POLL_SECONDS = 0.2

#: Share of the pixels in which equal pictures may differ: a cursor blinks.
_DIFFERENT = 0.001


class Page:
    """A page with a guest's screen; as a context it closes the browser.

    :param url: of the page.
    :param seconds: the longest wait for anything on the page.
    """

    def __init__(self, url: str, seconds: float) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-")
        options = webdriver.ChromeOptions()
        options.binary_location = _BROWSER
        for argument in (*_ARGUMENTS, f"--user-data-dir={self._profile.name}"):
            options.add_argument(argument)
        try:
            self._browser = webdriver.Chrome(options, webdriver.ChromeService(_DRIVER))
        except BaseException:
            self._profile.cleanup()
            raise
        self._wait = WebDriverWait(self._browser, seconds, _POLL_SECONDS)
        try:
            self._browser.get(url)
            self._wait.until(lambda _browser: self.status.startswith("Connected"))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the browser, and remove its profile."""
        self._browser.quit()
        self._profile.cleanup()

    @property
    def status(self) -> str:
        """noVNC's text about the connection."""
        return str(self._browser.find_element(By.ID, "status").text)

    def picture(self) -> PIL.Image.Image:
        """Return the screen as the page shows it."""
        script = "return arguments[0].toDataURL('image/png')"
        url = str(self._browser.execute_script(script, self._canvas()))
        data = base64.b64decode(url.partition(",")[2])
        return PIL.Image.open(io.BytesIO(data)).convert("RGB")

    def wait_for(self, picture: Any) -> None:
        """Wait until the page shows a picture, all but a cursor.

        :param picture: a function that returns the picture, as PNG
        """

        def same(_browser: object) -> bool:
            expected = PIL.Image.open(io.BytesIO(picture())).convert("RGB")
            return difference(expected, self.picture()) < _DIFFERENT

        self._wait.until(same, "the page does not show the screen")

    def type(self, text: str) -> None:
        """Type at the guest's keyboard."""
        canvas = self._canvas()
        canvas.click()
        canvas.send_keys(text)

    def _canvas(self) -> Any:
        return self._browser.find_element(By.CSS_SELECTOR, "canvas")


def difference(one: PIL.Image.Image, other: PIL.Image.Image) -> float:
    """Return the share of pixels that differ, 0 to 1; pictures of other sizes differ in all."""
    if one.size != other.size:
        return 1.0
    changed = PIL.ImageChops.difference(one, other).convert("L").point(lambda value: value and 255)
    return changed.histogram()[255] / (one.width * one.height)


def colours(picture: PIL.Image.Image) -> int:
    """Return how many colours a picture has; a blank picture has one."""
    return len(picture.getcolors(maxcolors=picture.width * picture.height) or ())
