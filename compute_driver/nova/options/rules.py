# SPDX-License-Identifier: Apache-2.0
"""The rules of the table of nova's options."""

from __future__ import annotations

import dataclasses
from typing import Any

from compute_driver.choices import Choice

#: oslo.config's words for true and false.
_WORDS = {
    **dict.fromkeys(("true", "1", "on", "yes"), "true"),
    **dict.fromkeys(("false", "0", "off", "no"), "false"),
}


class Effect(Choice):
    """What this driver does with an option of nova."""

    #: The option works as with nova's own driver.
    WORKS = "works"
    #: No guest and no operator loses anything.
    NEEDLESS = "not needed"
    #: nova-compute logs a line when it starts.
    WARNED = "warning"
    #: nova-compute does not start: guests would not be what the operator expects.
    REFUSED = "refused"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """What this driver does with one option.

    :param effect: the effect of accepted values, WORKS or NEEDLESS.
    :param about: how the option works, or why guests do not need the option; empty if only values
        that are not accepted need words.
    :param own: the option of group ``[hypervisor]`` whose default the option sets; empty without.
    :param accepted: the accepted values as :func:`text` writes them; empty for all values.
    :param otherwise: the effect of other values, WARNED or REFUSED.
    :param lack: what the driver does not do, for other values.
    """

    effect: Effect
    about: str = ""
    own: str = ""
    accepted: tuple[str, ...] = ()
    otherwise: Effect = Effect.WARNED
    lack: str = ""

    def effect_of(self, value: str) -> Effect:
        """Return the effect of a value, as :func:`text` writes it.

        Upper and lower case do not matter, nor does the order of a list.
        """
        accepted = {_plain(word) for word in self.accepted}
        if not accepted or _plain(value) in accepted:
            return self.effect
        boolean = {"true", "false"} & accepted
        known = boolean and _WORDS.get(value.lower()) in accepted
        return self.effect if known else self.otherwise


def _plain(value: str) -> str:
    return ",".join(sorted(word.strip() for word in value.lower().split(",")))


def text(value: Any) -> str:
    """Return the text of an option's value, from a file or from nova; empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value).strip()


def default_of(own: str, *accepted: str, lack: str = "") -> Rule:
    """Return the rule of an option that sets the default of an own option.

    The value is the default, unless :mod:`compute_driver.nova.configuration` converts the value.

    :param accepted: the accepted values, if this driver refuses others.
    """
    rule = works(f"the default of [hypervisor] {own}", *accepted, lack=lack)
    return dataclasses.replace(rule, own=own)


def works(about: str, *accepted: str, lack: str = "") -> Rule:
    """Return the rule of an option that this package reads.

    :param accepted: the accepted values, if this driver refuses others.
    :param lack: what the driver does not do, for other values.
    """
    return Rule(
        effect=Effect.WORKS, about=about, accepted=accepted, otherwise=Effect.REFUSED, lack=lack
    )


def of_nova(part: str = "nova-compute") -> Rule:
    """Return the rule of an option that a part of nova outside of drivers reads."""
    return Rule(effect=Effect.WORKS, about=f"{part} itself uses the option")


def needless(reason: str) -> Rule:
    """Return the rule of an option that has no use with this driver."""
    return Rule(effect=Effect.NEEDLESS, about=reason)


def warned(lack: str, *accepted: str) -> Rule:
    """Return the rule of an option whose other values have no effect on guests.

    :param accepted: the harmless values.
    """
    return Rule(effect=Effect.NEEDLESS, accepted=accepted, lack=lack)


def refused(lack: str, *accepted: str) -> Rule:
    """Return the rule of an option whose other values promise what guests do not get."""
    return Rule(effect=Effect.NEEDLESS, accepted=accepted, otherwise=Effect.REFUSED, lack=lack)
