"""Defines models for Tenure (:func:`define_model`), trains them (:func:`job`), writes their rows (:func:`source`) and calls its API
(:class:`Client`).
"""

from . import _words
from ._checkpoints import Checkpoint
from ._client import (
    AsyncClient,
    Client,
    Event,
    EventCounts,
    Outcome,
    OutcomeCounts,
    Prediction,
    Predictions,
    TenureError,
    Tensor,
    UploadCounts,
)
from ._job import Column, Job, Source, job, source
from ._lightgbm import join_lightgbm
from ._words import *

__all__ = [
    "AsyncClient",
    "Checkpoint",
    "Client",
    "Column",
    "Event",
    "EventCounts",
    "Job",
    "Outcome",
    "OutcomeCounts",
    "Prediction",
    "Predictions",
    "Source",
    "TenureError",
    "Tensor",
    "UploadCounts",
    "job",
    "join_lightgbm",
    "source",
]
__all__ += _words.__all__
__version__ = "0.1.0"
