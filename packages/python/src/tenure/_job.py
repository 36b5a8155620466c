"""Reads the job of a training and writes its result for Tenure."""

from __future__ import annotations

import contextlib
import datetime
import functools
import importlib.metadata
import itertools
import json
import math
import os
import platform
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Callable, Iterator, Mapping, NoReturn, Optional, Sequence, TypeVar, cast

from ._checkpoints import Checkpoint, newest_checkpoint, write_checkpoint
from ._folders import flavour_of, load_folder, pack_folder, signed_types
from ._lightgbm import join_lightgbm
from ._objects import Task, answer_of_object, class_places, picked, put_in_order, text_of_value
from ._onnx import convert
from ._replay import cell_of, midway_rows, odd_rows, spread
from ._rows import answer_frame, decoded, has, pixels, read_columns, stacked, table_of, taken_columns, vocabulary_of
from ._serve import _MARK, Opened, _answer, check_values, open_file, rows_of
from ._types import Typed, types_of_frame
from ._warned import keep_warnings

#: The version of the contract that this package implements.
CONTRACT = 1
#: The exit code for a fault of the script, which is not retried.
SCRIPT_FAULT = 2
#: The maximum number of training rows on which a converted ONNX model is compared with its source. As many rows between their values are
#: added.
_MOST_COMPARED = 20_000
#: The maximum number of values in these rows, each of which takes about 150 bytes while they are compared.
_MOST_COMPARED_CELLS = 4_000_000

#: The most rows of a training frame, or for a stored object, that are compared, and the most columns that are looked at for a cause.
_MOST_FRAME, _MOST_CAUSES = 500, 200
#: The number of rows that are prepared alone.
_MOST_ALONE = 50

#: Errors of the system that the same script meets again: a wrong path, or a missing permission.
_LASTING = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)

Answers = Sequence[Sequence[float]]

#: The labels whose models predict with ``predict``; the others use ``predict_proba``.
_numbers = ("number", "quantiles", "numbers")


Save = TypeVar("Save", bound=Callable[..., Any])


def _writes(save: Save) -> Save:
    """Reports the spans of a save method: ends the fit and records the writing."""

    @functools.wraps(save)
    def reported(job: Job, *arguments: Any, **named: Any) -> Any:
        if job._prepare is not None and save.__name__ != "save":
            raise ValueError(f"{save.__name__} stores no function of Python, and prepare of the model file is one: use job.save(model)")
        if job._serve is not None and save.__name__ != "save":
            raise ValueError(f"{save.__name__} stores no {job._serve.name}, which answers by serve of the model file: use job.save")
        job._end_fit()
        with job.part("write artifact"):
            return save(job, *arguments, **named)

    return cast(Save, reported)


@dataclass(frozen=True)
class Column:
    """A feature of the model."""

    name: str
    #: "number", "category", "text", "vector" or "image".
    kind: str
    #: The texts that requests may send; None if any text is accepted.
    values: Optional[Sequence[str]]
    nullable: bool
    #: Numbers below or above are missing, in the rows of the job as in requests; None without a limit.
    missing_below: Optional[float] = None
    missing_above: Optional[float] = None

    def within(self, values: Any) -> Any:
        """Returns the numbers with NaN for those outside the limits."""
        import numpy

        low = -math.inf if self.missing_below is None else self.missing_below
        high = math.inf if self.missing_above is None else self.missing_above
        return values if (low, high) == (-math.inf, math.inf) else numpy.where((values < low) | (values > high), math.nan, values)


class Job:
    """A training job from Tenure, as :func:`job` reads it."""

    def __init__(self, given: Mapping[str, Any], out: IO[str]) -> None:
        if given.get("contract") != CONTRACT:
            raise ValueError(f"the job follows the contract {given.get('contract')}, this package knows {CONTRACT}")
        self._given = given
        self._out = out
        self._categories: dict[str, list[str]] = {}
        self._rows: Optional[dict[str, Any]] = None
        #: The function ``prepare`` of a model file in Python.
        self._prepare: Optional[Callable[[Any], Any]] = None
        #: The file of ``serve`` of the model file.
        self._serve: Optional[Path] = Path(given["serve"]) if given.get("serve") else None
        #: The reported epochs.
        self.curve: list[dict[str, Any]] = []
        self.id: str = given["training"]
        self.model: str = given["model"]
        #: Counted from 1.
        self.attempt: int = given["attempt"]
        self.seed: int = given["seed"]
        self.hyperparameters: dict[str, Any] = dict(given["hyperparameters"])
        #: In a refit, the rounds or epochs of the judged model: train for as many, because no rows are left for validation. Otherwise None.
        self.best_round: Optional[int] = given.get("bestRound")
        self.columns: list[Column] = [
            Column(
                each["name"],
                each["kind"],
                each.get("values"),
                bool(each.get("nullable")),
                each.get("missingBelow"),
                each.get("missingAbove"),
            )
            for each in given["columns"]
        ]
        #: "probability", "classes", "number", "quantiles" or "numbers".
        self.kind: str = given["label"]["kind"]
        #: The quantile levels, ascending: the model returns one output per level. Empty for other labels.
        self.levels: list[float] = [float(level) for level in given["label"].get("levels") or []]
        #: The names of several numbers per row: the model returns one output per name, in this order. Empty for other labels.
        self.names: list[str] = list(given["label"].get("names") or [])
        #: The classes in the order of their codes; empty for other labels.
        self.classes: list[str] = list(given["label"].get("classes") or [])
        #: Path of a Parquet file with the training and the test rows.
        self.snapshot: str = given["snapshot"]["path"]
        self._label_columns: list[str] = list(given["label"].get("columns") or [given["label"]["column"]])
        self.checkpoints = Path(given["checkpoints"])
        self.output = Path(given["output"])
        self.limits: dict[str, Any] = dict(given.get("limits") or {})
        #: The span of this script as a W3C traceparent, for an OpenTelemetry SDK in the script; None if the training is not traced.
        self.traceparent: Optional[str] = given.get("traceparent")
        self._loaded: Optional[float] = None
        #: What libraries have warned of.
        self._warned: list[str] = []

    # Rows.

    @property
    def categories(self) -> dict[str, list[str]]:
        """The texts of each category in the order of their codes: the declared texts, or else the texts in the training rows."""
        self._read()
        return self._categories

    def _read(self) -> dict[str, Any]:
        if self._rows is None:
            part = self._given["part"]
            kinds = {column.name: column.kind for column in self.columns}
            kinds.update({name: "category" if self.kind == "classes" else "number" for name in self._label_columns})
            with self.part("load data"):
                self._rows = read_columns(self.snapshot, kinds, (part["column"], part["train"]))
            self._loaded = time.time()
            for column in self.columns:
                if column.kind == "category":
                    seen = vocabulary_of(self._rows[column.name])
                    self._categories[column.name] = list(column.values or seen)
        return self._rows

    def train(self) -> tuple[Any, Any]:
        """Returns the training rows and their labels.

        With pandas, the rows are a data frame with pandas categoricals; otherwise a NumPy matrix with category codes. A missing value is
        NaN; of a ``text()``, ``vector()`` or ``image()``, it is None. A vector is an
        array of doubles, an image its bytes. Labels of several numbers are a matrix with one column each. Rows have passed ``prepare`` of a model file in Python.
        """
        rows = self._read()
        return self._prepared(self._matrix([rows[column.name] for column in self.columns])), self._labels(rows)

    def validation(self) -> Optional[tuple[Any, Any]]:
        """Returns the validation rows and their labels, in the form of :meth:`train`; None if the split has none, and in a refit with :attr:`best_round`."""
        part = self._given["part"]
        if part.get("validation") is None:
            return None
        self._read()
        kinds = {column.name: column.kind for column in self.columns}
        kinds.update({name: "text" if self.kind == "classes" else "number" for name in self._label_columns})
        rows = read_columns(self.snapshot, kinds, (part["column"], part["validation"]))
        return self._prepared(self._matrix([rows[column.name] for column in self.columns])), self._labels(rows)

    def weights(self) -> Optional[Any]:
        """Returns the weight of each training row, with a mean of 1; None if all rows weigh the same."""
        given = self._given.get("weights")
        if given is None:
            return None
        import numpy

        labels = self._labels(self._read())
        weights = numpy.ones(len(labels))
        name, classes, part = given.get("column"), given.get("classes"), self._given["part"]
        if name is not None:
            weights = read_columns(self.snapshot, {name: "number"}, (part["column"], part["train"]))[name].copy()
        if classes is not None:
            positive = self._given["label"].get("positive")
            names = self.classes if self.kind == "classes" else [f"not {positive}", positive]
            counts = numpy.bincount(labels, minlength=len(names))
            for code, text in enumerate(names):
                weight = len(labels) / max(1, counts[code]) if classes == "balanced" else classes.get(text, 1.0)
                weights[labels == code] *= weight
        if not (numpy.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
            raise ValueError("a weight is a number of at least 0, and not all of them are 0")
        return weights / weights.mean()

    def frame(self, rows: Sequence[Sequence[Any]]) -> Any:
        """Converts rows of texts and numbers, with None for a missing value, to the form of :meth:`train` before ``prepare``."""
        import numpy

        cells = list(zip(*rows)) if rows else [() for _ in self.columns]
        return self._matrix(
            [
                numpy.array([math.nan if cell is None else float(cell) for cell in values], dtype="float64")
                if column.kind == "number"
                else numpy.array(list(values), dtype=object)
                for column, values in zip(self.columns, cells)
            ]
        )

    def _matrix(self, cells: Sequence[Any]) -> Any:
        return table_of(
            [
                (column.name, column.within(values), None)
                if column.kind == "number"
                else (column.name, decoded(column.kind, values), self.categories.get(column.name))
                for column, values in zip(self.columns, cells)
            ],
            has("pandas"),
        )

    def _labels(self, rows: Mapping[str, Any]) -> Any:
        import numpy

        if self.kind == "numbers":
            return numpy.column_stack([rows[name] for name in self._label_columns])
        values = rows[self._label_columns[0]]
        if self.kind == "classes":
            index = {text: code for code, text in enumerate(self.classes)}
            return numpy.array([index[str(value)] for value in values], dtype="int64")
        return values.astype("int64") if self.kind == "probability" else values

    # Progress and checkpoints.

    def progress(
        self,
        epoch: int,
        epochs: int,
        loss: Optional[float] = None,
        metrics: Optional[Mapping[str, float]] = None,
        note: Optional[str] = None,
        validation_loss: Optional[float] = None,
    ) -> None:
        """Reports an epoch, counted from 1. Omits a non-finite loss."""
        line: dict[str, Any] = {"epoch": int(epoch), "epochs": int(epochs)}
        if loss is not None and math.isfinite(loss):
            line["loss"] = float(loss)
        if validation_loss is not None and math.isfinite(validation_loss):
            line["validationLoss"] = float(validation_loss)
        if metrics:
            line["metrics"] = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        if note is not None:
            line["note"] = str(note)
        while self.curve and self.curve[-1]["epoch"] >= line["epoch"]:
            self.curve.pop()
        self.curve.append(line)
        self._out.write(json.dumps(line) + "\n")
        self._out.flush()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Reports a part of the work as a span, such as ``with job.part("tune"):``. Has no effect if the training is not traced."""
        start, error = time.time(), None
        if name == "fit":
            self._loaded = None
        try:
            yield
        except BaseException as thrown:
            error = str(thrown) or type(thrown).__name__
            raise
        finally:
            self._report_part(name, start, error)

    def _end_fit(self) -> None:
        """Reports the time between the rows and the result as the fit, unless the script has reported a fit itself."""
        start, self._loaded = self._loaded, None
        if start is not None:
            self._report_part("fit", start)

    def _report_part(self, name: str, start: float, error: Optional[str] = None) -> None:
        if self.traceparent is None:
            return
        line: dict[str, Any] = {"part": name, "startMs": start * 1000, "endMs": max(start, time.time()) * 1000}
        if error is not None:
            line["error"] = error[:1000]
        self._out.write(json.dumps(line) + "\n")
        self._out.flush()

    def checkpoint(self, epoch: int, data: bytes) -> None:
        """Stores the state after an epoch. The checkpoint survives a crash of the script and of its machine."""
        write_checkpoint(self.checkpoints, epoch, data, self.curve)

    def resume(self) -> Optional[Checkpoint]:
        """Returns the newest intact checkpoint of an earlier attempt; None for a new training."""
        found = newest_checkpoint(self.checkpoints)
        if found is not None:
            self.curve = [each for each in found.curve if each["epoch"] <= found.epoch]
        return found

    # Results.

    @_writes
    def save_lightgbm(self, model: Any) -> None:
        """Saves a LightGBM booster, or an estimator of its scikit-learn interface, trained on categoricals or on their codes alone.

        Of quantiles and of several numbers, a list of models: one for each of ``job.levels`` or ``job.names``, in their order.
        """
        models = list(model) if isinstance(model, (list, tuple)) else [model]
        boosters = [_booster_of(each, "LightGBM", getattr(each, "booster_", each)) for each in models]
        booster = join_lightgbm(models) if isinstance(model, (list, tuple)) else boosters[0]
        file = self.output / "model.txt"
        booster.save_model(str(file))
        rounds = {each.best_iteration if each.best_iteration > 0 else each.current_iteration() for each in boosters}
        names, codes = booster.feature_name(), not booster.pandas_categorical
        # A linear leaf answers an infinite value with an infinite number, or with none.
        linear = "\nis_linear=1\n" in file.read_text(encoding="utf-8")

        def of_file(X: Any) -> Any:
            return booster.predict(self._taken(X, names, codes))

        own = of_file
        if boosters != models:
            import lightgbm
            import numpy

            each_own = [self._own(each, names, codes) for each in models]
            own = each_own[0] if len(models) == 1 else lambda X: numpy.column_stack([answer(X) for answer in each_own])
            booster = lightgbm.Booster(model_file=str(file))
            self._refuse_difference(own, of_file, f"{file.name} of {type(models[0]).__name__}")
        self.write_result(
            own,
            names=names,
            infinite=not linear,
            rounds=rounds.pop() if len(rounds) == 1 else None,
            categories=self._categories_of(names, booster.pandas_categorical),
        )

    @_writes
    def save_xgboost(self, model: Any) -> None:
        """Saves an XGBoost booster, or an estimator of its scikit-learn interface, up to its best round."""
        import xgboost

        booster = _booster_of(model, "XGBoost", model.get_booster() if hasattr(model, "get_booster") else model)
        best = booster.attr("best_iteration")
        if best is not None:
            booster = booster[: int(best) + 1]
        file = self.output / "model.ubj"
        booster.save_model(str(file))
        names = booster.feature_names

        def of_file(X: Any) -> Any:
            return booster.predict(xgboost.DMatrix(self._taken(X, names), enable_categorical=True))

        own = of_file
        if hasattr(model, "get_booster"):
            own = self._own(model, names)
            booster = xgboost.Booster(model_file=str(file))
            # Tenure answers one of softmax with its probabilities, too.
            if json.loads(booster.save_config())["learner"]["objective"]["name"] == "multi:softmax":
                booster.set_param({"objective": "multi:softprob"})
            self._refuse_difference(own, of_file, f"{file.name} of {type(model).__name__}")
        self.write_result(own, names=names, rounds=booster.num_boosted_rounds())

    @_writes
    def save_catboost(self, model: Any) -> None:
        """Saves a CatBoost model. One with ``cat_features`` or ``text_features`` is served by CatBoost itself, as by :meth:`save`.

        Such a column gets the texts of a category, and "" for a missing one, as ``X[name].astype(object).fillna("")``.
        Another category counts as a number by its code, ``X[name].cat.codes``.
        """
        _booster_of(model, "CatBoost", model)
        # The class CatBoost has no predict_proba.
        predict = model.predict if self.kind in _numbers else functools.partial(model.predict, prediction_type="Probability")
        places = None if self.kind in _numbers else class_places(model, self._task)
        answer = predict if places is None else functools.partial(picked, predict, places)
        names = model.feature_names_
        order = [column.name for column in self._order(names)]
        texts = [order[index] for index in (*model.get_cat_feature_indices(), *model.get_text_feature_indices())]
        if texts:
            self._save_object(model, functools.partial(answer_frame, answer, order, texts), rounds=model.tree_count_)
            return
        file = self.output / "model.json"
        model.save_model(str(file), format="json")

        def own(X: Any) -> Any:
            return answer(self._taken(X, names, codes=True))

        if places is not None:
            self._refuse_difference(own, lambda X: predict(self._taken(X, names, codes=True)), f"{file.name} of {type(model).__name__}")
        self.write_result(own, names=names, rounds=model.tree_count_)

    @_writes
    def save_onnx(self, model: Any, answer: Optional[Callable[[Any], Any]] = None) -> None:
        """Saves an ONNX model (bytes, path or ``ModelProto``), or a scikit-learn estimator or pipeline as ONNX.

        Where skl2onnx does not convert an estimator, or its conversion answers a row of the training differently, the estimator is saved as
        by :meth:`save`, and the log says why. ``answer`` predicts rows in the form of :meth:`frame` with the source model. Default: as for
        :meth:`save`, or ONNX Runtime for a model that is ONNX already.
        """
        if isinstance(model, (bytes, str, os.PathLike)) or hasattr(model, "SerializeToString"):
            data = _bytes_of(model)
            answer = answer or self._runtime(data)
        else:
            answer = answer or answer_of_object(model, self._task)
            compare = self._compare(answer)
            try:
                if any(column.kind not in ("number", "category") for column in self.columns):
                    raise ValueError("graphs read texts and vectors otherwise than scikit-learn, and no images")
                data = convert(model, self.columns, numbers=self.kind in _numbers, named=has("pandas"), compare=compare)
            except ValueError as error:
                print(f"{type(model).__name__} is served by a Python process, not as ONNX: {error}", file=sys.stderr)
                self._save_object(model, answer)
                return
        (self.output / "model.onnx").write_bytes(data)
        self.write_result(answer)

    @_writes
    def save(self, model: Any, answer: Optional[Callable[[Any], Any]] = None, frame: Optional[Any] = None) -> None:
        """Saves any object of Python, or a folder, which a Python process with the packages of this environment serves.

        ``answer`` predicts rows in the form of :meth:`train`; default: ``predict_proba`` of the model, ``predict`` for numbers and quantiles,
        or ``decision_function`` of a scikit-learn detector of outliers. The object is stored by cloudpickle, with the classes and functions
        of this script. Of a folder of MLflow, it is the object that the loader of its flavour returns. If an object has no ``predict_proba`` and no
        classes, its ``predict`` gives the probabilities, as of statsmodels. A folder with a ``serve.py`` is stored with all of its files:
        its class, or functions of this name, gets them by ``load(folder)``, and answers a data frame by ``predict(frame)``. So is a folder of MLflow
        whose model is code. With ``serve`` of the model file, its file becomes the ``serve.py`` of the folder; an object is ``model.pkl`` in one.

        ``frame`` is the data frame that the object was fitted with, if its types are others than those of :meth:`train`, such as whole numbers: a
        served row gets them, too. Raises ``ValueError`` where the served model answers the rows of the frame or of the training otherwise than the
        object, and where the answers depend on types that nothing tells.
        """
        is_folder = isinstance(model, (str, os.PathLike))
        if self._serve is not None or (is_folder and flavour_of(model) is None):
            if answer is not None or self._prepare is not None:
                raise ValueError("the code of the folder answers alone: call answer, and prepare of the model file, in its predict")
            with tempfile.TemporaryDirectory() as made:
                if not is_folder:
                    (Path(made) / "model.pkl").write_bytes(_pickled(model))
                packed = pack_folder(model if is_folder else made, self._serve)
            self._save_served(self._serve.name if self._serve else f"Python {platform.python_version()}", packed, is_folder=True, frame=frame)
            return
        types: dict[str, Any] = {}
        if is_folder:
            signed, placed = signed_types(model)
            types = Typed(load_folder, signed, self._task, placed).told([column.name for column in self.columns])
            model = load_folder(model)
        answers = answer or answer_of_object(model, self._task)
        if self._prepare is not None:
            if frame is not None:
                raise ValueError("prepare of the model file makes the types of the training frame, from those of job.train(): leave frame out")
            answers = self._with_prepare(self._prepare, answers)
            types = {column.name: "float64" for column in self.columns if column.kind == "number"}
        self._save_object(model, answers, types=types, frame=frame)

    def _prepared(self, X: Any) -> Any:
        if self._prepare is None:
            return X
        if not hasattr(X, "columns"):
            raise ValueError("prepare of the model file takes a data frame: add pandas to the requirements")
        return preparing(self._prepare)(X)

    def _with_prepare(self, prepare: Callable[[Any], Any], answer: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Returns a function that prepares rows and answers them. Raises if a row alone is prepared otherwise than among others."""
        prepared = preparing(prepare)
        rows = self._rows_at(spread(len(self._read()[self._label_columns[0]])))
        whole = prepared(self.frame(rows))
        for place in range(0, len(rows), max(1, len(rows) // _MOST_ALONE)):
            alone = prepared(self.frame([rows[place]]))
            different = [name for name in whole.columns if name not in alone.columns or not _is_same(whole[name].iloc[place], alone[name].iloc[0])]
            if different or list(alone.columns) != list(whole.columns):
                raise ValueError(
                    f"prepare reads other rows: it gives another {different[0] if different else 'list of columns'} for a row alone than for the same row "
                    "among others, and a request may be one row. Compute such a value in train, or in the source"
                )
        return lambda X: answer(prepared(X))

    def _save_object(
        self,
        model: Any,
        answer: Callable[[Any], Any],
        rounds: Optional[int] = None,
        types: Optional[Mapping[str, Any]] = None,
        frame: Optional[Any] = None,
    ) -> None:
        self._save_served(_library_of(model), _pickled(answer), rounds, types=types, frame=frame, own=answer)

    @property
    def _task(self) -> Task:
        names = self.classes or self.names or [str(level) for level in self.levels]
        return Task(self.kind in _numbers, names, self._given["label"].get("positive"))

    def _save_served(
        self,
        library: str,
        body: bytes,
        rounds: Optional[int] = None,
        is_folder: bool = False,
        types: Optional[Mapping[str, Any]] = None,
        frame: Optional[Any] = None,
        own: Optional[Callable[[Any], Any]] = None,
    ) -> None:
        self._read()
        told = {**(types or {}), **({} if frame is None else types_of_frame(frame, [(each.name, each.kind != "number") for each in self.columns]))}
        head = {
            "python": platform.python_version(),
            "packages": _packages(),
            "library": library,
            "columns": [
                {
                    "name": column.name,
                    **(
                        {"isText": False}
                        if column.kind == "number"
                        else {"isText": True, "kind": column.kind, "categories": self._categories.get(column.name)}
                    ),
                    **({"dtype": told[column.name]} if column.name in told else {}),
                }
                for column in self.columns
            ],
            "frames": has("pandas"),
            "outputs": len(self.classes) if self.kind == "classes" else len(self.levels) or len(self.names) or 1,
            "task": self._task._asdict(),
            "isFolder": is_folder,
        }
        file = self.output / "model.python"
        file.write_bytes(_MARK + json.dumps(head).encode() + b"\n" + body)
        # The answers of the model as it is served, so that what the pickle forgets is found here.
        served = open_file(file.read_bytes())
        if own is not None:
            own_typed = Typed(own, told, self._task) if told else own
            self._refuse_difference(own_typed, served.answer, f"the stored {library}", most=_MOST_FRAME)
        if frame is not None and own is not None:
            self._refuse_other_frame(own, served, frame)
        elif served.frames:
            count = len(self._read()[self._label_columns[0]])
            check_values(served, self.frame(self._rows_at(spread(count))))
        self.write_result(served.answer if own is None else own_typed, rounds=rounds)

    def _refuse_other_frame(self, own: Callable[[Any], Any], served: Opened, frame: Any) -> None:
        """Raises ``ValueError`` where a served model answers rows of its training frame otherwise than the object."""
        import numpy

        rows = frame.iloc[spread(len(frame), min(len(frame), _MOST_FRAME))].reset_index(drop=True)
        columns = [each for each in served.columns if each["name"] in rows.columns]
        known = numpy.array(self._answers(own(rows.copy()), len(rows)))
        absent = {each["name"]: numpy.full(len(rows), numpy.nan) for each in served.columns if each["name"] not in rows.columns}
        numbers = [absent.get(each["name"], rows.get(each["name"])) for each in served.columns if not each["isText"]]
        texts = [absent.get(each["name"], rows.get(each["name"])) for each in served.columns if each["isText"]]
        sent = rows_of(
            served,
            numpy.column_stack([[math.nan if _is_missing(value) else float(value) for value in values] for values in numbers] or [numpy.empty((len(rows), 0))]),
            [[None if _is_missing(value) else _sent_text(value) for value in values] for values in texts],
        )
        found = _answer(served, sent)
        differs = _differing(known, found)
        if differs.any():
            row = int(numpy.argmax(differs))
            self._refuse_row((known[row], found[row]), rows.iloc[row][[each["name"] for each in columns]].to_dict(), "the served model", "")

    def _taken(self, X: Any, names: Optional[Sequence[str]], codes: bool = False) -> Any:
        """Selects the columns that a model names, in its order, because a script may train on some of them. Returns a matrix unchanged."""
        if not hasattr(X, "columns"):
            return X
        return taken_columns(X, [column.name for column in self._order(names)], codes=codes)

    def _compare(self, source: Callable[[Any], Any]) -> Callable[[bytes], None]:
        """
        Returns a function that raises if a conversion answers rows differently: training rows, as many rows between their values, and the
        odd ones that Tenure compares.
        """
        import numpy

        asked = self._compared_rows(are_midway=True)
        known = numpy.array(self._asked(source, asked))

        def compare(data: bytes) -> None:
            near = abs(numpy.array(self._asked(self._runtime(data), asked)) - known) <= 1e-5 * numpy.maximum(1, abs(known))
            different = int((~near).any(axis=1).sum())
            if different > 0:
                raise ValueError(f"as ONNX, {different} of {len(asked)} rows at and between the values of the training are answered otherwise")

        return compare

    def _compared_rows(self, most: int = _MOST_COMPARED, are_midway: bool = False) -> Any:
        """Training rows and the odd ones that Tenure compares; ``are_midway``: as many rows between their values, too."""
        rows = self._read()
        count = len(rows[self.columns[0].name])
        places = spread(count, min(count, most, max(1_000, _MOST_COMPARED_CELLS // len(self.columns))))
        chosen = self._rows_at(places)
        numbers = [column.name for column in self.columns if column.kind == "number"]
        if are_midway:
            import numpy

            known = {name: numpy.unique(rows[name][places]).tolist() for name in numbers}
        chosen += odd_rows(chosen, self.columns, self._categories, infinite=False)
        return self.frame(chosen + midway_rows(chosen, self.columns, known) if are_midway else chosen + self._rows_at(_ends(rows, numbers)))

    def _own(self, model: Any, names: Optional[Sequence[str]], codes: bool = False) -> Callable[[Any], Any]:
        """Returns the function by which an estimator itself answers rows."""
        predict = None if self.kind in _numbers else getattr(model, "predict_proba", None)
        places = None if predict is None else class_places(model, self._task)
        answer = predict or model.predict
        answer = answer if places is None else functools.partial(picked, answer, places)
        return lambda X: answer(self._taken(X, names, codes))

    def _refuse_difference(self, own: Callable[[Any], Any], saved: Callable[[Any], Any], what: str, most: int = _MOST_COMPARED) -> None:
        """Raises ``ValueError`` with the first row and column where what is saved answers otherwise than the object that is given."""
        import numpy

        def compared(X: Any) -> tuple[Any, Any]:
            known, found = (numpy.array(self._asked(answer, X)) for answer in (own, saved))
            return known, found

        asked = self._compared_rows(most)
        known, found = compared(asked)
        differs = _differing(known, found)
        if not differs.any():
            return
        row, equal = int(numpy.argmax(differs)), int(numpy.argmin(differs))
        cause = ""
        if not differs[equal]:
            # The same row with one value of a row that is answered equally.
            names = [column.name for column in self.columns][:_MOST_CAUSES]
            probe = _taken_rows(asked, [row] * len(names))
            for place, name in enumerate(names):
                if hasattr(probe, "columns"):
                    probe.loc[place, name] = asked[name].iloc[equal]
                else:
                    probe[place, place] = asked[equal, place]
            causes = [name for name, still in zip(names, _differing(*compared(probe))) if not still]
            cause = f', because of its value in the column "{causes[0]}"' if causes else ""
        self._refuse_row((known[row], found[row]), dict(zip([column.name for column in self.columns], _taken_rows(asked, [row]).values.tolist()[0] if hasattr(asked, "columns") else asked[row].tolist())), what, cause)

    def _refuse_row(self, answers: tuple[Any, Any], row: Mapping[str, Any], what: str, cause: str) -> NoReturn:
        known, found = (", ".join(f"{each:.6g}" for each in answer[:10]) for answer in answers)
        names = self.classes or self.names
        of = f" ({', '.join(names[:10])})" if names else ""
        values = ", ".join(f"{name} = {value}" for name, value in row.items())[:300]
        raise ValueError(
            f"{what} answers a row with {found}, and the object itself with {known}{of}{cause}: {values}. It does not keep what the object knows, such as a mark of missing "
            "values, the names of classes or the types of columns: save the object by job.save(model), or train it on the rows and codes of job.train()"
        )

    def _runtime(self, data: bytes) -> Callable[[Any], Any]:
        import numpy
        import onnxruntime

        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        inputs = session.get_inputs()
        output = [each.name for each in session.get_outputs() if "tensor(" in each.type and "int" not in each.type][-1]
        types: dict[str, Any] = {
            "tensor(float)": "float32",
            "tensor(double)": "float64",
            "tensor(uint8)": "uint8",
            "tensor(int64)": "int64",
            "tensor(string)": object,
        }
        wide = [column.name for column in self.columns if column.kind in ("vector", "image")]
        images = [column.name for column in self.columns if column.kind == "image"]

        def tensor(each: Any, values: Any) -> Any:
            """Returns rows as an input of the graph, which may have more dimensions than rows and columns."""
            return numpy.asarray(values, dtype=types[each.type]).reshape(len(values), *each.shape[1:] if len(each.shape) > 2 else (-1,))

        def answer(X: Any) -> Any:
            if len(inputs) == 1 and inputs[0].type != "tensor(string)":
                if images:
                    values = pixels(X[images[0]], inputs[0].shape[1:])
                elif wide:
                    values = numpy.hstack([stacked(X[each.name]) if each.kind == "vector" else X[[each.name]].to_numpy() for each in self.columns])
                else:
                    values = X.to_numpy(dtype="float64") if hasattr(X, "to_numpy") else X
                feed = {inputs[0].name: tensor(inputs[0], values)}
            else:
                categories = [column.name for column in self.columns if column.kind not in ("number", "vector", "image")]
                taken = taken_columns(X, [column.name for column in self.columns], texts=categories)

                def values_of(each: Any) -> Any:
                    if each.name in images:
                        return pixels(taken[each.name], each.shape[1:])
                    return stacked(taken[each.name]) if each.name in wide else taken[each.name].to_numpy()

                feed = {each.name: tensor(each, values_of(each)) for each in inputs}
            return session.run([output], feed)[0]

        return answer

    def write_result(
        self,
        answer: Callable[[Any], Any],
        names: Optional[Sequence[str]] = None,
        infinite: bool = False,
        rounds: Optional[int] = None,
        categories: Optional[Mapping[str, Sequence[str]]] = None,
    ) -> None:
        """Writes everything besides the artifact: columns, rows with the library's predictions, curve and packages.

        ``answer`` predicts rows in the form of :meth:`frame`. ``names`` are the columns of the artifact in its order, if it has names.
        ``infinite`` states that the library accepts infinite values. ``rounds`` are those of the model, up to its best one, for :attr:`best_round`
        of a refit; default: the epoch with the least validation loss that :meth:`progress` was told. ``categories`` are those that the artifact
        knows, in its order, where they are others than those of the training rows.
        """
        order = self._order(names)
        rows = self._read()
        count = len(rows[self._label_columns[0]])
        chosen = self._rows_at(spread(count))
        chosen += odd_rows(chosen, self.columns, self._categories, infinite)
        self._end_fit()
        with self.part("evaluate"):
            outputs = self._asked(answer, self.frame(chosen))
        listed = [column.name for column in self.columns]
        self._write("replay.json", {"columns": listed, "rows": [[cell_of(cell) for cell in row] for row in chosen], "outputs": outputs})
        self._write(
            "columns.json",
            [
                {"name": column.name, "vocabulary": (categories or self._categories).get(column.name, self._categories[column.name])}
                if column.kind == "category"
                else {"name": column.name}
                for column in order
            ],
        )
        self._write("curve.json", self.curve)
        if rounds is not None and rounds > 0:
            self._write("rounds.json", int(rounds))
        if self._warned:
            self._write("warnings.json", self._warned)
        self._write("environment.json", {"python": platform.python_version(), **_packages()})

    def _rows_at(self, places: Sequence[int]) -> list[list[Any]]:
        rows = self._read()
        return [[_plain(rows[column.name][place]) for column in self.columns] for place in places]

    def _categories_of(self, names: Optional[Sequence[str]], lists: Optional[Sequence[Sequence[Any]]]) -> Optional[dict[str, list[str]]]:
        """The categories by their columns that a file of LightGBM lists without these; None where they may be of other columns."""
        texts = [column.name for column in self._order(names) if column.kind == "category"]
        return {name: [text_of_value(each) for each in values] for name, values in zip(texts, lists)} if lists and len(lists) == len(texts) else None

    def _order(self, names: Optional[Sequence[str]]) -> list[Column]:
        """Returns the columns of the artifact in its order: by its names, or in the order of the model file if no name is a feature."""
        by_name = {column.name: column for column in self.columns}
        if names is None or not any(name in by_name for name in names):
            return self.columns
        others = [name for name in names if name not in by_name]
        if others:
            raise ValueError(
                f"the model takes {', '.join(map(str, others[:10]))}, which the model file does not have as features: "
                "requests hold its features only, so compute such columns by SQL in prepare of the model file, or save(model, answer=…) a function that computes them"
            )
        return [by_name[name] for name in names]

    def _answers(self, given: Any, count: int) -> list[list[float]]:
        """
        Returns one list per row: the probability of the positive class, one value per class or level, the number, or one value per number.
        """
        given = put_in_order(given, count, self._task)
        given = given.to_numpy() if hasattr(given, "to_numpy") else given
        values = given.tolist() if hasattr(given, "tolist") else list(given)
        rows = [[float(cell) for cell in each] if isinstance(each, (list, tuple)) else [float(each)] for each in values]
        if self.kind == "probability":
            rows = [row[-1:] if len(row) == 2 else row for row in rows]
        width = len(self.classes) if self.kind == "classes" else len(self.levels) or len(self.names) or 1
        if len(rows) != count or any(len(row) != width for row in rows):
            found = len(rows[0]) if rows else 0
            raise ValueError(
                f"the model answers {len(rows)} rows with {found} numbers each, expected {count} with {width}, as the label of the model file has"
                + self._absent_classes()
            )
        if any(not math.isfinite(cell) for row in rows for cell in row):
            raise ValueError("the model answers a training row, or one with a changed value, with a number that is not finite")
        return rows

    def _asked(self, answer: Callable[[Any], Any], X: Any) -> list[list[float]]:
        """Answers rows, of which some hold values that no training row has. Raises with the value by which a row fails."""
        try:
            return self._answers(answer(X), len(X))
        except Exception as error:
            message = self._failing_value(answer, X)
            if message is None:
                raise
            raise ValueError(message) from error

    def _failing_value(self, answer: Callable[[Any], Any], X: Any) -> Optional[str]:
        """Says by which value a row fails; None where the first row fails too, which is one of the training, or no row does so alone."""

        def problem_of(rows: Any) -> Optional[BaseException]:
            try:
                self._answers(answer(rows), len(rows))
            except Exception as error:
                cause: BaseException = error
                while cause.__cause__ is not None:
                    cause = cause.__cause__
                return cause
            return None

        is_table = hasattr(X, "columns") or hasattr(X, "tolist")
        if not is_table or len(X) < 2 or problem_of(_taken_rows(X, [0])) is not None:
            return None
        places = list(range(len(X)))
        while len(places) > 1:
            half = places[: len(places) // 2]
            places = half if problem_of(_taken_rows(X, half)) is not None else places[len(half) :]
        row = _taken_rows(X, places)
        problem = problem_of(row)
        if problem is None:
            return None
        for place, column in enumerate(self.columns):
            probe = _taken_rows(X, places)
            if hasattr(X, "columns"):
                value, probe[column.name] = row[column.name].iloc[0], X[column.name].iloc[[0]].reset_index(drop=True)
            else:
                value, probe[0, place] = row[0, place], X[0, place]
            if problem_of(probe) is None:
                return f"{self._prepared_wrongly(row, problem)} for {column.name} = {value!s:.200}, {_ORIGIN}"
        return f"{self._prepared_wrongly(row, problem)} for a row with several unusual values, {_ORIGIN}"

    def _prepared_wrongly(self, row: Any, problem: BaseException) -> str:
        """What fails: the column that prepare makes of a row whose own numbers are known, or the model with its error."""
        failed = f"the model fails ({type(problem).__name__}: {str(problem).strip().partition(chr(10))[0][:300]})"
        if self._prepare is None:
            return failed
        try:
            made = preparing(self._prepare)(row)
        except Exception as error:
            return f"prepare fails ({type(error).__name__}: {error})"
        for name in made.columns:
            value = made[name].iloc[0]
            was_missing = name in row.columns and _is_missing(row[name].iloc[0])
            if isinstance(value, float) and not math.isfinite(value) and not was_missing:
                return f'prepare gives {value} in the column "{name}"'
        return failed

    def _absent_classes(self) -> str:
        """Names the classes without a training row: a library does not learn them, and gives no number for them."""
        seen = {str(value) for value in self._read()[self._label_columns[0]]} if self.classes else set()
        absent = [text for text in self.classes if text not in seen]
        return f"; no training row has the class {', '.join(map(repr, absent[:10]))}" if absent else ""

    def _write(self, name: str, value: Any) -> None:
        (self.output / name).write_text(json.dumps(value, allow_nan=False), encoding="utf-8")


def _booster_of(model: Any, library: str, booster: Any) -> Any:
    """Returns the booster of a model. Raises ``ValueError`` for an object of another kind, such as a search around an estimator."""
    if not hasattr(booster, "save_model"):
        inner = next((name for name in ("best_estimator_", "estimator", "regressor_") if hasattr(model, name)), None)
        remedy = f"save its {inner}" if inner == "best_estimator_" else "save the whole object"
        raise ValueError(f"{type(model).__name__} is no booster or estimator of {library}: {remedy}{'' if inner == 'best_estimator_' else ' by job.save(model)'}")
    return booster


def _differing(known: Any, found: Any) -> Any:
    """Which rows have other answers, as far as Tenure compares them."""
    import numpy

    return (abs(found - known) > 1e-5 * numpy.maximum(1, abs(known))).any(axis=1)


def _ends(rows: Mapping[str, Any], names: Sequence[str]) -> list[int]:
    """The places of the least and the largest number of each column, which are often marks of a missing value."""
    import numpy

    found: set[int] = set()
    for name in names[:_MOST_CAUSES]:
        if len(rows[name]) > 0 and not numpy.isnan(rows[name]).all():
            found.update((int(numpy.nanargmin(rows[name])), int(numpy.nanargmax(rows[name]))))
    return sorted(found)


def _taken_rows(X: Any, places: Sequence[int]) -> Any:
    return X.iloc[list(places)].reset_index(drop=True) if hasattr(X, "columns") else X[list(places)].copy()


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and math.isnan(value))


def _sent_text(value: Any) -> str:
    """A value as a request holds it."""
    return value.isoformat() if isinstance(value, (datetime.datetime, datetime.date)) else text_of_value(value)


def _pickled(model: Any) -> bytes:
    try:
        import cloudpickle
    except ImportError:
        raise ValueError("an object of Python is stored by cloudpickle: add cloudpickle to the requirements") from None

    # The modules beside the script are not installed where the model is served.
    folder = Path(sys.argv[0]).resolve().parent
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if name != "__main__" and path is not None and folder in Path(path).resolve().parents and "site-packages" not in path:
            cloudpickle.register_pickle_by_value(module)
    return cast(bytes, cloudpickle.dumps(model))


#: The rows with which answers are compared have the ends of each column, what lies beyond them, zero, and missing values.
_ORIGIN = "a value that Tenure tries because a request may send it: guard against it, such as in a division"


def preparing(prepare: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Returns a function that prepares a data frame and raises if its rows are not those of the result."""

    def prepared(X: Any) -> Any:
        made = prepare(X.copy())
        if not hasattr(made, "columns") or not made.index.equals(X.index):
            raise ValueError("prepare drops, adds or reorders rows, or gives no data frame: it returns one row for each row of its data frame, in their order")
        return made

    return prepared


def _is_same(one: Any, other: Any) -> bool:
    """Whether two cells are equal, or both missing. A sum of one row may be rounded otherwise than among others."""
    import pandas

    missing = [pandas.api.types.is_scalar(each) and bool(pandas.isna(each)) for each in (one, other)]
    if any(missing):
        return all(missing)
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return bool(one == other)


def _plain(value: Any) -> Any:
    """Returns texts unchanged, and other values as floats with None for a missing value."""
    if value is None or isinstance(value, str):
        return value
    return None if math.isnan(value) else float(value)


def _bytes_of(model: Any) -> bytes:
    if isinstance(model, bytes):
        return model
    if isinstance(model, (str, os.PathLike)):
        return Path(model).read_bytes()
    return bytes(model.SerializeToString())


def _packages() -> dict[str, str]:
    found: dict[str, str] = {}
    for each in importlib.metadata.distributions():
        name = each.metadata["Name"]
        if name:
            found[str(name).lower()] = each.version
    return found


def _library_of(model: Any) -> str:
    """The distribution of the model's class with its version, such as ``scikit-learn 1.9.1``; ``Python`` for a class of the script."""
    package = type(model).__module__.partition(".")[0]
    # Python 3.9 does not list them.
    listed: Callable[[], Mapping[str, list[str]]] = getattr(importlib.metadata, "packages_distributions", dict)
    for name in listed().get(package, []):
        return f"{name} {importlib.metadata.version(name)}"
    return f"Python {platform.python_version()}"


_current: Optional[Job] = None


def job() -> Job:
    """Reads the job of this script from standard input.

    From then on, ``print`` and output of libraries go to standard error, because standard output carries progress. An exception ends the
    script with exit code 2, which is not retried.
    """
    global _current
    if _current is None:
        _current = Job(*_given())
        _current._warned = keep_warnings()
    return _current


@functools.lru_cache(maxsize=None)
def _given() -> tuple[Mapping[str, Any], IO[str]]:
    """Reads standard input, and keeps standard output for progress."""
    given = json.load(sys.stdin)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stdout.flush()
    os.dup2(2, 1)
    sys.excepthook = _fail
    return given, out


def metrics_job() -> Optional[Mapping[str, Any]]:
    """Returns the job of standard input if it asks for the metrics of the model file."""
    given, _ = _given()
    if given.get("kind") != "metrics":
        return None
    if given.get("contract") != CONTRACT:
        raise ValueError(f"the job follows the contract {given.get('contract')}, this package knows {CONTRACT}")
    return given


class Source:
    """The job of a program that writes the rows of a source, as :func:`source` reads it."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        if given.get("contract") != CONTRACT or given.get("kind") != "source":
            raise ValueError(
                f"the job has the contract {given.get('contract')} and the kind {given.get('kind')}; "
                f"this package knows the contract {CONTRACT} and the kind source"
            )
        self.model: str = given["model"]
        #: The moment of the snapshot, with UTC as its zone: write the rows that were known then.
        self.as_of = datetime.datetime.fromisoformat(given["asOf"].replace("Z", "+00:00"))
        self.output = Path(given["output"])
        self.limits: dict[str, Any] = dict(given.get("limits") or {})
        self._files = 0

    def write(self, rows: Any) -> Path:
        """Writes rows as the next Parquet file and returns its path.

        ``rows`` is a data frame of pandas or Polars, or a table, a record batch reader or an iterable of record batches of pyarrow. Call it
        again for further rows, for example once for each chunk of a large table.
        """
        self._files += 1
        path = self.output / f"rows-{self._files:06d}.parquet"
        if hasattr(rows, "to_parquet"):
            rows.to_parquet(path, index=False)
        elif hasattr(rows, "write_parquet"):
            rows.write_parquet(path)
        else:
            import pyarrow
            import pyarrow.parquet

            if isinstance(rows, pyarrow.Table):
                batches, schema = rows.to_batches(), rows.schema
            else:
                found = iter(rows)
                first = next(found, None)
                schema = getattr(rows, "schema", None) or (None if first is None else first.schema)
                if schema is None:
                    raise ValueError("there are no rows, and their columns are unknown: write a table with its schema")
                batches = itertools.chain(() if first is None else (first,), found)
            with pyarrow.parquet.ParquetWriter(path, schema) as file:
                for batch in batches:
                    file.write_batch(batch)
        return path


def source() -> Source:
    """Reads the job of this script, which writes the rows of a model, from standard input.

    An exception ends the script as with :func:`job`.
    """
    sys.excepthook = _fail
    return Source(json.load(sys.stdin))


def _fail(kind: type[BaseException], error: BaseException, trace: Any) -> NoReturn:
    traceback.print_exception(kind, error, trace)
    sys.stderr.flush()
    # A shortage of memory, an unreachable server or an error of a device may pass, so these errors are retried. The same script would fail
    # again on any other error.
    may_pass = issubclass(kind, (MemoryError, KeyboardInterrupt, OSError)) and not issubclass(kind, _LASTING)
    os._exit(1 if may_pass else SCRIPT_FAULT)
