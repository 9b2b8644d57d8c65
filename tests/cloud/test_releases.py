# SPDX-License-Identifier: Apache-2.0
"""The core of a server's life on green threads, and with older releases of nova-compute."""

from __future__ import annotations

from tests.cloud import core


class TestGreenThreads(core.CoreTests):
    extra = "[DEFAULT]\nconcurrency_backend = eventlet\n"
    prefix = "eventlet: "


class TestNova33(core.CoreTests):
    nova = "33.0.0"
    prefix = "nova 33: "


class TestNova32(core.CoreTests):
    nova = "32.0.0"
    prefix = "nova 32: "
