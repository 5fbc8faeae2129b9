"""``workspace.toml`` becomes a frozen, validated ``Config``; the only module that knows folder names.

In: a folder with ``workspace.toml``. Out: ``Workspace`` (root, config, output paths). An unknown key is an error that
names the nearest known one; every path in the file is relative to the workspace.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from gis.errors import ConfigInvalid, WorkspaceMissing

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


from gis.workspace.panel import (
    CitationColumns,
    CitationSource,
    CityCovariate,
    Clusters,
    Covariates,
    Demonstration,
    Distance,
    Flows,
    HighSpeedRail,
    Illiteracy,
    Imports,
    InstrumentSource,
    Knowledge,
    Moderator,
    Moderators,
    Offices,
    PairCovariate,
    Sample,
    Similarity,
    TableSource,
    Telephones,
    WithinCity,
)
from gis.workspace.sections import (
    About,
    Boundaries,
    BoundarySource,
    Columns,
    Compute,
    Estimation,
    Levels,
    Lights,
    Masks,
    Output,
    Panel,
    Population,
    RasterSource,
    Reprojection,
    TableVintage,
    Vintage,
    _Section,
)

RASTERS, BOUNDARIES, HISTORICAL, OUT, CACHE = "rasters", "boundaries", "historical", "out", ".cache"

CONFIG_NAME = "workspace.toml"


class Config(_Section):
    """A whole ``workspace.toml``."""

    workspace: About = About()
    lights: Lights
    population: Population
    boundaries: Boundaries
    levels: Levels = Levels()
    panel: Panel = Panel()
    output: Output = Output()
    compute: Compute = Compute()
    instrument: InstrumentSource | None = None
    estimate: Estimation = Estimation()
    reproject: Reprojection = Reprojection()
    flows: Flows | None = None
    covariates: Covariates = Covariates()
    moderators: Moderators = Moderators()
    within_city: WithinCity = WithinCity()
    sample: Sample = Sample()


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder, its config, and where things go."""

    root: Path
    """Absolute path of the folder that holds ``workspace.toml``."""
    config: Config
    """The validated content of ``workspace.toml``."""
    results: str = OUT
    """Folder of the results, relative to the workspace."""

    def path(self, relative: str) -> Path:
        """Resolve a path of the config against the workspace."""
        return self.root / relative

    @property
    def rasters(self) -> Path:
        """Where raster files are looked for by default."""
        return self.root / RASTERS

    @property
    def out(self) -> Path:
        """Where results go."""
        return self.root / self.results

    @property
    def cache(self) -> Path:
        """Where unpacked archives and intermediate results are kept; may be deleted at any time."""
        return self.root / CACHE

    @property
    def config_path(self) -> Path:
        """``workspace.toml`` itself."""
        return self.root / CONFIG_NAME


def read_workspace(folder: str | Path = ".") -> Workspace:
    """Read ``workspace.toml`` from a folder.

    Raises
    ------
    WorkspaceMissing
        The folder has no ``workspace.toml``.
    ConfigInvalid
        It is not TOML, has an unknown key, misses one, or holds a value of the wrong kind; all faults are listed.
    """
    root = Path(folder).expanduser().resolve()
    path = root / CONFIG_NAME
    if not path.is_file():
        raise WorkspaceMissing(
            f"no {CONFIG_NAME} in this folder",
            where=root,
            mend="lightpanel init writes one; lightpanel demo a full one",
        )
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        bytes_wrong = isinstance(error, UnicodeDecodeError)
        mend = "correct its encoding: save it as UTF-8" if bytes_wrong else "correct that line"
        raise ConfigInvalid(f"not a TOML file in UTF-8: {error}", where=path, mend=mend) from error
    return Workspace(root, config_from_dict(data, where=path))


def config_from_dict(data: dict[str, Any], *, where: object = None) -> Config:
    """Validate a parsed ``workspace.toml``; see `read_workspace` for the errors."""
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        by_key: dict[str, list[ErrorDetails]] = {}
        for item in error.errors():  # a value that may be of two kinds fails once for each kind: one fault
            by_key.setdefault(_key(item["loc"]), []).append(item)
        faults = [_fault(key, items) for key, items in by_key.items()]
        raise ConfigInvalid(
            "; ".join(what for what, _ in faults), where=where, mend="; ".join(mend for _, mend in faults)
        ) from error


def _fault(key: str, items: list[ErrorDetails]) -> tuple[str, str]:
    """What is wrong with one key, and how to mend it."""
    loc, kind = items[0]["loc"], items[0]["type"]
    if kind == "extra_forbidden":
        known = list(getattr(_model_at(loc[:-1]), "model_fields", {}))
        near = difflib.get_close_matches(str(loc[-1]), known, n=1, cutoff=0.4)
        return f"unknown key {key}", f"did you mean {near[0]}?" if near else f"known keys here: {', '.join(known)}"
    if kind == "missing" and isinstance(loc[-1], str):
        return f"missing key {key}", f"add {key}"
    return f"{key}: {' or '.join(item['msg'].removeprefix('Value error, ') for item in items)}", f"correct {key}"


def _key(loc: tuple[int | str, ...]) -> str:
    """Dotted key of a fault, as the file writes it: without the kinds of value that were tried."""
    return ".".join(str(part) for i, part in enumerate(loc) if isinstance(part, int) or _model_at(loc[:i]))


def _model_at(loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The section that a dotted key names; None for a plain value or an unknown key."""
    model: type[BaseModel] | None = Config
    for part in loc:
        if isinstance(part, int):  # an item of a list: its section is the list's
            continue
        field = model.model_fields.get(str(part)) if model else None
        kinds = getattr(field.annotation, "__args__", (field.annotation,)) if field else ()
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return model


__all__ = [
    "About",
    "BOUNDARIES",
    "Boundaries",
    "BoundarySource",
    "CACHE",
    "CONFIG_NAME",
    "CitationColumns",
    "CitationSource",
    "CityCovariate",
    "Clusters",
    "Columns",
    "Compute",
    "Config",
    "Covariates",
    "Demonstration",
    "Distance",
    "Estimation",
    "Flows",
    "HISTORICAL",
    "HighSpeedRail",
    "Illiteracy",
    "Imports",
    "InstrumentSource",
    "Knowledge",
    "Levels",
    "Lights",
    "Masks",
    "Moderator",
    "Moderators",
    "OUT",
    "Offices",
    "Output",
    "PairCovariate",
    "Panel",
    "Population",
    "RASTERS",
    "RasterSource",
    "Reprojection",
    "Sample",
    "Similarity",
    "TableSource",
    "TableVintage",
    "Telephones",
    "Vintage",
    "WithinCity",
    "Workspace",
    "config_from_dict",
    "read_workspace",
]
