"""What a job leaves for those who follow a run: a record while it is alive, a last line in its log when it fails.

The record is a file that the job writes anew every few seconds and removes at its end. It is read on other machines
too. Nobody can write for a job that was killed together with its shell: its record grows old.
"""

from __future__ import annotations

import json
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.progress import latest
from sepclr_neuro.core.storage import replace_text

__all__ = ["ENDED", "alive"]

ENDED = "sepclr-neuro: the job ended with status"
"""The last line of a failed job's log, before the status: the shell of the job writes it, whatever ended the job."""

BEAT_SECONDS = 5.0


@contextmanager
def alive(results: Results, stage: str, *parts: str) -> Iterator[None]:
    """Keeps the record of a job: host, process, since when, and how far it is; the job itself waits for nothing.

    Where that cannot be written, in a folder that no stage has made yet, say, the job is as it is without.
    """
    if not results.root.is_dir():
        yield
        return
    path, end = results.alive(stage, *parts).absolute(), threading.Event()
    started = datetime.now().astimezone().isoformat(" ", "seconds")
    who = {"host": platform.node(), "process": os.getpid(), "started": started}

    def beat() -> None:
        while True:
            with suppress(OSError):
                replace_text(path, json.dumps(who | latest()) + "\n")
            if end.wait(BEAT_SECONDS):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        with suppress(OSError):
            path.unlink(missing_ok=True)
