"""Trains a model for Tenure: rows in, progress and checkpoints, artifact out."""

from ._checkpoints import Checkpoint
from ._job import Column, Job, job

__all__ = ["Checkpoint", "Column", "Job", "job"]
__version__ = "0.1.0"
