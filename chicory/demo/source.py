"""What is worth knowing about one Python file. Pure: from text to a report."""

from __future__ import annotations

import ast
import re
import warnings

from msgspec import Struct

MOST = 3
"""Functions that a report names for each quality."""

_BRANCHES = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.Try,
    ast.ExceptHandler,
    ast.BoolOp,
    ast.IfExp,
    ast.comprehension,
    ast.match_case,
)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_MARK = re.compile(rb"#.*\b(?:TODO|FIXME|XXX)\b")


class Function(Struct, frozen=True):
    """A function: where it is, its lines, and the places where its path divides."""

    name: str
    line: int
    lines: int
    branches: int


class FileReport(Struct, frozen=True, kw_only=True):
    """One file.

    Attributes:
        path: the file.
        lines: of text.
        functions: how many it defines, methods included.
        classes: how many it defines.
        notable: its longest functions, and those with the most branches.
        imports: top-level names of the modules it imports, each once.
        marks: comments that say TODO, FIXME or XXX.
        syntax_error: why it is no Python, where it is none.
        attempts: how often the task was tried until it got through.
    """

    path: str
    lines: int
    marks: int
    functions: int = 0
    classes: int = 0
    notable: list[Function] = []
    imports: list[str] = []
    syntax_error: str | None = None
    attempts: int = 1


def examine(path: str, source: bytes, attempts: int = 1) -> FileReport:
    """Parse a file and report on it; what is no Python is reported as such."""
    lines, marks = source.count(b"\n"), len(_MARK.findall(source))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the file's own, of its odd literals
            tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        return FileReport(
            path=path, lines=lines, marks=marks, syntax_error=reason, attempts=attempts
        )
    finding = _Finding()
    finding.visit(tree, None)
    return FileReport(
        path=path,
        lines=lines,
        marks=marks,
        functions=len(finding.functions),
        classes=finding.classes,
        notable=_notable(finding.functions),
        imports=sorted(finding.imports),
        attempts=attempts,
    )


class _Finding:
    def __init__(self) -> None:
        self.functions: list[Function] = []
        self.classes = 0
        self.imports: set[str] = set()

    def visit(self, node: ast.AST, owner: list[int] | None) -> None:
        """Look at what is below ``node``; ``owner`` counts the branches of its function."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, _FUNCTIONS):
                self._function(child)
                continue
            if owner is not None and isinstance(child, _BRANCHES):
                owner[0] += 1
            elif isinstance(child, ast.ClassDef):
                self.classes += 1
            elif isinstance(child, ast.Import):
                self.imports.update(alias.name.partition(".")[0] for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
                self.imports.add(child.module.partition(".")[0])
            if not isinstance(child, ast.expr_context):
                self.visit(child, owner)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        branches = [0]
        self.visit(node, branches)
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        self.functions.append(Function(node.name, node.lineno, lines, branches[0]))


def _notable(functions: list[Function]) -> list[Function]:
    longest = sorted(functions, key=lambda f: -f.lines)[:MOST]
    busiest = sorted(functions, key=lambda f: -f.branches)[:MOST]
    return longest + [function for function in busiest if function not in longest]
