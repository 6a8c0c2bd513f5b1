"""How stored values are turned into bytes that only your keys read: the hook, and the codec that we ship.

A codec gets each value as the bytes of its JSON text just before a row holds it, and gives bytes back; on the way out it
is asked for the reverse. It knows whose value it is. What the database must read by itself (names, statuses, times, the
messages of errors) does not pass through it, nor does the history, which holds digests; those become keyed ones.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

from wfcelery.errors import CannotRead, Misconfigured

ENVIRONMENT = "WFCELERY_CODEC_KEYS"
_VERSION = b"\x01"
_NONCE = 12
_NAME = re.compile(r"[A-Za-z0-9._-]{1,40}")


@dataclass(frozen=True, slots=True)
class ValueContext:
    """Whose value it is, and what: `input`, `output`, `variables`, `data` (of an event, or kept beside a run), `result` (of `once`)."""

    organization_id: str
    run: str | None
    what: str


class Codec(Protocol):
    """What the setting `codec` names: an object, or a class that is made without arguments."""

    def encode(self, data: bytes, context: ValueContext) -> bytes:
        """The bytes that the database shall hold."""

    def decode(self, data: bytes, context: ValueContext) -> bytes:
        """The bytes that were given to `encode`. Raises `CannotRead`, or anything, where it cannot."""

    def digest(self, data: bytes, organization_id: str) -> bytes:
        """At least 16 bytes that are the same for the same data of one organization, and say nothing without the key."""


def _from_environment() -> dict[str, str | bytes]:
    said = [each.strip() for each in os.environ.get(ENVIRONMENT, "").split(",") if each.strip()]
    if any(":" not in each for each in said):
        raise Misconfigured(f"{ENVIRONMENT} is name:base64, and more of these after commas")
    return {name: key for name, _, key in (each.partition(":") for each in said)}


@dataclass(slots=True)
class Encrypting:
    """AES-256-GCM with a key of each organization's own, derived from a ring of keys.

    `keys`: names to 32 bytes each, or to these in base64. New values are written with the key called `current` (the first,
    unless said); each value names its key, so that older ones are read as long as their key is in the ring. The *last* key of
    the ring makes the digests by which inputs are compared: add new keys in front, and keep the last one last. Without
    arguments the ring is read from WFCELERY_CODEC_KEYS: `name:base64,name:base64`.

    A value's key is derived (HKDF) from the ring's key and its organization, which is authenticated too: copied into the row
    of another organization it cannot be read.
    """

    keys: Mapping[str, str | bytes] = field(default_factory=_from_environment, repr=False)
    current: str | None = None
    _ring: dict[str, bytes] = field(init=False, repr=False)
    _derived: dict[tuple[str, str, bytes], bytes] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._ring = {_named(name): _key(name, given) for name, given in self.keys.items()}
        if not self._ring:
            raise Misconfigured(f"an encrypting codec needs a key: Encrypting({{'2026': key}}), or {ENVIRONMENT}=2026:<32 bytes in base64>")
        self.current = self.current or next(iter(self._ring))
        if self.current not in self._ring:
            raise Misconfigured(f"the codec's current key {self.current!r} is not in its ring ({', '.join(self._ring)})")
        _aead()

    def encode(self, data: bytes, context: ValueContext) -> bytes:
        """Version, the key's name, a nonce, and the text with its tag."""
        assert self.current is not None
        name = self.current.encode()
        nonce = os.urandom(_NONCE)
        cipher = _aead()(self._key_of(self.current, context.organization_id, b"value"))
        return _VERSION + bytes([len(name)]) + name + nonce + bytes(cipher.encrypt(nonce, data, _bound(name, context)))

    def decode(self, data: bytes, context: ValueContext) -> bytes:
        """The text, if the key is in the ring and the value is this organization's."""
        if data[:1] != _VERSION or len(data) < 2:
            raise CannotRead("it was not written by this codec")
        end = 2 + data[1]
        name, nonce, text = data[2:end], data[end : end + _NONCE], data[end + _NONCE :]
        key = name.decode("ascii", "replace")
        if key not in self._ring:
            raise CannotRead(f"its key {key!r} is not in the ring of this process")
        try:
            return bytes(_aead()(self._key_of(key, context.organization_id, b"value")).decrypt(nonce, text, _bound(name, context)))
        except (_forged(), ValueError) as problem:  # a nonce that was cut short is a ValueError
            raise CannotRead("it was changed, or is another organization's") from problem

    def digest(self, data: bytes, organization_id: str) -> bytes:
        """A keyed digest: without the key nobody can try out what a short value may be."""
        return hmac.digest(self._key_of(next(reversed(self._ring)), organization_id, b"digest"), data, "sha256")

    def _key_of(self, name: str, organization_id: str, use: bytes) -> bytes:
        place = name, organization_id, use
        found = self._derived.get(place)
        if found is None:
            if len(self._derived) >= 10_000:
                self._derived.clear()
            found = self._derived[place] = _derive(self._ring[name], b"wfcelery " + use + b"\0" + organization_id.encode())
        return found


def _derive(key: bytes, info: bytes) -> bytes:
    """HKDF (RFC 5869) with SHA-256: 32 bytes for this use of the key."""
    extracted = hmac.digest(bytes(32), key, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def _bound(name: bytes, context: ValueContext) -> bytes:
    return b"wfcelery\0" + name + b"\0" + context.organization_id.encode()


def _aead() -> Any:
    try:
        return import_module("cryptography.hazmat.primitives.ciphers.aead").AESGCM
    except ImportError as missing:
        raise Misconfigured("the encrypting codec needs cryptography: pip install 'wfcelery[encryption]'") from missing


def _forged() -> type[Exception]:
    """What the library raises where the tag does not fit."""
    found: type[Exception] = import_module("cryptography.exceptions").InvalidTag
    return found


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Misconfigured(f"the name of a codec's key is letters, digits, '.', '_' and '-', not {name[:40]!r}")
    return name


def _key(name: str, given: str | bytes) -> bytes:
    try:
        key = given if isinstance(given, bytes) else base64.b64decode(given, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise Misconfigured(f"the codec's key {name!r} is 32 random bytes, or these in base64")
    return key
