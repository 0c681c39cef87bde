"""Write docs/api.md from signatures and docstrings: ``python -m docs.make_api``, or ``make docs``.

The sources are read, not imported, so the page is the same on every machine. A test compares it with the committed one.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["GROUPS", "PAGE", "api_page", "main", "public_names", "signature"]

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "api.md"
#: What stands together, in the order of the page; every public name once.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Plans": (
        "Layout", "preset_layout", "PRESETS", "NextToken", "Diagonal", "ZipAR", "Imported", "read_order", "Policies",
        "BUNDLES", "bundle_schedule", "compile_plan", "Plan", "compile_rollout", "Rollout", "chain_layouts",
        "compile_chain", "Chain",
    ),
    "Checking and files": (
        "verify", "Verification", "plan_digest", "read_plan", "write_plan", "read_chain", "write_chain",
    ),
    "Traces of speculative replay": (
        "verify_trace", "TraceVerification", "check_trace_tokens", "CheckedTrace", "check_tokens", "TeacherCheck",
        "Trace", "read_trace", "write_trace",
    ),
    "Pictures": ("draw", "Drawing", "show", "Explorer"),
    "Pictures of prompts": (
        "draw_image", "DrawnImages", "compare_images", "ComparedImages", "custom_generate",
    ),
    "Models": (
        "load_model", "wrap", "prompt_with_pictures", "Raster", "LoadOptions", "replay", "roll", "Rolled", "run_chain",
        "Chained", "Speculation", "read_speculation", "write_speculation", "Greedy", "Sample", "sampler_for",
    ),
    "World models": (
        "load_world", "World", "plan_for", "compile_for", "roll_for", "generate", "Generated", "generate_video",
        "GeneratedVideo", "start", "Session",
    ),
    "Errors and warnings": (
        "DiagplanError", "SpecError", "DocumentError", "InvalidPlanError", "MissingExtraError", "MismatchError",
        "CapacityError", "NumericError", "RanksError", "ModelWarning",
    ),
    "Version": ("__version__",),
}  # fmt: skip
_HEAD = """\
# The Python interface

All that `import diagplan` makes public, with signatures and docstrings. The page is made by `make docs`; change the
docstrings instead. Modules below `diagplan` have public names of their own, which their `__all__` lists and these pages
use where they need them; they may change between minor versions.

Shapes: B samples, T generated frames of h rows and w columns, F prompt frames, n tokens between frames, G given slots.
"""
_SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Warns):$")

Node = ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign


@dataclass(frozen=True, slots=True)
class _Found:
    """Where a public name is defined."""

    module: str
    node: Node
    source: str


def public_names() -> tuple[str, ...]:
    """``diagplan.__all__``, read from the source."""
    node = _find("diagplan", "__all__").node
    assert isinstance(node, ast.Assign)
    return tuple(ast.literal_eval(node.value))


def api_page() -> str:
    """The page as text."""
    parts = [_HEAD]
    for title, names in GROUPS.items():
        parts.append(f"## {title}\n")
        parts += [_entry(name) for name in names]
    return "\n".join(parts)


def main() -> None:
    """Write the page."""
    PAGE.write_text(api_page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE.relative_to(ROOT)}\n")


# Finding


@cache
def _parsed(module: str) -> tuple[ast.Module, str]:
    path = ROOT.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    source = path.read_text(encoding="utf-8")
    return ast.parse(source), source


def _top(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements of a module, those for type checkers too."""
    for node in tree.body:
        yield node
        if isinstance(node, ast.If):
            yield from node.body


def _find(module: str, name: str) -> _Found:
    """The definition of a name, through the modules that pass it on."""
    tree, source = _parsed(module)
    for node in _top(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return _Found(module, node, source)
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in map(ast.unparse, _targets(node)):
            return _Found(module, node, source)
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _find(node.module, alias.name)
    raise LookupError(f"expected {name} in {module}, got no such definition. A public name is defined or imported.")


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


# Writing


def _entry(name: str) -> str:
    found = _find("diagplan", name)
    node, lines = found.node, [f"### {name}\n\nFrom `{found.module}`.\n"]
    if isinstance(node, ast.FunctionDef):
        lines += [_code(signature(node)), _prose(node)]
    elif isinstance(node, ast.ClassDef):
        lineage = _lineage(found, node)
        members = [member for one in lineage for member in _members(one)]
        lines += [_code(_class_signature(node, lineage)), _prose(node), *_properties(filter(_is_property, members))]
        for member in members:
            if not _is_property(member):
                lines.append(f"#### {name}.{member.name}\n\n{_code(signature(member))}\n{_prose(member)}")
    else:
        lines.append(_constant(name, found))
    return "\n".join(lines)


def _code(text: str) -> str:
    return f"```py\n{text}\n```\n"


def signature(node: ast.FunctionDef) -> str:
    """One line where it fits, else a line for each argument."""
    arrow = "" if node.returns is None else f" -> {_unquoted(node.returns)}"
    return _call(node.name, list(_arguments(node.args)), arrow)


def _call(name: str, arguments: list[str], arrow: str = "") -> str:
    line = f"{name}({', '.join(arguments)}){arrow}"
    if len(line) <= 100:
        return line
    return f"{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + f"){arrow}"


def _arguments(args: ast.arguments) -> Iterator[str]:
    ordered = [*args.posonlyargs, *args.args]
    before_slash = len(args.posonlyargs)
    defaults: list[ast.expr | None] = [None] * (len(ordered) - len(args.defaults)) + list(args.defaults)
    for number, (argument, default) in enumerate(zip(ordered, defaults, strict=True), 1):
        if argument.arg not in ("self", "cls"):
            yield _argument(argument, default)
            if number == before_slash:
                yield "/"
    if args.vararg:
        yield f"*{_argument(args.vararg, None)}"
    elif args.kwonlyargs:
        yield "*"
    for argument, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        yield _argument(argument, default)
    if args.kwarg:
        yield f"**{_argument(args.kwarg, None)}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    kind = f": {_unquoted(argument.annotation)}" if argument.annotation else ""
    if default is None:
        return f"{argument.arg}{kind}"
    return f"{argument.arg}{kind} = {ast.unparse(default)}"


def _unquoted(annotation: ast.expr) -> str:
    """An annotation without the quotes of a forward reference."""
    match annotation:
        case ast.Constant(value=str(text)):
            return text
    return ast.unparse(annotation)


def _lineage(found: _Found, node: ast.ClassDef) -> list[ast.ClassDef]:
    """The class and its bases in this package, the furthest first."""
    bases: list[ast.ClassDef] = []
    for base in node.bases:
        try:
            above = _find(found.module, ast.unparse(base))
        except (LookupError, FileNotFoundError):
            continue  # of the standard library
        if isinstance(above.node, ast.ClassDef):
            bases += _lineage(above, above.node)
    return [*bases, node]


def _class_signature(node: ast.ClassDef, lineage: list[ast.ClassDef]) -> str:
    """How one is made: by ``__init__``, by the fields of a dataclass or a named tuple, or not at all."""
    bases = [ast.unparse(base) for base in node.bases]
    decorators = [ast.unparse(one) for one in node.decorator_list]
    init = next((one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
    if init is not None:
        return f"class {_call(node.name, list(_arguments(init.args)))}"
    if any(one.startswith("dataclass") for one in decorators) or "NamedTuple" in bases:
        made = [field for one in lineage for field in _fields(one)]
        keyword = ["*"] if made and any("kw_only=True" in one for one in decorators) else []
        return f"class {_call(node.name, keyword + made)}"
    return f"class {node.name}({', '.join(bases)})" if bases else f"class {node.name}"


def _fields(node: ast.ClassDef) -> Iterator[str]:
    for one in node.body:
        if isinstance(one, ast.AnnAssign) and not ast.unparse(one.annotation).startswith("ClassVar"):
            if one.value is not None and "init=False" in ast.unparse(one.value):
                continue
            default = "" if one.value is None else f" = {ast.unparse(one.value)}"
            yield f"{ast.unparse(one.target)}: {_unquoted(one.annotation)}{default}"


def _members(node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    for one in node.body:
        if isinstance(one, ast.FunctionDef) and not one.name.startswith("_"):
            yield one


def _properties(members: Iterable[ast.FunctionDef]) -> list[str]:
    """A list: name, type, docstring."""
    entries = []
    for one in members:
        kind = "" if one.returns is None else _unquoted(one.returns)
        prose = _ticks(" ".join((ast.get_docstring(one) or "").split()))
        entries.append(f"- `{one.name}: {kind}`: {prose}")
    return ["**Properties**\n", *entries, ""] if entries else []


def _is_property(node: ast.FunctionDef) -> bool:
    return any(ast.unparse(one) in ("property", "cached_property") for one in node.decorator_list)


def _constant(name: str, found: _Found) -> str:
    """Its line of comment and the keys of a literal mapping; a text as it is."""
    lines = found.source.splitlines()
    above: list[str] = []
    for line in reversed(lines[: found.node.lineno - 1]):
        if not line.startswith("#: "):
            break
        above.insert(0, line.removeprefix("#: "))
    kind = ast.unparse(found.node.annotation) if isinstance(found.node, ast.AnnAssign) else "str"
    return f"{_code(f'{name}: {kind}')}\n{_ticks(' '.join(above))}\n"


# Docstrings


def _prose(node: ast.FunctionDef | ast.ClassDef) -> str:
    """A docstring of Google's form as Markdown: paragraphs, lists of its sections, doctests as they are."""
    doc = ast.get_docstring(node) or ""
    lines: list[str] = []
    for block in re.split(r"\n\s*\n", doc):
        rows = block.splitlines()
        match = _SECTION.match(rows[0]) if rows else None
        if match:
            lines += [f"**{match[1]}**\n", *_section(rows[1:]), ""]
        elif block.lstrip().startswith(">>>"):
            lines.append(f"```pycon\n{block}\n```\n")
        else:
            lines.append(_ticks(block) + "\n")
    return "\n".join(lines)


def _section(rows: list[str]) -> list[str]:
    """The entries of a section as a list; what is indented deeper goes on with the entry before."""
    entries: list[str] = []
    depth = len(rows[0]) - len(rows[0].lstrip()) if rows else 0
    for row in rows:
        if len(row) - len(row.lstrip()) > depth and entries:
            entries[-1] += f"\n  {row.strip()}"
        else:
            entries.append(row.strip())
    return [f"- {_named(_ticks(entry))}" for entry in entries]


def _named(entry: str) -> str:
    """The names in front of an entry's colon as code."""
    match = re.match(r"^([A-Za-z_][\w]*(?:, [A-Za-z_][\w]*)*): ", entry)
    return entry if match is None else f"`{match[1]}`: {entry[match.end() :]}"


def _ticks(text: str) -> str:
    """``x`` as `x`; a pipe or a star in prose would be Markdown's."""
    return re.sub(r"``([^`]+)``", r"`\1`", text)


if __name__ == "__main__":
    main()
