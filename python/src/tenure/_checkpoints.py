"""Keeps checkpoints that carry their own epoch and digest, so that a torn file is never resumed from."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

_KEPT = 2
_SUFFIX = ".checkpoint"


class Checkpoint(NamedTuple):
    """The state of a training after an epoch."""

    epoch: int
    data: bytes
    #: The epochs that were reported up to this one.
    curve: list[dict[str, Any]]


def write_checkpoint(folder: Path, epoch: int, data: bytes, curve: list[dict[str, Any]]) -> None:
    """Writes a checkpoint that appears whole or not at all, and removes all others but the one before it."""
    header = {"epoch": epoch, "digest": hashlib.sha256(data).hexdigest(), "bytes": len(data), "curve": curve}
    path = folder / f"{epoch:010d}{_SUFFIX}"
    draft = path.with_suffix(".draft")
    with open(draft, "wb") as file:
        file.write(json.dumps(header).encode() + b"\n" + data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    all_of_them = sorted(folder.glob(f"*{_SUFFIX}"))
    # A later epoch can only be one that could not be read when this training resumed.
    torn = [each for each in all_of_them if each.name > path.name]
    whole = [each for each in all_of_them if each.name <= path.name]
    for old in torn + whole[:-_KEPT]:
        old.unlink(missing_ok=True)


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The checkpoint of the highest epoch whose bytes have their digest."""
    for path in sorted(folder.glob(f"*{_SUFFIX}"), reverse=True):
        try:
            head, _, data = path.read_bytes().partition(b"\n")
            header = json.loads(head)
            if hashlib.sha256(data).hexdigest() == header["digest"]:
                return Checkpoint(int(header["epoch"]), data, list(header["curve"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None
