"""Makes every call of calls.json with the client that openapi-python-client has generated, and prints the statuses."""

import importlib
import io
import json
import pathlib
import pkgutil
import sys
import types
import typing

folder, url, key = sys.argv[1:]
sys.path.insert(0, folder)

import tenure_api.api.default as operations  # noqa: E402
from tenure_api.client import AuthenticatedClient  # noqa: E402
from tenure_api.types import File  # noqa: E402

client = AuthenticatedClient(base_url=url, token=key, raise_on_unexpected_status=True)


def body_of(function, call):
    """The body as the type that the function takes: a generated model, or a file."""
    hint = typing.get_type_hints(function)["body"]
    kinds = typing.get_args(hint) if isinstance(hint, (types.UnionType, typing._UnionGenericAlias)) else (hint,)
    if call["media"] != "application/json":
        return File(payload=io.BytesIO(call["body"].encode()), mime_type=call["media"])
    for kind in kinds:
        if not hasattr(kind, "from_dict") or kind is None:
            continue
        try:
            made = kind.from_dict(call["body"])
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
        # Times are written in another form.
        if made.to_dict().keys() >= call["body"].keys():
            return made
    raise SystemExit(f"{call['id']}: no generated model takes its body: {kinds}")


modules = {each.name for each in pkgutil.iter_modules(operations.__path__)}
statuses = {}
issues = []
for call in json.loads((pathlib.Path(folder) / "calls.json").read_text()):
    module = importlib.import_module(f"tenure_api.api.default.{call['id']}")
    modules.discard(call["id"])
    named = {**call["parameters"], **call["query"]}
    if "body" in call:
        named["body"] = body_of(module.sync_detailed, call)
    try:
        answer = module.sync_detailed(client=client, **named)
        # As on a busy machine; clients retry it.
        while answer.status_code == 503 and b'"temporal_unavailable"' in answer.content:
            answer = module.sync_detailed(client=client, **named)
    except Exception as error:
        issues.append(f"{call['id']}: {error!r}")
        continue
    statuses[call["id"]] = int(answer.status_code)
    if answer.parsed is None and answer.content:
        issues.append(f"{call['id']}: the answer {answer.status_code} has no type")
issues += [f"{name}: no call" for name in modules]
if issues:
    raise SystemExit("\n".join(issues))
print(json.dumps(statuses))
