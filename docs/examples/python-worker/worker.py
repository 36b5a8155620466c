"""Runs training jobs of Tenure on a separate task queue: one script per job, by the contract of training programs."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, AsyncIterator, Sequence

from temporalio import activity
from temporalio.client import Client, TLSConfig
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from payload_codec import converter_of

SCRIPT_FAULT = 2
KEPT_LINES = 20
LONGEST_LINE = 65_536
HEARTBEAT_SECONDS = 5
# The guard reads a pipe that this process holds open. When this process ends, the guard kills the group.
GUARD = '(cat </dev/fd/{pipe}; kill -KILL -$$) >/dev/null 2>&1 & exec "$@"'


class Trainer:
    """Implements the activity of the task queue."""

    def __init__(self, command: Sequence[str], artifacts: Path | None, package: Path | None) -> None:
        self.command = list(command)
        self.artifacts = artifacts
        self.package = package

    @activity.defn(name="train")
    async def train(self, job: dict[str, Any]) -> None:
        local = self._here(job)
        errors: list[str] = []
        process, guard = await self._start()
        beat = asyncio.create_task(_beat())
        try:
            assert process.stdin and process.stdout and process.stderr
            reading = asyncio.gather(_progress(process.stdout), _keep(process.stderr, errors))
            process.stdin.write(json.dumps(local).encode() + b"\n")
            with contextlib.suppress(ConnectionError):
                await process.stdin.drain()
            process.stdin.close()
            code = await process.wait()
            _kill(process)
            await reading
        finally:
            beat.cancel()
            _kill(process)
            os.close(guard)
            await process.wait()
        if code != 0:
            text = "\n".join([f"{' '.join(self.command)} ended with {code}", *errors])
            # Chosen by its type, as Tenure's own training workers report it.
            fault = code == SCRIPT_FAULT
            raise ApplicationError(text, type="training_failed" if fault else "training_interrupted", non_retryable=fault)

    def _here(self, job: dict[str, Any]) -> dict[str, Any]:
        """Returns the job with the paths of this machine."""
        root = job["artifactRoot"]

        def moved(path: str) -> str:
            return path if self.artifacts is None else str(self.artifacts / os.path.relpath(path, root))

        return {
            **job,
            "snapshot": {**job["snapshot"], "path": moved(job["snapshot"]["path"])},
            "checkpoints": moved(job["checkpoints"]),
            "output": moved(job["output"]),
        }

    async def _start(self) -> tuple[asyncio.subprocess.Process, int]:
        """Starts the script in its own process group, and returns the end of the pipe that keeps it alive."""
        read, write = os.pipe()
        env = {**os.environ, **({} if self.package is None else {"PYTHONPATH": str(self.package)})}
        try:
            process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                GUARD.replace("{pipe}", str(read)),
                "train",
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(read,),
                start_new_session=True,
                env=env,
            )
        finally:
            os.close(read)
        return process, write


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


async def _beat() -> None:
    """Sends heartbeats while the script imports its libraries or trains a long epoch."""
    while True:
        activity.heartbeat()
        await asyncio.sleep(HEARTBEAT_SECONDS)


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yields the lines, each cut at a maximum length, so that a script that writes no line feed neither waits nor fills the memory."""
    line = bytearray()
    while chunk := await stream.read(LONGEST_LINE):
        *ended, rest = chunk.split(b"\n")
        for end in ended:
            line += end[: LONGEST_LINE - len(line)]
            yield bytes(line)
            line.clear()
        line += rest[: LONGEST_LINE - len(line)]
    if line:
        yield bytes(line)


async def _progress(stream: asyncio.StreamReader) -> None:
    async for line in _lines(stream):
        with contextlib.suppress(ValueError):
            activity.heartbeat(json.loads(line))


async def _keep(stream: asyncio.StreamReader, lines: list[str]) -> None:
    async for line in _lines(stream):
        text = line.decode(errors="replace").rstrip()
        print(text, file=sys.stderr)
        lines.append(text[:500])
        del lines[:-KEPT_LINES]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="127.0.0.1:7233")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--queue", required=True)
    parser.add_argument("--artifacts", type=Path)
    parser.add_argument("--package", type=Path)
    parser.add_argument("--tls-ca", type=Path)
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--payload-keys", type=Path)
    parser.add_argument("command", nargs="+", help="the script: -- python train.py")
    given = parser.parse_args()

    def read(path: Path | None) -> bytes | None:
        return None if path is None else path.read_bytes()

    api_key = os.environ.get("TEMPORAL_API_KEY")
    tls = TLSConfig(
        server_root_ca_cert=read(given.tls_ca),
        client_cert=read(given.tls_cert),
        client_private_key=read(given.tls_key),
    )
    client = await Client.connect(
        given.address,
        namespace=given.namespace,
        api_key=api_key,
        data_converter=converter_of(given.payload_keys),
        tls=tls if given.tls_ca or given.tls_cert or api_key else False,
    )
    trainer = Trainer(given.command, given.artifacts, given.package)
    print(f"takes jobs of {given.queue}", flush=True)
    worker = Worker(client, task_queue=given.queue, activities=[trainer.train], max_concurrent_activities=1)
    await worker.run()


if __name__ == "__main__":
    asyncio.run(main())
