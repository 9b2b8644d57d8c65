# SPDX-License-Identifier: Apache-2.0
"""The first messages of SPICE, which identify a server.

Source: "SPICE protocol", the link messages.
"""

from __future__ import annotations

import struct

#: First bytes of both sides.
MAGIC = b"REDQ"

_LINK = struct.pack("<IBBIII", 0, 1, 0, 0, 0, 18)

#: Request for the main channel, without capabilities.
HELLO = struct.pack("<4sIII", MAGIC, 2, 2, len(_LINK)) + _LINK
