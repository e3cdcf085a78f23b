"""How one pattern of volumes differs from another, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sepclr_neuro.data.matching import Row
from sepclr_neuro.data.patterns import Field, Pattern

__all__ = ["differences", "kind_of", "meaning_of"]

# What CAT12 and SPM put in front of a name, or others at its end.
_KIND = re.compile(r"(?:^|_)((?:s\d*)?(?:m0?w[pc][1-6]|w?[pc][0-6]|r[pc][1-6]|wm))(?=[_.{*]|sub-|$)")

_MEANINGS = (
    (r"mw[pc]1", "modulated grey matter"),
    (r"(m0?)?w?[pc]2", "white matter"),
    (r"(m0?)?w?[pc]3", "cerebrospinal fluid"),
    (r"m0w[pc]1", "grey matter, modulated for the non-linear part alone"),
    (r"w[pc]1", "grey matter that is not modulated"),
    (r"r?[pc]1", "grey matter in the participant's own space"),
    (r"wm", "the whole T1 image"),
)


def kind_of(path: str) -> str:
    """``mwp1``, say, in a file's name, at its beginning or its end."""
    found = _KIND.search(path.rpartition("/")[2])
    return found[1] if found else ""


def meaning_of(kind: str) -> str:
    kind = re.sub(r"^s\d*(?=[mwpcr])", "", kind)
    return next((meaning for form, meaning in _MEANINGS if re.fullmatch(form, kind)), "")


def differences(given: Pattern, fits: Pattern, row: Row) -> list[str]:
    """Differences between two patterns, in words; ``row`` for an example."""
    one, other = str(given), str(fits)
    found = [*_of_ids(given, fits, row)]
    kinds = [kind_of(text) for text in (one, other)]
    if kinds[0] != kinds[1] and kinds[1]:
        meaning = f" ({meaning_of(kinds[1])})" if meaning_of(kinds[1]) else ""
        found.append(f"the files are {kinds[1]}{meaning}{f', not {kinds[0]}' if kinds[0] else ''}")
    ends = [re.search(r"\.(nii\*|nii\.gz|nii|npy)$", text, re.IGNORECASE) for text in (one, other)]
    if ends[1] and (ends[0] is None or ends[0][0].lower() != ends[1][0].lower()):
        found.append(f"the files end in {ends[1][0]}")
    sessions = [set(re.findall(r"ses-[^_/.]*", text)) for text in (one, other)]
    if sessions[0] != sessions[1]:
        names = " and ".join(sorted(sessions[1]))
        found.append(f"the files are of {names}" if names else "the files have no session in their names")
    if not found and one.lower() == other.lower():
        return ["Capital letters differ"]
    folders = [text.rpartition("/")[0] for text in (one, other)]
    plain = [re.sub(r"\{([^:}]*)[^}]*\}|ses-[^_/.]*|sub-", r"\1", folder).lower() for folder in folders]
    if plain[0].strip("/") != plain[1].strip("/"):
        found.append(f"the files are in {folders[1]}/" if folders[1] else "the files lie in no folder of their own")
    found = found or ["the files have other names"]
    return [found[0][0].upper() + found[0][1:], *found[1:]]


def _of_ids(given: Pattern, fits: Pattern, row: Row) -> Iterator[str]:
    """How ids are written in the files and in the table."""
    written = {part.column: part for part in given.parts if isinstance(part, Field)}
    seen = set()
    for part in fits.parts:
        if not isinstance(part, Field) or part == written.get(part.column, Field(part.column)) or part in seen:
            continue
        seen.add(part)
        value = str(row[part.column])
        both = f"{value} in the table, {part.of(value)} in the files"
        if part.form == "label":
            yield f"the files' names lack the `{value[:4]}` of the ids"
        elif part.form[:1] == "0":
            yield f"leading zeros differ ({both}; Excel takes them away)"
        elif part.form:
            yield f"capital letters differ ({both})"
    if "sub-{" in str(fits) and "sub-{" not in str(given):
        yield "the files' names have a `sub-` that the ids lack"
