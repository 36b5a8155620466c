"""Loads the model of a folder that MLflow has saved."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any, Union


def load_folder(folder: Union[str, os.PathLike[str]]) -> Any:
    """Returns the object of the folder's flavour, by the flavour's own loader; by pyfunc for a model that has no other flavour.

    Raises ``ValueError`` for another file or folder, and for a model of files that are not in it.
    """
    if not (Path(folder) / "MLmodel").is_file():
        raise ValueError(f"{os.fspath(folder)} is no folder of MLflow, which has a file MLmodel: load the model, and give save the object")
    try:
        from mlflow import pyfunc
        from mlflow.models import Model
    except ImportError:
        raise ValueError("a folder of MLflow is loaded by MLflow: add mlflow or mlflow-skinny to the requirements") from None
    plain = Model.load(os.fspath(folder)).flavors.get("python_function", {})
    if plain.get("artifacts"):
        raise ValueError(
            f"the model reads files ({', '.join(plain['artifacts'])}), which are not stored with an object: "
            "load what they hold, and give save(model, answer=…) a function"
        )
    loader = str(plain.get("loader_module", ""))
    flavour = importlib.import_module(loader) if loader.startswith("mlflow.") and loader != "mlflow.pyfunc.model" else pyfunc
    return flavour.load_model(os.fspath(folder))
