"""Keeps what libraries warn of, so that it is told and not lost in a log."""

from __future__ import annotations

import warnings
from typing import Any

_MOST, _MOST_CHARACTERS = 20, 300
#: Warnings to the authors of libraries, which say nothing of a model.
_OF_AUTHORS = ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning", "ImportWarning", "ResourceWarning")


def keep_warnings() -> list[str]:
    """Returns a list to which the first warnings of libraries are added from now on, each once. They are printed as before."""
    kept: list[str] = []
    show = warnings.showwarning

    def shown(message: Any, category: type[Warning], *where: Any, **named: Any) -> None:
        text = f"{category.__name__}: {' '.join(str(message).split())}"[:_MOST_CHARACTERS]
        if category.__name__ not in _OF_AUTHORS and text not in kept and len(kept) < _MOST:
            kept.append(text)
        show(message, category, *where, **named)

    warnings.showwarning = shown
    return kept
