# SPDX-License-Identifier: Apache-2.0
"""A Debian with cloud-init learns all that the command line says of it, from a config drive."""

from __future__ import annotations

import json
import tempfile
import unittest
from pathlib import Path

from compute_driver.cmd import keys
from tests import guests, user_data
from tests.functional import base, bridges
from tests.functional.command import CommandLine
from tests.ports import free_port

#: A whole Debian and its cloud-init take longer than the other guests on a busy machine.
_SECONDS = 4 * base.BOOT_TIMEOUT

_PASSWORD = "pass-5f1d"
_END = "FACT-END"
#: The guest says on its console what has arrived.  A login that starts hangs up ``/dev/ttyS0``.
_FACTS = f"""{{
echo
echo "FACT-HOSTNAME: $(hostname)"
echo "FACT-KEYS: $(cat /home/debian/.ssh/authorized_keys)"
echo "FACT-TOLD: $(cat /var/lib/told-by-* | tr '\\n' ' ')"
echo "FACT-SOURCE: $(cloud-init query v1.subplatform)"
echo "FACT-META: $(cloud-init query ds.meta_data.meta.role)"
echo "FACT-USER: $(runuser -u nobody -- sh -c 'echo {_PASSWORD} | su debian -c whoami')"
echo "FACT-DNS: $(cat /etc/resolv.conf /etc/network/interfaces.d/* | tr '\\n' ' ')"
echo "FACT-ROUTES: $(ip -json route show default)"
echo "FACT-LINKS: $(ip -json address)"
echo {_END}
}} >/dev/console
"""
_MAC = "52:54:00:00:0c:01"
_ADDRESSES = ("192.0.2.5/24", "2001:db8::5/64")
_GATEWAY = "192.0.2.1"
_SERVER = "192.0.2.53"


class CloudInit(unittest.TestCase):
    def test_all_arrives_from_the_command_line(self) -> None:
        line = CommandLine.of_root()
        self.addCleanup(line.nothing_is_left)
        files = Path(self.enterContext(tempfile.TemporaryDirectory()))
        data, key = files / "user-data", keys.own_key(files)
        public = Path(f"{key}.pub")
        data.write_bytes(user_data.archive(_PASSWORD, _FACTS))
        bridge = self.enterContext(bridges.bridge())
        nic = f"bridge={bridge},mac={_MAC},mtu=1400,address={_ADDRESSES[0]},gateway={_GATEWAY}"
        self.addCleanup(line.run, "destroy", "debian")
        line.done(
            *("spawn", "debian", "--image", str(guests.debian()), "--memory", "512"),
            *("--disk", "2", "--user-data", str(data), "--key", str(public), "--meta", "role=web"),
            *("--nic", f"{nic},address={_ADDRESSES[1]}", "--nic", "user", "--dns", _SERVER),
            *("--publish", f"{free_port()}:22", "--hostname", "web.example.org"),
            *("--wait", _END, "--timeout", str(_SECONDS)),
            timeout=_SECONDS + base.BOOT_TIMEOUT,
        )
        facts = self.facts(line.done("console", "log", "debian").out)
        self.assertEqual("web", facts["HOSTNAME"])
        self.assertIn(public.read_text().strip(), facts["KEYS"])
        self.assertEqual(["cloud-config", "script"], facts["TOLD"].split())
        self.assertIn("config-disk", facts["SOURCE"])
        self.assertEqual("web", facts["META"])
        self.assertEqual("debian", facts["USER"])
        self.assertIn(_SERVER, facts["DNS"])
        self.assertIn(_GATEWAY, [route["gateway"] for route in json.loads(facts["ROUTES"])])
        links = {link["address"]: link for link in json.loads(facts["LINKS"])}
        self.assertEqual(1400, links[_MAC]["mtu"])
        self.assertLessEqual(set(_ADDRESSES), addresses(links.pop(_MAC)))
        # SLIRP's own DHCP server has given this one.
        self.assertIn("10.0.2.15/24", set().union(*map(addresses, links.values())))
        # cloud-init writes OpenSSH's host keys to the console, and tells nothing anew after a boot.
        login = ("--user", "debian", "--identity", str(key), "--timeout", str(_SECONDS))
        ssh = ("ssh", "debian", *login)
        self.assertEqual("web\n", line.done(*ssh, "hostname; sync").out)
        line.done("reboot", "debian", "--hard")
        script = (
            "cloud-init status --wait >/dev/null; cat /var/lib/told-by-script;"
            " wc --lines </var/lib/boots"
        )
        told = line.done(*ssh, script, timeout=_SECONDS).out
        self.assertEqual(["script", "2"], told.split())

    def facts(self, log: str) -> dict[str, str]:
        lines = [line for line in log.replace("\r", "").splitlines() if line.startswith("FACT-")]
        return {
            name: value
            for name, _colon, value in (
                line.removeprefix("FACT-").partition(": ") for line in lines
            )
        }


def addresses(link: dict[str, list[dict[str, str]]]) -> set[str]:
    return {f"{each['local']}/{each['prefixlen']}" for each in link["addr_info"]}
