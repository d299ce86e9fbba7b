# SPDX-License-Identifier: BSD-3-Clause
"""How large is the code of two commits, and where is it tangled? python bench/house.py OLD NEW counts cpp/ and python/.

A C++ function is counted from where its clang-formatted definition begins to the brace below it.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

NO_FUNCTION = re.compile(r"(template <[^(]*> )?(namespace|struct|class|enum|union|extern)\b|[^(]* = ")


def files(commit: str) -> dict[str, str]:
    git = partial(subprocess.check_output, cwd=Path(__file__).parent, encoding="utf-8")
    names = git(["git", "ls-tree", "-r", "--name-only", "--full-tree", commit, "cpp", "python"]).splitlines()
    return {name: git(["git", "show", f"{commit}:{name}"]) for name in names}


def python_functions(text: str) -> Iterator[tuple[str, int, int]]:
    """Names, lines, and lines without the docstring."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = node.end_lineno - node.lineno + 1  # type: ignore[operator]
            yield node.name, size, size - (ast.get_docstring(node, clean=False) or "").count("\n")


def cpp_functions(text: str) -> Iterator[tuple[str, int, int]]:
    lines, begun, end = text.splitlines(), 0, -1  # where the statement begins, and where the last function ends
    for at, line in enumerate(re.sub(r"\s*//.*", "", line) for line in lines):
        head = " ".join(map(str.strip, lines[begun : at + 1]))
        if at > end and line.endswith("{") and "(" in head and not NO_FUNCTION.match(head):
            brace = lines[begun][: -len(lines[begun].lstrip())] + "}"
            end = next(place for place in range(at, len(lines)) if lines[place].startswith(brace))
            yield head.partition("(")[0].split()[-1], end - begun + 1, end - begun + 1
        if at <= end or not line or line.startswith("#") or line.endswith(("{", "}", ";", ":")):
            begun = at + 1


def at_once(nodes: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when the module is imported."""
    for node in nodes:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            yield node
            for part in ("orelse",) if typing else ("body", "orelse", "finalbody", "handlers"):
                yield from at_once(getattr(node, part, []))


def imported(path: str, text: str, modules: dict[str, str]) -> set[str]:
    """Paths of the modules that one imports."""
    room, wanted = Path(path).relative_to("python").parent.parts, set()
    for node in at_once(ast.parse(text).body):
        if isinstance(node, ast.Import):
            wanted |= {modules.get(each.name, path) for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*(room[: len(room) + 1 - node.level] if node.level else ()), *filter(None, [node.module])])
            wanted |= {modules.get(f"{base}.{each.name}", modules.get(base, path)) for each in node.names}
    return wanted - {path}


def circles(sources: dict[str, str]) -> list[str]:
    """Sets of modules that import each other, directly or in a ring, while they are imported themselves."""
    modules = {path[len("python/") : -3].replace("/", ".").removesuffix(".__init__"): path for path in sources}
    reached = {path: imported(path, text, modules) for path, text in sources.items()}
    for middle, path in [(one, other) for one in reached for other in reached]:
        reached[path] |= reached[middle] if middle in reached[path] else set()
    rings = {frozenset(each for each in reached[path] if path in reached[each]) for path in reached}
    return [", ".join(sorted(ring)) for ring in rings if ring]


def counts(commit: str) -> dict[str, list[str]]:
    texts = files(commit)
    sizes = {path: text.count("\n") for path, text in texts.items()}
    python = {path: text for path, text in texts.items() if path.endswith(".py")}
    functions = [(f"{path}:{name}", *two) for path in python for name, *two in python_functions(texts[path])]
    cpp = (path for path in texts if path.endswith((".cpp", ".hpp")))
    functions += [(f"{path}:{name}", *two) for path in cpp for name, *two in cpp_functions(texts[path])]
    return {
        "lines in cpp/": [""] * sum(size for path, size in sizes.items() if path.startswith("cpp")),
        "lines in python/": [""] * sum(size for path, size in sizes.items() if path.startswith("python")),
        "files above 400 lines": [f"{path} {size}" for path, size in sizes.items() if size > 400],
        "files above 600 lines": [f"{path} {size}" for path, size in sizes.items() if size > 600],
        "functions above 60 lines": [f"{name} {size}" for name, size, _ in functions if size > 60],
        "the same without docstrings": [f"{name} {bare}" for name, _, bare in functions if bare > 60],
        "import circles": circles(python),
    }


if __name__ == "__main__":
    old, new = map(counts, sys.argv[1:3])
    for name in old:
        print(f"{name:<30}{len(old[name]):>8}{len(new[name]):>8}")
    print(*(f"\n{name} at {sys.argv[2]}:\n  " + "\n  ".join(new[name]) for name in list(new)[2:]), sep="\n")
