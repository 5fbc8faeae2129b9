"""Lineage of a run: which inputs, which settings and which versions made each output.

In: files read and written, the whole config. Out: ``out/lineage.json``, sorted, so that equal runs give equal files
but for the time stamp; and the questions it answers (`Lineage.inputs_of`).
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gis.errors import OptionInvalid, TableInvalid
from gis.raster_io import RasterPath, RemoteFile
from gis.tables import atomic_path

FORMAT = "lightpanel lineage 1"
"""First line of the file; changes when a reader would have to."""

PACKAGES = (
    "lightpanel", "numpy", "numba", "scipy", "shapely", "pyproj", "rasterio", "geopandas", "pyogrio", "pandas",
    "pyarrow", "xarray", "dask", "distributed", "pydantic", "rich", "typer", "linearmodels", "pyfixest",
)  # fmt: skip
"""Distributions whose version is recorded; one that is not installed is left out."""

_NATIVE = {
    "geos": ("shapely", "geos_version_string"),
    "proj": ("pyproj", "proj_version_str"),
    "gdal (rasterio)": ("rasterio", "__gdal_version__"),
    "gdal (pyogrio)": ("pyogrio", "__gdal_version_string__"),
}
"""Libraries inside other packages: who carries them, and under which name."""


@dataclass(frozen=True, slots=True)
class Input:
    """A file that was read."""

    role: str
    """What it was read as: ``lights``, ``population``, ``boundaries.city``, ..."""
    path: str
    """Relative to the workspace, with forward slashes; absolute for a file outside it; an address as it is, without
    signature."""
    sha256: str
    """Of the whole file."""
    size_bytes: int
    """Of the whole file."""
    crs: str | None = None
    """CRS it was read in, ``AUTHORITY:CODE`` or a name."""
    nodata: float | tuple[float, ...] | None = None
    """Values read as no data."""
    year: int | None = None
    """Year it stands for."""
    is_synthetic: bool = False
    """Whether the config declares it made up, not observed."""
    notes: tuple[str, ...] = ()
    """What was found out or done on reading."""
    etag: str | None = None
    """The server's mark of the content, for an object read by address; a file has none."""


@dataclass(frozen=True, slots=True)
class Output:
    """A file that was written."""

    path: str
    """Relative to the workspace, with forward slashes."""
    sha256: str
    """Of the whole file."""
    size_bytes: int
    """Of the whole file."""
    rows: int | None = None
    """Rows of a table, features of a layer."""
    made_from: tuple[str, ...] = ()
    """Paths of inputs, and of other outputs, it was made from."""
    steps: tuple[str, ...] = ()
    """Steps of the pipeline, in order."""


@dataclass(slots=True)
class Lineage:
    """Collects inputs and outputs while a run goes on; `write_lineage` writes it down at its end."""

    workspace: Path
    """Folder that paths are relative to."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The whole config, defaults included."""
    versions: dict[str, str] = field(default_factory=dict)
    """Name to version; filled by `write_lineage` when empty."""
    inputs: dict[str, Input] = field(default_factory=dict)
    """By path and role: one file may be read as two things."""
    outputs: dict[str, Output] = field(default_factory=dict)
    """By path."""
    created_utc: str = ""
    """When the file was written, ISO 8601."""

    def add_input(self, role: str, path: str | RasterPath, *, sha256: str | None = None, **facts: Any) -> str:
        """Record a file that was read; returns its path as `add_output` wants it in ``made_from``.

        Parameters
        ----------
        sha256 : str, optional
            Where it is known already; otherwise the file is read once more.
        **facts
            ``crs``, ``nodata``, ``year``, ``is_synthetic``, ``notes`` of `Input`.
        """
        if isinstance(path, RemoteFile):
            name, size, facts = str(path), path.size, facts | {"etag": path.etag}
            sha256 = sha256 or path.sha256()
        else:
            path = Path(path)
            name, size = self.relative(path), path.stat().st_size
            sha256 = sha256 or sha256_of(path)
        self.inputs[f"{name}|{role}"] = Input(role, name, sha256, size, **facts)
        return name

    def add_output(
        self,
        path: str | Path,
        *,
        rows: int | None = None,
        made_from: tuple[str, ...] | list[str] = (),
        steps: tuple[str, ...] | list[str] = (),
    ) -> str:
        """Record a file that was written; returns its path as later outputs want it in ``made_from``.

        Raises
        ------
        OptionInvalid
            ``made_from`` names a file that is neither an input nor an earlier output.
        """
        known = {i.path for i in self.inputs.values()} | set(self.outputs)
        sources = tuple(sorted({self.relative(Path(s)) if Path(s).is_absolute() else str(s) for s in made_from}))
        strange = [s for s in sources if s not in known]
        path = Path(path)
        name = self.relative(path)
        if strange:
            raise OptionInvalid(
                f"{name} is made from {', '.join(strange)}, which the lineage does not know",
                where="lineage",
                mend="add_input or add_output first",
            )
        size = path.stat().st_size
        self.outputs[name] = Output(name, sha256_of(path), size, rows, sources, tuple(steps))
        return name

    def inputs_of(self, output: str) -> tuple[Input, ...]:
        """All inputs behind an output, those behind its sources included, sorted as in the file."""
        if output not in self.outputs:
            raise OptionInvalid(
                f"the lineage has no output {output!r}", mend=f"one of {', '.join(sorted(self.outputs)) or 'none'}"
            )
        waiting, seen = [output], set()
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting.extend(self.outputs[name].made_from if name in self.outputs else ())
        return tuple(i for i in self.sorted_inputs() if i.path in seen)

    def sorted_inputs(self) -> list[Input]:
        """Inputs by role, year and path."""
        return sorted(self.inputs.values(), key=lambda i: (i.role, i.year or 0, i.path))

    def relative(self, path: Path) -> str:
        """Name a path by its place in the workspace."""
        full = path if path.is_absolute() else self.workspace / path
        try:
            return full.resolve().relative_to(self.workspace.resolve()).as_posix()
        except ValueError:
            return full.resolve().as_posix()


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, read in blocks."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def versions_now() -> dict[str, str]:
    """Versions of Python, of our dependencies, and of the native libraries that are loaded.

    Distributions are asked for their metadata and not imported. GEOS, PROJ and GDAL have no metadata: they are named
    where the package that carries them is loaded, which it is when it had a part in the run.
    """
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if "lightpanel" not in found:  # run from a checkout
        found["lightpanel"] = str(getattr(sys.modules.get("gis"), "__version__", "unknown"))
    for name, (carrier, attribute) in _NATIVE.items():
        value = getattr(sys.modules.get(carrier), attribute, None)
        if value:
            found[name] = str(value)
    return dict(sorted(found.items()))


def write_lineage(path: str | Path, lineage: Lineage, *, created_utc: str | None = None) -> Path:
    """Write a lineage as JSON, atomically; only ``created_utc`` differs between two writings of the same."""
    path = Path(path)
    data = {
        "format": FORMAT,
        "created_utc": created_utc or lineage.created_utc or datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": lineage.settings,
        "versions": lineage.versions or versions_now(),
        "inputs": [asdict(i) for i in lineage.sorted_inputs()],
        "outputs": [asdict(o) for _, o in sorted(lineage.outputs.items())],
    }
    text = json.dumps(_plain(data), ensure_ascii=False, indent=1, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


def _plain(value: Any) -> Any:
    """JSON has no NaN, no tuples and no dates: NaN and infinities become words, the rest lists and texts."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if hasattr(value, "item"):  # a numpy scalar
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if hasattr(value, "model_dump"):  # a Config
        return _plain(value.model_dump(mode="json"))
    return str(value)


def read_lineage(path: str | Path, *, workspace: str | Path | None = None) -> Lineage:
    """Read what `write_lineage` wrote.

    Parameters
    ----------
    workspace : path, optional
        Folder that paths are relative to; default: the one above the file's folder, as in ``<workspace>/out/``.

    Raises
    ------
    TableInvalid
        There is no such file, or it is not a lineage of this format.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise KeyError(data["format"])
        inputs = [Input(**{**i, "notes": tuple(i["notes"]), "nodata": _nodata(i["nodata"])}) for i in data["inputs"]]
        outputs = [
            Output(**{**o, "made_from": tuple(o["made_from"]), "steps": tuple(o["steps"])}) for o in data["outputs"]
        ]
        return Lineage(
            Path(workspace) if workspace is not None else path.resolve().parent.parent,
            data["settings"],
            data["versions"],
            {f"{i.path}|{i.role}": i for i in inputs},
            {o.path: o for o in outputs},
            data["created_utc"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TableInvalid(
            f"not a lineage ({FORMAT}): {error}", where=path, mend="write it anew: lightpanel run"
        ) from error


def _nodata(value: Any) -> float | tuple[float, ...] | None:
    if value is None:
        return None
    return tuple(float(v) for v in value) if isinstance(value, list) else float(value)
