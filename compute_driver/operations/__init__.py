# SPDX-License-Identifier: Apache-2.0
"""A module for each verb with steps of its own, under the name of the verb: a short script.

The first use of a module, such as ``operations.spawn``, imports the module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compute_driver.operations import (
        attach_interface,
        audit,
        confirm_resize,
        console_wait,
        destroy,
        detach_interface,
        host_check,
        identify,
        image_list,
        image_prune,
        inject_nmi,
        plug_interfaces,
        publish,
        reboot,
        replace_interfaces,
        rescue,
        resize,
        resume,
        revert_resize,
        snapshot,
        spawn,
        ssh_host_keys,
        start,
        stop,
        subscribe,
        suspend,
        unpublish,
        unrescue,
    )

    __all__ = [
        "attach_interface",
        "audit",
        "confirm_resize",
        "console_wait",
        "destroy",
        "detach_interface",
        "host_check",
        "identify",
        "image_list",
        "image_prune",
        "inject_nmi",
        "plug_interfaces",
        "publish",
        "reboot",
        "replace_interfaces",
        "rescue",
        "resize",
        "resume",
        "revert_resize",
        "snapshot",
        "spawn",
        "ssh_host_keys",
        "start",
        "stop",
        "subscribe",
        "suspend",
        "unpublish",
        "unrescue",
    ]
else:
    from compute_driver.system import lazy

    __getattr__ = lazy.modules(__name__)
