"""Loads the model of a folder: the code of its ``serve.py``, what MLflow has saved, or a pickle."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import io
import os
import pickle
import re
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Callable, Optional, Union

from ._objects import Task, answer_of_object
from ._types import Typed

#: The name of a pickle, also of one that joblib has compressed.
PICKLE = re.compile(r".+\.(?:pkl|pickle|joblib|sav|p)(?:\.(?:gz|z|bz2|xz))?", re.IGNORECASE)
#: The version that scikit-learn writes into the state of an estimator, in each protocol of pickle.
_VERSION = re.compile(rb"_sklearn_version[^_]{1,16}?([0-9]{1,4}\.[0-9]{1,4}(?:\.[0-9]{1,4})?(?:\.?(?:rc|dev|post)[0-9]{1,4})?)", re.DOTALL)
#: The columns of a matrix whose signature has one type for all of them.
_MOST_COLUMNS = 10_000


def pack_folder(folder: Union[str, os.PathLike[str]], serve: Optional[Path] = None) -> bytes:
    """Returns the files of a folder as a tar, with ``serve`` as its ``serve.py``. Equal files give equal bytes.

    Raises ``ValueError`` for a folder that is none, or that has another ``serve.py``.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"{root} is no folder: give save a folder, or the object")
    files = {file.relative_to(root).as_posix(): file for file in root.rglob("*") if file.is_file() and "__pycache__" not in file.parts}
    if serve is not None and files.setdefault("serve.py", serve).read_bytes() != serve.read_bytes():
        raise ValueError(f"{root} has another serve.py than {serve.name} of the model file: leave one of them out")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, file in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = file.stat().st_size
            with file.open("rb") as content:
                archive.addfile(entry, content)
    return packed.getvalue()


def open_folder(packed: bytes, task: Task, allows_other_versions: bool = True) -> Callable[[Any], Any]:
    """Returns the function that answers rows with the files of a tar. Runs their code.

    Raises ``ValueError`` for a folder without a model, and for a model that cannot give these answers.
    """
    folder = Path(tempfile.mkdtemp())
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for entry in archive:
            file = archive.extractfile(entry) if entry.isfile() else None
            path = (folder / entry.name).resolve()
            if file is None or folder.resolve() not in path.parents:
                raise ValueError(f"{entry.name} is no plain file of the folder")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.read())
    # A pickle finds the modules beside it.
    sys.path.insert(0, str(folder))
    other = other_versions(folder)
    if not allows_other_versions and other:
        raise ValueError(f"{other}: list that version in requirements.txt, or allow it with --allow-other-versions REASON")
    try:
        return answer_of_folder(folder, task)
    except Exception as error:
        if other:
            raise ValueError(f"{error}; {other}: list that version in requirements.txt") from error
        raise


def other_versions(folder: Path) -> str:
    """
    Tells of which minor versions the pickles of a folder are where others are installed; "" where each is of the installed one. Reads no pickle:
    scikit-learn writes its version into each of its objects.
    """
    import importlib.metadata

    found = []
    for file in sorted(folder.rglob("*")):
        if not file.is_file() or not PICKLE.fullmatch(file.name):
            continue
        for library, version in _versions_in(file.read_bytes()):
            try:
                installed = importlib.metadata.version(library)
            except importlib.metadata.PackageNotFoundError:
                continue
            if version.split(".")[:2] != installed.split(".")[:2]:
                found.append(f"{file.name} was written by {library} {version}, and {installed} is installed, which may answer otherwise")
    return "; ".join(dict.fromkeys(found))


def _versions_in(data: bytes) -> list[tuple[str, str]]:
    """The libraries with their versions that a pickle names, also a compressed one of joblib."""
    import bz2
    import gzip
    import lzma
    import zlib

    readers: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
        (b"\x1f\x8b", gzip.decompress),
        (b"x", zlib.decompress),
        (b"BZh", bz2.decompress),
        (b"\xfd7zXZ", lzma.decompress),
        (b"]", lzma.decompress),
    )
    for head, read in readers:
        if data.startswith(head):
            try:
                data = read(data)
            except Exception:
                # Another file that begins alike.
                continue
            break
    return [("scikit-learn", version) for version in sorted({match[1].decode() for match in _VERSION.finditer(data)})]


def answer_of_folder(folder: Path, task: Task) -> Callable[[Any], Any]:
    """Returns the function that answers rows with the model of a folder, as :func:`open_folder` does."""
    if (folder / "serve.py").is_file():
        return _load_code(folder)
    if not (folder / "MLmodel").is_file():
        return answer_of_object(_load_pickle(folder), task)
    model = load_folder(folder)
    answer = answer_of_object(model, task, "the pyfunc of MLflow" if getattr(model, "func", None) is _predict_signed else None)
    types, placed = signed_types(folder)
    return Typed(answer, types, task, placed) if types or placed else answer


def _load_code(folder: Path) -> Callable[[Any], Any]:
    """Returns ``predict`` of ``serve.py``, a function or that of its class, which has loaded the folder."""
    spec = importlib.util.spec_from_file_location("serve", folder / "serve.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["serve"] = module
    spec.loader.exec_module(module)
    found = [
        each
        for each in vars(module).values()
        if isinstance(each, type) and each.__module__ == "serve" and hasattr(each, "load") and hasattr(each, "predict")
    ]
    is_module = not found and callable(getattr(module, "load", None)) and callable(getattr(module, "predict", None))
    if len(found) != 1 and not is_module:
        raise ValueError(f"serve.py has {len(found)} classes with load(folder) and predict(frame), expected one, or functions of these names")
    model = module if is_module else found[0]()
    model.load(str(folder))
    return model.predict  # type: ignore[no-any-return]


def _load_pickle(folder: Path) -> Any:
    files = [each for each in folder.iterdir() if PICKLE.fullmatch(each.name)]
    if len(files) != 1:
        raise ValueError(f"the folder has neither serve.py nor MLmodel, and {len(files)} pickles in place of one")
    try:
        import joblib
    except ImportError:
        joblib = None
    try:
        # joblib reads what pickle and cloudpickle have written, too.
        return pickle.loads(files[0].read_bytes()) if joblib is None else joblib.load(files[0])
    except AttributeError as error:
        raise ValueError(
            f"{files[0].name} names a class or function that is not stored with it: {error}. Write the file by cloudpickle.dump in the script that defines it, "
            "or put the module that defines it beside the file"
        ) from error
    except ModuleNotFoundError as error:
        raise ValueError(f"{files[0].name} needs a module: {error}. Name its package in the requirements, or bring a folder with the file and the module beside it") from error


def flavour_of(folder: Union[str, os.PathLike[str]]) -> Optional[str]:
    """Returns the module that loads the object of a folder that MLflow has saved; None for one whose model is code, as of pyfunc or serve.py.

    Raises ``ValueError`` for another file or folder, and without MLflow.
    """
    if (Path(folder) / "serve.py").is_file():
        return None
    if not (Path(folder) / "MLmodel").is_file():
        raise ValueError(f"{os.fspath(folder)} has neither MLmodel of MLflow nor serve.py: load the model, and give save the object")
    try:
        from mlflow.models import Model
    except ImportError:
        raise ValueError("a folder of MLflow is loaded by MLflow: add mlflow or mlflow-skinny to the requirements") from None
    loader = str(Model.load(os.fspath(folder)).flavors.get("python_function", {}).get("loader_module", ""))
    # A model of pyfunc, also one from code, is loaded by mlflow.pyfunc alone.
    return loader if loader.startswith("mlflow.") and not loader.startswith("mlflow.pyfunc") else None


def signed_types(folder: Union[str, os.PathLike[str]]) -> tuple[dict[str, str], list[str]]:
    """
    Returns the types of the columns in the signature of a folder of MLflow, by their names, or in their order for a signature without names.
    Both are empty without a signature.
    """
    from mlflow.models import Model

    schema = Model.load(os.fspath(folder)).get_input_schema()
    if schema is None:
        return {}, []
    types = [_type_of(spec.type) for spec in schema.inputs]
    if schema.has_input_names():
        return {spec.name: each for spec, each in zip(schema.inputs, types)}, []
    # A tensor without a name holds all columns.
    return {}, types * _MOST_COLUMNS if schema.is_tensor_spec() and len(types) == 1 else types


def _type_of(given: Any) -> str:
    """The type of pandas for a type of a signature."""
    try:
        known = given if hasattr(given, "kind") else given.to_numpy()
    except AttributeError:
        # Arrays and objects.
        return "object"
    return "datetime64[ns]" if known.kind == "M" else "object" if known.kind in "OSU" else str(known)


def load_folder(folder: Union[str, os.PathLike[str]]) -> Any:
    """Returns the object of a folder that MLflow has saved, by its flavour's own loader; by pyfunc for a model that has no other flavour."""
    loader = flavour_of(folder)
    model = importlib.import_module(loader or "mlflow.pyfunc").load_model(os.fspath(folder))
    if loader is not None:
        return model
    return functools.partial(_predict_signed, model, model.metadata.get_input_schema())


def _predict_signed(model: Any, schema: Any, X: Any) -> Any:
    """
    Answers rows in the types of the signature of a model. MLflow refuses others, and rows have doubles and texts. A number that is not whole, or
    missing, stays a double, which it refuses with the column. Columns of a signature without names are those of the rows in their order.
    """
    if schema is None or not hasattr(X, "columns"):
        return model.predict(X)
    from mlflow.types import DataType

    if schema.is_tensor_spec() and not schema.has_input_names() and len(X.columns) > 1:
        return model.predict(_cast(X.to_numpy(), schema.inputs[0].type))
    typed = X.copy()
    specs = schema.inputs if not schema.is_tensor_spec() else []
    for spec, name in zip(specs, [each.name for each in specs] if schema.has_input_names() else X.columns):
        if name not in typed:
            continue
        values = typed[name]
        if spec.type == DataType.boolean:
            known = {"true": True, "false": False, 1.0: True, 0.0: False}
            typed[name] = values.map(known) if values.isin(list(known)).all() else values
        elif spec.type == DataType.datetime and values.dtype.kind not in "fiub":
            import pandas

            typed[name] = pandas.to_datetime(values, utc=True, format="ISO8601").dt.tz_localize(None)
        elif values.dtype == "float64" and isinstance(spec.type, DataType):
            typed[name] = _cast(values, spec.type.to_numpy())
    return model.predict(typed)


def _cast(values: Any, wanted: Any) -> Any:
    """Returns doubles as numbers of another type; unchanged for a type of whole numbers that does not hold each of them, and for other types."""
    import numpy

    if values.dtype.kind != "f" or wanted.kind not in "fiu":
        return values
    with numpy.errstate(all="ignore"):
        made = values.to_numpy().astype(wanted) if hasattr(values, "to_numpy") else values.astype(wanted)
    return made if wanted.kind == "f" or (made == values).all() else values
