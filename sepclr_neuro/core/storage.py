"""How files land on disk: whole or not at all, with checksums. Nothing else in the project opens a file to write."""

from __future__ import annotations

import glob
import hashlib
import io
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepclr_neuro.core.errors import InputError

# Imported where it is needed: those who only look at files need not wait for it.
if TYPE_CHECKING:
    import pandas as pd

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "Record",
    "append_line",
    "as_tsv",
    "atomic_path",
    "exclusive",
    "fingerprint",
    "is_formula",
    "read_bytes",
    "read_json",
    "read_tsv",
    "recorded",
    "replace_text",
    "sha256",
    "write_bytes",
    "write_json",
    "write_text",
    "write_text_if_changed",
    "write_tsv",
]

logger = logging.getLogger(__name__)


@dataclass
class Record:
    """Files that were read and written through this module."""

    read: set[Path] = field(default_factory=set)
    written: set[Path] = field(default_factory=set)


_records: list[Record] = []


@contextmanager
def recorded() -> Iterator[Record]:
    """Records what this process reads and writes meanwhile: a fact, where a list of files would be a promise."""
    record = Record()
    _records.append(record)
    try:
        yield record
    finally:
        _records.remove(record)


@contextmanager
def exclusive(path: str | Path) -> Iterator[None]:
    """Keeps other processes from the same work for the duration, by the system's lock on the file ``path``.

    A killed process frees it. Windows, and file systems without locks, are used without. Not filelock's: version 4.2
    names no holder, raises where ``flock`` gives ENOLCK (NFS), and where it gives ENOSYS (Lustre) leaves a mark that
    outlives a kill and that no other node gets over.

    Raises:
        InputError: if another process is at it.
    """
    if fcntl is None:
        yield
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise InputError(
                f"{path.with_suffix('')}: another process ({file.read() or 'unknown'}) is making it at this moment; "
                "wait for that one, or stop it"
            ) from None
        except OSError:
            break
        # Its former holder may have removed the file between our opening and locking it.
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            break
        file.close()
    try:
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path in the folder of ``path``; on success it is flushed to disk and takes its place.

    The temporary name ends like ``path`` (``.nii.gz`` stays ``.nii.gz``), since many writers choose by it.
    On an error nothing is left behind and an earlier ``path`` stays as it was. What a kill left behind is cleared away
    by the next writer of the same path.

    Raises:
        OSError: what the system refused, with ``path`` as its file name.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".writing-{path.name}-"
    for left in path.parent.glob(f"{glob.escape(prefix)}*"):
        left.unlink(missing_ok=True)
    handle, name = tempfile.mkstemp(prefix=prefix, suffix="".join(path.suffixes[-2:]), dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        # mkstemp makes files that only their owner reads; results are shared in a lab.
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_folder(path.parent)
        logger.debug(f"{path}: written")
        for record in _records:
            record.written.add(path)
    except OSError as error:
        if error.filename is None:
            raise type(error)(error.errno, error.strerror or str(error), str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Makes names last: after a power cut a file that was written earlier must not be missing beside a later one."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes bytes atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_text_if_changed(path: str | Path, text: str) -> bool:
    """Writes only when the content differs, so that the modification time means a change. True if written."""
    path = Path(path)
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    write_text(path, text)
    return True


def write_json(path: str | Path, value: Any) -> None:
    """Writes JSON atomically, keys in the given order, numbers never NaN or infinite."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def append_line(path: str | Path, line: str) -> None:
    """Adds a line to a text file in one write, so that lines of several processes do not mix; its folder must exist."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(handle, f"{line}\n".encode())
    finally:
        os.close(handle)


def replace_text(path: str | Path, text: str) -> None:
    """Replaces a small file that lives for moments: whole for its readers, but neither flushed to disk nor recorded."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".writing-{path.name}-{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def read_bytes(path: str | Path) -> bytes:
    """Reads a file."""
    for record in _records:
        record.read.add(Path(path))
    return Path(path).read_bytes()


def read_json(path: str | Path) -> Any:
    """Reads a JSON file that :func:`write_json` wrote.

    Raises:
        InputError: if it is damaged.
    """
    try:
        return json.loads(read_bytes(path))
    except ValueError as error:
        raise InputError(f"{path}: is damaged ({error}); delete it and run the stage that makes it again") from error


def as_tsv(table: pd.DataFrame) -> str:
    """A table as text, as the project writes them everywhere: tabs, ``n/a`` for missing, no index, six digits."""
    return table.to_csv(sep="\t", index=False, na_rep="n/a", float_format="%.6g", lineterminator="\n")


def write_tsv(path: str | Path, table: pd.DataFrame) -> None:
    """Writes a table in the form of :func:`as_tsv`, UTF-8, atomically.

    Raises:
        InputError: if a text would run as a formula in a spreadsheet.
    """
    texts = table.select_dtypes(["str", "object"])
    for text in [
        *map(str, table.columns),
        *(text for column in texts for text in texts[column] if isinstance(text, str)),
    ]:
        if is_formula(text):
            raise InputError(f"{path}: {text!r} would run as a formula in a spreadsheet; rename it where it comes from")
    write_text(path, as_tsv(table))


def is_formula(text: str) -> bool:
    """Whether a spreadsheet would compute text instead of showing it.

    >>> [is_formula(text) for text in ("=1+1", "@SUM(A1)", "-2+3", "-2.5", "+1e3", "-", "a=1")]
    [True, True, True, False, False, False, False]
    """
    if text[:1] in ("+", "-"):
        return not re.fullmatch(r"[+-]?[\d.]*(e[+-]?\d+)?", text, re.ASCII | re.IGNORECASE)
    return text.startswith(("=", "@", "\t", "\r"))


def read_tsv(path: str | Path, text: tuple[str, ...] = ()) -> pd.DataFrame:
    """Reads a table that :func:`write_tsv` wrote. Columns named in ``text`` stay text, whatever they look like.

    Raises:
        InputError: if it is damaged.
    """
    import pandas as pd

    try:
        return pd.read_csv(
            io.BytesIO(read_bytes(path)),
            sep="\t",
            keep_default_na=False,
            na_values=["n/a"],
            dtype=dict.fromkeys(text, "str"),
            encoding="utf-8",
        )
    except ValueError as error:
        raise InputError(f"{path}: is damaged ({error}); delete it and run the stage that makes it again") from error


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file's content, as hexadecimal text; reads in blocks, so any size fits in memory."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(*parts: Any) -> str:
    """A short name of JSON-like content: equal content, equal name, on any machine.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
