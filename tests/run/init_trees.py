"""Folders as programs and people leave them, with small volumes, and answers to what `init` leaves open."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from typer.testing import CliRunner

from sepclr_neuro.config.model import Config, load_config
from sepclr_neuro.run import cli
from sepclr_neuro.run.check import check
from tests.data.own_tables import table
from tests.data.small_volumes import save_small

PEOPLE = 12
IDS = [f"sub-{number:02d}" for number in range(1, PEOPLE + 1)]


def people(
    path: Path, columns: Mapping[str, Sequence[str]] | None = None, ids: Sequence[str] = IDS, separator: str = "\t"
) -> Path:
    """A table of these people, controls and patients in turn; ``columns`` replaces columns or adds some."""
    content = {
        "participant_id": ids,
        "diagnosis": ["schizophrenia" if number % 2 else "control" for number in range(len(ids))],
        "age": [str(20 + number) for number in range(len(ids))],
        "sex": ["F" if number % 4 < 2 else "M" for number in range(len(ids))],
        "site": ["prague" if number < len(ids) / 2 else "brno" for number in range(len(ids))],
    } | dict(columns or {})
    content = {name: cells for name, cells in content.items() if cells}
    rows = zip(*content.values(), strict=True)
    return table(path, separator.join(content), *(separator.join(row) for row in rows))


def volumes(folder: Path, template: str, ids: Sequence[str] = IDS) -> None:
    """A small brain each; of arrays the shape of CAT12's."""
    for number, name in enumerate(ids):
        path = folder / template.format(id=name)
        if path.suffix == ".npy":
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.zeros((1, 1, 121, 145, 121), np.uint8))
        else:
            save_small(path, seed=number)


def init(folder: Path, *options: str) -> tuple[Path, str]:
    """The configuration that is written beside the folder, and what is printed."""
    output = folder.parent / "my_cohort.yaml"
    result = CliRunner().invoke(cli.app, ["init", str(folder), "--output", str(output), *options])
    assert result.exit_code == 0, (result.output, result.exception)
    return output, result.output


def answered(path: Path, **answers: str) -> Path:
    """The configuration with choices made: by the last part of a key, what is written there instead."""
    text = path.read_text(encoding="utf-8")
    for key, answer in answers.items():
        text, count = re.subn(rf"(?m)^(\s*'?{re.escape(key)}'?:) .*CHOOSE.*$", rf"\1 {answer}", text)
        assert count, f"{key} is not open"
    path.write_text(text, encoding="utf-8")
    return path


def checked(
    path: Path, read: Literal["voxels", "headers", "none"] = "headers", allowed: str = ""
) -> tuple[Config, str]:
    """The configuration, and what `check` says of it.

    Args:
        read: of the volumes.
        allowed: finds errors that are no matter; there must be no others.
    """
    config = load_config(path)
    found = check(config, volumes=read)
    assert [error for error in found.errors if not allowed or not re.search(allowed, error)] == []
    return config, found.text()
