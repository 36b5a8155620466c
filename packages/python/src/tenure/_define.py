"""Defines a model in Python. ``python -m tenure.define models/churn.py`` prints the definition for Tenure, which checks it as it checks a file in
TypeScript.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import functools
import inspect
import json
import math
import os
import re
import runpy
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import IO, Any, Callable, Iterator, Mapping, NamedTuple, Optional, Sequence, TypeVar, cast

Word = TypeVar("Word", bound=Callable[..., Any])

#: The program that prints a definition ends after this time.
_MOST_SECONDS = 15
_flags = {re.IGNORECASE: "i", re.MULTILINE: "m", re.DOTALL: "s"}


class Made(NamedTuple):
    """What a word such as ``tenure.number(min=0)`` returns: the word with its arguments. They are checked by :func:`define_model`."""

    word: str
    arguments: Sequence[Any]
    keywords: Mapping[str, Any]
    #: The file and the line of the call.
    file: str
    line: int


class _Reading:
    """The model file that this process prints."""

    def __init__(self, path: Path) -> None:
        self.path = path
        #: The arguments of each call of ``define_model``.
        self.models: list[Made] = []


_reading: Optional[_Reading] = None


def _made(name: str, arguments: Sequence[Any], keywords: Mapping[str, Any], frame: FrameType) -> Made:
    return Made(name, arguments, keywords, frame.f_code.co_filename, frame.f_lineno)


def word(function: Word) -> Word:
    """Makes a declaration of ``_words.py`` record its arguments."""

    @functools.wraps(function)
    def made(*arguments: Any, **keywords: Any) -> Made:
        return _made(function.__name__, arguments, keywords, sys._getframe(1))

    return cast(Word, made)


def defines(function: Word) -> Word:
    """Makes the declaration of ``define_model`` print the definition, or train by its function where the file is the training program."""

    @functools.wraps(function)
    def define(*arguments: Any, **keywords: Any) -> None:
        frame = sys._getframe(1)
        if _reading is not None:
            _reading.models.append(_made(function.__name__, arguments, keywords, frame))
        elif frame.f_globals.get("__name__") == "__main__":
            _run(keywords)

    return cast(Word, define)


def _run(keywords: Mapping[str, Any]) -> None:
    """Does the job of standard input: trains, or computes the metrics of the file."""
    if sys.stdin.isatty():
        raise SystemExit("this is a model file: `tenure check` checks it, and Tenure runs it for a training")
    train, prepare = _function_of(keywords.get("train")), keywords.get("prepare")
    from ._job import job, metrics_job

    given = metrics_job()
    if given is not None:
        from ._metrics import compute

        return compute(given, {name: spec["of"] for name, spec in (keywords["evaluation"].get("metrics") or {}).items()})
    if not callable(train):
        raise SystemExit("this model file has no function `train`, so it is not a training program")
    training = job()
    if callable(prepare):
        training._prepare = prepare
    train(training)


def _function_of(train: Any) -> Any:
    """The function of ``train=train`` and ``train=python(train, …)``."""
    return train.arguments[0] if isinstance(train, Made) and train.word == "python" and train.arguments else train


class _Definition:
    """Compiles the recorded words to plain data, with the names of the fields in a definition."""

    def __init__(self, path: Path, lines: dict[str, int]) -> None:
        from . import _words

        self._words: dict[str, Any] = _words.WORDS
        self._types: dict[str, Any] = _words.TYPES
        self._path = path
        self.lines = lines
        self.issues: list[str] = []

    def compile(self, made: Made) -> Any:
        fields = self._types[self._words["define_model"]["options"]["fields"]]
        if made.arguments:
            self._report("define_model", "takes keywords only: define_model(name=…, features=…)")
        given = dict(made.keywords)
        if callable(given.get("prepare")):
            self._check_prepare(given.pop("prepare"), _function_of(given.get("train")))
        return self._object(given, fields, "", "define_model")

    def _check_prepare(self, prepare: Callable[..., Any], train: Any) -> None:
        """A function is no part of the definition: it is stored with each model that ``train`` saves."""
        if not callable(train):
            self._report("prepare", "a function of Python needs a function `train` of this file, whose job.save(model) stores both; use SQL beside another program")
        try:
            inspect.signature(prepare).bind(None)
        except TypeError:
            self._report("prepare", "a function of one data frame is required")
        except ValueError:
            pass

    def _report(self, place: str, message: str, at: str = "") -> None:
        """``at``: the place whose line is told, if it is not ``place``."""
        line = _line_of(at or place, self.lines)
        self.issues.append(f"{'' if line is None else f'line {line}: '}{place}: {message}")

    def _object(self, given: Mapping[Any, Any], fields: Mapping[str, Any], place: str, word: str = "") -> dict[str, Any]:
        compiled: dict[str, Any] = {}
        for key, value in given.items():
            # A keyword of Python such as `from` gets an underscore behind it.
            name = str(key)[:-1] if word != "" and str(key).endswith("_") else str(key)
            if name not in fields:
                self._report(place or "model", _unknown(word, str(key), list(fields)), f"{place}.{key}" if place else str(key))
            elif value is not None:
                camel, shape = fields[name]
                compiled[camel] = self._value(value, shape, f"{place}.{camel}" if place else camel)
        return compiled

    def _value(self, value: Any, shape: Any, place: str) -> Any:
        """``shape``: an entry of the tables of ``_words.py``; "" means data, whose keys are names and stay."""
        if isinstance(value, Made):
            return self._call(value, place)
        if shape == "pattern":
            return self._pattern(value, place)
        if callable(value) and place == "train":
            return self._call(Made("python", [value], {}, "", 0), place)
        if callable(value) and re.fullmatch(r"evaluation\.metrics\.[^.]+\.of", place):
            return self._metric(value, place)
        if callable(value):
            self._report(place, "a function of Python cannot be called here: write the model file in TypeScript for it")
            return None
        if isinstance(value, Mapping):
            fields = _find(shape, "fields")
            if fields is not None:
                return self._object(value, self._types[fields], place)
            values = _find(shape, "record")
            return {str(name): self._value(each, values or "", f"{place}.{name}") for name, each in value.items()}
        if isinstance(value, (list, tuple, range)):
            items = _find(shape, "list")
            return [self._value(each, items or "", f"{place}[{at}]") for at, each in enumerate(value)]
        if value is None or isinstance(value, (bool, str)):
            return value
        # Scalars, arrays and series of NumPy and pandas.
        if hasattr(value, "tolist"):
            return self._value(value.tolist(), shape, place)
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        if isinstance(value, int) and abs(value) > 2**53:
            self._report(place, f"{value} is a whole number beyond 2**53, which a double does not hold: write it as a text, or as a float")
            return None
        if isinstance(value, (int, float)) and math.isfinite(value):
            return value
        self._report(place, f"a text, a finite number, True, False, a list or a dict is required, not {value!r}")
        return None

    def _metric(self, value: Callable[..., Any], place: str) -> Any:
        try:
            inspect.signature(value).bind(None, None, None)
        except TypeError:
            self._report(place, "a function of (labels, scores, rows) is required")
        except ValueError:
            pass
        return {"$word": "Function", "arguments": []}

    def _call(self, made: Made, place: str) -> Any:
        if made.file == str(self._path):
            self.lines.setdefault(place, made.line)
        name, entry = made.word, self._words[made.word]
        positional, options = entry["positional"], entry.get("options")
        keywords = dict(made.keywords)
        names = [*positional, *entry["leading"]]
        if len(made.arguments) > len(names):
            self._report(place, f"{name} takes {len(names)} argument{'' if len(names) == 1 else 's'} before its keywords, not {len(made.arguments)}")
        given = dict(zip(names, made.arguments))
        keywords.update({key: given.pop(key) for key in entry["leading"] if key in given})
        given.update({key: keywords.pop(key) for key in positional if key in keywords})
        arguments: list[Any] = []
        for at, (key, shape) in enumerate(positional.items()):
            value = given.get(key)
            if value is None and at < entry["required"]:
                self._report(place, f"{name} needs {key}")
            if name == "python" and callable(value) and not isinstance(value, Made):
                value = self._path.name
            arguments.append(None if value is None else self._value(value, shape, place))
        if options is None:
            for key in keywords:
                self._report(place, f"{name} has no keyword {key}", f"{place}.{key}")
        elif keywords:
            arguments.append(self._object(keywords, self._types[options["fields"]], place, name))
        return {"$word": entry["name"], "arguments": arguments}

    def _pattern(self, value: Any, place: str) -> Any:
        if not isinstance(value, (str, re.Pattern)):
            self._report(place, f"a pattern such as r'^[A-Z]{{2}}$' is required, not {value!r}")
            return None
        pattern = re.compile(value) if isinstance(value, str) else value
        flags = "".join(letter for flag, letter in _flags.items() if pattern.flags & flag)
        return {"$word": "RegExp", "arguments": [pattern.pattern, flags]}


def _find(shape: Any, kind: str) -> Any:
    if not isinstance(shape, dict):
        return None
    if kind in shape:
        return shape[kind]
    return next((found for each in shape.get("either", []) for found in [_find(each, kind)] if found is not None), None)


def _unknown(word: str, given: str, names: Sequence[str]) -> str:
    alike = difflib.get_close_matches(given, names, n=1, cutoff=0.6)
    what = f"{word} has no keyword {given}" if word else f"has no field {given}"
    return f"{what}: did you mean {alike[0]}?" if alike else f"{what}, but {', '.join(names)}"


def _lines_of(text: str) -> dict[str, int]:
    """Returns the line of each field of the definition, as far as the file writes it out: ``release.stages[0].soak`` → 12."""
    from . import _words

    lines: dict[str, int] = {}
    tree = ast.parse(text)
    assigned: dict[str, Optional[ast.expr]] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    # Of a name with two values, either may be meant.
                    assigned[target.id] = None if target.id in assigned else statement.value

    def walk(node: Optional[ast.expr], place: str) -> None:
        if isinstance(node, ast.Name):
            node = assigned.pop(node.id, None)
        if isinstance(node, ast.Call):
            _arguments(node, place)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values):
                if isinstance(key, ast.Constant):
                    field(str(key.value), key, value, place)
        elif isinstance(node, (ast.List, ast.Tuple)):
            for at, value in enumerate(node.elts):
                lines[f"{place}[{at}]"] = value.lineno
                walk(value, f"{place}[{at}]")

    def field(name: str, at: Any, value: ast.expr, place: str) -> None:
        for each in {name, _camel(name)}:
            path = f"{place}.{each}" if place else each
            lines[path] = getattr(at, "lineno", value.lineno)
            walk(value, path)

    def _arguments(node: ast.Call, place: str) -> None:
        entry = _words.WORDS.get(_called(node), {})
        for name, value in zip(entry.get("leading", []), node.args):
            field(name, value, value, place)
        for keyword in node.keywords:
            if keyword.arg is not None:
                field(keyword.arg, keyword, keyword.value, place)

    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) == "define_model":
            lines["model"] = node.lineno
            _arguments(node, "")
    return lines


def _line_of(place: str, lines: Mapping[str, int]) -> Optional[int]:
    """Returns the line of a place, or of the nearest part around it."""
    while place:
        if place in lines:
            return lines[place]
        place = re.sub(r"(^|\.)[^.\[\]]*$|\[\d*\]$", "", place)
    return lines.get("model")


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""


def _camel(name: str) -> str:
    return re.sub(r"_(.)", lambda found: found[1].upper(), name.rstrip("_"))


@contextlib.contextmanager
def _own_output() -> Iterator[IO[str]]:
    """Keeps standard output for the definition: what the file prints goes to standard error."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        sys.stdout.flush()
        os.dup2(2, 1)
        yield out


def main(arguments: Sequence[str]) -> None:
    """Prints ``{"model": …, "issues": […], "lines": {place: line}}`` of a model file as JSON."""
    global _reading
    if len(arguments) != 1:
        raise SystemExit("usage: python -m tenure.define models/churn.py")
    # A file that never ends is ended by the system, also when the process that asked is gone.
    signal.alarm(_MOST_SECONDS)
    path = Path(arguments[0]).resolve()
    _reading = _Reading(path)
    with _own_output() as out:
        json.dump(_read(_reading), out)


def _read(reading: _Reading) -> dict[str, Any]:
    path = reading.path
    if path.stem in getattr(sys, "stdlib_module_names", ()):
        return {"issues": [f"name: {path.name} hides the module {path.stem} of Python itself: choose another name"]}
    # Behind the modules of Python itself, which a file of the folder would hide.
    sys.path[:] = [*sys.path[1:], str(path.parent)]
    sys.argv = [str(path)]
    os.chdir(path.parent)
    try:
        text = path.read_text(encoding="utf-8")
        lines = _lines_of(text)
        runpy.run_path(str(path), run_name="__main__")
    except BaseException as error:
        return {"issues": [_explain(error, path)]}
    if len(reading.models) != 1:
        advice = "call tenure.define_model(name=…, …) once, outside of functions that nothing calls"
        return {"issues": [f"model: define_model was called {len(reading.models)} times: {advice}"], "lines": {}}
    definition = _Definition(path, lines)
    model = definition.compile(reading.models[0])
    return {"model": model, "issues": definition.issues, "lines": definition.lines}


def _explain(error: BaseException, path: Path) -> str:
    frames = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == str(path)]
    if isinstance(error, SyntaxError) and error.filename in (str(path), "<unknown>"):
        return f"line {error.lineno}: the code cannot be parsed: {error.msg}"
    place = f"line {frames[-1]}: " if frames else ""
    if isinstance(error, ModuleNotFoundError):
        return (
            f"{place}there is no package {error.name} for {sys.executable}: import what only the training needs inside of train(job), "
            "where the packages of the requirements are"
        )
    if isinstance(error, SystemExit):
        return f"{place}exit({'' if error.code is None else error.code!r}) ends the program that reads the file: remove the call"
    return f"{place}it raises while it is read: {type(error).__name__}: {str(error)[:300]}"
