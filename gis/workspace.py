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


TableVintage = Annotated[
    str | int | None, BeforeValidator(lambda value: str(value) if isinstance(value, date) else value)
]


class TableSource(_Section):
    """A table of cities or pairs: CSV or Parquet, relative to the workspace."""

    file: str
    """CSV or Parquet."""
    vintage: TableVintage = None
    """Date the codes of the table stood; default: the panel's. Codes are carried to the panel's vintage by lineage."""
    drop_unknown: bool = False
    """Leave out rows of units that are not in the panel, instead of refusing them."""


class CitationColumns(_Section):
    """``[flows.citations.columns]``: what the files call things. Unset: the name of the key itself, where there."""

    application: str | None = None
    """Application number of a patent, the same text as in the citations."""
    year: str | None = None
    """Year of application; publication_year and grant_year for the other two dates."""
    publication_year: str | None = None
    grant_year: str | None = None
    type: str | None = None
    """invention, utility or design."""
    stage: str | None = None
    """publication or grant."""
    applicant_no: str | None = None
    """Order of an application's applicants, one row each."""
    city_code: str | None = None
    """Administrative code of the address, of a city or a county."""
    postcode: str | None = None
    lon: str | None = None
    lat: str | None = None
    is_digital: str | None = None
    """1 for a digital technology."""
    citing: str | None = None
    """Citing application number."""
    cited: str | None = None
    """Cited application number."""


class CitationSource(_Section):
    """``[flows.citations]``: flows counted from patents and their citations (METHOD 4.2)."""

    patents: str
    """Patents: CSV or Parquet."""
    citations: str
    """Citations: CSV or Parquet with citing and cited application numbers."""
    columns: CitationColumns = CitationColumns()
    encoding: str = "utf-8"
    """Text encoding of CSV files; gb18030 for files from Chinese spreadsheets."""
    postcodes: str | None = None
    """Table of postcode and city_code; a postcode may be given by its first digits."""
    vintage: TableVintage = None
    """Date the codes of the addresses stood; default: the panel's."""
    date: Literal["application", "publication", "grant"] = "application"
    """Which year of the citing patent dates a citation."""
    multi: Literal["first", "full", "fractional"] = "first"
    """Several applicants in several cities: the first's, every pair of cities as 1, or shares that add up to 1."""
    repeated: Literal["once", "each"] = "once"
    """A citation given twice counts once, or as often as it is given."""
    cited: Literal["digital", "all"] = "digital"
    """Which cited patents count."""


class Flows(_Section):
    """``[flows]``: directed flows of knowledge, from a table or from citations (METHOD 4)."""

    file: str | None = None
    """Directed flows: CSV or Parquet with ``src, dst, year, n``; or give ``[flows.citations]``."""
    vintage: TableVintage = None
    """Date the codes of the table stood; default: the panel's."""
    districts: str | None = None
    """The same between districts, for flows between centre and periphery and for the panel of district pairs."""
    drop_unknown: bool = False
    """Leave out flows of units that are not in the panel, instead of refusing them."""
    years: tuple[int, int] | None = None
    """First and last covered year; default: every year that has a row."""
    lag: Annotated[int, Field(ge=0)] = 1
    """Years between a row and its flows (METHOD 4.1)."""
    orient_lag: Annotated[int, Field(ge=1, le=2)] = 1
    """1: explanatory variables are read with the row's hi and lo; 2: with those of the row before (reading ii)."""
    link_above: Annotated[float, Field(ge=0)] = 0.0
    """A flow above it is a link of the network (METHOD 10)."""
    empty_margin: Literal["zero", "nan"] = "zero"
    """Intensive margin of a city that sends to none."""
    citations: CitationSource | None = None


class HighSpeedRail(TableSource):
    """``[covariates.hsr]``: ``city_i, city_j, open_year``, or lines with stops: ``line, city_code, open_year``."""

    lag: int = 1
    """Years between a row and what it looks at."""


class Similarity(TableSource):
    """``[covariates.ts]``: patents by class, ``city_code, year, ipc, n``."""

    level: Literal["section", "class", "subclass"] = "subclass"
    """How much of the IPC symbol counts: A, A01 or A01B."""
    stock: bool = False
    """Whether a year's classes are those of all patents up to it."""
    lag: int = 1
    """Years between a row and what it looks at."""


class Demonstration(TableSource):
    """``[covariates.ipp]``: intellectual-property demonstration cities, ``city_code`` and a year."""

    column: str = "start_year"
    """Column of the first year of the status."""
    lag: int = 1
    """Years between a row and what it looks at."""


class Distance(_Section):
    """``[covariates.distance]``: distances, bins and borders (METHOD 10, P0)."""

    points: Literal["seats", "population", "polygon"] = "polygon"
    """Where a city is: its seat, the mean of its districts by population, or the centroid of its polygon."""
    file: str | None = None
    """For ``seats``: CSV or Parquet with ``city_code, lon, lat``, WGS 84."""
    bin_km: Annotated[float, Field(gt=0)] = 100.0
    """Width of the bins [km]."""
    border_tolerance_km: Annotated[float, Field(ge=0)] = 0.0
    """Borders of neighbours may lie this far apart, for layers that do not match vertex by vertex [km]."""

    @model_validator(mode="after")
    def _seats_need_a_file(self) -> Distance:
        if (self.points == "seats") != (self.file is not None):
            raise ValueError('points = "seats" needs a file of seats, and only it')
        return self


class Clusters(TableSource):
    """``[covariates.clusters]``: urban clusters, ``cluster, city_code``; a city may be in several."""


class CityCovariate(TableSource):
    """``[[covariates.city]]``: a column of a city-level table, in one or more forms."""

    name: Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,21}$")]
    """Name of the variable; a form adds its own ending, as in ``gdp_ratio_lh``."""
    column: str
    """Column of the table; ``city_code``, and ``year`` where values change, are the others."""
    forms: Annotated[
        tuple[Literal["ratio_lh", "diff_hl", "sum", "product", "own_l", "own_h"], ...], Field(min_length=1)
    ] = ("own_l", "own_h")
    """Forms: lo over hi, hi minus lo, sum, product, lo's own, hi's own."""
    per: str | None = None
    """Column to divide by first, such as the population."""
    transform: Literal["none", "ln", "ln1p"] = "none"
    """Logarithm of x, or of 1 + x, before the form."""
    lag: int = 1
    """Years between a row and its value."""
    year: int | None = None
    """Base year whose value holds in every row."""
    label: str = ""
    """What it means, for the codebook; default: the column."""
    unit: str = "1"
    """Its unit."""


class PairCovariate(TableSource):
    """``[[covariates.pair]]``: a column of a pair-level table, ``city_i, city_j`` and perhaps ``year``."""

    name: Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,31}$")]
    """Name of the variable."""
    column: str
    """Column of the table."""
    lag: int = 1
    """Years between a row and its value."""
    absent: float | None = None
    """Value of a pair without a row; default: unknown."""
    label: str = ""
    """What it means, for the codebook; default: the column."""
    unit: str = "1"
    """Its unit."""


class Covariates(_Section):
    """``[covariates]``: what stands beside Bal and flows in the pair panel (METHOD 4.3)."""

    hsr: HighSpeedRail | None = None
    ts: Similarity | None = None
    ipp: Demonstration | None = None
    distance: Distance | None = None
    clusters: Clusters | None = None
    city: tuple[CityCovariate, ...] = ()
    pair: tuple[PairCovariate, ...] = ()


class Moderator(TableSource):
    """A moderator made of one column of a city-level table, and of a second one for its alternative."""

    column: str
    """Column of the table."""
    per: str | None = None
    """Column to divide by, such as the population."""
    year: int | None = None
    """Base year; default: the lagged year."""
    lag: int = 1
    """Years between a row and its value, without a base year."""
    alt: str | None = None
    """Column of the alternative, ``..._alt``."""
    alt_per: str | None = None
    """Column to divide the alternative by."""


class Knowledge(Moderator):
    """``[moderators.compat_kno]``: new digital firms; the alternative is their registered capital."""

    ln: Literal["auto", "ln", "ln1p"] = "auto"
    """Logarithm of x, of 1 + x, or of 1 + x where any value is 0."""


class Illiteracy(Moderator):
    """``[moderators.gap_l]``: illiteracy rates; the alternative is years of schooling."""

    reverse: Literal["max", "inverse", "none"] = "max"
    """Largest ratio minus the ratio, 1 over it, or as it is; the alternative is not reversed."""


class Imports(TableSource):
    """``[moderators.compat_dem]``: imports by source country, ``city_code, hs2, country, value``, of a base year."""


class Moderators(_Section):
    """``[moderators]``: by the names of METHOD 6.5."""

    compat_kno: Knowledge | None = None
    compat_dem: Imports | None = None
    gap_k: Moderator | None = None
    gap_l: Illiteracy | None = None
    gap_d: Moderator | None = None
    gap_scale: Moderator | None = None
    regions: bool = False
    """east_east, west_west, east_west and east_dev."""
    gap_light: bool = False
    """gap_light and gap_light_first."""
    center: bool = False
    """Whether compat_* and gap_* (but gap_light) are taken from their means over all rows."""


class WithinCity(_Section):
    """``[within_city]``: inequality between a city's districts (METHOD 7)."""

    centre: Literal["seat", "districts", "brightest", "share90"] | None = None
    """How the centre is chosen; default: ``seat`` where seats are given, else ``brightest``."""
    seats: str | None = None
    """Seats of city governments: CSV or Parquet with ``city_code, lon, lat``, WGS 84."""
    base_year: int | None = None
    """Year whose light chooses the centre; default: the first."""
    dynamic: bool = False
    """Whether the centre is chosen anew every year."""
    mld_zeros: Literal["nan", "floor"] = "nan"
    """Mean log deviation of a city with a district of level 0: missing, or with levels raised to the floor."""
    mld_floor: Annotated[float, Field(ge=0)] = 0.0
    """Lowest level for ``mld_zeros = "floor"``, in units of the level."""
    lag: Annotated[int, Field(ge=0)] = 1
    """Years between a row and its flows between centre and periphery."""
    pairs: bool = False
    """Whether to build the pair panel of the districts of every city."""


class Sample(_Section):
    """``[sample]``: which rows of the pair panel are the sample (METHOD 3.1). Others stay in the table, flagged."""

    bal_quantile: tuple[float, float] | None = None
    """Quantiles of Bal outside which rows are dropped: [0.025, 0.975]."""
    bal_max: Annotated[float, Field(gt=0)] | None = None
    """Rows with a Bal above it are dropped."""
    winsor: tuple[float, float] | None = None
    """Quantiles to which Bal is pulled."""
    clusters_only: bool = False
    """Only pairs that share an urban cluster of ``[covariates.clusters]``."""
    cities: str | None = None
    """CSV with a column city_code: only pairs of these cities."""
    controls: tuple[str, ...] | None = None
    """Columns a row of the full sample has; default: those of hsr, ts and ipp that are configured."""


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
