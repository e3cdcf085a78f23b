"""Looks at a folder and writes the configuration that is proposed for it."""

from __future__ import annotations

from pathlib import Path

from sepclr_neuro.config.model import OPEN
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.storage import write_text
from sepclr_neuro.core.words import counted
from sepclr_neuro.data.proposing import VOLUME_ENDINGS, list_files
from sepclr_neuro.run.init.entries import Tree, is_open, setting, shown, walk, yaml_of
from sepclr_neuro.run.init.propose import Proposal, propose
from sepclr_neuro.run.init.tables import TABLE_ENDINGS, read_tables

__all__ = ["write_configuration"]

# Folders that hold neither tables of participants nor grey matter, often many files.
_SKIPPED = frozenset(
    [
        "func",
        "dwi",
        "fmap",
        "perf",
        "eeg",
        "ieeg",
        "meg",
        "motion",
        "nirs",
        "surf",
        "figures",
        "log",
        "logs",
        "code",
        "work",
        "scratch",
    ]
)
_PATIENCE = 6  # times the 5 s and 100,000 entries of the look that `check` takes


def write_configuration(folder: Path, output: Path, *, force: bool = False) -> str:
    """Writes a configuration for the data in ``folder``, whose files are read and never changed.

    Returns:
        what was found, what was guessed, and what is left to choose.

    Raises:
        InputError: if there is no such folder, it holds neither a table of participants nor volumes, or ``output``
            exists and ``force`` does not say to replace it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder; give the folder of your tables and volumes")
    if output.suffix not in (".yaml", ".yml"):
        raise InputError(f"{output}: a configuration is a .yaml file; give `--output` such a name")
    if output.exists() and not force:
        raise InputError(f"{output}: exists; give another name with `--output`, or replace it with `--force`")
    listing = list_files(folder, endings=(*VOLUME_ENDINGS, *TABLE_ENDINGS), skipped=_SKIPPED, patience=_PATIENCE)
    volumes = [path for path in listing.files if path.lower().endswith(VOLUME_ENDINGS)]
    tables, problems = read_tables(folder, [path for path in listing.files if path.lower().endswith(TABLE_ENDINGS)])
    if not listing.whole:
        problems.append(
            "not all of the folder was looked at, since it holds too many files; if something is missing, name the "
            "folder in it that holds your volumes and tables"
        )
    problems += [f"{folder / closed}: may not be opened" for closed in listing.closed]
    if not volumes and not tables:
        raise InputError(_nothing(folder, problems))
    proposal = propose(folder, volumes, tables)
    write_text(output, _text(proposal.tree, folder, output))
    return _summary(proposal, problems, output)


def _nothing(folder: Path, problems: list[str]) -> str:
    """Why there is nothing to write a configuration from."""
    seen = f" What was found there: {'; '.join(problems)}." if problems else ""
    return shown(
        f"{folder.resolve()}: neither a table of participants (.tsv or .csv, with a column such as participant_id) nor "
        "volumes (.nii, .nii.gz or .npy) in this folder and its subfolders (those called func, dwi, logs, work and the "
        f"like are not searched).{seen} No configuration was written; run `init` again with the folder that holds your "
        "tables and volumes"
    )


def _text(tree: Tree, folder: Path, output: Path) -> str:
    head = [
        f"# Made by `sepclr-neuro init {shown(str(folder))}`. The comment above a value says what it was made from.",
        f"# {OPEN} is for you to replace: `sepclr-neuro check {shown(str(output))}` names each that is left.",
        "# Relative paths start from the folder in which you run. `sepclr-neuro schema` lists all settings.",
    ]
    sections = ["\n".join(yaml_of({key: entry})) for key, entry in tree.items()]
    return "\n".join(head) + "\n\n" + "\n\n".join(sections) + "\n"


def _summary(proposal: Proposal, problems: list[str], output: Path) -> str:
    entries = list(walk(proposal.tree))
    chosen = [f"{path}: {entry.why}" for path, entry in entries if is_open(entry)]
    guessed = [
        f"{setting(path, entry.value)[0]} ({entry.why})"
        for path, entry in entries
        if entry.guessed and not is_open(entry)
    ]
    lines: list[str] = []
    for title, said in (
        ("Found:", proposal.found),
        ("Guessed; see that it is right:", guessed),
        (f"Open; replace {OPEN} in the file:", chosen),
        ("Not used, or in need of attention:", [*proposal.remarks, *problems]),
    ):
        if said:
            lines += [title, *(f"  - {line}" for line in said), ""]
    todo = f"{counted(len(chosen), 'choice')} to make in it, then" if chosen else "next"
    return "\n".join(map(shown, [*lines, f"{output} is written; {todo}: sepclr-neuro check {output}"]))
