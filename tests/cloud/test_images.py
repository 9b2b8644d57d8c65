# SPDX-License-Identifier: Apache-2.0
"""Images made from servers, and the host's image cache."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

from tests import guests
from tests.cloud import populate
from tests.cloud.case import CLOUD, CloudCase
from tests.cloud.processes import eventually
from tests.cloud.results import recorded
from tests.cloud.servers import DEADLINE, Server


class TestSnapshot(CloudCase):
    def test_snapshot_live(self) -> None:
        server, before = self.booted()
        server.write("live")
        with self.snapshot(server, "snapshot live") as image:
            self.assertEqual(before, server.boot_id())
            self.keep(server)
            self.assert_image(server, image, "live")

    def test_snapshot_stopped(self) -> None:
        server = self.use()
        server.write("stopped")
        server.act("stop", "SHUTOFF")
        with self.snapshot(server, "snapshot stopped") as image:
            self.assertEqual("SHUTOFF", server.status)
            server.act("start", "ACTIVE")
            server.boot_id()
            self.keep(server)
            self.assert_image(server, image, "stopped")

    def test_snapshot_quiesced(self) -> None:
        server, before = self.booted_with_agent()
        server.write("quiet")
        with self.snapshot(server, "snapshot quiesced") as image:
            self.assertEqual(before, server.boot_id())
            self.assert_image(server, image, "quiet")

    def test_backups_rotate(self) -> None:
        server = self.use()
        with recorded("backup"):
            for _ in range(2):
                self.session.compute.backup_server(server.id, f"{server.name}-b", "daily", 1)
                server.wait("ACTIVE")
        (image,) = self.session.image.images(name=f"{server.name}-b")
        self.addCleanup(self.session.image.delete_image, image.id)
        self.assertEqual("active", image.status)
        self.keep(server)

    def booted_with_agent(self) -> tuple[Server, str]:
        server = self.use(image=populate.AGENT_IMAGE)
        return server, server.boot_id()

    @contextlib.contextmanager
    def snapshot(self, server: Server, operation: str) -> Iterator[Any]:
        """Make an image of a server's disk for the time of the block."""
        status = server.status
        with recorded(operation):
            image = self.session.compute.create_server_image(server.id, server.name)
            try:
                server.wait(status)
                eventually(
                    f"{server.name}: image",
                    DEADLINE,
                    lambda: self.session.image.get_image(image.id).status == "active",
                )
            except BaseException:
                self.session.image.delete_image(image.id)
                raise
        try:
            yield self.session.image.get_image(image.id)
        finally:
            self.session.image.delete_image(image.id)

    def assert_image(self, server: Server, image: Any, text: str) -> None:
        """Check an image's properties, and boot another server from the image."""
        source = self.session.image.find_image(server.image)
        self.assertEqual(("qcow2", "bare"), (image.disk_format, image.container_format))
        self.assertEqual(source.id, image.properties["base_image_ref"])
        self.assertEqual(server.id, image.instance_uuid)
        self.assertEqual("snapshot", image.properties["image_type"])
        self.assertEqual(1, image.min_disk)
        with recorded("boot from a snapshot"):
            twin = self.make(image=image.id)
            twin.wait("ACTIVE")
        twin.boot_id()
        self.assertEqual(text, twin.read())
        twin.close()


class TestImageCache(CloudCase):
    """The host's image cache, filled ahead of need and emptied of unused images."""

    extra = """[DEFAULT]
periodic_fuzzy_delay = 0
[image_cache]
manager_interval = 5
remove_unused_original_minimum_age_seconds = 1
remove_unused_resized_minimum_age_seconds = 1
"""

    def test_image_is_cached_ahead_of_need_and_removed_again(self) -> None:
        server = self.use()
        used = self.cached()
        with self.twin() as image, self.aggregate() as aggregate:
            with recorded("image cached ahead of need"):
                self.session.compute.aggregate_precache_images(aggregate.id, [image.id])
                eventually("a new image in the cache", DEADLINE, lambda: bool(self.cached() - used))
            # Unused images of other tests leave the cache meanwhile.
            new = self.cached() - used
            with recorded("unused image removed from the cache"):
                eventually("the new image removed", DEADLINE, lambda: not new & self.cached())
        server.act("reboot", "ACTIVE", reboot_type="HARD")
        server.boot_id()
        self.keep(server)

    def cached(self) -> set[str]:
        """Return the names of the complete images in the cache."""
        cache = CLOUD.state / "nova/instances/_base"
        return {path.name for path in cache.iterdir() if path.is_file() and not path.suffix}

    @contextlib.contextmanager
    def twin(self) -> Iterator[Any]:
        """Make another image with the content of the servers' image, for the time of the block."""
        image = self.session.create_image(
            f"twin-{uuid.uuid4().hex[:8]}",
            filename=str(guests.build("cloud").disk),
            disk_format="qcow2",
            container_format="bare",
            validate_checksum=False,
            wait=True,
        )
        try:
            yield image
        finally:
            self.session.image.delete_image(image.id)

    @contextlib.contextmanager
    def aggregate(self) -> Iterator[Any]:
        """Make an aggregate with the one host, for the time of the block."""
        (host,) = self.session.compute.hypervisors()
        made = self.session.compute.create_aggregate(name=f"aggregate-{uuid.uuid4().hex[:8]}")
        try:
            self.session.compute.add_host_to_aggregate(made.id, host.name)
            try:
                yield made
            finally:
                self.session.compute.remove_host_from_aggregate(made.id, host.name)
        finally:
            self.session.compute.delete_aggregate(made.id)
