"""Stores checkpoints with their epoch and digest, so that a training never resumes from a truncated file."""

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
    #: The epochs reported up to this checkpoint.
    curve: list[dict[str, Any]]


def write_checkpoint(folder: Path, epoch: int, data: bytes, curve: list[dict[str, Any]]) -> None:
    """Writes a checkpoint atomically. Keeps the previous checkpoint and removes all others."""
    header = {"epoch": epoch, "digest": hashlib.sha256(data).hexdigest(), "bytes": len(data), "curve": curve}
    path = folder / f"{epoch:010d}{_SUFFIX}"
    draft = path.with_suffix(".draft")
    with open(draft, "wb") as file:
        file.write(json.dumps(header).encode() + b"\n" + data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    all_of_them = sorted(folder.glob(f"*{_SUFFIX}"))
    # A file of a later epoch is one that was unreadable when this training resumed.
    torn = [each for each in all_of_them if each.name > path.name]
    whole = [each for each in all_of_them if each.name <= path.name]
    for old in torn + whole[:-_KEPT]:
        old.unlink(missing_ok=True)


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """Returns the intact checkpoint of the highest epoch; None if there is no intact one."""
    for path in sorted(folder.glob(f"*{_SUFFIX}"), reverse=True):
        try:
            head, _, data = path.read_bytes().partition(b"\n")
            header = json.loads(head)
            if hashlib.sha256(data).hexdigest() == header["digest"]:
                return Checkpoint(int(header["epoch"]), data, list(header["curve"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None
