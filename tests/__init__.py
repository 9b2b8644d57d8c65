# SPDX-License-Identifier: Apache-2.0
"""Tests. With ``COMPUTE_DRIVER_TEST_EVENTLET=1`` in the environment they run on green threads.

Every worker process imports this package first, before a module that could keep references to
unpatched modules.
"""

import os

GREEN_THREADS = os.environ.get("COMPUTE_DRIVER_TEST_EVENTLET") == "1"

if GREEN_THREADS:
    import eventlet

    eventlet.monkey_patch()
