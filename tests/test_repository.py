"""What the repository says about itself is true: documents, commands, columns, messages, lint and types.

Every check reads the files as they are; none knows a document's content beyond its form.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gis.tables import COLUMNS, TABLES

NOT_OURS = {".venv", "venv", "build", "dist", "out", "demo", "__pycache__", "node_modules"}
"""Folders that git ignores; a workspace made in the checkout is the user's own (``gis/demo`` is ours)."""

TEXT = {".py", ".md", ".toml", ".yml", ".yaml", ".csv", ".txt", ".sh", ".cfg", ""}

STATA_RESERVED = {
    "_all", "_b", "_coef", "_cons", "_n", "_N", "_pi", "_pred", "_rc", "_skip", "byte", "double", "float", "if", "in",
    "int", "long", "str", "strL", "using", "with",
}  # fmt: skip
"""Names Stata keeps for itself. Source: Stata User's Guide, 11.3 Naming conventions."""


def files_of(checkout: Path) -> Iterator[Path]:
    """Files of the repository: no environments, caches or results."""

    def walk(folder: Path) -> Iterator[Path]:
        for path in sorted(folder.iterdir()):
            top = path.parent == checkout
            if path.is_dir():
                hidden = path.name.startswith(".") and path.name not in {".ci", ".github"}
                ours = path.name not in NOT_OURS or (path.name in {"demo", "out"} and not top)
                if not hidden and ours and not path.name.endswith(".egg-info"):
                    yield from walk(path)
            elif not path.name.startswith("."):
                yield path

    return walk(checkout)


@pytest.fixture(scope="module")
def files(checkout: Path) -> list[Path]:
    return list(files_of(checkout))


@pytest.fixture(scope="module")
def texts(files: list[Path]) -> dict[Path, str]:
    return {path: path.read_text(encoding="utf-8") for path in files if path.suffix in TEXT}


@pytest.fixture(scope="module")
def documents(texts: dict[Path, str]) -> dict[Path, str]:
    return {path: text for path, text in texts.items() if path.suffix == ".md"}


def blocks(text: str, language: str) -> list[str]:
    """Fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


# --- hygiene -----------------------------------------------------------------------------------------------------

MACHINE_PATH = re.compile(r"(?<![\w.*}])/(?:home|root|Users|tmp|var|mnt|work|opt)/\w|[A-Z]:\\Users\\")
LEFTOVER = re.compile(r"\b(?:TOD[O]|FIXM[E]|XX[X]|HAC[K]|WI[P])\b")


def test_no_file_names_a_path_of_one_machine(texts):
    named = [f"{path.name}: {found.group()}" for path, text in texts.items() if (found := MACHINE_PATH.search(text))]
    assert named == []


def test_no_file_holds_a_reminder_to_finish_it(texts):
    left = [f"{path.name}: {found.group()}" for path, text in texts.items() if (found := LEFTOVER.search(text))]
    assert left == []


def test_no_file_is_large(files):
    assert [path.name for path in files if path.stat().st_size > 1_000_000] == []


def test_git_ignores_no_source_file(checkout, files):
    """A folder pattern without a leading slash matches at any depth: git and the wheel would leave it out."""
    patterns = (checkout / ".gitignore").read_text(encoding="utf-8").split()
    names = {pattern.strip("/") for pattern in patterns if pattern.endswith("/") and not pattern.startswith("/")}
    inside = [
        path for path in files if path.is_relative_to(checkout / "gis") or path.is_relative_to(checkout / "tests")
    ]
    hidden = [path for path in inside if names & set(path.relative_to(checkout).parts)]
    assert hidden == [], f"anchor the pattern in .gitignore: {names}"


@pytest.mark.parametrize("line", ["see /ho" + "me/ann/lights", "C:" + "\\Users\\ann", "'/tm" + "p/x'"])
def test_machine_paths_are_seen(line):
    assert MACHINE_PATH.search(line)


# --- documents ---------------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """Anchors of a Markdown file's headings, made as GitHub makes them."""
    plain = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ +(.+?) *$", plain, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(target: str, source: Path, base: Path) -> str | None:
    """What is wrong with a relative link or a mention ``path.md#anchor``; None if nothing is."""
    name, _, anchor = target.partition("#")
    path = (base / name).resolve() if name else source
    if not path.exists():
        return f"{source.name}: {target}: no such file"
    if anchor and anchor not in anchors(path.read_text(encoding="utf-8")):
        return f"{source.name}: {target}: no such heading"
    return None


def test_every_link_of_every_document_resolves(documents):
    faults = []
    for path, text in documents.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if not re.match(r"[a-z]+:", target):
                faults.append(broken(target, path, path.parent))
    assert [fault for fault in faults if fault] == []


def test_every_document_that_code_points_to_is_there(texts, checkout):
    faults = []
    for path, text in texts.items():
        if path.suffix == ".py" and path.is_relative_to(checkout / "gis"):
            for target in re.findall(r"\b((?:rasters|boundaries|historical|docs)/[\w./-]+\.md(?:#[\w-]+)?)", text):
                faults.append(broken(target, path, checkout))
    assert [fault for fault in faults if fault] == []


def test_broken_links_are_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One heading\n```\n# not one\n```\n", encoding="utf-8")
    assert broken("page.md#one-heading", page, tmp_path) is None
    assert broken("#not-one", page, tmp_path)
    assert broken("other.md", page, tmp_path)


def test_every_decision_page_has_its_four_parts_and_a_place_in_the_index(checkout):
    index = (checkout / "docs" / "README.md").read_text(encoding="utf-8")
    pages = sorted((checkout / "docs" / "decisions").glob("*.md"))
    assert pages
    for page in pages:
        heads = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert heads == ["Question", "Options", "Choice", "What would change our mind"], page.name
        assert f"decisions/{page.name}" in index, page.name


def test_numbers_of_the_method_page_are_the_codes_own(checkout):
    import numpy as np
    from affine import Affine

    from gis.crs import crs_from, lambert_scale
    from gis.grid import Grid

    text = (checkout / "docs" / "method.md").read_text(encoding="utf-8")
    for place, factor in zip(
        ("18.15° N", "41.8° N", "53.56° N"), lambert_scale([18.15, 41.763, 53.56]) ** 2, strict=True
    ):
        assert place in text
        assert f"{factor:.3f}" in text
    step = 1 / 120  # 30 arc seconds
    grid = Grid((35 * 120, 1), Affine(step, 0, 100, 0, -step, 54), crs_from("EPSG:4326"))
    areas = np.asarray(grid.cell_areas_km2("true", 0, grid.shape[0]))
    at_20, at_50 = float(areas[(54 - 20) * 120]), float(areas[(54 - 50) * 120])
    assert f"{at_20:.4f} km² with its top edge at 20° N and {at_50:.4f} km² at 50° N" in text
    readme = (checkout / "README.md").read_text(encoding="utf-8")
    assert f"at 50° N has {at_50 / at_20:.2f} of the area it has at 20° N" in readme


def test_the_method_page_explains_every_flag_and_what_it_does_to_a_level(checkout):
    from gis.indicators.flags import FLAGS

    text = (checkout / "docs" / "method.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z]+)` \| .+? \| (.+?) \|$", text, flags=re.MULTILINE)
    assert [name for name, _ in rows] == list(FLAGS)
    assert {name for name, effect in rows if effect.startswith("NaN")} == {n for n, f in FLAGS.items() if f.drops_level}


def test_the_method_page_explains_why_a_bal_is_missing(checkout):
    from gis.panel import BAL_FLAGS

    text = (checkout / "docs" / "method.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in BAL_FLAGS if name)


# --- commands ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def verbs() -> set[str]:
    import typer

    from gis.cli import app

    return set(typer.main.get_command(app).commands)


def verbs_in(text: str) -> set[str]:
    """Words that stand where a verb of the command would: ``lightpanel run``, not ``lightpanel --help``."""
    return set(re.findall(r"\blightpanel ([a-z][a-z-]*)", text))


def test_readme_has_exactly_two_set_up_commands_and_both_stand_alone(checkout):
    readme = (checkout / "README.md").read_text(encoding="utf-8")
    commands = [block.strip() for block in blocks(readme, "sh") if "pip install" in block]
    assert len(commands) == 2
    for command in commands:
        assert "\n" not in command
        make, install, job = command.split(" && ")
        assert make == "python3 -m venv .venv"
        assert re.fullmatch(r"\.venv/bin/pip install -q -e '\.\[(test|estimate)\]'", install)
        assert job.startswith(".venv/bin/")


def test_ci_runs_the_readmes_test_command_word_for_word(checkout):
    readme = (checkout / "README.md").read_text(encoding="utf-8")
    (command,) = [line for block in blocks(readme, "sh") for line in block.splitlines() if "pytest" in line]
    script = checkout / ".ci" / "run"
    printed = subprocess.run(["bash", str(script), "--print"], capture_output=True, text=True, check=True).stdout
    assert printed == command + "\n"
    assert script.stat().st_mode & 0o111, "git must keep it executable"
    assert "run: .ci/run" in (checkout / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    # pip and pytest are named nowhere else in the script: it installs and runs nothing of its own.
    own = [line for line in script.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    assert not any(re.search(r"pip install|-m pytest|-m venv", line) for line in own)


def test_commands_in_documents_exist(documents, verbs):
    for path, text in documents.items():
        code = "\n".join(blocks(text, r"\w*") + re.findall(r"`([^`\n]+)`", text))
        assert verbs_in(code) <= verbs, path.name


def mends(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every string inside an argument ``mend=``, with its line."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call):
            for keyword in call.keywords:
                if keyword.arg == "mend":
                    for part in ast.walk(keyword.value):
                        if isinstance(part, ast.Constant) and isinstance(part.value, str):
                            yield part.lineno, part.value


def test_commands_in_mend_lines_exist(texts, checkout, verbs):
    unknown = [
        f"{path.name}:{line}: {text}"
        for path, source in texts.items()
        if path.suffix == ".py" and path.is_relative_to(checkout / "gis")
        for line, text in mends(ast.parse(source))
        if not verbs_in(text) <= verbs
    ]
    assert unknown == []


def test_readme_settings_are_valid_settings(checkout):
    from gis.workspace import config_from_dict

    found = blocks((checkout / "README.md").read_text(encoding="utf-8"), "toml")
    assert found
    for block in found:
        assert config_from_dict(tomllib.loads(block)).lights.years == (2000, 2020)


def test_readme_python_uses_public_names(checkout):
    import gis

    found = blocks((checkout / "README.md").read_text(encoding="utf-8"), "python")
    assert found
    for block in found:
        used = {
            node.attr
            for node in ast.walk(ast.parse(block))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "gis"
        }
        assert used <= set(gis.__all__)
        assert all(callable(getattr(gis, name)) for name in used)


# --- tables ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COLUMNS)
def test_column_is_named_labelled_and_measured(name):
    column = COLUMNS[name]
    assert column.name == name
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name), "a Stata name has at most 32 characters"
    assert name not in STATA_RESERVED
    assert not re.fullmatch(r"str\d+", name), "Stata reads it as a type"
    assert 0 < len(column.label) <= 80, "a Stata label has at most 80 characters"
    assert column.label == column.label.strip()
    if column.dtype == "float64":
        assert column.unit, "a measured number has a unit; a ratio has 1"
    if column.dtype in {"string", "bool"}:
        assert column.unit == "", "a code, a name or a flag has none"


@pytest.mark.parametrize("suffix", ["km2", "km", "persons"])
def test_a_unit_in_a_name_is_the_columns_unit(suffix):
    for name, column in COLUMNS.items():
        if name.endswith(f"_{suffix}") and column.dtype == "float64":
            assert suffix in column.unit, name


def test_labels_tell_columns_apart():
    labels = [column.label for column in COLUMNS.values()]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("name", TABLES)
def test_table_declares_its_columns_once_and_its_key_first(name):
    table = TABLES[name]
    assert table.name == name
    assert set(table.columns) <= COLUMNS.keys()
    assert len(set(table.columns)) == len(table.columns)
    assert table.columns[: len(table.key)] == table.key
    assert table.title.endswith(".")


def test_every_declared_column_is_used_by_a_table():
    used = {column for table in TABLES.values() for column in table.columns}
    assert COLUMNS.keys() - used == set()


# --- lint and types ----------------------------------------------------------------------------------------------


def tool(checkout: Path, *arguments: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_ruff_finds_nothing(checkout):
    tool(checkout, "ruff", "check", ".")


def test_files_are_formatted(checkout):
    tool(checkout, "ruff", "format", "--check", ".")


@pytest.mark.slow
@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="types are checked on Python 3.11, whose numpy stands still"
)
def test_mypy_finds_nothing(checkout):
    tool(checkout, "mypy")
