# SPDX-License-Identifier: Apache-2.0
"""Writes the description of a guest into the domain's ``<metadata>``, and reads it.

libvirt keeps the element with the domain, so that a restarted driver learns all its guests from
libvirt.  A domain without the element belongs to another program.

Source: libvirt, "Domain XML format", "General metadata": each application has one element, in its
own namespace.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cattrs
from cattrs.errors import BaseValidationError
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from lxml import etree

from compute_driver import exceptions
from compute_driver.choices import Accelerator
from compute_driver.guest import Guest, is_stored
from compute_driver.hardware.acceleration import Decision
from compute_driver.xml.elements import Element, maker

#: Ends in the version of the element; new attributes and keys need no new version.
NAMESPACE = "urn:compute-driver:guest:1"
PREFIX = "driver"

_TAG = f"{{{NAMESPACE}}}guest"
#: Number of guests whose descriptions are kept as they were read last.
_KEPT = 1024

#: Number of texts that are kept as they were read last.
_KEPT_TEXTS = 8

#: virDomainGetMetadata returns the element without its namespace.
_ROOT_TAGS = frozenset({_TAG, "guest"})
_OWNER = "owner"
_BOOLEANS = {"true": True, "false": False}
_E = maker(NAMESPACE, PREFIX)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stored:
    """The content of a domain's metadata.

    :param guest: the guest's description; fields marked ``secret`` have their defaults.
    :param directory: the directory of the guest's files when the domain was defined.
    :param decision: the accelerator of the domain, and the reason for it.
    :param owner: see :class:`Claim`.
    """

    guest: Guest
    directory: Path
    decision: Decision
    owner: str | None = None


@dataclasses.dataclass(frozen=True)
class Claim:
    """Whose a domain is, by its metadata.

    :param directory: the directory of the guest's files when the domain was defined.
    :param owner: the owner of the driver that defined the domain; None from old versions.
    """

    directory: Path
    owner: str | None


def element(guest: Guest, directory: Path, decision: Decision, owner: str | None = None) -> Element:
    """Return the element that stores a guest, without its secrets."""
    return _E.guest(
        {} if owner is None else {_OWNER: owner},
        # ASCII only: libvirt cannot change any letter when it reads and writes XML.
        json.dumps(_CONVERTER.unstructure(guest), ensure_ascii=True),
        directory=str(directory),
        accelerator=str(decision.accelerator),
        reason=decision.reason,
        fallback=str(decision.fallback).lower(),
    )


@dataclasses.dataclass(frozen=True)
class Content:
    """One element of a domain's metadata, as virDomainSetMetadata takes it.

    :param text: the element, whose own name is without its namespace: libvirt adds the namespace.
        None removes the element.
    """

    prefix: str
    namespace: str
    text: str | None

    @classmethod
    def of(cls, element: Element) -> Content:
        """Return an element that has a namespace and a prefix."""
        name = etree.QName(element)
        bare = etree.Element(name.localname, _attributes(element))
        bare.text = element.text
        bare.extend(element)
        text = etree.tostring(bare, encoding="unicode")
        return cls(element.prefix or "", name.namespace or "", text)


def contents(before: Stored, guest: Guest) -> tuple[Content, ...]:
    """Return all elements that change the metadata of a domain that is defined.

    :param before: the domain's content.
    :param guest: the guest's new description.
    """
    own = element(guest, before.directory, before.decision, before.owner)
    made = (own, *elements(guest.annotations))
    new = tuple(map(Content.of, made))
    kept = {content.namespace for content in new}
    old = map(Content.of, elements(before.guest.annotations))
    return (
        *new,
        *(
            dataclasses.replace(content, text=None)
            for content in old
            if content.namespace not in kept
        ),
    )


def elements(texts: Iterable[str]) -> list[Element]:
    """Return the elements that other programs read, from a guest's ``annotations``.

    :raises InvalidParameter: if a text is no XML element with a namespace and a prefix, or if two
        elements share a namespace.
    """
    accepted = "XML elements, each in a namespace of its own, with a prefix"
    made: dict[str, Element] = {}
    for text in texts:
        try:
            element = _root(text)
        except etree.XMLSyntaxError as error:
            raise exceptions.InvalidParameter("annotations", text, accepted) from error
        namespace = etree.QName(element).namespace or ""
        if not namespace or not element.prefix or namespace in (*made, NAMESPACE):
            raise exceptions.InvalidParameter("annotations", text, accepted)
        made[namespace] = element
    return [*made.values()]


def claimed(xml: str, claim: Claim) -> str:
    """Return a domain whose metadata has another claim.

    A guest that comes from another driver becomes a guest of this driver so.
    """
    root = _root(xml)
    for element in root.iterfind(f"metadata/{_TAG}"):
        element.set("directory", str(claim.directory))
        if claim.owner is not None:
            element.set(_OWNER, claim.owner)
    return etree.tostring(root, encoding="unicode")


def renamed(xml: str, name: str) -> str:
    """Return a domain with another name."""
    root = _root(xml)
    for element in root.iterfind("name"):
        element.text = name
    return etree.tostring(root, encoding="unicode")


def name(xml: str) -> str:
    """Return the name of a domain."""
    return _parse(xml).name


def uuid(xml: str) -> str:
    """Return the UUID of a domain."""
    return _parse(xml).uuid


def read(xml: str) -> Stored | None:
    """Return the content of a domain's metadata.

    Unknown keys are ignored and missing keys take their defaults, so that operators can change to
    a newer or an older version of this package.

    :param xml: the domain's XML, by virDomainGetXMLDesc, or the element of :data:`NAMESPACE`, by
        virDomainGetMetadata.
    :return: None if the domain has no such element.
    :raises MetadataDamaged: if the element cannot be understood.
    """
    try:
        parsed = _parse(xml)
    except etree.XMLSyntaxError as error:
        raise exceptions.MetadataDamaged(f"the description is no XML: {error}") from error
    attributes = parsed.attributes
    if attributes is None:
        return None
    try:
        return Stored(
            guest=_guest(parsed.text or ""),
            directory=Path(attributes["directory"]),
            decision=Decision(
                Accelerator(attributes["accelerator"]),
                attributes["reason"],
                _BOOLEANS[attributes["fallback"]],
            ),
            owner=attributes.get(_OWNER),
        )
    except (ValueError, TypeError, LookupError, BaseValidationError) as bad:
        cause = _first_cause(bad)
        raise exceptions.MetadataDamaged(
            "the description in the metadata cannot be understood"
            f" ({type(cause).__name__}: {cause}); see 'audit', and 'virsh metadata DOMAIN"
            f" {NAMESPACE}'"
        ) from bad


def check_uuid(stored: Stored, uuid: str) -> None:
    """Return if the content of a domain's metadata describes the domain's guest.

    :param uuid: the domain's UUID.
    :raises MetadataDamaged: if another client has copied the metadata of another guest.
    """
    if stored.guest.uuid != uuid:
        raise exceptions.MetadataDamaged(
            f"the metadata describe guest {stored.guest.uuid}; see 'audit'"
        )


def claim(xml: str) -> Claim | None:
    """Return the claim in a domain's metadata, even if the rest of the element is damaged.

    :param xml: see :func:`read`; may be empty.
    :return: None if the domain has no such element, or the element names no directory.
    """
    attributes = (_parse(xml).attributes if xml else None) or {}
    directory = attributes.get("directory")
    return Claim(Path(directory), attributes.get(_OWNER)) if directory else None


def text(xml: str) -> str | None:
    """Return the guest in a domain's metadata as it is stored; None without metadata."""
    return _parse(xml).text


@functools.lru_cache(_KEPT)
def _guest(text: str) -> Guest:
    """Return the guest that an element stores; operations and questions read it many times."""
    return _CONVERTER.structure(json.loads(text), Guest)


@dataclasses.dataclass(frozen=True)
class _Parsed:
    """What is read of a text; an element of lxml is not kept, as threads cannot share it.

    :param uuid: the UUID of the domain.
    :param name: the name of the domain.
    :param attributes: the attributes of the element of :data:`NAMESPACE`; None without the element.
    :param text: the text of the element.
    """

    uuid: str
    name: str
    attributes: Mapping[str, str] | None
    text: str | None


def _attributes(element: Element) -> dict[str, str]:
    return {str(name): str(value) for name, value in element.items()}


@functools.lru_cache(_KEPT_TEXTS)
def _parse(xml: str) -> _Parsed:
    """Read a text, which an operation reads many times in a row."""
    root = _root(xml)
    element = root if root.tag in _ROOT_TAGS else root.find(f"metadata/{_TAG}")
    return _Parsed(
        uuid=str(root.findtext("uuid")),
        name=str(root.findtext("name")),
        attributes=None if element is None else _attributes(element),
        text=None if element is None else element.text,
    )


def _root(xml: str) -> Element:
    return etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True))


def _first_cause(error: BaseException) -> BaseException:
    """Return the first error that cattrs has gathered over the parts of a guest."""
    while isinstance(error, BaseValidationError):
        error = error.exceptions[0]
    return error


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter()

    def without_secrets(cls: Any) -> dict[str, Any]:
        fields = dataclasses.fields(cls)
        return {field.name: override(omit=True) for field in fields if not is_stored(field)}

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
