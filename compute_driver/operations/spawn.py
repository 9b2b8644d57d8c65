# SPDX-License-Identifier: Apache-2.0
"""Make a guest and start it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable

import libvirt

from compute_driver import exceptions
from compute_driver.driver import Progress
from compute_driver.guest import ConfigDrive, Guest, check_new_name
from compute_driver.hardware import acceleration
from compute_driver.images import sources
from compute_driver.images.entry import CachedImage
from compute_driver.info import GuestInfo
from compute_driver.libvirt import domain as domains
from compute_driver.operations.base import interfaces, power, removal, restoring
from compute_driver.operations.base.context import Parts, report
from compute_driver.operations.base.journal import Operation
from compute_driver.storage import config_drive, disks, layout
from compute_driver.storage.base_image import check_size
from compute_driver.storage.layout import Role
from compute_driver.system import files, filesystem, steps, tools


def spawn(
    parts: Parts,
    guest: Guest,
    decision: acceleration.Decision,
    progress: Progress,
    op: Operation,
    *,
    network: contextlib.AbstractContextManager[object] | None,
    power_on: bool,
    make_config_drive: Callable[[GuestInfo], ConfigDrive | None] | None,
) -> GuestInfo:
    """Make *guest*, and start it if *power_on* says so; on failure nothing of it is left.

    :param decision: what :func:`compute_driver.operations.base.admission.check_guest` returned.
    :param op: the operation, whose failure removes the guest.
    :param network: see :meth:`compute_driver.driver.ComputeDriver.spawn`.
    :param make_config_drive: likewise.
    :raises: see :meth:`compute_driver.driver.ComputeDriver.spawn`.
    """
    reused = restoring.has_kept_files(parts, guest.uuid)
    if not reused:
        check_new_name(guest.name)
    _refuse_taken(parts, guest)
    base = parts.images.get(guest.image, progress) if guest.image else None
    asked, guest = guest, _to_store(guest, base)
    if reused:
        _refuse_another(guest, restoring.kept_guest(parts, guest.uuid))
    blueprint = parts.blueprint(guest, decision)
    plan = blueprint.layout
    for disk in plan.disks:
        check_size(disk, base)

    op.note(remove=not reused, undefine=reused)
    if reused:
        op.undo.add(f"domain {guest.name}", removal.undefine_kept, parts, guest.uuid)
    else:
        op.undo.add(f"files of {guest.name}", removal.remove_files, parts, guest.uuid)
        op.undo.add(f"domain {guest.name}", removal.remove_domain, parts, guest.uuid)
    _make_files(parts, asked, plan, base, progress, later=make_config_drive is not None)
    parts.define(blueprint.xml)
    steps.announce("domain defined")
    if make_config_drive is not None:
        content = make_config_drive(parts.inventory.guest(guest.uuid))
        _write_config_drive(guest, plan, content)
    if power_on:
        power.power_on_with(parts, guest, network)
    info = parts.inventory.guest(guest.uuid)
    if reused:
        restoring.forget_kept(parts, guest.uuid)  # the guest is made: its undo does nothing now
        steps.announce("kept files taken")
    op.undo.commit()
    report(guest, decision)
    return info


def _write_config_drive(guest: Guest, plan: layout.Layout, content: ConfigDrive | None) -> None:
    drive = plan.disk(Role.CONFIG_DRIVE)
    if drive is not None and content is not None:
        config_drive.check_content(content)
        config_drive.build(content, guest, drive.source)


def _refuse_another(guest: Guest, kept: Guest) -> None:
    """Refuse a description that does not fit the kept files of the guest."""
    for field, wanted, old in (
        ("image", guest.image and guest.image.location, kept.image and kept.image.location),
        ("disk", guest.root and guest.root.size_bytes, kept.root and kept.root.size_bytes),
    ):
        if wanted != old:
            raise exceptions.InvalidParameter(field, wanted, f"{old}, as its kept files have it")


def _refuse_taken(parts: Parts, guest: Guest) -> None:
    parts.connection.run(_refuse_duplicate, guest)
    interfaces.require_ports(parts, guest)
    parts.connection.run(parts.ownership.require_storage)
    if parts.directory(guest.uuid).exists() and not restoring.has_kept_files(parts, guest.uuid):
        raise exceptions.GuestExists(
            f"directory {parts.directory(guest.uuid)} is in the way; see 'audit'"
        )


def _refuse_duplicate(connection: libvirt.virConnect, guest: Guest) -> None:
    # A list of all domains would wait for every guest whose emulator hangs.
    if domains.lookup_name(connection, guest.name) is not None:
        raise exceptions.GuestExists(f"name {guest.name!r} is taken on this host")
    if domains.lookup(connection, guest.uuid) is not None:
        raise exceptions.GuestExists(f"UUID {guest.uuid} is taken on this host")


def _to_store(guest: Guest, base: CachedImage | None) -> Guest:
    """Return the guest as its domain will store it, with the image's format and without secrets."""
    if guest.image and base:
        image = dataclasses.replace(sources.clean(guest.image), format=base.format)
        guest = dataclasses.replace(guest, image=image)
    if guest.boot:
        guest = dataclasses.replace(guest, boot=sources.clean_boot(guest.boot))
    return guest


def _make_files(
    parts: Parts,
    guest: Guest,
    plan: layout.Layout,
    base: CachedImage | None,
    progress: Progress,
    *,
    later: bool,
) -> None:
    """Make a guest's files.

    :param later: whether the config drive is made later, when the guest is defined.
    """
    limits = tools.limits(parts.conf)
    filesystem.make_directory(plan.directory, filesystem.PASSABLE)
    steps.announce("directory made")
    for image, target in layout.boot_files(guest.boot, plan):
        if not target.exists():
            files.place(parts.images.get_file(image, progress), target)
    for disk in plan.disks:
        if disk.role is Role.CONFIG_DRIVE:
            if later:
                continue
            assert guest.config_drive is not None
            config_drive.build(guest.config_drive, guest, disk.source)
        elif not disks.kind(disk.source).exists(disk.source):  # kept files stay
            allocate = parts.conf.hypervisor.preallocate_disks
            disks.make(disk, base, limits, allocate=allocate)
            steps.announce("disk made")
