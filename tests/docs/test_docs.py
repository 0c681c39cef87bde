"""The documentation is true: its commands print what it shows, its code runs, its tables and links are complete.

Fenced blocks run in the order of the page, in one empty folder. ``python`` blocks share one namespace; a ``text`` block
right behind one shows what it prints. In ``console`` blocks the lines ``$ ...`` are run by a shell and the lines below
are what stdout and stderr show together. ``breach`` blocks are examples of the checker's rules.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from diagplan import Diagonal, Imported, Layout, Policies, compile_plan, verify
from diagplan.cli import app
from diagplan.planner.checker import RULES
from diagplan.planner.compiler import SlotOrder
from diagplan.planner.plan import Plan
from diagplan.schemas.convert import plan_digest
from diagplan.schemas.files import plan_from_json, plan_to_json
from diagplan.schemas.schema import plan_schema
from diagplan.schemas.verify import DIGEST_CODE

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [page for name in ("README", "CONTRIBUTING", "CHANGELOG") if (page := ROOT / f"{name}.md").exists()]
PAGES += sorted(DOCS.glob("*.md"))
CONCEPTS, FORMAT, RULE_PAGE, COMMANDS = (
    DOCS / f"{name}.md" for name in ("concepts", "plan-format", "checker-rules", "command-line")
)

#: What a page may ask a shell to do; other commands (pip, make, git) are not run and prove nothing.
RUNNABLE = ("diagplan", "sed", "echo", "cat")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: its kind, its text, its first line, and whether only blank lines lie between it and the last."""

    kind: str
    text: str
    line: int
    follows: bool


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found, end = [], 0
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, match.start(2)) + 1
        found.append(Block(kind=match[1], text=match[2], line=line, follows=not text[end : match.start()].strip()))
        end = match.end()
    return found


# The matcher


def _timeless(text: str) -> str:
    text = re.sub(r'("seconds": )[\d.e-]+', r"\1#", text)
    return re.sub(r"\b\d+(\.\d+)? (s|ms|seconds)\b", r"# \2", text)


def shows(shown: str, printed: str) -> bool:
    """Whether a page's lines show what was printed: ``...`` alone stands for any lines, within a line for anything.

    Blank lines, blanks at a line's end and durations do not count.
    """
    pattern = ""
    for line in filter(str.strip, _timeless(shown).splitlines()):
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += re.escape(line.rstrip()).replace(r"\.\.\.", ".*?") + r"\n"
    lines = "".join(line.rstrip() + "\n" for line in filter(str.strip, _timeless(printed).splitlines()))
    return re.fullmatch(pattern, lines) is not None


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\n...\nc\n", "a\nb\nb\nc\n", True),
        ("a\n...\nc\n", "a\nc\n", True),
        ("...\nc\n", "a\nc\nd\n", False),
        ("a ... c\n", "a b c\n", True),
        ("a ... c\n", "a b\nc\n", False),
        ("22 proved, 7.0 s\n", "\n22 proved, 13.1 s  \n", True),
        ("22 proved, 7.0 s\n", "21 proved, 7.0 s\n", False),
        ("5 steps\n", "6 steps\n", False),
        ("", "a\n", False),
    ],
)
def test_the_matcher(shown: str, printed: str, same: bool) -> None:
    assert shows(shown, printed) is same


# Blocks that run


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block with the lines shown below it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        last = next(i for i, line in enumerate(lines) if not line.endswith("\\\n"))
        yield "".join(lines[: last + 1]).strip(), "".join(lines[last + 1 :])


def run_shell(command: str, folder: Path) -> tuple[int, str]:
    # The diagplan of this interpreter first on the path; 80 columns, no colours, whoever runs the tests.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    drop = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "PYTHONWARNINGS")
    env = {name: value for name, value in os.environ.items() if name not in drop}
    env |= {"PATH": path, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, shell=True, cwd=folder, env=env, text=True, timeout=120,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.returncode, done.stdout


def run_console(block: Block, page: Path, folder: Path) -> None:
    for command, shown in commands(block.text):
        if command.split()[0] not in RUNNABLE:
            continue
        code, printed = run_shell(command, folder)
        where = f"{page.name}:{block.line}: $ {command}"
        assert "Traceback" not in printed, f"{where}\n{printed}"
        if shown.strip():
            assert shows(shown, printed), f"{where}\nshown:\n{shown}\nprinted:\n{printed}"
        else:
            assert code == 0, f"{where}: exit code {code}\n{printed}"


def run_python(block: Block, page: Path, namespace: dict[str, Any]) -> str:
    # Empty lines in front, so that a traceback names the page's own line.
    code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, namespace)
    return out.getvalue()


def run_page(page: Path, folder: Path) -> dict[str, Any]:
    """Run a page's blocks in ``folder``, the current one; returns the names its python blocks define."""
    namespace: dict[str, Any] = {"__name__": page.stem}
    printed: str | None = None
    for block in blocks(page):
        if block.kind == "text" and block.follows and printed is not None:
            assert shows(block.text, printed), f"{page.name}:{block.line}\nshown:\n{block.text}\nprinted:\n{printed}"
        printed = run_python(block, page, namespace) if block.kind == "python" else None
        if block.kind == "console":
            run_console(block, page, folder)
    return namespace


@pytest.mark.parametrize("page", [page for page in PAGES if page != FORMAT], ids=lambda page: page.name)
def test_what_pages_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "replay(" in page.read_text(encoding="utf-8"):
        pytest.importorskip("torch")
        write_model_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    run_page(page, tmp_path)


def write_model_files(folder: Path) -> None:
    """What the pages that replay plans start from: a small random MC-AR model, a prompt and actions."""
    from safetensors.torch import save_file

    from diagplan.adapters.mc_ar import McArConfig, random_weights

    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    sizes |= {"num_key_value_heads": 1, "vocab_size": 8262, "max_position_embeddings": 5552}
    (folder / "config.json").write_text(json.dumps(sizes | {"image_vocab": 8192}))
    save_file(random_weights(McArConfig(**sizes, image_vocab=8192)), folder / "model.safetensors")
    rng = np.random.default_rng(0)
    np.save(folder / "prompt.npy", rng.integers(0, 8192, (1, 14, 24)))
    np.save(folder / "actions.npy", rng.integers(8192, 8262, (15, 11)))


# The plan format


@pytest.fixture(scope="module")
def format_page(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("format")
    with contextlib.chdir(folder):
        return run_page(FORMAT, folder), folder


def sample_documents() -> list[Document]:
    values = [json.loads(block.text) for block in blocks(FORMAT) if block.kind == "json"]
    return [value for value in values if value.get("format") == "diagplan-plan"]


def test_the_sample_is_the_plan_that_the_page_compiles(format_page: tuple[dict[str, Any], Path]) -> None:
    (sample,) = sample_documents()
    report = verify(plan_from_json(json.dumps(sample)))
    assert (report.errors, report.warnings) == (0, 0)
    written = json.loads((format_page[1] / "tiny.json").read_text())
    assert sample | {"producer": None} == written | {"producer": None}


def test_the_digest_example_needs_hashlib_only() -> None:
    (sample,) = sample_documents()
    (canonical,) = (block.text.strip() for block in blocks(FORMAT) if block.kind == "text" and '"cache":' in block.text)
    assert sample["digest"] == "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
    facts = {name: sample[name] for name in sample if name not in ("producer", "names", "digest")}
    facts["masks"] = sample["masks"] | {"listed": []}
    facts["steps"] = [{name: step[name] for name in step if name != "rows"} for step in sample["steps"]]
    assert canonical == json.dumps(facts, sort_keys=True, separators=(",", ":"))


def various_plans() -> Iterator[Plan]:
    """Plans in which every part of the mask rule and of the digest has work to do."""
    video = Layout(frames=2, rows=3, cols=3, prompt_frames=1, lead=1, between_frames=2, between_rows=1)
    cells = [[[0, 1, 2], [5, 4, 3], [2, 6, 7]], [[3, 4, 8], [5, 9, 6], [9, 8, 7]]]
    lowerings: list[tuple[SlotOrder, int | None, tuple[int, ...] | None]] = [
        ("position", None, None), ("position", 2, (2, 4)), ("step-order", 3, (4,)),
    ]  # fmt: skip
    for schedule in (Diagonal(k=1, d=2), Diagonal(k=2), Imported(steps=cells)):
        for policies in (
            Policies(),
            Policies(row_end="keep", proxy_kv="visible"),
            Policies(visibility="causal"),
            Policies(proxy="prompt", row_end="keep", visibility="causal"),
        ):
            for slots, cap, pad in lowerings:
                if slots == "position" or policies.visibility == "written":
                    yield compile_plan(video, schedule, policies, max_width=cap, slots=slots, pad=pad)


def test_the_page_is_enough_for_a_second_implementation(format_page: tuple[dict[str, Any], Path]) -> None:
    page = format_page[0]
    mask_rows: Callable[[Document], list[list[int]]] = page["mask_rows"]
    digest: Callable[[Document], str] = page["digest"]
    for plan in various_plans():
        explicit, rule = (json.loads(plan_to_json(plan, masks=form)) for form in ("explicit", "rule"))
        assert mask_rows(rule) == mask_rows(explicit)
        assert digest(rule) == digest(explicit) == plan_digest(plan)


def test_every_field_of_the_schema_is_described() -> None:
    text = FORMAT.read_text()
    schema = plan_schema()
    for definition in (schema, *schema["$defs"].values()):
        for name, field in definition["properties"].items():
            assert f"`{name}`" in text, name
            for value in (*field.get("enum", ()), *([field["const"]] if isinstance(field.get("const"), str) else ())):
                assert f'`"{value}"`' in text, (name, value)


# The checker's rules

BASE = "diagplan compile --rows 2 --cols 2 --lead 1 --k 1 --pad 2"


def sections(page: Path, level: int = 3) -> dict[str, str]:
    """The text below every heading of one level, by the heading."""
    parts = re.split(rf"^{'#' * level} (.*)\n", page.read_text(), flags=re.MULTILINE)
    ends = (re.split(rf"^#{{1,{level}}} ", part, flags=re.MULTILINE)[0] for part in parts[2::2])
    return dict(zip(parts[1::2], ends, strict=True))


def test_the_table_of_rules_is_the_checkers() -> None:
    table = re.findall(r"^\| \[(DP\d+)\]\(#(\w+)\) \| (.*?) \| (.*?) \|$", RULE_PAGE.read_text(), re.MULTILINE)
    rules = [(rule.code, rule.code.lower(), rule.severity, rule.sentence) for rule in RULES]
    assert [row for row in table if row[0] != DIGEST_CODE] == rules
    assert [row[:3] for row in table if row[0] == DIGEST_CODE] == [(DIGEST_CODE, DIGEST_CODE.lower(), "error")]


def test_no_page_names_a_code_that_is_none() -> None:
    codes = {rule.code for rule in RULES} | {DIGEST_CODE}
    assert set(re.findall(r"\bDP\d{3}\b", RULE_PAGE.read_text())) == codes
    for page in PAGES:
        assert set(re.findall(r"\bDP\d{3}\b", page.read_text())) <= codes, page.name


def test_every_rule_has_a_section_with_its_remedy() -> None:
    found = {name: text for name, text in sections(RULE_PAGE).items() if name.startswith("DP")}
    assert list(found) == [*(rule.code for rule in RULES), DIGEST_CODE]
    for rule in RULES:
        assert rule.remedy in " ".join(found[rule.code].split()), rule.code
        assert "```breach" in found[rule.code], rule.code


def breaches() -> list[tuple[str, dict[str, str]]]:
    """Of every section its examples: what is compiled, how the document is changed, what the checker says."""
    return [
        (code, dict(re.findall(r"^(\w+): +(.*)$", body, re.MULTILINE)))
        for code, text in sections(RULE_PAGE).items()
        for body in re.findall(r"^```breach\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


@pytest.mark.parametrize(("code", "example"), breaches(), ids=lambda value: value if isinstance(value, str) else "")
def test_examples_of_breaches(
    code: str, example: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = example.get("plan", BASE).split()
    assert words[0] == "diagplan"
    assert set(example) <= {"plan", "edit", "says"}
    with contextlib.redirect_stdout(io.StringIO()):
        app([*words[1:], "-o", "plan.json"], standalone_mode=False)
    document = json.loads(Path("plan.json").read_text())
    exec(example.get("edit", ""), {}, document)
    Path("plan.json").write_text(json.dumps(document))
    said = [f"{d.code} {d.severity}: {d.message}" for d in verify("plan.json").diagnostics if d.code == code]
    assert any(shows(example["says"], line) for line in said), said


# The command line


def click_commands() -> dict[str, Any]:
    """The commands by name, those of a group as ``group command``, in the order of --help."""
    group: Any = typer.main.get_command(app)
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        found |= {name: command} if inner is None else {f"{name} {word}": one for word, one in inner.items()}
    return found


def long_options(command: Any) -> set[str]:
    names = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    return {name for name in names if name.startswith("--")}


def test_every_command_and_option_is_described() -> None:
    described = sections(COMMANDS, level=2)
    found = click_commands()
    known = set().union(*map(long_options, found.values()))
    assert list(found) == [name.strip("`") for name in described if name.strip("`") in found]
    for name, command in found.items():
        text = described[f"`{name}`"]
        mentioned = set(re.findall(r"`(--[a-z][a-z0-9-]*)", text))
        assert long_options(command) - {"--help"} <= mentioned, name
        assert mentioned <= known, name
    group: Any = typer.main.get_command(app)
    for option in long_options(group) | {"--help", "--json"}:
        assert f"`{option}`" in COMMANDS.read_text(), option


# Links


def slugs(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(name)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in slugs(target), f"{page.name} links to {link}, which has {sorted(slugs(target))}"


def test_the_pages_are_there() -> None:
    assert {CONCEPTS, FORMAT, RULE_PAGE, COMMANDS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"} <= set(PAGES)
