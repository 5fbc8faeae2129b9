"""``workspace.toml`` becomes a frozen, validated ``Config``; the only module that knows folder names.

In: a folder with ``workspace.toml``. Out: ``Workspace`` (root, config, output paths). An unknown key is an error that
names the nearest known one; every path in the file is relative to the workspace.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from gis.errors import ConfigInvalid, WorkspaceMissing

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

CONFIG_NAME = "workspace.toml"
RASTERS, BOUNDARIES, HISTORICAL, OUT, CACHE = "rasters", "boundaries", "historical", "out", ".cache"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class About(_Section):
    """``[workspace]``."""

    name: str = "lightpanel workspace"
    """Shown in summaries and written into every output."""


class Masks(_Section):
    """``[lights.masks]``: what is taken out of the lights, or added to a unit, before summing. All off by default."""

    flares: str | None = None
    """Gas flares, a point or polygon layer: cells inside count as no data and leave the coverage denominator too."""
    flare_radius_km: Annotated[float, Field(gt=0)] = 3.0
    """Geodesic buffer around flare points [km] (METHOD 2 rule 5)."""
    water: str | None = None
    """Land polygons: light cells whose centre lies outside them count as no data (METHOD 2 rule 6)."""
    coast_buffer_km: Annotated[float, Field(ge=0)] = 0.0
    """Sea cells within this distance go to the nearest unit [km] (METHOD 2 rule 6)."""


class RasterSource(_Section):
    """``[lights]`` and ``[population]``: which product, and where it departs from the product's profile."""

    product: str
    """Profile name of ``rasters/README.md``, or ``custom``."""
    files: str | None = None
    """Path pattern with ``{year}``, relative to the workspace; default: the profile's own names under ``rasters/``."""
    years: tuple[int, int] | None = None
    """First and last year, both included; default: all years found."""
    band: Annotated[int, Field(ge=1)] = 1
    """Band to read, counted from 1."""
    unit: str | None = None
    """Unit of the values; needed for ``custom``."""
    quantity: Literal["count", "intensity"] | None = None
    """Whether cells hold counts or intensities; needed for ``custom``."""
    crs: str | None = None
    """CRS of the files, only where they carry none."""
    nodata: float | tuple[float, ...] | None = None
    """Further values that mean no data, beside the declared one."""
    negatives: Literal["zero", "keep", "nan"] | None = None
    """What a negative cell becomes (METHOD 2 rule 3); default: the profile's."""
    valid_range: tuple[float, float] | None = None
    """Values outside are an error that names the file; default: the profile's."""
    dn_min: Annotated[float, Field(ge=0)] = 0.0
    """Lit threshold: lights below it count as 0 (METHOD 2 rule 7)."""
    synthetic_years: tuple[int, ...] = ()
    """Years whose raster was made up, not observed; carried into every output and the lineage."""

    @field_validator("years", "valid_range")
    @classmethod
    def _rising(cls, pair: tuple[float, float] | None) -> tuple[float, float] | None:
        if pair is not None and pair[0] > pair[1]:
            raise ValueError(f"{pair[0]} comes after {pair[1]}: give the lower one first")
        return pair


class Lights(RasterSource):
    """``[lights]``."""

    masks: Masks = Masks()
    """``[lights.masks]``."""

    missing_years: Literal["nan", "error", "interpolate"] = "nan"
    """A year without a raster inside the series: levels NaN, refused, or linear between neighbours (rule 9)."""


class Population(RasterSource):
    """``[population]``."""

    missing_years: Literal["error", "nearest", "static", "interpolate"] = "error"
    """A light year without a population raster: refused, nearest year, one fixed year, or linear between years."""
    static_year: int | None = None
    """The year that ``missing_years = "static"`` uses for all years."""


class Columns(_Section):
    """``[boundaries.city.columns]``: what the layer calls things. Unset: found by the usual names."""

    code: str | None = None
    name: str | None = None
    parent: str | None = None
    """City code of a district; default: from the code by METHOD 9.1."""


class BoundarySource(_Section):
    """``[boundaries.city]`` and ``[boundaries.district]``."""

    file: str
    """GeoPackage, Shapefile, GeoJSON, TopoJSON, GeoParquet or CSV with WKT, relative to the workspace."""
    layer: str | None = None
    """Layer inside the file; needed when it has several."""
    vintage: Annotated[str | int, BeforeValidator(lambda value: str(value) if isinstance(value, date) else value)]
    """Date the boundaries stood: ``2019``, ``"2019-12-31"`` or TOML's own date, ``2019-12-31``."""
    columns: Columns = Columns()
    crs: str | None = None
    """CRS of the coordinates, only where the file carries none."""
    encoding: str | None = None
    """Text encoding of a Shapefile; default: .cpg, else detected (UTF-8, GB18030)."""
    codes: tuple[str, ...] | None = None
    """Keep these units only; default: all."""
    exclude: tuple[str, ...] = ()
    """Leave these units out."""


class Vintage(_Section):
    """``[[boundaries.vintages]]``: the layers of another date than the panel's."""

    city: BoundarySource | None = None
    district: BoundarySource | None = None

    @model_validator(mode="after")
    def _one_at_least(self) -> Vintage:
        if self.city is None and self.district is None:
            raise ValueError("a vintage needs a city, a district, or both")
        return self

    @property
    def date(self) -> str:
        """Date the layers stood, as the config writes it."""
        source = self.city or self.district
        assert source is not None
        return str(source.vintage)


class Boundaries(_Section):
    """``[boundaries]``: the layers of one vintage; cities are dissolved from districts where only these are given."""

    city: BoundarySource | None = None
    district: BoundarySource | None = None
    mode: Literal["fixed", "yearly", "crosswalk"] = "fixed"
    """One vintage for all years; each year's own; or each year's own carried to the panel's (METHOD 9.4)."""
    vintages: tuple[Vintage, ...] = ()
    """Other vintages, for the modes ``yearly`` and ``crosswalk`` and for ``lightpanel rebal``."""
    crosswalk_weight: Literal["area", "population", "lights"] = "population"
    """What a piece of ground weighs in the mode ``crosswalk``; rasters of the first year."""
    max_uncovered: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Largest share of a unit that may lie in no unit of the panel's vintage (METHOD 9.4)."""

    @model_validator(mode="after")
    def _one_at_least(self) -> Boundaries:
        if self.city is None and self.district is None:
            raise ValueError("give [boundaries.city], [boundaries.district], or both")
        if self.mode != "fixed" and not self.vintages:
            raise ValueError(f"mode = {self.mode!r} needs other vintages: add [[boundaries.vintages]]")
        return self


class Levels(_Section):
    """``[levels]``: how sums become levels (METHOD 2)."""

    measure: Literal["lambert", "true", "cells"] = "lambert"
    """The measure behind the column ``level``."""
    cov_pop_min: Annotated[float, Field(ge=0, le=1)] = 0.95
    """Below this population-weighted coverage the level is NaN (rule 1)."""
    cov_area_flag: Annotated[float, Field(ge=0, le=1)] = 0.95
    """Below this area coverage the row is flagged, never dropped (rule 1)."""
    rescale: bool = False
    """Divide the light by ``cov_pop`` where 0.5 <= cov_pop < ``cov_pop_min`` instead of NaN (rule 1)."""
    pop_min_persons: Annotated[float, Field(ge=0)] = 1.0
    """Fewer persons than this: level NaN (rule 2)."""
    preset: Literal["exact", "paper", "paper_both", "arcgis"] = "exact"
    """Sum native cells exactly, or replicate a run on reprojected rasters (METHOD 1.4); see ``[reproject]``."""


class Panel(_Section):
    """``[panel]``: the city-pair panel (METHOD 3)."""

    tie: Literal["previous", "drop", "t-2"] = "previous"
    """What orders a pair whose levels of last year are equal."""
    cities: str | None = None
    """CSV with a column ``city_code``: the roster of the panel; default: every city of the layer."""
    districts: bool = False
    """Whether to build the panel of district pairs as well."""


class Output(_Section):
    """``[output]``."""

    crs: str = "ESRI:102027"
    """CRS of the GeoPackage: ESRI:102027 or EPSG:4326."""
    pair_lines: bool = False
    """Whether the GeoPackage gets the pairs of the latest year as lines."""


class Compute(_Section):
    """``[compute]``."""

    threads: Annotated[int, Field(ge=1)] | None = None
    """Threads; default: one per core."""


class Offices(_Section):
    """``[instrument.offices]``: the digitised telegraph offices and how they are placed (METHOD 8.5, 8.6)."""

    file: str
    """CSV (``office_id, name`` and ``px, py``, or ``lon, lat``, or ``x, y``) or a vector file of points."""
    layer: str | None = None
    """Layer inside the file; needed when it has several."""
    crs: str | None = None
    """CRS of map coordinates, only where the file carries none."""
    space: Literal["auto", "pixel", "map"] = "auto"
    """What the coordinates are."""
    control_points: str | None = None
    """Control points of the scan: QGIS, ArcGIS, GDAL, IIIF or CSV."""
    control_points_crs: str | None = None
    """CRS of the control points, only where the file carries none."""
    scan: str | None = None
    """The scan; its size and resolution are needed for ArcGIS link tables, and catch points off the sheet."""
    meridian: str | None = None
    """Prime meridian of graticule points: a name, degrees east of Greenwich, or ``estimate``."""
    model: str = "auto"
    """Transform; ``auto`` takes the one with the smallest leave-one-out error."""
    sigma: Literal["global", "local"] = "global"
    """Standard deviation: leave-one-out RMSE / sqrt(2) for all, or from the nearest 8 control points."""
    sigma_km: Annotated[float, Field(ge=0)] | None = None
    """Standard deviation per axis of offices in map coordinates without control points [km]."""
    gazetteer: str | None = None
    """Names of places with coordinates, CSV or Turtle: offices are matched by name."""
    gazetteer_year: int | None = None
    """Only entries of the gazetteer that stood in this year."""
    lines: str | None = None
    """Telegraph lines between offices: CSV ``office_a, office_b`` or a vector file of lines."""
    lines_touch_km: Annotated[float, Field(gt=0)] = 5.0
    """A polyline passes an office within this distance [km]."""
    snap_sigmas: Annotated[float, Field(ge=0)] = 2.0
    """An office outside every city goes to the nearest within so many sigma; 0: never."""
    split_km: Annotated[float, Field(gt=0)] | None = None
    """Cities within this distance of an office share it equally; needed for ``counts = "split"`` [km]."""
    draws: Annotated[int, Field(ge=2000)] = 4000
    """Draws behind a probability."""
    bootstrap: Literal["none", "points", "positions", "both"] = "both"
    """What the bootstrap draws: control points (refit), positions, or both."""
    bootstrap_draws: Annotated[int, Field(ge=2)] = 200
    """Draws of the bootstrap."""
    seed: Annotated[int, Field(ge=0)] = 1907
    """Seed of all draws."""


class Telephones(_Section):
    """``[instrument.telephones]``: the 1984 variant, from any table of counts by city."""

    file: str
    """CSV with a column ``city_code``."""
    column: str = "telephones"
    """Column of the counts; an empty cell is unknown, not 0."""


class InstrumentSource(_Section):
    """``[instrument]``: the historical instrument (METHOD 5)."""

    flows: str
    """Directed flows: CSV or Parquet with ``src, dst, year, n``."""
    drop_unknown: bool = False
    """Leave out flows of cities that are not in the panel, instead of refusing them."""
    offices: Offices
    telephones: Telephones | None = None
    counts: Literal["hard", "expected", "split"] = "hard"
    """How offices are counted (A6)."""
    national: Literal["level", "sum_ln", "asinh", "ln1p"] = "level"
    """National net flow in levels or logarithms (A2)."""
    lag: Literal[0, 1, 2] = 1
    """Years between a row and its national flow (A3)."""
    leave_out: Literal["no", "loo", "loo_city"] = "no"
    """What the national flow leaves out of a pair's own (A4)."""
    denominator: Literal["all", "sample"] = "all"
    """Pairs that the shares are of (A5)."""
    zeros: Literal["keep", "plus1", "drop_zero"] = "keep"
    """Pairs with a city without offices."""
    iv_scale: Annotated[float, Field(gt=0)] = 1.0
    """The instrument is multiplied by this."""


class Estimation(_Section):
    """``[estimate]``: which models are estimated, and on what (METHOD 6)."""

    models: tuple[str, ...] = ("table1",)
    """Models by name: table1, eq1, eq2, iv_telegraph, iv_telephone, iv_both, moderator:COLUMN, iv_moderator:COLUMN."""
    formulas: dict[str, str] = {}
    """Name -> formula: ``bal ~ ln_dkf_net + hsr | pair_id + year``, with ``| endogenous ~ instruments`` for 2SLS."""
    tables: tuple[str, ...] = ()
    """Further Parquet or CSV tables with ``pair_id`` (and ``year``), joined to the pair panel."""
    flows: str | None = None
    """Directed flows, ``src, dst, year, n``; default: those of ``[instrument]``."""
    where: str | None = None
    """Rows to use, as a condition: ``bal <= 3 and year >= 2005``."""
    clustering: Literal["pair", "city_two_way", "dyadic"] = "pair"
    """Whose standard errors the printed tables show; the data tables hold all three."""
    all_errors: bool = False
    """Print all three standard errors under every coefficient."""
    by_year: tuple[str, ...] = ()
    """Exogenous regressors whose coefficient is also estimated and drawn year by year."""


class Reprojection(_Section):
    """``[reproject]``: the grid of the presets ``paper``, ``paper_both`` and ``arcgis`` (METHOD 1.4)."""

    crs: str = "ESRI:102027"
    """CRS of the projected rasters."""
    cell: Annotated[float, Field(gt=0)] = 1000.0
    """Side of a cell [unit of ``crs``: metre]; the grid's corner is a multiple of it."""
    lights: Literal["nearest", "bilinear", "average", "conserve"] = "nearest"
    """How lights are brought to that grid."""
    population: Literal["native", "conserve"] = "native"
    """Whether ``paper`` and ``arcgis`` sum people on their own grid, or brought to this one with nobody lost."""
    rasters: bool = False
    """Whether the projected rasters are outputs, under ``out/projected``; under ``exact`` they are made for this."""
    ledger: bool = True
    """Whether every raster is read once more for ``out/ledger.parquet``."""
    loss_max: Annotated[float, Field(ge=0)] | None = None
    """Share of the people that may go missing before a run fails; default: 1e-9, and any under ``paper_both``."""


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
        raise ConfigInvalid(f"not a TOML file in UTF-8: {error}", where=path, mend="correct that line") from error
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
