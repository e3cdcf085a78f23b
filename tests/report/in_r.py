"""Tables as R reads them, as docs/outputs.md says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.core.storage import read_tsv

TEXT = ("scan_id", "participant_id", "session_id", "unit", "sex")
"""Columns that R would take for numbers or, a column of women alone, for FALSE."""

# Base R has no JSON; texts are quoted by encodeString, which JSON reads where they have no odd characters.
_PROGRAM = """
quoted <- function(texts) paste0("[", paste(encodeString(texts, quote='"'), collapse=", "), "]")
for (path in commandArgs(trailingOnly=TRUE)) {
  table <- read.delim(path, na.strings="n/a", encoding="UTF-8", check.names=FALSE, colClasses=c(TEXT))
  first <- vapply(table, function(column) if (is.numeric(column)) sprintf("%.12g", sum(column, na.rm=TRUE)) else
    paste(column[!is.na(column)], collapse="|"), "")
  cat(sprintf('{"rows": %d, "names": %s, "types": %s, "missing": %s, "content": %s}\\n', nrow(table),
    quoted(names(table)), quoted(vapply(table, function(column) class(column)[1], "")),
    quoted(as.character(colSums(is.na(table)))), quoted(first)))
}
"""


def in_r(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Of each table what R makes of it: ``rows names types missing content``; skips where R is absent."""
    program = shutil.which("Rscript")
    if program is None:
        pytest.skip("R (r-base-core) is not installed")
    text = ", ".join(f'{name}="character"' for name in TEXT)
    command = [program, "--vanilla", "-e", _PROGRAM.replace("c(TEXT)", f"c({text})"), *map(str, paths)]
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=120)
    return [json.loads(line) for line in ran.stdout.splitlines()]


def unlike_in_r(paths: Sequence[Path]) -> list[str]:
    """What of these tables is not in R as in pandas: shape, names, types, missing values, texts, sums of numbers."""
    wrong = []
    for path, found in zip(paths, in_r(paths), strict=True):
        table = read_tsv(path, text=TEXT)
        if (found["rows"], found["names"]) != (len(table), list(map(str, table))):
            wrong.append(f"{path}: {found['rows']} rows of {found['names']}")
            continue
        facts = zip(table.items(), found["types"], found["missing"], found["content"], strict=True)
        for (name, column), kind, missing, content in facts:
            known = column.dropna()
            if known.empty or not pd.api.types.is_numeric_dtype(column):
                right = kind in ("character", "logical") and content == "|".join(map(str, known))
                right &= known.empty or kind == "character"
            else:
                right = kind in ("integer", "numeric") and np.isclose(float(content), known.sum(), rtol=1e-9, atol=1e-9)
            if not right or int(missing) != column.isna().sum():
                wrong.append(f"{path}, {name}: {kind}, {missing} missing, {content[:80]}")
    return wrong
