#!/usr/bin/env python3
"""Prints the lowest version of every package that pyproject.toml takes, as a constraints file for pip."""

import re
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

LOWEST = re.compile(r"([\w-]+)(?:\[[\w,-]+\])?>=([\d.]+)")


def minima(project: dict[str, Any]) -> list[str]:
    """`name==version` of all requirements but the project's own extras; refuses one without a lowest version."""
    lowest = set()
    for text in chain(project["dependencies"], *project["optional-dependencies"].values()):
        if match := LOWEST.fullmatch(text):
            lowest.add(f"{match[1]}=={match[2]}")
        elif not text.startswith(f"{project['name']}["):
            raise SystemExit(f"pyproject.toml must have NAME>=VERSION everywhere, got {text!r}")
    return sorted(lowest)


if __name__ == "__main__":
    print(*minima(tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]), sep="\n")
