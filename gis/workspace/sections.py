"""Sections of ``workspace.toml``: inputs, levels, outputs.

In: nothing. Out: frozen, validated models, one per section.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

if TYPE_CHECKING:
    pass


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
    """Path pattern with ``{year}``, relative to the workspace; default: the profile's own names under ``rasters/``.
    With ``compute.remote`` an address with ``{year}``, and ``years`` beside it."""
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
    remote: bool = False
    """Whether ``files`` of a raster section may be an address (``https://``, ``s3://``, ``gs://``, ``az://``)."""


def _items(value: Any) -> Any:
    """A table of the file as pairs, which cannot be changed as a dict could."""
    return tuple(value.items()) if isinstance(value, dict) else value


class Estimation(_Section):
    """``[estimate]``: which models are estimated, and on what (METHOD 6)."""

    models: tuple[str, ...] = ("table1",)
    """Models by name: table1, eq1, eq2, iv_telegraph, iv_telephone, iv_both, moderator:COLUMN, iv_moderator:COLUMN."""
    formulas: Annotated[tuple[tuple[str, str], ...], BeforeValidator(_items)] = ()
    """Name -> formula: ``bal ~ ln_dkf_net + hsr | pair_id + year``, with ``| endogenous ~ instruments`` for 2SLS, and
    with ``if year >= 2010 and hsr == 1`` at the end for some rows only."""
    tables: tuple[str, ...] = ()
    """Further Parquet or CSV tables with ``pair_id`` (and ``year``), joined to the pair panel."""
    flows: str | None = None
    """Directed flows, ``src, dst, year, n``; default: those of ``[instrument]``."""
    where: str | None = None
    """Rows that every model uses, as a condition: ``bal <= 3 and year >= 2005``."""
    clustering: Literal["pair", "city_two_way", "dyadic", "jackknife"] = "pair"
    """Whose standard errors the printed tables show; the data tables hold all."""
    all_errors: bool = False
    """Print all standard errors under every coefficient."""
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
