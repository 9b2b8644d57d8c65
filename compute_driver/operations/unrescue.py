# SPDX-License-Identifier: Apache-2.0
"""Boot a guest's own system again."""

from __future__ import annotations

import dataclasses

from compute_driver.choices import ACTIVE
from compute_driver.contract.states import check_in_rescue
from compute_driver.operations.base import changes, power, redefining, rescue_files
from compute_driver.operations.base.context import Parts, report
from compute_driver.operations.base.journal import Operation
from compute_driver.system import steps


def unrescue(parts: Parts, uuid: str, op: Operation) -> None:
    """Boot the guest's own system again.

    :param op: the operation; once the guest's own domain is defined, a failure ends the rescue.
    :raises: see :meth:`compute_driver.driver.ComputeDriver.unrescue`.
    """
    present = parts.present(uuid)
    before = parts.described(uuid, present).guest
    check_in_rescue(before)
    after = dataclasses.replace(before, rescue=None)
    changes.require(parts.draft(after, present=present).layout, present, after.name)
    power.on_again(parts, uuid, op.undo, running=parts.state(uuid) in ACTIVE)
    op.undo.add(f"rescue files of {before.name}", rescue_files.mend, parts, uuid)
    power.power_off(parts, uuid)
    blueprint = redefining.redefine(parts, after)
    rescue_files.mend(parts, uuid)
    steps.announce("rescue files removed")
    power.power_on(parts, after)
    report(after, blueprint.decision)
