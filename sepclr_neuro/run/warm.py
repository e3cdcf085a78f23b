"""Jobs of one run on one machine share a process that has imported what they need, and fork from it.

Importing torch and Lightning takes seconds, as long as many a job computes. A run on one machine starts `serve`;
`sepclr-neuro` then hands its command over instead of importing anything itself. Before the first job of a stage the
server imports the stage's modules; each job is a fork of the server, with its caller's environment, folder and output.

Free of all but the standard library, since it is what every command loads first.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["hand_over", "serve", "start_server"]

ADDRESS = "SEPCLR_NEURO_SERVER"
_PR_SET_PDEATHSIG = 1  # of Linux's prctl.h

# What the functions of a stage import; what is not named here a job imports itself.
MODULES = {
    "dataset": ("sepclr_neuro.data.simulation",),
    "cohort": ("sepclr_neuro.data.cohort",),
    "volumes": ("sepclr_neuro.data.volumes", "torch"),
    "splits": ("sepclr_neuro.data.splits", "sklearn.model_selection"),
    "standardise": ("sepclr_neuro.data.standardisation",),
    "train": ("sepclr_neuro.learning.training",),
    "embed": ("sepclr_neuro.learning.embedding",),
    "probe": ("sepclr_neuro.probing.probes",),
    "tables": ("sepclr_neuro.probing.tables",),
    "vbm": ("sepclr_neuro.maps.vbm",),
    "patterns": ("sepclr_neuro.maps.patterns",),
    "subtypes": ("sepclr_neuro.maps.subtypes",),
    "leakage": ("sepclr_neuro.probing.site_leakage",),
    "saliency": ("sepclr_neuro.maps.saliency",),
    "report": ("sepclr_neuro.report",),
    "digits": ("sepclr_neuro.validation.digits.benchmark",),
    "separation-cohort": ("sepclr_neuro.validation.separation.benchmark",),
    "separation": ("sepclr_neuro.validation.separation.benchmark",),
}

# What a stage's jobs would all load again.
PREPARATIONS = dict.fromkeys(("vbm", "patterns", "saliency"), ("sepclr_neuro.maps.mosaics", "prepare"))


def start_server() -> None:
    """Starts a server that ends with this process, and announces it to the processes that this one starts.

    On Linux alone: elsewhere forking is not safe once libraries are loaded, and each job imports by itself.
    """
    if sys.platform != "linux" or not hasattr(os, "pidfd_open") or ADDRESS in os.environ:
        return
    address = str(Path(tempfile.mkdtemp(prefix="sepclr-neuro-")) / "server")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(128)
        # It sees by the end of its standard input that this process has ended. In a session of its own, since Ctrl-C
        # reaches a job through its command. One thread until a job says how many: more would not survive the fork.
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", "sepclr_neuro.run.warm", str(listener.fileno()), address],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        )
    os.environ[ADDRESS] = address
    _started.append(server)


_started: list[subprocess.Popen[bytes]] = []  # kept, since what is collected closes its pipes


# --- the command's side ------------------------------------------------------------------------------------------


def hand_over() -> int | None:
    """Has the server do what this process was called for.

    Signals that ask this process to end are passed on, and a job whose command was killed is killed too.

    Returns:
        the job's exit status, or None without a server, where this process is to do it itself.
    """
    address = os.environ.get(ADDRESS)
    if address is None or _command(sys.argv) not in MODULES:
        return None
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(address)
        except OSError:  # a server that has ended
            return None
        request = {"arguments": sys.argv, "environment": dict(os.environ), "folder": str(Path.cwd())}
        socket.send_fds(connection, [b"\0"], [0, 1, 2])
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("r") as answers:
            job = answers.readline()
            if job:
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, lambda number, _: os.kill(int(job), number))
            status = answers.readline()
    if not status:
        print("sepclr-neuro: the process that jobs share was killed; run the same command again", file=sys.stderr)
        return 1
    return int(status)


def _command(arguments: Sequence[str]) -> str:
    """The name of the command: options may go before it, none of which takes a value."""
    return next((each for each in arguments[1:] if not each.startswith("-")), "")


# --- the server's side -------------------------------------------------------------------------------------------


def serve(listener: socket.socket) -> None:
    """Forks a job for each command that asks, until the process that started this one has ended.

    Returns in every job, as the process that is to do it.
    """
    events = selectors.DefaultSelector()
    running: dict[socket.socket, tuple[int, int]] = {}  # the job of each command: its id and a handle of it
    events.register(sys.stdin.fileno(), selectors.EVENT_READ)
    events.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in events.select():
            source = key.fileobj
            if source is listener:
                connection, _ = listener.accept()
                received = _receive(connection)
                if received is None:  # killed before it had asked
                    connection.close()
                    continue
                request, output = received
                _import(_command(request["arguments"]))
                job = os.fork()
                if job == 0:
                    for handle in [connection.fileno(), listener.fileno(), *_handles(running)]:
                        os.close(handle)
                    events.close()
                    return _become(request, output)
                for handle in output:
                    os.close(handle)
                connection.setblocking(False)
                with contextlib.suppress(OSError):
                    connection.send(f"{job}\n".encode())
                running[connection] = (job, os.pidfd_open(job))
                events.register(connection, selectors.EVENT_READ)
                events.register(running[connection][1], selectors.EVENT_READ, connection)
            elif source == sys.stdin.fileno():  # no process is left that could ask
                raise SystemExit
            elif key.data is not None:
                _end(events, key.data, *running.pop(key.data))
            elif source in running:  # a command says nothing; this is its end, it was killed
                events.unregister(source)
                os.kill(running[source][0], signal.SIGKILL)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    _, output, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("r") as lines:
        request = lines.readline()
    if request.endswith("\n"):
        return json.loads(request), output
    for handle in output:
        os.close(handle)
    return None


def _import(command: str) -> None:
    for module in ("sepclr_neuro.run.cli", "sepclr_neuro.config.model", "threadpoolctl", *MODULES[command]):
        # What is wrong with it the job says, which imports it again.
        with contextlib.suppress(Exception):
            importlib.import_module(module)
    with contextlib.suppress(Exception):  # the checksum of the code that is loaded, and versions: once for all jobs
        importlib.import_module("sepclr_neuro.core.provenance").made_by()
    if command in PREPARATIONS:
        module, function = PREPARATIONS.pop(command)
        with contextlib.suppress(Exception):
            getattr(importlib.import_module(module), function)()
    # What is imported stays: no job's garbage collection is to look at it, which would copy its pages.
    gc.collect()
    gc.freeze()


def _handles(running: dict[socket.socket, tuple[int, int]]) -> Iterator[int]:
    for connection, (_, handle) in running.items():
        yield from (connection.fileno(), handle)


def _end(events: selectors.BaseSelector, connection: socket.socket, job: int, handle: int) -> None:
    """Sends a command its job's exit status, as a shell counts it."""
    _, status = os.waitpid(job, 0)
    code = os.waitstatus_to_exitcode(status)
    events.unregister(handle)
    os.close(handle)
    if connection in events.get_map():
        events.unregister(connection)
    with contextlib.suppress(OSError):
        connection.send(f"{code if code >= 0 else 128 - code}\n".encode())
    connection.close()


def _become(request: dict[str, Any], output: list[int]) -> None:
    """Makes this fork of the server the process that a command would have been."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # it ends with the server, and saves what it has
    for number, handle in enumerate(output):
        os.dup2(handle, number)
        os.close(handle)
    sys.argv = request["arguments"]
    os.environ.clear()
    os.environ.update(request["environment"])
    del os.environ[ADDRESS]  # it is not handed over again
    os.chdir(request["folder"])
    threads = os.environ.get("OMP_NUM_THREADS", "")
    # Libraries look at it when they are loaded, which was in the server.
    if threads.isdecimal() and int(threads) > 0:
        from threadpoolctl import threadpool_limits

        threadpool_limits(int(threads))


def _do() -> None:
    """Does a job, and ends without taking apart what was imported, which takes as long as many a job."""
    from sepclr_neuro.run.cli import main

    status = 1  # of an unforeseen error, after its traceback

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    # The last of all is the one that was registered first, when nothing was imported.
    _at_the_end.append(leave)
    try:
        main()
        status = 0
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        raise


_at_the_end: list[Callable[[], None]] = []


def _run_server() -> None:
    atexit.register(lambda: [leave() for leave in _at_the_end])
    address, server = Path(sys.argv[2]), os.getpid()
    try:
        serve(socket.socket(fileno=int(sys.argv[1])))
    finally:
        if os.getpid() == server:
            address.unlink(missing_ok=True)
            address.parent.rmdir()
    _do()


if __name__ == "__main__":
    _run_server()
