"""Keys of the configuration that name a column: their marks, and how they come to the cohort's own names.

A key is marked once, by its type, and takes the cohort's name of a column or the tables' from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel

__all__ = ["DEFAULT_COVARIATES", "CohortColumn", "ColumnOf", "TableColumn", "with_columns"]


class ColumnOf(Enum):
    """The place of the column that a key names."""

    COHORT = "cohort"
    TABLES = "tables"


CohortColumn = Annotated[str, ColumnOf.COHORT]
"""A column that the cohort has: a configuration that is read has the cohort's name of it."""

TableColumn = Annotated[str, ColumnOf.TABLES]
"""Any column of a study's tables, looked for when they are read."""

DEFAULT_COVARIATES = ("age", "sex", "site", "tiv")
"""What `adjust_for` means by default, as far as the cohort has these columns."""

_Model = TypeVar("_Model", bound=BaseModel)
Rename = Callable[[str, str], str]
"""From the path of a key and the name that it has to the cohort's name of the column."""


def with_columns(model: _Model, path: str, rename: Rename) -> _Model:
    """A section with each :data:`CohortColumn` renamed by ``rename``; the same section where nothing changes.

    Raises:
        ValueError: if two keys of one mapping turn out to be the same column.
    """
    changed = {}
    for key in model.model_fields_set:  # a default is the cohort's name already, or of no cohort
        field, old = type(model).model_fields[key], getattr(model, key)
        new = _with_columns(old, field.annotation, ColumnOf.COHORT in field.metadata, f"{path}.{key}", rename)
        if new != old:
            changed[key] = new
    return model.model_copy(update=changed) if changed else model


def _with_columns(value: Any, kind: Any, marked: bool, path: str, rename: Rename) -> Any:
    if get_origin(kind) is Annotated:
        kind, *marks = get_args(kind)
        marked = marked or ColumnOf.COHORT in marks
    if isinstance(value, str):
        if get_origin(kind) in (Union, UnionType):
            marked = marked or any(ColumnOf.COHORT in get_args(arm) for arm in get_args(kind))
        return rename(path, value) if marked else value
    if isinstance(value, BaseModel):
        return with_columns(value, path, rename)
    kinds = [arm for arm in get_args(kind) if get_origin(arm) in (list, dict)]
    items = get_args(kinds[0] if kinds else kind)
    if isinstance(value, list) and items:
        return [_with_columns(item, items[0], False, path, rename) for item in value]
    if isinstance(value, Mapping) and len(items) == 2:
        renamed = {}
        for key, item in value.items():
            name = _with_columns(key, items[0], False, f"{path}.{key}", rename)
            if name in renamed:
                raise ValueError(f"{path}.{key}: is the column {name!r}, which is listed already; remove one")
            renamed[name] = _with_columns(item, items[1], False, f"{path}.{key}", rename)
        return renamed
    return value
