# SPDX-License-Identifier: Apache-2.0
"""The guest's own description in the domain's ``<metadata>``, both ways.

libvirt keeps the element with the domain, so that a restarted driver knows all its guests from
libvirt alone, and those of others by its absence.

Source: libvirt, "Domain XML format", "General metadata": applications put one element of their
own namespace there.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cattrs
from cattrs.errors import BaseValidationError
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from lxml import etree

from compute_driver import exceptions
from compute_driver.choices import Accelerator
from compute_driver.guest import Guest, stored
from compute_driver.hardware.acceleration import Decision
from compute_driver.xml.elements import Element, maker

#: Ends in the version of the element; attributes and keys may come without a new one.
NAMESPACE = "urn:compute-driver:guest:1"
PREFIX = "driver"

_TAG = f"{{{NAMESPACE}}}guest"
#: virDomainGetMetadata takes the namespace off what it returns.
_ROOT_TAGS = frozenset({_TAG, "guest"})
_BOOLEANS = {"true": True, "false": False}
_E = maker(NAMESPACE, PREFIX)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stored:
    """What a domain's metadata says.

    :param guest: its description; fields marked ``secret`` have their defaults.
    :param directory: holds all the guest's files.
    :param decision: the accelerator that its domain was built for.
    """

    guest: Guest
    directory: Path
    decision: Decision


def element(guest: Guest, directory: Path, decision: Decision) -> Element:
    """Return the element that stores a guest, without its secrets."""
    return _E.guest(
        # ASCII, so that libvirt's reading and writing of XML cannot change any of it.
        json.dumps(_CONVERTER.unstructure(guest), ensure_ascii=True),
        directory=str(directory),
        accelerator=str(decision.accelerator),
        reason=decision.reason,
        fallback=str(decision.fallback).lower(),
    )


def content(guest: Guest, directory: Path, decision: Decision) -> str:
    """Return what virDomainSetMetadata takes: the element, to which it gives the namespace."""
    made = element(guest, directory, decision)
    made.tag = etree.QName(made).localname
    etree.cleanup_namespaces(made)
    return etree.tostring(made, encoding="unicode")


def read(xml: str) -> Stored | None:
    """Return what is stored in a domain's XML or in our metadata element alone.

    Unknown keys are ignored and missing ones take their defaults, so that versions of this
    package can follow each other in both directions.

    :param xml: what libvirt's virDomainGetXMLDesc returns, or its virDomainGetMetadata when
        asked for the element of :data:`NAMESPACE`.
    :return: None if the domain is not this driver's.
    :raises MetadataDamaged: if it is, or may be, but cannot be understood.
    """
    try:
        found = _parse(xml)
    except etree.XMLSyntaxError as error:
        raise exceptions.MetadataDamaged(f"its description is no XML: {error}") from error
    if found is None:
        return None
    said = {str(name): str(value) for name, value in found.attrib.items()}
    try:
        return Stored(
            guest=_CONVERTER.structure(json.loads(found.text or ""), Guest),
            directory=Path(said["directory"]),
            decision=Decision(
                Accelerator(said["accelerator"]),
                said["reason"],
                _BOOLEANS[said["fallback"]],
            ),
        )
    except (ValueError, TypeError, LookupError, BaseValidationError) as bad:
        cause = _first_cause(bad)
        raise exceptions.MetadataDamaged(
            "the description stored in its metadata cannot be understood"
            f" ({type(cause).__name__}: {cause}); see 'virsh metadata DOMAIN {NAMESPACE}'"
        ) from bad


def directory(xml: str) -> Path | None:
    """Return the directory of the guest that is stored there, even if the rest is damaged.

    :param xml: what libvirt's virDomainGetXMLDesc returns, or its virDomainGetMetadata when
        asked for the element of :data:`NAMESPACE`.
    :return: None if the domain is not this driver's.
    """
    found = _parse(xml)
    return None if found is None else Path(found.get("directory", ""))


def _parse(xml: str) -> Element | None:
    root = etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True))
    return root if root.tag in _ROOT_TAGS else root.find(f"metadata/{_TAG}")


def _first_cause(error: BaseException) -> BaseException:
    """Return the first of the errors that cattrs gathered over the parts of a guest."""
    while isinstance(error, BaseValidationError):
        error = error.exceptions[0]
    return error


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter()

    def without_secrets(cls: Any) -> dict[str, Any]:
        fields = dataclasses.fields(cls)
        return {field.name: override(omit=True) for field in fields if not stored(field)}

    converter.register_unstructure_hook_factory(
        dataclasses.is_dataclass,
        lambda cls: make_dict_unstructure_fn(cls, converter, **without_secrets(cls)),
    )
    converter.register_structure_hook_factory(
        dataclasses.is_dataclass,
        lambda cls: make_dict_structure_fn(cls, converter, **without_secrets(cls)),
    )
    return converter


_CONVERTER = _make_converter()
