"""Encrypts payloads as Tenure does (AES-256-GCM): docs/how-to/machines/encrypt-temporal.md."""

from __future__ import annotations

import base64
import dataclasses
import os
from pathlib import Path
from typing import Iterable, List

import temporalio.converter
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

ENCODING = b"binary/encrypted"
NONCE_BYTES = 12


class EncryptedPayloads(PayloadCodec):
    """Parses `id:<base64 of 32 bytes>` entries, separated by commas or lines. The first key encrypts, all keys decrypt."""

    def __init__(self, entries: str) -> None:
        pairs = [entry.split(":", 1) for entry in entries.replace(",", " ").split()]
        self.keys = {name: AESGCM(base64.b64decode(key)) for name, key in pairs}
        self.newest = pairs[0][0]

    async def encode(self, payloads: Iterable[Payload]) -> List[Payload]:
        return [self._sealed(payload) for payload in payloads]

    async def decode(self, payloads: Iterable[Payload]) -> List[Payload]:
        return [self._opened(payload) for payload in payloads]

    def _sealed(self, payload: Payload) -> Payload:
        nonce = os.urandom(NONCE_BYTES)
        name = self.newest.encode()
        data = nonce + self.keys[self.newest].encrypt(nonce, payload.SerializeToString(), name)
        return Payload(metadata={"encoding": ENCODING, "encryption-key-id": name}, data=data)

    def _opened(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        name = payload.metadata["encryption-key-id"]
        key = self.keys.get(name.decode())
        if key is None:
            raise ValueError(f"a payload is encrypted with the key {name.decode()}, which --payload-keys does not have")
        return Payload.FromString(key.decrypt(payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:], name))


def converter_of(file: Path | None) -> DataConverter:
    """Returns the data converter for a client, which also encrypts failure messages; the default converter without a file."""
    if file is None:
        return temporalio.converter.default()
    return dataclasses.replace(
        temporalio.converter.default(),
        payload_codec=EncryptedPayloads(file.read_text()),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
