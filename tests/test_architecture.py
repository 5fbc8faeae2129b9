"""The import order of the package, its doors to rasterio and Dask, its start-up and its size, read from the source.

The order is drawn in ``docs/decisions/0001-layout-and-import-order.md``.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ORDER: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("crs",),
    ("grid",),
    ("tables",),
    ("workspace",),
    ("raster_io", "graph"),
    ("rasters", "boundaries", "historical"),
    ("zonal",),
    ("reproject", "crosswalk"),
    ("indicators",),
    ("panel",),
    ("estimate",),
    ("export",),
    ("demo",),
    ("pipeline",),
    ("cli_boundaries",),
    ("cli",),
)
"""From left to right; modules in one bracket do not import one another."""

RANK = {name: rank for rank, bracket in enumerate(ORDER) for name in bracket}

DOORS = {"rasterio": "raster_io", "rioxarray": "raster_io", "dask": "graph", "distributed": "graph"}
"""Library -> the one module that may import it."""

HEAVY = {
    "dask", "distributed", "geopandas", "numba", "pandas", "pyarrow", "pyogrio", "rasterio", "rasterstats", "rich",
    "scipy", "shapely", "xarray",
}  # fmt: skip
"""Libraries that cost start-up time: imported inside functions only."""

JIT_HOME = "zonal"
"""The package whose kernels need numba's decorators at module level; nothing imports it before it is used."""

MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 80


@dataclass(frozen=True)
class Import:
    """One import statement's target."""

    home: str
    """Module or package right under gis/ that holds it; ``""`` for ``gis/__init__.py`` itself."""
    target: str
    """Dotted name of what is imported."""
    line: int
    """Line of the statement."""
    at_load: bool
    """Whether it runs when the module is loaded: neither in a function nor under TYPE_CHECKING."""
    for_types: bool
    """Whether it stands under TYPE_CHECKING."""

    def __str__(self) -> str:
        return f"{self.home}:{self.line} imports {self.target}"


def home_of(path: Path, package: Path) -> str:
    first = path.relative_to(package).parts[0]
    return first.removesuffix(".py").removeprefix("__init__").removeprefix("__main__")


def targets(node: ast.AST, package: Path) -> list[str]:
    """Dotted names an import statement, or a call of import_module with a constant, brings in."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        if node.level:
            return ["." * node.level + (node.module or "")]
        if node.module == package.name:  # from gis import x: x is a module of ours, or a public name
            return [f"{node.module}.{alias.name}" for alias in node.names]
        return [node.module or ""]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in {"import_module", "__import__"}:
            return [str(node.args[0].value)]
    return []


def imports_of(path: Path, package: Path) -> Iterator[Import]:
    home = home_of(path, package)

    def visit(node: ast.AST, at_load: bool, for_types: bool) -> Iterator[Import]:
        for name in targets(node, package):
            yield Import(home, name, getattr(node, "lineno", 0), at_load, for_types)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                yield from visit(child, False, True)
            for child in node.orelse:
                yield from visit(child, at_load, for_types)
            return
        inner = at_load and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inner, for_types)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), True, False)


def all_imports(package: Path) -> list[Import]:
    return [found for path in sorted(package.rglob("*.py")) for found in imports_of(path, package)]


def wrong_order(found: list[Import], package: str = "gis") -> list[str]:
    """Imports within the package that do not point to the left; the package's own front page may name anything."""
    wrong = []
    for item in found:
        if item.target.startswith("."):
            wrong.append(f"{item} (relative)")
            continue
        first, _, rest = item.target.partition(".")
        if first != package or item.home == "":
            continue
        module = rest.split(".")[0]
        if module in {item.home, "__version__"}:
            continue
        if RANK.get(module, len(ORDER)) >= RANK.get(item.home, -1):
            wrong.append(str(item))
    return wrong


def wrong_door(found: list[Import]) -> list[str]:
    return [
        str(item)
        for item in found
        if not item.for_types and item.home != DOORS.get(item.target.split(".")[0], item.home)
    ]


def wrong_load(found: list[Import]) -> list[str]:
    return [
        str(item)
        for item in found
        if item.at_load
        and item.target.split(".")[0] in HEAVY
        and not (item.home == JIT_HOME and item.target.split(".")[0] == "numba")
    ]


def long_parts(package: Path) -> list[str]:
    found = []
    for path in sorted(package.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(package.parent).as_posix()
        if (lines := text.count("\n")) > MAX_MODULE_LINES:
            found.append(f"{name}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno  # beneath the line of the def
                if lines > MAX_FUNCTION_LINES:
                    found.append(f"{name}:{node.lineno} {node.name}: {lines} lines")
    return found


@pytest.fixture(scope="module")
def package(checkout: Path) -> Path:
    return checkout / "gis"


@pytest.fixture(scope="module")
def found(package: Path) -> list[Import]:
    return all_imports(package)


def test_every_module_has_a_place_in_the_order(package):
    names = {path.stem for path in package.glob("*.py")} | {path.parent.name for path in package.glob("*/*.py")}
    assert names - {"__init__", "__main__"} <= RANK.keys()


def test_modules_import_only_what_stands_to_their_left(found):
    assert wrong_order(found) == []


def test_evidence_packages_do_not_import_one_another(found):
    evidence = {"rasters", "boundaries", "historical"}
    crossing = [
        str(item)
        for item in found
        if item.home in evidence and item.target.startswith("gis.")
        if item.target.split(".")[1] in evidence - {item.home}
    ]
    assert crossing == []


def test_rasterio_and_dask_have_one_door_each(found):
    assert wrong_door(found) == []


def test_heavy_libraries_are_imported_where_they_are_used(found):
    assert wrong_load(found) == []


def test_modules_and_functions_stay_short(package):
    assert long_parts(package) == []


def loaded_by(module: str, watched: set[str], checkout: Path) -> list[str]:
    """Which of ``watched`` a fresh interpreter has loaded after importing ``module``."""
    code = f"import sys, {module}; print(*set(sys.argv[1:]) & sys.modules.keys())"
    command = [sys.executable, "-c", code, *sorted(watched)]
    result = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return sorted(result.stdout.split())


def test_import_gis_loads_neither_numpy_nor_any_heavy_library(checkout):
    assert loaded_by("gis", HEAVY | {"numpy", "pydantic"}, checkout) == []


def test_the_command_line_starts_without_any_heavy_library(checkout):
    assert loaded_by("gis.cli", HEAVY, checkout) == []


def test_loaded_libraries_are_seen(checkout):
    assert loaded_by("gis.grid", HEAVY | {"numpy"}, checkout) == ["numpy"]


# The checks above must be able to fail: each sees the fault it is for, at module level and inside a function.

FAULTS = {
    "rightward": ("grid.py", "from gis.zonal import stats", wrong_order),
    "same bracket": ("rasters/doctor.py", "import gis.boundaries.reader", wrong_order),
    "through the front page": ("errors.py", "from gis import crs", wrong_order),
    "relative": ("zonal/stats.py", "from . import kernels", wrong_order),
    "unknown module": ("zonal/stats.py", "from gis import helpers", wrong_order),
    "by name": ("grid.py", "import importlib; importlib.import_module('gis.cli')", wrong_order),
    "rasterio elsewhere": ("zonal/stats.py", "from rasterio.windows import Window", wrong_door),
    "dask elsewhere": ("raster_io.py", "import dask.array", wrong_door),
}


def tree_with(tmp_path: Path, name: str, source: str) -> list[Import]:
    path = tmp_path / "gis" / name
    path.parent.mkdir(parents=True)
    path.write_text(source, encoding="utf-8")
    return all_imports(tmp_path / "gis")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen_at_module_level_and_inside_a_function(fault, tmp_path):
    name, statement, check = FAULTS[fault]
    assert check(tree_with(tmp_path / "module", name, statement))
    assert check(tree_with(tmp_path / "lazy", name, f"def f():\n    {statement}\n"))


def test_heavy_imports_are_seen_at_load_and_allowed_when_lazy_or_for_types(tmp_path):
    heavy = "import geopandas as gpd"
    assert wrong_load(tree_with(tmp_path / "a", "export/gpkg.py", heavy))
    assert wrong_load(tree_with(tmp_path / "b", "export/gpkg.py", f"try:\n    {heavy}\nexcept ImportError:\n    pass"))
    assert not wrong_load(tree_with(tmp_path / "c", "export/gpkg.py", f"def f():\n    {heavy}"))
    assert not wrong_load(tree_with(tmp_path / "d", "export/gpkg.py", f"if TYPE_CHECKING:\n    {heavy}"))
    assert wrong_load(tree_with(tmp_path / "e", "panel/pairs.py", "import numba"))
    assert not wrong_load(tree_with(tmp_path / "f", "zonal/kernels.py", "import numba"))


def test_long_modules_and_functions_are_seen(tmp_path):
    package = tmp_path / "gis"
    package.mkdir()
    (package / "grid.py").write_text("def f():\n" + "    x = 1\n" * MAX_MODULE_LINES, encoding="utf-8")
    assert len(long_parts(package)) == 2
    (package / "grid.py").write_text("def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES, encoding="utf-8")
    assert long_parts(package) == []
