"""Reads one Python file as what can be counted in it: lines, functions, handlers, silenced checks."""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

_BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case, ast.Lambda)
_BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.With, ast.AsyncWith, ast.Match)
_NEW_SCOPE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_SILENCER = re.compile(r"#\s*(type:\s*ignore|noqa|ruff:\s*noqa|mypy:|pragma:\s*no)")
_BROAD = {"Exception", "BaseException"}


@dataclass(frozen=True)
class Function:
    """One function or method. `lines` holds its docstring and not its decorators."""

    name: str
    line: int
    lines: int
    complexity: int
    nesting: int
    arguments: int


@dataclass(frozen=True)
class Module:
    """One file. The tuples hold the lines of handlers of any exception, of `Any`, of silenced checks."""

    path: str
    lines: int
    functions: tuple[Function, ...]
    broad_handlers: tuple[int, ...]
    anys: tuple[int, ...]
    silenced: tuple[int, ...]


def parse(path: str, text: str) -> Module:
    """Raises SyntaxError when the text is not Python."""
    tree = ast.parse(text, path)
    nodes = list(ast.walk(tree))
    return Module(
        path=path,
        lines=len(text.splitlines()),
        functions=tuple(_functions(tree, in_class=False)),
        broad_handlers=tuple(_lines(nodes, _is_broad)),
        anys=tuple(_lines(nodes, _is_any)),
        silenced=tuple(_silenced(text)),
    )


def _lines(nodes: Iterable[ast.AST], is_wanted: Callable[[ast.AST], bool]) -> Iterator[int]:
    for node in nodes:
        if isinstance(node, ast.expr | ast.ExceptHandler) and is_wanted(node):
            yield node.lineno


def _functions(tree: ast.AST, *, in_class: bool) -> Iterator[Function]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, FunctionNode):
            yield Function(
                name=node.name,
                line=node.lineno,
                lines=(node.end_lineno or node.lineno) - node.lineno + 1,
                complexity=1 + _branches(node),
                nesting=_nesting(node),
                arguments=_arguments(node, is_method=in_class),
            )
        yield from _functions(node, in_class=isinstance(node, ast.ClassDef))


def _branches(function: FunctionNode) -> int:
    """As McCabe counts, and ruff's C901: decisions of the function and of those inside it."""
    inner = [node for statement in function.body for node in ast.walk(statement)]
    return sum(isinstance(node, (*_BRANCHES, *FunctionNode.__args__)) for node in inner)


def _nesting(node: ast.AST) -> int:
    depths = [0]
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _NEW_SCOPE):
            is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
            depths.append(_nesting(child) + (isinstance(child, _BLOCKS) and not is_elif))
    return max(depths)


def _arguments(function: FunctionNode, *, is_method: bool) -> int:
    given = function.args
    count = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs)
    count += (given.vararg is not None) + (given.kwarg is not None)
    decorators = {node.id for node in function.decorator_list if isinstance(node, ast.Name)}
    return count - (is_method and "staticmethod" not in decorators)


def _is_broad(node: ast.AST) -> bool:
    """`except:`, `except Exception`, also within a tuple, and `suppress(Exception)`.

    A handler that ends by raising the same again hides nothing.
    """
    if isinstance(node, ast.ExceptHandler):
        last = node.body[-1]
        if isinstance(last, ast.Raise) and last.exc is None:
            return False
        return node.type is None or _names_broad(node.type)
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "suppress":
        return any(_names_broad(argument) for argument in node.args)
    return False


def _names_broad(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Name) and part.id in _BROAD for part in ast.walk(node))


def _is_any(node: ast.AST) -> bool:
    named = isinstance(node, ast.Name) and node.id == "Any"
    return named or (isinstance(node, ast.Attribute) and node.attr == "Any")


def _silenced(text: str) -> Iterator[int]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and _SILENCER.search(token.string):
            yield token.start[0]
