"""Whether a run has anything to do: one key over all inputs, settings and code, kept beside the outputs.

In: a workspace and its two series. Out: the key; or what the last run left, when nothing has changed since.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gis.rasters.archive import file_sha256
from gis.tables import atomic_path

if TYPE_CHECKING:
    from gis.rasters.series import Series
    from gis.workspace import Workspace

KEY_FILE = "last_run.json"
"""In the cache: the key of the last finished run and its outputs' hashes; without it the next run does its work."""


def package_fingerprint() -> str:
    """SHA-256 of the source text of the whole package: other code may give other numbers."""
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parent.parent
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def run_parts(workspace: Workspace, series: tuple[Series, ...]) -> dict[str, str]:
    """What a run is made of, by a name for people: the code, the config, every file it reads; and the hash of each.

    ``series`` are lights and population, in this order.
    """
    parts = {
        "the code": package_fingerprint(),
        "workspace.toml": hashlib.sha256(workspace.config_path.read_bytes()).hexdigest(),
    }
    for role, one in zip(("lights", "population"), series, strict=False):
        parts |= {f"{role} {f.year}": f"{one.product.name} {f.sha256}" for f in one.files}
    for path in sorted(_named_files(workspace, workspace.config.model_dump())):
        hashes = "".join(file_sha256(p, workspace.cache) for p in _with_sidecars(path))
        parts[path.name] = hashlib.sha256((parts.get(path.name, "") + hashes).encode()).hexdigest()
    return parts


def run_key(workspace: Workspace, series: tuple[Series, ...]) -> str:
    """SHA-256 over the config, the content of every file a run reads, and the code."""
    return key_of(run_parts(workspace, series))


def key_of(parts: dict[str, str]) -> str:
    """One hash over all parts."""
    return hashlib.sha256(json.dumps(sorted(parts.items())).encode()).hexdigest()


def why_again(workspace: Workspace, parts: dict[str, str]) -> str:
    """Why a run that is not the first has something to do; nothing for a first one."""
    try:
        last: dict[str, str] = dict(json.loads((workspace.cache / KEY_FILE).read_text(encoding="utf-8"))["parts"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    told = []
    for word, names in (
        ("changed", [n for n in parts if n in last and parts[n] != last[n]]),
        ("new", [n for n in parts if n not in last]),
        ("gone", [n for n in last if n not in parts]),
    ):
        if names:
            told.append(f"{word}: {', '.join(names[:4])}" + (f" and {len(names) - 4} more" if len(names) > 4 else ""))
    return "; ".join(told) or "an output was missing or changed"


def _named_files(workspace: Workspace, value: Any) -> set[Path]:
    """Every file that a text of the config names."""
    if isinstance(value, dict):
        return {path for item in value.values() for path in _named_files(workspace, item)}
    if isinstance(value, (list, tuple)):
        return {path for item in value for path in _named_files(workspace, item)}
    if not isinstance(value, str) or not value or "\n" in value or len(value) > 1000:
        return set()
    path = workspace.path(value)
    return {path} if path.is_file() or (path.is_dir() and path.suffix.lower() == ".gdb") else set()


def _with_sidecars(path: Path) -> list[Path]:
    """A file and those that may belong to it: a Shapefile or MapInfo table is several, a ``.gdb`` a folder of them.

    All that share its stem count, whatever their endings: one too many costs a run, one too few a stale result. An
    open GeoPackage keeps what was edited last in a file of its own (``-wal``) until it is closed.
    """
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file() and p.suffix != ".lock")
    beside = (p for p in path.parent.iterdir() if p.stem == path.stem or p.name == f"{path.name}-wal")
    return sorted(p for p in beside if p.is_file())


def finished(workspace: Workspace, key: str) -> tuple[dict[str, Path], tuple[str, ...]] | None:
    """The outputs of the last run, what -> file, and its last words; None unless key and outputs are the same."""
    try:
        last = json.loads((workspace.cache / KEY_FILE).read_text(encoding="utf-8"))
        outputs = {what: (workspace.root / name, sha256) for what, (name, sha256) in last["outputs"].items()}
        same, words = last["key"] == key, tuple(map(str, last["words"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not same or any(not p.is_file() or file_sha256(p, workspace.cache) != h for p, h in outputs.values()):
        return None
    return {what: path for what, (path, _) in outputs.items()}, words


def remember(workspace: Workspace, parts: dict[str, str], paths: dict[str, Path], words: tuple[str, ...]) -> None:
    """Write down that a run made of these parts has finished, and what it had to say beyond its summary."""
    outputs = {
        what: (path.relative_to(workspace.root).as_posix(), file_sha256(path, workspace.cache))
        for what, path in paths.items()
    }
    with atomic_path(workspace.cache / KEY_FILE) as temporary:
        last = {"key": key_of(parts), "parts": parts, "outputs": outputs, "words": words}
        temporary.write_text(json.dumps(last, ensure_ascii=False), encoding="utf-8")
