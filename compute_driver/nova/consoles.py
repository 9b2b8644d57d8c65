# SPDX-License-Identifier: Apache-2.0
"""Section of nova's driver: an instance's consoles, for nova's proxies and for the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nova.privsep.path
from nova import exception
from nova.console import type as ctype

from compute_driver import exceptions
from compute_driver.consoles import DisplayKind
from compute_driver.info import Display
from compute_driver.libvirt.consoles.log import log_files
from compute_driver.nova.errors import replaced
from compute_driver.nova.section import Section

#: How many bytes of a console's log nova shows.
_LOG_BYTES = 100 * 1024


class ConsoleMethods(Section):
    """Returns an instance's consoles; a host name or address is one that nova's proxies use."""

    def get_console_output(self, context: Any, instance: Any) -> bytes:
        try:
            return self._driver.console_log(instance.uuid, max_bytes=_LOG_BYTES)
        except exceptions.HostError as error:
            if not isinstance(error.__cause__, PermissionError):
                raise
            return last_bytes(Path(self._driver.show(instance.uuid).console), _LOG_BYTES)

    def get_vnc_console(self, context: Any, instance: Any) -> ctype.ConsoleVNC:
        display = self._display(instance, DisplayKind.VNC)
        return ctype.ConsoleVNC(host=self._conf.vnc.server_proxyclient_address, port=display.port)

    def get_spice_console(self, context: Any, instance: Any) -> ctype.ConsoleSpice:
        display = self._display(instance, DisplayKind.SPICE)
        return ctype.ConsoleSpice(
            host=self._conf.spice.server_proxyclient_address,
            # Nova's token needs a port, even if only the port for TLS is open.
            port=display.port or display.tls_port,
            tlsPort=display.tls_port,
        )

    def get_serial_console(self, context: Any, instance: Any) -> ctype.ConsoleSerial:
        with replaced(exceptions.InvalidGuestState, lambda _text: _not_ready(instance)):
            address = self._driver.console_address(instance.uuid)
        return ctype.ConsoleSerial(
            host=self._conf.serial_console.proxyclient_address, port=address.port
        )

    def _display(self, instance: Any, kind: DisplayKind) -> Display:
        with replaced(exceptions.InvalidGuestState, lambda _text: _not_ready(instance)):
            return self._driver.display(instance.uuid, kind=kind)


def _not_ready(instance: Any) -> exception.InstanceNotReady:
    return exception.InstanceNotReady(instance_id=instance.uuid)


def last_bytes(log: Path, max_bytes: int) -> bytes:
    """Return the end of a console log that only root can read; nova's privileged helper reads it.

    libvirt's virtlogd makes the file for root only, in a directory that nova owns.
    """
    data = b""
    for path in reversed(log_files(log)):
        if len(data) < max_bytes:
            part, _more = nova.privsep.path.last_bytes(str(path), max_bytes - len(data))
            data = part + data
    return data
