# SPDX-License-Identifier: Apache-2.0
"""Tests with a real nova in the process, which is on native threads before it is imported."""

import os

from nova import monkey_patch

os.environ.setdefault("OS_NOVA_DISABLE_EVENTLET_PATCHING", "1")
monkey_patch.patch()
