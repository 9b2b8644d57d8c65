# SPDX-License-Identifier: Apache-2.0
"""User data for cloud-init, in all its forms at once."""

from __future__ import annotations

import gzip
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

#: Locales and keys take long under emulation. Passwords may log in by SSH.
_SETTINGS = """#cloud-config
locale: "false"
ssh_genkeytypes: [ed25519]
ssh_pwauth: true
chpasswd:
  expire: false
  users: [{{name: debian, password: "{password}", type: text}}]
write_files:
  - path: /var/lib/told-by-config
    content: "cloud-config\\n"
"""
_SCRIPT = """#!/bin/sh
echo script >>/var/lib/told-by-script
"""
#: This script runs at every boot, the other one once for each instance.
_EVERY_BOOT = """#!/bin/sh
cat /proc/sys/kernel/random/boot_id >>/var/lib/boots
"""


def archive(password: str, final: str = "") -> bytes:
    """Return a compressed MIME archive of a ``#cloud-config`` and two scripts.

    :param password: of account ``debian``
    :param final: more commands of the script that runs once
    """
    parts = {
        "cloud-config": _SETTINGS.format(password=password),
        "x-shellscript": _SCRIPT + final,
        "x-shellscript-per-boot": _EVERY_BOOT,
    }
    made = MIMEMultipart()
    for kind, text in parts.items():
        part = MIMEText(text, kind)
        part.add_header("Content-Disposition", "attachment", filename=kind)
        made.attach(part)
    return gzip.compress(made.as_bytes(), mtime=0)
