"""Prints every skipped test of a JUnit file and fails if one is not named in the list of allowed skips."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def main(junit: Path, allowed_file: Path) -> int:
    lines = allowed_file.read_text(encoding="utf-8").splitlines()
    allowed = {line.split("#")[0].strip() for line in lines}
    unexpected = 0
    for case in ElementTree.parse(junit).iter("testcase"):  # noqa: S314 (pytest wrote it)
        skipped = case.find("skipped")
        if skipped is None:
            continue
        name = f"{case.get('classname')}::{case.get('name')}"
        known = name.split("[")[0] in allowed
        unexpected += not known
        print(f"skipped{'' if known else ', NOT ALLOWED'}: {name}: {skipped.get('message')}")
    print(f"{unexpected} skips that {allowed_file} does not name")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
