"""Sections of ``workspace.toml`` about pairs: flows, covariates, the instrument, indices within cities.

In: nothing. Out: frozen, validated models, one per section.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    Field,
    model_validator,
)

if TYPE_CHECKING:
    pass


from gis.workspace.sections import TableVintage, _Section


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


class TableSource(_Section):
    """A table of cities or pairs: CSV or Parquet, relative to the workspace."""

    file: str
    """CSV or Parquet."""
    districts: str | None = None
    """The same table of districts (``district_code`` for ``city_code``), for the panels of pairs of districts."""
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

    @model_validator(mode="after")
    def _years_rise(self) -> Flows:
        if self.years is not None and self.years[0] > self.years[1]:
            raise ValueError("years run from the first to the last: [2000, 2019]")
        return self


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
    """Where a city is: its seat, where its people live on average, or the centroid of its polygon."""
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
