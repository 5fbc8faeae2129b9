"""``environment.yml`` says what ``pyproject.toml`` says, and both say what the code imports."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

IMPORTED_AS = {"PIL": "pillow", "yaml": "pyyaml", "pydantic_core": "pydantic"}
"""Import name -> distribution that brings it, where the two differ."""


@pytest.fixture(scope="module")
def project(checkout: Path) -> dict[str, Any]:
    return tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def environment(checkout: Path) -> dict[str, Any]:
    return yaml.safe_load((checkout / "environment.yml").read_text(encoding="utf-8"))


def bounds(requirements: list[str]) -> dict[str, str]:
    parsed = [Requirement(text) for text in requirements]
    found = {canonicalize_name(r.name): str(r.specifier) for r in parsed}
    assert len(found) == len(parsed), "a requirement is listed twice"
    return found


def split(environment: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Requirements of the conda part and of the pip part, the project itself and pip left out."""
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str) and entry != "pip"]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip[-1] == "-e .", "the environment installs the checkout itself, last"
    return bounds(conda), bounds(pip[:-1])


def everything(project: dict[str, Any]) -> dict[str, str]:
    """What all extras together install; an extra that names another extra of ours adds nothing."""
    extras = project["optional-dependencies"]
    listed = project["dependencies"] + extras["estimate"] + extras["test"]
    return bounds([text for text in listed if Requirement(text).name != project["name"]])


def test_conda_and_pip_environments_hold_the_same_names_and_bounds(project, environment):
    conda, pip = split(environment)
    assert conda.pop("python") == project["requires-python"]
    assert not conda.keys() & pip.keys(), "a package stands in both parts"
    assert {**conda, **pip} == everything(project)


def test_every_requirement_has_a_lower_bound(project):
    without = [name for name, spec in everything(project).items() if ">=" not in spec]
    assert not without


def test_the_extra_all_is_all_other_extras(project):
    extras = project["optional-dependencies"]
    (whole,) = [Requirement(text) for text in extras["all"]]
    assert whole.name == project["name"]
    assert whole.extras == extras.keys() - {"all"}


def imported(folder: Path) -> set[str]:
    """Top-level names of every absolute import under a folder, at any depth of nesting."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"gis", "tests"}


def test_what_the_package_imports_is_declared(checkout, project):
    extras = project["optional-dependencies"]
    declared = bounds(project["dependencies"] + extras["estimate"])
    assert {IMPORTED_AS.get(name, name) for name in imported(checkout / "gis")} <= declared.keys()


def test_what_the_tests_import_is_declared(checkout, project):
    own = {path.stem for folder in ("tests", "benchmarks") for path in (checkout / folder).rglob("*.py")}
    declared = everything(project).keys() | {"packaging"}  # pytest itself requires packaging
    assert {IMPORTED_AS.get(name, name) for name in imported(checkout / "tests") - own} <= declared


def test_one_version_in_one_place(checkout, project):
    assert "version" in project["dynamic"]
    text = (checkout / "gis" / "__init__.py").read_text(encoding="utf-8")
    (version,) = re.findall(r'^__version__ = "(\d+\.\d+\.\d+(?:\.dev\d+)?)"$', text, flags=re.MULTILINE)
    changelog = (checkout / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\d+\.\d+\.\d+)", changelog, flags=re.MULTILINE)
    assert newest is not None
    assert version.split(".dev")[0] == newest.group(1)
