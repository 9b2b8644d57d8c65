# SPDX-License-Identifier: Apache-2.0
"""Tests; with ``COMPUTE_DRIVER_TEST_EVENTLET=1`` in the environment they run on green threads.

The first import of each worker process is this package, before anything that could hold on to
unpatched modules.
"""

import os

GREEN_THREADS = os.environ.get("COMPUTE_DRIVER_TEST_EVENTLET") == "1"

if GREEN_THREADS:
    import eventlet

    eventlet.monkey_patch()
