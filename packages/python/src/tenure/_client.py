"""Calls Tenure: predictions, outcomes, events, retrainings and approvals. Needs no other package.

Retries errors that the API marks as retryable. A command carries an idempotency key, so that a retry runs it once.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import json
import random
import re
import socket
import ssl
import threading
import time
import uuid
from datetime import date, datetime, timezone
from functools import partial, wraps
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    BinaryIO,
    Callable,
    ContextManager,
    Coroutine,
    Iterable,
    Mapping,
    Optional,
    Sequence,
    TypedDict,
    TypeVar,
    Union,
    cast,
    overload,
)
from urllib.parse import quote, urlencode, urlsplit

from ._tables import Labelled, Table, chunks, frame, is_table, plain, records

# ``Any``: values of NumPy and pandas, which this package does not import.
Row = Mapping[str, Any]
Rows = Union[Row, Labelled, Iterable[Union[Row, Labelled]]]
T = TypeVar("T")
if TYPE_CHECKING:
    # Of Python 3.10, and here only for annotations.
    from typing_extensions import Concatenate, ParamSpec

    P = ParamSpec("P")

_FIRST_PAUSE_S = 0.1
# The longest pause. An error with a longer Retry-After is raised.
_MAX_PAUSE_S = 10.0
# Predictions take a key of their caller only (``idempotency_key``).
_PREDICTION_PATH = re.compile(r"[/:](predict|explain|infer|invocations)(\?|$)")
_MAX_IDLE_CONNECTIONS = 16
# The limits of one request. Larger tables are sent in parts.
_MAX_ROWS = 1_000
_MAX_OUTCOMES = 10_000
_MAX_EXPLAINED = 10
_MAX_BYTES = 4_000_000
_MEDIA = {
    ".csv": "text/csv",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".parquet": "application/vnd.apache.parquet",
}


class _PredictionId(TypedDict):
    id: str


class Prediction(_PredictionId, total=False):
    """
    The prediction of one row. Its fields depend on the output of the model. ``version`` and ``arm`` are set where a table was sent in parts.
    """

    probability: float
    label: Union[str, bool]
    positive: str
    probabilities: dict[str, float]
    value: float
    quantiles: dict[str, float]
    values: dict[str, float]
    version: str
    arm: str


class _Predicted(TypedDict):
    model: str
    version: str
    arm: str
    generation: int
    predictions: list[Prediction]


class Predictions(_Predicted, total=False):
    """The response to a prediction request, with one prediction per row."""

    fallback: bool
    stale: bool
    unknown_categories: dict[str, list[str]]
    defaulted: list[dict[str, Any]]


class Tensor(TypedDict):
    """A tensor of the Open Inference Protocol."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class _SentOutcome(TypedDict):
    value: Union[float, str, bool, Mapping[str, float]]


class Outcome(_SentOutcome, total=False):
    """
    The outcome of a prediction, identified by ``prediction_id``, or by ``model`` and the ``reference`` of its request. ``observed_at`` is
    ISO 8601 with a time zone. Default: now.

    ``instance`` is the index of the row, where a request with the reference has several.
    """

    prediction_id: str
    model: str
    reference: str
    instance: int
    observed_at: str


class OutcomeCounts(TypedDict):
    received: int
    accepted: int
    stored: int
    unknown: int


class UploadCounts(OutcomeCounts):
    refused: int
    issues: list[str]


class _SentEvent(TypedDict):
    name: str


class Event(_SentEvent, total=False):
    """
    An action of a user after a prediction, identified by ``prediction_id`` or ``routing_key``. Default: ``value`` 1, ``occurred_at`` now.

    Events with the same ``id`` are stored once. Without an ``id``, events with the same fields are stored once.
    """

    id: str
    prediction_id: str
    routing_key: str
    model: str
    value: float
    occurred_at: str


class EventCounts(OutcomeCounts):
    refused: int
    issues: list[str]


class TenureError(Exception):
    """An error with a code of docs/reference/errors.md; ``unreachable`` or ``timeout`` without a response."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        retryable: bool = False,
        status: Optional[int] = None,
        remedy: Optional[str] = None,
        request_id: Optional[str] = None,
    ) -> None:
        super().__init__(f"{code}: {detail}" if remedy is None else f"{code}: {detail}: {remedy}")
        self.code = code
        self.detail = detail
        self.retryable = retryable
        self.status = status
        self.remedy = remedy
        self.request_id = request_id


class _Connections:
    """Keeps connections open between calls. Each serves one call at a time."""

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ValueError(f"url is no http:// or https:// address: {url!r}")
        self._https = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port
        self._timeout_s = timeout_s
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self.prefix = parts.path.rstrip("/")

    def take(self) -> tuple[http.client.HTTPConnection, bool]:
        """A connection, and whether it has served an earlier call."""
        with self._lock:
            if self._idle:
                return self._idle.pop(), True
        if self._https:
            context = ssl.create_default_context()
            return (
                http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=context),
                False,
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s), False

    def give(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < _MAX_IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


class Client:
    """Calls the API at ``url``. Threads can share one client.

    :param timeout_s: Timeout of each wait for the server, in seconds.
    :param max_retries: Maximum retries after a retryable failure.
    """

    def __init__(
        self,
        url: str,
        key: Optional[str] = None,
        *,
        timeout_s: float = 10.0,
        max_retries: int = 3,
    ) -> None:
        self._connections = _Connections(url, timeout_s)
        self._url = url
        self._key = key
        self._timeout_s = timeout_s
        self._max_retries = max_retries

    def __repr__(self) -> str:
        # The key is a secret.
        return f"Client({self._url!r}, {'with a key' if self._key is not None else 'without a key'})"

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the idle connections."""
        self._connections.close()

    @overload
    def predict(
        self,
        model: str,
        rows: Table,
        *,
        routing_key: Optional[str] = None,
        reference: Optional[str] = None,
        deadline_ms: Optional[float] = None,
        idempotency_key: Optional[str] = None,
        request_id: Optional[str] = None,
    ) -> Any: ...

    @overload
    def predict(
        self,
        model: str,
        rows: Rows,
        *,
        routing_key: Optional[str] = None,
        reference: Optional[str] = None,
        deadline_ms: Optional[float] = None,
        idempotency_key: Optional[str] = None,
        request_id: Optional[str] = None,
    ) -> Predictions: ...

    def predict(
        self,
        model: str,
        rows: Union[Rows, Table],
        *,
        routing_key: Optional[str] = None,
        reference: Optional[str] = None,
        deadline_ms: Optional[float] = None,
        idempotency_key: Optional[str] = None,
        request_id: Optional[str] = None,
    ) -> Any:
        """
        Predicts one row or several. A data frame is answered by a data frame with its index. The same ``routing_key`` gets the same arm
        during a release. An outcome may name the ``reference``.

        More than 1,000 rows are sent as several requests, without ``reference`` and ``idempotency_key``, which name one.
        """
        parts = list(chunks(records(rows), _MAX_ROWS, _MAX_BYTES))
        if len(parts) > 1 and (reference is not None or idempotency_key is not None):
            raise ValueError(
                f"reference and idempotency_key name one request, and the rows take {len(parts)}: send at most {_MAX_ROWS} rows at a time"
            )
        headers = _prediction_headers(deadline_ms, idempotency_key, request_id)
        answers: list[Predictions] = []
        for part in parts:
            body = _without_none({"instances": part, "routing_key": routing_key, "reference": reference})
            answers.append(self.call("POST", f"/v1/models/{_quoted(model)}/predict", body, headers=headers))
        if is_table(rows):
            return frame(
                ({"id": each["id"], "version": one["version"], "arm": one["arm"], **each} for one in answers for each in one["predictions"]),
                cast(Table, rows).index,
            )
        return answers[0] if len(answers) == 1 else _joined(answers)

    def explain(
        self,
        model: str,
        rows: Union[Rows, Table],
        *,
        of: Optional[Union[str, float]] = None,
        version: Optional[str] = None,
    ) -> Any:
        """
        What each feature adds to the prediction of each row, by the champion or by ``version``; ``of`` a class, quantile or number. A data
        frame is answered by a data frame with a column per feature, ``base`` and ``score``, which is their sum; ten rows take one request.
        """
        answers = []
        for part in chunks(records(rows), _MAX_EXPLAINED, _MAX_BYTES):
            body = _without_none({"instances": part, "of": of, "version": version})
            answers.append(self.call("POST", f"/v1/models/{_quoted(model)}/explain", body))
        explanations = [each for answer in answers for each in answer["explanations"]]
        if not is_table(rows):
            return {**answers[0], "explanations": explanations}
        table = cast(Table, rows)
        added = []
        for each in explanations:
            # The API lists the largest first.
            by_feature = {one["feature"]: one["attribution"] for one in each["attributions"]}
            ordered = {str(name): by_feature[str(name)] for name in table.columns if str(name) in by_feature}
            added.append({**ordered, **by_feature, "base": each["base"], "score": each["score"]})
        return frame(added, table.index)

    def infer(
        self,
        model: str,
        inputs: Sequence[Tensor],
        *,
        version: Optional[str] = None,
        outputs: Optional[Sequence[str]] = None,
        routing_key: Optional[str] = None,
        reference: Optional[str] = None,
        deadline_ms: Optional[float] = None,
        request_id: Optional[str] = None,
    ) -> dict[str, Any]:
        """Predicts from tensors of the Open Inference Protocol."""
        pinned = "" if version is None else f"/versions/{_quoted(version)}"
        parameters = _without_none({"routing_key": routing_key, "reference": reference})
        body = _without_none(
            {
                "inputs": list(inputs),
                "outputs": None if outputs is None else [{"name": name} for name in outputs],
                "parameters": parameters or None,
            }
        )
        headers = _prediction_headers(deadline_ms, None, request_id)
        found: dict[str, Any] = self.call("POST", f"/v2/models/{_quoted(model)}{pinned}/infer", body, headers=headers)
        return found

    def outcomes(self, outcomes: Union[Iterable[Outcome], Table]) -> OutcomeCounts:
        """
        Stores the outcomes of predictions, as a list or a data frame with these columns. Sending an outcome again has no effect. All or
        none are stored; of more than 10,000, all or none of each 10,000.
        """
        now = datetime.now(timezone.utc).isoformat()
        sent = [{"observed_at": now, **_without_none(outcome)} for outcome in records(outcomes)]
        missing = next((row for row, outcome in enumerate(sent) if "value" not in outcome), None)
        if missing is not None:
            raise ValueError(f"outcome {missing} has no value")
        parts = chunks(sent, _MAX_OUTCOMES, _MAX_BYTES)
        found: list[OutcomeCounts] = [self.call("POST", "/v1/outcomes", {"outcomes": part}) for part in parts]
        if len(found) == 1:
            return found[0]
        return {
            "received": sum(each["received"] for each in found),
            "accepted": sum(each["accepted"] for each in found),
            "stored": sum(each["stored"] for each in found),
            "unknown": sum(each["unknown"] for each in found),
        }

    def upload_outcomes(self, path: Union[str, Path], *, model: Optional[str] = None) -> UploadCounts:
        """
        Stores the outcomes of a CSV, NDJSON or Parquet file with the columns ``prediction_id``, ``value`` and ``observed_at``. With ``model``,
        ``reference`` takes the place of ``prediction_id``. Refused outcomes are reported and do not affect the others. The file is read as it
        is sent.
        """
        media = _MEDIA.get(Path(path).suffix.lower())
        if media is None:
            raise ValueError(f"{path}: the name ends with none of {', '.join(_MEDIA)}")
        query = "" if model is None else f"?model={_quoted(model)}"
        headers = {"content-type": media, "content-length": str(Path(path).stat().st_size)}
        found: UploadCounts = self._call(
            "POST", f"/v1/outcomes/bulk{query}", lambda: open(path, "rb"), {**_command_headers(), **headers}
        )
        return found

    def events(self, events: Union[Iterable[Event], Table]) -> EventCounts:
        """Stores actions of users after predictions. Stores valid events and reports refused ones."""
        now = datetime.now(timezone.utc).isoformat()
        sent = [{"occurred_at": now, **_without_none(event)} for event in records(events)]
        found: EventCounts = self.call("POST", "/v1/events", {"events": sent})
        return found

    def predictions(
        self,
        model: str,
        *,
        version: Optional[str] = None,
        arm: Optional[str] = None,
        routing_key: Optional[str] = None,
        reference: Optional[str] = None,
        subject: Optional[str] = None,
        since: Union[str, date, None] = None,
        until: Union[str, date, None] = None,
        limit: Optional[int] = None,
    ) -> list[dict[str, Any]]:
        """
        The predictions of the log, the newest first, with inputs, answer, version, arm and outcome; at most ``limit``, by default all of the
        last 24 hours. ``since`` and ``until`` are ISO 8601, or times of Python or pandas. ``pandas.json_normalize`` makes a data frame of them.
        """
        filters = {
            "model": model,
            "version": version,
            "arm": arm,
            "routing_key": routing_key,
            "reference": reference,
            "subject": subject,
            "since": _time_text(since),
            "until": _time_text(until),
        }
        if limit is not None and limit < 1:
            raise ValueError(f"limit: {limit} is less than 1")
        found: list[dict[str, Any]] = []
        cursor: Optional[str] = None
        while limit is None or len(found) < limit:
            size = _MAX_ROWS if limit is None else min(_MAX_ROWS, limit - len(found))
            query = urlencode(_without_none({**filters, "limit": size, "cursor": cursor}))
            page = self.call("GET", f"/v1/predictions?{query}")
            found.extend(page["predictions"])
            cursor = page.get("next_cursor")
            if cursor is None:
                break
        return found

    def retrain(
        self,
        model: str,
        *,
        reason: Optional[str] = None,
        as_of: Optional[str] = None,
        hyperparameters: Optional[Mapping[str, Union[float, str, bool]]] = None,
    ) -> dict[str, Any]:
        """Starts a retraining. Pass the returned ``id`` to :meth:`wait`."""
        named = None if hyperparameters is None else records(hyperparameters)[0]
        body = _without_none({"reason": reason, "as_of": as_of, "hyperparameters": named})
        return self._command(f"/v1/models/{_quoted(model)}/retrainings", body)

    def approve(
        self,
        release: str,
        *,
        reason: Optional[str] = None,
        artifact_digest: Optional[str] = None,
        evaluation_digest: Optional[str] = None,
        policy_digest: Optional[str] = None,
    ) -> dict[str, Any]:
        """Approves a release. The digests bind the approval to what was reviewed."""
        body = {
            "reason": reason,
            "artifact_digest": artifact_digest,
            "evaluation_digest": evaluation_digest,
            "policy_digest": policy_digest,
        }
        return self._command(f"/v1/releases/{_quoted(release)}/approve", _without_none(body))

    def reject(self, release: str, *, reason: Optional[str] = None) -> dict[str, Any]:
        """Rejects a release."""
        return self._command(f"/v1/releases/{_quoted(release)}/reject", _without_none({"reason": reason}))

    def wait(
        self,
        id: str,
        *,
        every_s: float = 1.0,
        timeout_s: float = 86_400.0,
        until: Optional[Callable[[dict[str, Any]], bool]] = None,
    ) -> dict[str, Any]:
        """Waits for a release (``rel_…``), retraining (``retrain/…``) or recorded command (``cmd_…``) to end, and returns it.

        ``until`` ends the wait early when it returns true, for example at a stage.
        """
        path = _path_of(id)
        end = time.monotonic() + timeout_s
        while True:
            state: dict[str, Any] = self.call("GET", path)
            if _has_ended(id, state) or (until is not None and until(state)):
                return state
            if time.monotonic() + every_s > end:
                raise TenureError("timeout", f"{id} has not ended within {timeout_s:g} s")
            time.sleep(every_s)

    def call(
        self,
        method: str,
        path: str,
        body: Optional[Any] = None,
        *,
        headers: Optional[Mapping[str, str]] = None,
    ) -> Any:
        """Calls any other route of the API, with the same retries and idempotency keys."""
        is_command = method != "GET" and _PREDICTION_PATH.search(path) is None
        sent = _command_headers() if is_command else {}
        sent.update((name.lower(), value) for name, value in (headers or {}).items())
        if body is None:
            return self._call(method, path, None, sent)
        data = json.dumps(body, allow_nan=False, default=plain).encode()
        return self._call(method, path, lambda: contextlib.nullcontext(data), {"content-type": "application/json", **sent})

    def _call(self, method: str, path: str, body: Optional["_Body"], headers: Mapping[str, str]) -> Any:
        # As a browser does: http.client refuses spaces and other letters.
        target = quote(path, safe="!#$%&'()*+,/:;=?@[]~")
        repeats = 0
        while True:
            try:
                return self._attempt(method, target, body, headers)
            except _Refused as refused:
                error, wait_s = refused.error, refused.wait_s
            if not error.retryable or repeats >= self._max_retries or wait_s > _MAX_PAUSE_S:
                raise error
            backoff_s = _FIRST_PAUSE_S * 2**repeats * (0.5 + random.random())
            time.sleep(min(_MAX_PAUSE_S, max(wait_s, backoff_s)))
            repeats += 1

    def _command(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.call("POST", path, body)
        return found

    def _attempt(self, method: str, path: str, body: Optional["_Body"], headers: Mapping[str, str]) -> Any:
        sent = {"accept": "application/json", **headers}
        if self._key is not None:
            sent["authorization"] = f"Bearer {self._key}"
        connection, used = self._connections.take()
        try:
            try:
                answer, text = self._exchange(connection, method, path, body, sent)
            except (ConnectionError, http.client.BadStatusLine):
                # The server closes idle connections. Only a failure of a used connection is retried at once.
                connection.close()
                if not used:
                    raise
                answer, text = self._exchange(connection, method, path, body, sent)
        except (TimeoutError, socket.timeout) as error:
            connection.close()
            detail = f"{method} {path} had no complete response within {self._timeout_s:g} s"
            raise _Refused(TenureError("timeout", detail, retryable=True)) from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _Refused(
                TenureError("unreachable", f"{self._url} is not reachable: {error}", retryable=True)
            ) from error
        if answer.will_close:
            connection.close()
        else:
            self._connections.give(connection)
        if 200 <= answer.status < 300:
            return _result_of(answer, text)
        raise _Refused(_problem_of(answer, text), _seconds_of(answer.headers.get("retry-after")))

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Optional["_Body"],
        headers: Mapping[str, str],
    ) -> tuple[http.client.HTTPResponse, bytes]:
        with contextlib.nullcontext() if body is None else body() as data:
            connection.request(method, self._connections.prefix + path, data, dict(headers))
        answer = connection.getresponse()
        return answer, answer.read()


def _awaited(method: Callable[Concatenate[Client, P], T]) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    """A method of the client that runs in a thread."""

    @wraps(method)
    async def call(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, partial(method, self._client, *args, **kwargs))

    return call


class AsyncClient:
    """Calls the API from asyncio. Each call runs in a thread, so that it does not block the event loop."""

    def __init__(
        self,
        url: str,
        key: Optional[str] = None,
        *,
        timeout_s: float = 10.0,
        max_retries: int = 3,
    ) -> None:
        self._client = Client(url, key, timeout_s=timeout_s, max_retries=max_retries)

    def __repr__(self) -> str:
        return f"Async{self._client!r}"

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._client.close()

    def close(self) -> None:
        """Closes the idle connections."""
        self._client.close()

    predict = _awaited(Client.predict)
    explain = _awaited(Client.explain)
    infer = _awaited(Client.infer)
    outcomes = _awaited(Client.outcomes)
    upload_outcomes = _awaited(Client.upload_outcomes)
    events = _awaited(Client.events)
    predictions = _awaited(Client.predictions)
    retrain = _awaited(Client.retrain)
    approve = _awaited(Client.approve)
    reject = _awaited(Client.reject)
    call = _awaited(Client.call)

    async def wait(
        self,
        id: str,
        *,
        every_s: float = 1.0,
        timeout_s: float = 86_400.0,
        until: Optional[Callable[[dict[str, Any]], bool]] = None,
    ) -> dict[str, Any]:
        """Waits as :meth:`Client.wait`. Cancelling the task ends the wait."""
        path = _path_of(id)
        end = time.monotonic() + timeout_s
        while True:
            state: dict[str, Any] = await self.call("GET", path)
            if _has_ended(id, state) or (until is not None and until(state)):
                return state
            if time.monotonic() + every_s > end:
                raise TenureError("timeout", f"{id} has not ended within {timeout_s:g} s")
            await asyncio.sleep(every_s)


# Opens the body for each attempt.
_Body = Callable[[], ContextManager[Union[bytes, BinaryIO]]]


class _Refused(Exception):
    """A failed attempt, and the delay that the server requests before a retry."""

    def __init__(self, error: TenureError, wait_s: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.wait_s = wait_s


def _result_of(answer: http.client.HTTPResponse, text: bytes) -> Any:
    """Parses a response. A proxy may answer in the place of the API, and not in JSON."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        detail = f"status {answer.status} without JSON"
        raise _Refused(TenureError("unknown", detail, status=answer.status)) from None


def _seconds_of(retry_after: Optional[str]) -> float:
    """The delay that the server requests. A proxy may send a date, for which the own pause is kept."""
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else 0.0


def _problem_of(answer: http.client.HTTPResponse, text: bytes) -> TenureError:
    """Builds the error of a response, for every protocol of the API."""
    try:
        found = json.loads(text)
    except ValueError:
        found = {}
    sent: dict[str, Any] = found if isinstance(found, dict) else {}
    detail = sent.get("detail") or sent.get("error") or sent.get("message") or f"status {answer.status}"
    return TenureError(
        str(sent.get("code", "unknown")),
        str(detail),
        retryable=sent.get("retryable", answer.status in (429, 503)) is True,
        status=answer.status,
        remedy=sent.get("remedy"),
        request_id=answer.headers.get("x-request-id"),
    )


def _prediction_headers(
    deadline_ms: Optional[float], idempotency_key: Optional[str], request_id: Optional[str]
) -> dict[str, str]:
    given = {
        "x-deadline-ms": None if deadline_ms is None else f"{deadline_ms:g}",
        "idempotency-key": idempotency_key,
        "x-request-id": request_id,
    }
    return {name: value for name, value in given.items() if value is not None}


def _path_of(id: str) -> str:
    if id.startswith("rel_"):
        return f"/v1/releases/{_quoted(id)}?limit=1"
    if id.startswith("retrain/"):
        return f"/v1/retrainings/{_quoted(id)}"
    if id.startswith("cmd_"):
        return f"/v1/commands/{_quoted(id)}"
    raise ValueError(f"{id} is not a release (rel_…), retraining (retrain/…) or command (cmd_…)")


def _has_ended(id: str, state: Mapping[str, Any]) -> bool:
    if id.startswith("cmd_"):
        return state.get("state") != "waiting"
    return state.get("outcome") is not None


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _time_text(value: Union[str, date, None]) -> Optional[str]:
    """ISO 8601. A time without a zone is one of this machine, as Python means it."""
    # pandas converts a time without a zone to none.
    value = value.to_pydatetime(warn=False) if hasattr(value, "to_pydatetime") else value
    if isinstance(value, datetime):
        return (value.astimezone() if value.tzinfo is None else value).isoformat()
    return value.isoformat() if isinstance(value, date) else value


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _command_headers() -> dict[str, str]:
    return {"idempotency-key": str(uuid.uuid4())}


def _joined(answers: Sequence[Predictions]) -> Predictions:
    """The answers of several requests. During a release they may differ in version and arm, so each prediction has its own."""
    predictions = [
        cast(Prediction, {**each, "version": answer["version"], "arm": answer["arm"]})
        for answer in answers
        for each in answer["predictions"]
    ]
    joined: Predictions = {**answers[0], "predictions": predictions}
    unknown: dict[str, set[str]] = {}
    for answer in answers:
        for name, values in answer.get("unknown_categories", {}).items():
            unknown.setdefault(name, set()).update(values)
    if unknown:
        joined["unknown_categories"] = {name: sorted(values) for name, values in unknown.items()}
    starts = itertools.accumulate((len(answer["predictions"]) for answer in answers), initial=0)
    defaulted = [
        {**mark, "instance": start + mark["instance"]}
        for start, answer in zip(starts, answers)
        for mark in answer.get("defaulted", [])
    ]
    if defaulted:
        joined["defaulted"] = defaulted
    if any(answer.get("stale") for answer in answers):
        joined["stale"] = True
    if any(answer.get("fallback") for answer in answers):
        joined["fallback"] = True
    return joined
