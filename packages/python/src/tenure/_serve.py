"""Serves a model that is code of Python: reads rows from the third channel, and writes the answers to it.

A message has six numbers of four bytes: the bytes after them, its number, the bytes of JSON at the start of these, and for a run the number
of the model, its rows and the numbers of a row. ``packages/predictors/src/runtime/process-messages.ts`` is the other side.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import pickle
import struct
import traceback
import warnings
from typing import Any, Callable, NamedTuple, Optional, Sequence

from ._folders import open_folder
from ._objects import Asked, Task, numbers_of, put_in_order
from ._rows import decoded, table_of
from ._types import Typed, refuse_other_types
from ._values import FIRST_ROWS, refuse_other_values
from ._warned import keep_warnings

_MARK = b"TENURE-PYTHON 1\n"
_HEADER = struct.Struct("<6I")
#: The length in place of a text that is missing.
_NO_TEXT = 0xFFFFFFFF
_CHANNEL = 3


class Opened(NamedTuple):
    """A model in this process."""

    answer: Callable[[Any], Any]
    columns: list[dict[str, Any]]
    outputs: int
    #: Whether rows are a data frame; otherwise a matrix with category codes.
    frames: bool
    #: What an answer is.
    task: Task
    #: Whether the code of a ``serve.py`` answers, which is written for rows of this form.
    serves: bool = False


def open_file(data: bytes, allows_other_versions: bool = True) -> Opened:
    """
    Reads the file of a model, which runs its code. Raises ``ValueError`` for a brought pickle that another minor version of its library has
    written, unless ``allows_other_versions``.
    """
    if not data.startswith(_MARK):
        raise ValueError("the file is no model of Python")
    end = data.index(b"\n", len(_MARK))
    head = json.loads(data[len(_MARK) : end])
    body = data[end + 1 :]
    task = Task(**head.get("task", {}))
    answer = open_folder(body, task, allows_other_versions) if head.get("isFolder") else pickle.loads(body)
    # Labels are refused by a function around it.
    asked = answer.args[0] if isinstance(answer, functools.partial) else answer
    if head.get("isOrdered") is False and isinstance(asked, Asked) and asked.names is None and len(head["columns"]) > 1:
        names = ", ".join(column["name"] for column in head["columns"][:20])
        warnings.warn(
            f"the object keeps no names of its columns: if it was fitted with them in another order than the model file has, list them (--columns columns.json). It gets {names}",
            stacklevel=2,
        )
    serves = getattr(answer, "__module__", "") == "serve"
    types = {column["name"]: column["dtype"] for column in head["columns"] if "dtype" in column}
    return Opened(Typed(answer, types, task) if types else answer, head["columns"], head["outputs"], bool(head["frames"]), task, serves)


def rows_of(model: Opened, numbers: Any, texts: list[list[Optional[str]]]) -> Any:
    """Returns rows in the form of :meth:`Job.train`. ``numbers`` is a matrix; ``texts`` has a list for each category column."""
    import numpy

    number, text = iter(range(numbers.shape[1])), iter(texts)

    def cells(column: Any) -> Any:
        if not column["isText"]:
            return column["name"], numbers[:, next(number)], None
        kind, categories = column.get("kind", "category"), column.get("categories")
        # pandas has NaN for a missing category, and encoders take None for another value.
        missing = numpy.nan if kind == "category" and categories is None else None
        return column["name"], decoded(kind, numpy.array([missing if each is None else each for each in next(text)], dtype=object)), categories

    return table_of([cells(column) for column in model.columns], model.frames)


def _answer(model: Opened, X: Any) -> Any:
    return numbers_of(put_in_order(model.answer(X), len(X), model.task), len(X), model.outputs)


def answers_of(model: Opened, X: Any) -> bytes:
    """Returns the answers to rows as numbers of 32 bits, row by row. Throws for another shape."""
    import numpy

    values = _answer(model, X)
    with numpy.errstate(over="ignore"):
        return numpy.ascontiguousarray(values, dtype="float32").tobytes()


def check_values(model: Opened, X: Any, first: int = FIRST_ROWS) -> None:
    """
    Raises ``ValueError`` for a model that knows a category of these rows as another value than its text, or a number as one of another type, or that
    does not tell.
    """
    if not hasattr(X, "columns"):
        return
    told = _told(model.answer, [each["name"] for each in model.columns])
    # A vocabulary says that these are texts.
    texts = {
        each["name"]: model.serves or each.get("categories") is not None
        for each in model.columns
        if each["isText"] and each.get("kind", "category") == "category" and told.get(each["name"], "object") in ("object", "category")
    }
    refuse_other_values(lambda rows: _answer(model, rows), X, texts, first)
    # The first rows of all tell it.
    if first == FIRST_ROWS:
        untold = [each["name"] for each in model.columns if not each["isText"] and each["name"] not in told]
        refuse_other_types(lambda rows: _answer(model, rows), X, untold)


def facts_of(model: Opened, warned: Sequence[str]) -> dict[str, Any]:
    """What a registration tells of a model: the types that something tells of its columns, and the warnings of libraries."""
    types = _told(model.answer, [each["name"] for each in model.columns])
    named = {name: each if isinstance(each, str) else "category" for name, each in types.items() if each not in ("object", "str")}
    facts: dict[str, Any] = {"warnings": list(warned)}
    return {"types": named, **facts} if named else facts


def _told(answer: Any, columns: list[str]) -> dict[str, Any]:
    """The types that a description or a signature tells of these columns."""
    return {**_told(answer.answer, columns), **answer.told(columns)} if isinstance(answer, Typed) else {}


def _texts(body: bytes, at: int, rows: int, count: int) -> list[list[Optional[str]]]:
    found: list[list[Optional[str]]] = [[] for _ in range(count)]
    for _ in range(rows):
        for column in found:
            (length,) = struct.unpack_from("<I", body, at)
            at += 4
            if length == _NO_TEXT:
                column.append(None)
            else:
                column.append(body[at : at + length].decode("utf-8"))
                at += length
    return found


def _run(model: Opened, body: bytes, rows: int, inputs: int, first: Optional[int]) -> bytes:
    import numpy

    numbers = numpy.frombuffer(body, dtype="<f8", count=rows * inputs).reshape(rows, inputs)
    texts = _texts(body, rows * inputs * 8, rows, sum(1 for column in model.columns if column["isText"]))
    answers = answers_of(model, rows_of(model, numbers, texts))
    if first is not None:
        check_values(model, rows_of(model, numbers, texts), first)
    return answers


def _read(count: int) -> Optional[bytes]:
    parts = []
    while count > 0:
        part = os.read(_CHANNEL, min(count, 1 << 20))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _reply(number: int, head: Optional[dict[str, Any]], body: bytes = b"") -> None:
    text = b"" if head is None else json.dumps(head).encode()
    message = _HEADER.pack(len(text) + len(body), number, len(text), 0, 0, 0) + text + body
    while message:
        message = message[os.write(_CHANNEL, message) :]


def _reason(error: BaseException) -> str:
    """The last line of a traceback, as Python prints it."""
    return "".join(traceback.format_exception_only(type(error), error)).strip()[-1_000:]


def main() -> None:
    """Serves until the channel is closed."""
    # What the code of a model prints must not reach the channel of another process.
    os.dup2(2, 1)
    models: dict[int, Opened] = {}
    # Of those that a registration asks, how many of the first rows are left.
    first: dict[int, int] = {}
    warned = keep_warnings()
    # The first message says that the process is ready.
    _reply(0, {})
    while True:
        header = _read(_HEADER.size)
        if header is None:
            return
        size, number, head, key, rows, inputs = _HEADER.unpack(header)
        body = _read(size)
        if body is None:
            return
        try:
            if head == 0:
                _reply(number, None, _run(models[key], body, rows, inputs, first.get(key)))
                if key in first:
                    first[key] = max(0, first[key] - rows)
                continue
            call = json.loads(body[:head])
            if call["kind"] == "facts":
                _reply(number, {"facts": facts_of(models[call["model"]], warned)})
                continue
            models.pop(call["model"], None)
            if call["kind"] != "load":
                _reply(number, {})
                continue
            plan = call["plan"]
            model = open_file(body[head:], not plan.get("checksValues") or bool(plan.get("allowsOtherVersions")))
            models[call["model"]] = model
            first.pop(call["model"], None)
            if plan.get("checksValues"):
                first[call["model"]] = FIRST_ROWS
            # The objects of a loaded model stay, and are not looked through again.
            gc.collect()
            gc.freeze()
            _reply(number, {"outputs": model.outputs})
        except Exception as error:
            _reply(number, {"error": _reason(error)})


if __name__ == "__main__":
    main()
