# SPDX-License-Identifier: Apache-2.0
"""The first words of SPICE, by which a server of it is known.

Source: "SPICE protocol", the link messages.
"""

from __future__ import annotations

import struct

#: What both sides begin with.
MAGIC = b"REDQ"

_LINK = struct.pack("<IBBIII", 0, 1, 0, 0, 0, 18)

#: Asks for the main channel, without any capabilities.
HELLO = struct.pack("<4sIII", MAGIC, 2, 2, len(_LINK)) + _LINK
