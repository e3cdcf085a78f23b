"""A publication or a program to cite, as a line of text and as an entry of BibTeX."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Literal, NamedTuple

__all__ = ["Reference", "bibtex"]


class Reference(NamedTuple):
    """A publication, or a program.

    Attributes:
        authors: family names and initials: ``"Abid A, Zou J"``; ``et al.`` may end them.
        year: of publication; 0 for a program without one.
        title: without a full stop.
        url: ``https://doi.org/...`` where there is a DOI.
        venue: journal or conference; empty for a preprint or a program.
        volume: of the journal.
        pages: or the number of the article.
        kind: of entry in BibTeX.
    """

    authors: str
    year: int
    title: str
    url: str
    venue: str = ""
    volume: str = ""
    pages: str = ""
    kind: Literal["article", "inproceedings", "misc"] = "misc"

    @property
    def text(self) -> str:
        """As a list of references has it, without the address.

        >>> Reference("Abid A, Zou J", 2019, "A title", "https://doi.org/10.1/x", "Journal", "3", "1–9").text
        'Abid A, Zou J (2019). A title. Journal 3:1–9.'
        """
        year = f" ({self.year})" if self.year else ""
        place = ":".join(part for part in (self.volume, self.pages) if part)
        where = " ".join(part for part in (self.venue, place) if part)
        stop = "" if self.authors.endswith(".") and not year else "."
        return f"{self.authors}{year}{stop} {self.title}.{f' {where}.' if where else ''}"


def bibtex(references: Iterable[Reference]) -> str:
    """Entries of BibTeX in UTF-8, each once; keys are first author, year and, where these are alike, a letter.

    >>> print(bibtex([Reference("de Zou J-P, et al.", 2019, "A & B", "https://arxiv.org/abs/1902.04601")]))
    @misc{dezou2019,
      author = {de Zou, J.-P. and others},
      year = {2019},
      title = {{A \\& B}},
      eprint = {1902.04601},
      archivePrefix = {arXiv},
      url = {https://arxiv.org/abs/1902.04601},
    }
    <BLANKLINE>
    """
    taken: dict[str, int] = {}
    entries = []
    for reference in dict.fromkeys(references):
        key = f"{_letters(_authors(reference)[0].partition(',')[0])}{reference.year or ''}"
        taken[key] = taken.get(key, 0) + 1
        if taken[key] > 1:
            key += chr(ord("a") + taken[key] - 1)
        lines = [f"  {name} = {{{value}}}," for name, value in _fields(reference).items()]
        entries.append("\n".join([f"@{reference.kind}{{{key},", *lines, "}", ""]))
    return "\n".join(entries)


def _authors(reference: Reference) -> list[str]:
    """``Family, Initials`` each; a name without initials, such as that of a group, stays one word."""
    names = []
    for name in reference.authors.split(", "):
        family, _, initials = name.rpartition(" ")
        if name == "et al.":
            names.append("others")
        elif initials.isupper():
            # Points, since BibTeX takes letters without them for one name.
            spaced = re.sub(r"(?<=[A-Z])(?=[A-Z])", ". ", initials).replace("-", ".-")
            names.append(f"{family}, {spaced}.")
        else:
            names.append(f"{{{_escaped(name)}}}")
    return names


def _fields(reference: Reference) -> dict[str, str]:
    venue = {"article": "journal", "inproceedings": "booktitle", "misc": "howpublished"}[reference.kind]
    doi, arxiv = (
        reference.url.removeprefix(place) if reference.url.startswith(place) else ""
        for place in ("https://doi.org/", "https://arxiv.org/abs/")
    )
    fields = {
        "author": " and ".join(_authors(reference)),
        "year": str(reference.year or ""),
        # Doubled, so that no style changes its capitals.
        "title": f"{{{_escaped(reference.title)}}}",
        venue: _escaped(reference.venue),
        "volume": reference.volume,
        "pages": reference.pages.replace("–", "--"),
        "doi": doi,
        "eprint": arxiv,
        "archivePrefix": "arXiv" if arxiv else "",
        "url": reference.url,
    }
    return {name: value for name, value in fields.items() if value}


def _escaped(text: str) -> str:
    return re.sub(r"([&%$#_])", r"\\\1", text)


def _letters(name: str) -> str:
    """For a key: ASCII letters alone."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z]", "", plain.lower())
