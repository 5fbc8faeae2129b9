"""Every column of every table, written down once: name, dtype, unit, label; and how tables are checked and stored.

In: DataFrames or Arrow tables. Out: the same, checked against their declaration, written atomically as Parquet whose
fields carry unit and label. The same quantity and unit has the same name in every table.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gis.errors import GisError, TableInvalid, WriteFailed

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Dtype = Literal["string", "int64", "int32", "float64", "bool"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: what it holds, in which unit, and how a reader should understand it."""

    name: str
    """Lower case, unit at the end where there is one."""
    dtype: Dtype
    """Arrow type; a missing value is null in the file (NaN in pandas for ``float64``), never a sentinel."""
    unit: str
    """Unit in words or symbols; ``""`` for codes, names and flags; ``1`` for ratios."""
    label: str
    """What it means, in one sentence of at most 80 characters (the limit of a Stata variable label)."""


def _columns(*rows: tuple[str, Dtype, str, str]) -> dict[str, Column]:
    return {row[0]: Column(*row) for row in rows}


COLUMNS: dict[str, Column] = _columns(
    # keys and names
    ("city_code", "string", "", "City, six-character GB/T 2260 code in the vintage of the boundaries"),
    ("city_name", "string", "", "City name as the boundary layer writes it"),
    ("district_code", "string", "", "District or county, six-character GB/T 2260 code"),
    ("district_name", "string", "", "District or county name as the boundary layer writes it"),
    ("year", "int32", "year", "Calendar year of the row"),
    ("vintage", "string", "", "Date the boundaries of the row stood"),
    # light
    ("light_sum_dn_km2", "float64", "DN km2", "Light summed over the unit, cells weighed by area in ESRI:102027"),
    ("light_sum_true_dn_km2", "float64", "DN km2", "Light summed over the unit, cells weighed by ellipsoidal area"),
    ("light_sum_cells_dn", "float64", "DN cell", "Light summed over the unit, every cell weighing 1"),
    ("pop_persons", "float64", "persons", "Population summed over the unit on its native grid"),
    ("pop_years", "string", "", "Years of the population rasters behind the row: 2000, or 2000+2005"),
    ("level", "float64", "DN km2/person", "Light per person in the configured measure (column measure)"),
    ("measure", "string", "", "Measure of the column level: lambert, true or cells"),
    ("level_lambert", "float64", "DN km2/person", "Light per person, cells weighed by area in ESRI:102027"),
    ("level_true", "float64", "DN km2/person", "Light per person, cells weighed by area on the ellipsoid"),
    ("level_cells", "float64", "DN cell/person", "Light per person, every cell weighing 1"),
    ("light_density_dn", "float64", "DN", "light_sum_true_dn_km2 over area_km2: the unit's mean light"),
    ("pop_density_persons_km2", "float64", "persons/km2", "pop_persons over area_km2"),
    ("area_km2", "float64", "km2", "Area of the unit on the ellipsoid, raster edge or not"),
    ("area_lambert_km2", "float64", "km2", "Area of the unit in the ESRI:102027 plane"),
    # quality
    ("n_cells", "float64", "cells", "Light cells in the unit, borders counted by their share"),
    ("cov_area", "float64", "1", "Share of the unit's area with valid light cells"),
    ("cov_pop", "float64", "1", "Share of the unit's population living where the light cell is valid"),
    ("n_nodata_cells", "float64", "cells", "Light cells without data in the unit, borders counted by their share"),
    ("n_negative_cells", "float64", "cells", "Light cells below zero in the unit, before the negatives policy"),
    ("negative_share", "float64", "1", "Sum of negative light over the sum of absolute light, before the policy"),
    ("n_pop_negative_cells", "float64", "cells", "Population cells below zero that are not the declared nodata"),
    ("lit_share", "float64", "1", "Share of the unit's valid light cells above zero"),
    ("saturated_share", "float64", "1", "Share of the unit's lit cells at the raster's maximum"),
    ("n_flares", "int32", "points", "Gas-flare masks that touch the unit"),
    ("flags", "string", "", "Flags of METHOD section 2, joined by a semicolon; empty when clean"),
    # pairs
    ("pair_id", "int64", "", "code_i * 10^6 + code_j with code_i < code_j"),
    ("city_i", "string", "", "City of the pair with the lower code"),
    ("city_j", "string", "", "City of the pair with the higher code"),
    ("hi", "string", "", "More developed city of the pair by the level of the previous year"),
    ("lo", "string", "", "Less developed city of the pair by the level of the previous year"),
    ("bal", "float64", "1", "Level of lo over level of hi, both of the row's year; may exceed 1"),
    ("switched", "bool", "", "Whether hi differs from the previous row's; null at first and after a gap"),
    ("tie", "bool", "", "Whether last year's levels are equal to 1e-12; null where one is missing"),
    ("level_hi", "float64", "DN km2/person", "Level of hi in the row's year"),
    ("level_lo", "float64", "DN km2/person", "Level of lo in the row's year"),
    ("level_hi_lag", "float64", "DN km2/person", "Level of hi in the previous year"),
    ("level_lo_lag", "float64", "DN km2/person", "Level of lo in the previous year"),
    ("bal_flag", "string", "", "Why bal is missing: NOORDER, NOLEVEL or ZEROHI; empty when bal is there"),
    # national accounts
    ("raster_total_persons", "float64", "persons", "Sum of all valid cells of the population raster (the part read)"),
    ("zones_total_persons", "float64", "persons", "Population summed over all units of the layer"),
    ("raster_total_cells_dn", "float64", "DN cell", "Sum of all valid cells of the light raster (the part read)"),
    ("layer", "string", "", "Boundary layer: city or district"),
    ("n_units", "int32", "units", "Units of the layer"),
    ("n_levels", "int32", "units", "Units of the layer with a level"),
    ("is_synthetic", "bool", "", "Whether a raster behind the row was declared synthetic in workspace.toml"),
    # estimates
    ("model", "string", "", "Model of the estimation, by name"),
    ("stage", "string", "", "main, first_stage, reduced_form or marginal"),
    ("outcome", "string", "", "Column on the left of the regression"),
    ("term", "string", "", "Regressor: a column, or columns joined by a colon for their product"),
    ("role", "string", "", "exogenous, endogenous, instrument or marginal"),
    ("coef", "float64", "", "Coefficient, in units of the outcome per unit of the term"),
    ("se_pair", "float64", "", "Standard error, clustered by pair"),
    ("p_pair", "float64", "1", "Two-sided p value, clustered by pair"),
    ("ci_low_pair", "float64", "", "Lower end of the 95 % interval, clustered by pair"),
    ("ci_high_pair", "float64", "", "Upper end of the 95 % interval, clustered by pair"),
    ("se_city_two_way", "float64", "", "Standard error, clustered by first and second city"),
    ("p_city_two_way", "float64", "1", "Two-sided p value, clustered by first and second city"),
    ("ci_low_city_two_way", "float64", "", "Lower end of the 95 % interval, clustered by first and second city"),
    ("ci_high_city_two_way", "float64", "", "Upper end of the 95 % interval, clustered by first and second city"),
    ("se_dyadic", "float64", "", "Standard error, dyadic-robust"),
    ("p_dyadic", "float64", "1", "Two-sided p value, dyadic-robust"),
    ("ci_low_dyadic", "float64", "", "Lower end of the 95 % interval, dyadic-robust"),
    ("ci_high_dyadic", "float64", "", "Upper end of the 95 % interval, dyadic-robust"),
    ("title", "string", "", "Head of the column in a printed table"),
    ("formula", "string", "", "Model as a formula"),
    ("sample", "string", "", "Condition that rows had to meet; empty: none"),
    ("n_obs", "int64", "rows", "Rows of the sample"),
    ("n_pairs", "int64", "pairs", "Pairs in the sample"),
    ("n_cities", "int64", "cities", "Cities in the sample"),
    ("n_years", "int64", "years", "Years in the sample"),
    ("n_cities_effective", "float64", "cities", "Cities that carry the first coefficient, by their leverage"),
    ("n_singletons", "int64", "rows", "Rows dropped as alone in an effect, over all rounds"),
    ("r2", "float64", "1", "1 - SSR/SST, effects included; of 2SLS no measure of fit"),
    ("r2_within", "float64", "1", "1 - SSR/SST after the effects are taken out"),
    ("kp_f_pair", "float64", "1", "Kleibergen-Paap rk Wald F, clustered by pair"),
    ("effective_f_pair", "float64", "1", "Effective F (Olea-Pflueger), clustered by pair"),
    ("anderson_rubin_pair", "string", "", "Anderson-Rubin 95 % set, clustered by pair"),
    ("kp_f_city_two_way", "float64", "1", "Kleibergen-Paap rk Wald F, clustered by first and second city"),
    ("effective_f_city_two_way", "float64", "1", "Effective F (Olea-Pflueger), clustered by first and second city"),
    ("anderson_rubin_city_two_way", "string", "", "Anderson-Rubin 95 % set, clustered by first and second city"),
    ("kp_f_dyadic", "float64", "1", "Kleibergen-Paap rk Wald F, dyadic-robust"),
    ("effective_f_dyadic", "float64", "1", "Effective F (Olea-Pflueger), dyadic-robust"),
    ("anderson_rubin_dyadic", "string", "", "Anderson-Rubin 95 % set, dyadic-robust"),
    ("f_thresholds", "string", "", "Thresholds for the first-stage F, by name"),
    ("hansen_j", "float64", "1", "Hansen J of two-step GMM, clustered by pair"),
    ("hansen_p", "float64", "1", "p value of Hansen J"),
    ("rules", "string", "", "Small-sample rules and numbers of clusters"),
    ("library", "string", "", "Library that computed the coefficients"),
    ("notes", "string", "", "What was left out or is to be known"),
    ("step_no", "int32", "", "Step of the row waterfall, from 0"),
    ("step", "string", "", "Why rows go"),
    ("n_dropped", "int64", "rows", "Rows that go at this step"),
    ("n_left", "int64", "rows", "Rows left after this step"),
    ("variant", "string", "", "Variant of the data or the model"),
    # telegraph offices and the instrument
    ("office_id", "string", "", "Telegraph office, as the user named it"),
    ("office_name", "string", "", "Name as the sheet prints it"),
    ("px", "float64", "px", "Column on the scan, from its left edge; NaN where map coordinates were given"),
    ("py", "float64", "px", "Row on the scan, downward from its upper edge; NaN with map coordinates"),
    ("lon", "float64", "degree", "Longitude that is used, WGS 84"),
    ("lat", "float64", "degree", "Latitude that is used, WGS 84"),
    ("sigma_km", "float64", "km", "Standard deviation of that position, per axis"),
    ("position", "string", "", "Where the position comes from: scan, given or gazetteer"),
    ("map_lon", "float64", "degree", "Longitude where the map shows it, WGS 84"),
    ("map_lat", "float64", "degree", "Latitude where the map shows it, WGS 84"),
    ("map_sigma_km", "float64", "km", "Standard deviation of the map's position, per axis"),
    ("sigma_extra_km", "float64", "km", "Part of map_sigma_km that the digitiser gave, per axis"),
    ("gazetteer_match", "string", "", "MATCHED, AMBIGUOUS, FAR or UNKNOWN; empty where no gazetteer was asked"),
    ("gazetteer_id", "string", "", "Entry of the gazetteer nearest among those of that name"),
    ("gazetteer_km", "float64", "km", "From the map's position to that entry"),
    ("assign_flag", "string", "", "SNAPPED: nearest city; NOWHERE: no city is near; empty: inside its city"),
    ("snap_km", "float64", "km", "Distance to the city it was given to: 0 inside, NaN for none"),
    ("p_city", "float64", "1", "Probability that it stands in its city_code; NaN for none"),
    ("p_nowhere", "float64", "1", "Probability that it stands in no city"),
    ("p_office", "float64", "1", "Probability that the office stands in the city; adds up to 1 with p_nowhere"),
    ("n_offices", "float64", "offices", "Telegraph offices in the city, each in one city"),
    ("n_offices_expected", "float64", "offices", "Sum of the offices' probabilities for the city"),
    ("n_offices_split", "float64", "offices", "Offices, shared equally by the cities near them; NaN if not asked for"),
    ("draw", "int32", "", "Draw of the bootstrap, from 1"),
    ("share_root", "float64", "1", "n_i / sqrt(S): the product of two cities' is their pair's share in the draw"),
    ("office_share", "float64", "1", "Product of the pair's office counts over the sum of all pairs' products"),
    ("national_net", "float64", "flows", "National net flow from hi to lo that the row's instrument uses"),
    ("iv_hist_tel", "float64", "flows", "office_share times national_net times the scale of the instrument"),
    ("phone_share", "float64", "1", "Product of the pair's telephones over the sum of all pairs' products"),
    ("iv_1984_tel", "float64", "flows", "phone_share times the national net flow times the scale of the instrument"),
    ("instrument", "string", "", "Column of pair_instrument: iv_hist_tel or iv_1984_tel"),
    ("flow_year", "int32", "year", "Year of the flows behind the row's national net flow"),
    ("n_pairs_net", "int32", "pairs", "Pairs with orientation and flows, behind the national net flow"),
    ("dkf_htol_sum", "float64", "flows", "Sum over those pairs of the flow from hi to lo"),
    ("dkf_ltoh_sum", "float64", "flows", "Sum over those pairs of the flow from lo to hi"),
    ("statistic", "string", "", "What is counted or measured"),
    ("value", "float64", "", "Its value"),
    ("is_line_direct", "bool", "", "Whether a telegraph line joins offices of the two without one between"),
    ("is_line_connected", "bool", "", "Whether some way along telegraph lines joins the two"),
    ("line_km", "float64", "km", "Shortest way along the lines between offices of the two; NaN for none"),
    # georeferencing
    ("transform_model", "string", "", "Model from the scan to the ground, by name"),
    ("rank_loo", "int32", "", "Rank by leave-one-out error, from 1"),
    ("is_chosen", "bool", "", "Whether the outputs were made with this model"),
    ("n_points_fitted", "int32", "points", "Control points the model was fitted to"),
    ("n_parameters", "float64", "parameters", "Parameters of the model; the effective number of a smoothed spline"),
    ("rmse_km", "float64", "km", "Root mean square residual: optimistic, 0 for an exact spline"),
    ("sigma_axis_km", "float64", "km", "Unbiased standard deviation of residuals per axis; NaN if none is spare"),
    ("loo_rmse_km", "float64", "km", "Root mean square error of points predicted from the others"),
    ("loo_median_km", "float64", "km", "Median error of points predicted from the others"),
    ("loo_p90_km", "float64", "km", "90th percentile of the error of points predicted from the others"),
    ("block_rmse_km", "float64", "km", "Root mean square error with whole regions of points left out"),
    ("n_points_check", "int32", "points", "Check points, which are never fitted"),
    ("check_rmse_km", "float64", "km", "Root mean square error at the check points; NaN without any"),
    ("n_outliers", "int32", "points", "Points above 3.5 sigma: reported, never dropped"),
    ("map_parameters", "string", "", "Parameters that can be checked against the sheet, with standard errors"),
    ("transform_notes", "string", "", "What to read beside the model's numbers"),
    ("point_id", "string", "", "Control point, as its file names it"),
    ("is_enabled", "bool", "", "Whether the control point is switched on"),
    ("point_role", "string", "", "train: fitted; check: only measures the error"),
    ("point_kind", "string", "", "city, coast or graticule"),
    ("sigma_px", "float64", "px", "How well the point can be placed on the scan, per axis; NaN if unknown"),
    ("residual_east_km", "float64", "km", "Fitted minus true position, east"),
    ("residual_north_km", "float64", "km", "Fitted minus true position, north"),
    ("residual_km", "float64", "km", "Distance of the fitted from the true position"),
    ("loo_east_km", "float64", "km", "Predicted from the others minus true position, east; NaN if not fitted"),
    ("loo_north_km", "float64", "km", "Predicted from the others minus true position, north; NaN if not fitted"),
    ("loo_km", "float64", "km", "Distance of the position predicted from the others from the true one"),
    ("leverage", "float64", "1", "Share of a point in its own fitted position"),
    ("studentised", "float64", "1", "Residual over sigma sqrt(1 - leverage); above 3.5 an outlier"),
    ("is_outlier", "bool", "", "Whether studentised is above 3.5; null if not fitted"),
    ("point_note", "string", "", "What was doubtful about the control point"),
    # boundary vintages
    ("old_code", "string", "", "Code in the earlier vintage; empty for a unit that is new"),
    ("new_code", "string", "", "Code in the later vintage; empty for a unit that is gone"),
    ("old_name", "string", "", "Name in the earlier vintage"),
    ("new_name", "string", "", "Name in the later vintage"),
    ("changes", "string", "", "What became of the unit: recoded, renamed, lost, gained, split, merged, ..."),
    ("old_area_km2", "float64", "km2", "Area in the earlier vintage, on the ellipsoid"),
    ("new_area_km2", "float64", "km2", "Area in the later vintage, on the ellipsoid"),
    ("area_change", "float64", "1", "Area in the later over area in the earlier vintage, minus 1"),
    ("lost_km2", "float64", "km2", "Ground that went to other units"),
    ("gained_km2", "float64", "km2", "Ground that came from other units"),
    ("noise_km2", "float64", "km2", "Ground in strips between two drawings of one border"),
    ("ground", "string", "", "What the polygons tell of the change"),
    ("event", "string", "", "Official changes behind it: date, parts, decree"),
    ("overlap_km2", "float64", "km2", "Ground that the old and the new unit share"),
    ("old_share", "float64", "1", "Shared ground over the old unit's area"),
    ("new_share", "float64", "1", "Shared ground over the new unit's area"),
    ("width_km", "float64", "km", "Mean width of the piece: twice its area over its perimeter"),
    ("core_km2", "float64", "km2", "What is left of the piece without strips narrower than the noise width"),
    ("verdict", "string", "", "stays with its unit, moves to another, or noise between two drawings"),
    ("counties", "string", "", "Districts of the earlier vintage the moved ground is made of"),
    ("weight", "float64", "1", "Share of the old unit that goes to the new one; an old unit's add up to 1"),
    ("uncovered_share", "float64", "1", "Share of the old unit that lies in no new one, before rescaling"),
    ("basis", "string", "", "What the weight was measured in: area, population or lights"),
    ("is_sliver", "bool", "", "Whether the piece is a strip between two drawings of one border"),
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its columns in order and the columns that identify a row."""

    name: str
    """File name without ending, and layer name in a GeoPackage."""
    title: str
    """One sentence for the reader."""
    key: tuple[str, ...]
    """Columns whose values, taken together, occur once."""
    columns: tuple[str, ...]
    """Column names in order; each is declared in ``COLUMNS``."""

    def arrow_schema(self) -> pa.Schema:
        """Arrow schema with unit and label in each field's metadata, and title and key in the table's."""
        import pyarrow as pa

        fields = []
        for name in self.columns:
            column = COLUMNS[name]
            meta = {"unit": column.unit, "label": column.label}
            fields.append(pa.field(name, pa.type_for_alias(column.dtype), metadata=meta))
        return pa.schema(
            fields, metadata={"lightpanel.table": self.name, "title": self.title, "key": ",".join(self.key)}
        )


_UNIT_YEAR = (
    "level", "measure", "level_lambert", "level_true", "level_cells",
    "light_sum_dn_km2", "light_sum_true_dn_km2", "light_sum_cells_dn", "pop_persons", "pop_years",
    "light_density_dn", "pop_density_persons_km2", "area_km2", "area_lambert_km2",
    "n_cells", "cov_area", "cov_pop", "n_nodata_cells", "n_negative_cells", "negative_share",
    "n_pop_negative_cells", "lit_share", "saturated_share", "n_flares", "flags", "is_synthetic",
)  # fmt: skip

CITY_YEAR = Table(
    "city_year",
    "Per-capita luminosity of every city in every year, with what it is made of and how far it can be trusted.",
    ("city_code", "year"),
    ("city_code", "year", "city_name", "vintage", *_UNIT_YEAR),
)
DISTRICT_YEAR = Table(
    "district_year",
    "Per-capita luminosity of every district in every year.",
    ("district_code", "year"),
    ("district_code", "year", "district_name", "city_code", "vintage", *_UNIT_YEAR),
)
PAIR_YEAR = Table(
    "pair_year",
    "Bal: the less developed city's level over the more developed one's, ordered by the previous year.",
    ("pair_id", "year"),
    (
        "pair_id", "year", "city_i", "city_j", "hi", "lo", "bal", "switched", "tie",
        "level_hi", "level_lo", "level_hi_lag", "level_lo_lag", "bal_flag",
    ),
)  # fmt: skip
NATIONAL_YEAR = Table(
    "national_year",
    "Totals over all units of a layer beside the totals of the rasters, year by year.",
    ("layer", "year"),
    (
        "layer", "year", "n_units", "n_levels", "light_sum_dn_km2", "light_sum_true_dn_km2", "light_sum_cells_dn",
        "raster_total_cells_dn", "zones_total_persons", "raster_total_persons", "pop_years", "is_synthetic",
    ),
)  # fmt: skip

_BY_CLUSTERING = ("pair", "city_two_way", "dyadic")

ESTIMATE = Table(
    "estimate",
    "Coefficients of every model with standard errors by pair, by both cities and dyadic-robust.",
    ("model", "stage", "outcome", "term"),
    (
        "model", "stage", "outcome", "term", "role", "coef",
        *(f"{name}_{c}" for c in _BY_CLUSTERING for name in ("se", "p", "ci_low", "ci_high")),
    ),
)  # fmt: skip
ESTIMATE_MODEL = Table(
    "estimate_model",
    "Every model: sample, fit, strength of its instruments, rules.",
    ("model",),
    (
        "model", "title", "formula", "sample", "n_obs", "n_pairs", "n_cities", "n_years",
        "n_cities_effective", "n_singletons", "r2", "r2_within",
        *(f"{name}_{c}" for c in _BY_CLUSTERING for name in ("kp_f", "effective_f", "anderson_rubin")),
        "f_thresholds", "hansen_j", "hansen_p", "rules", "library", "notes",
    ),
)  # fmt: skip
ESTIMATE_ROWS = Table(
    "estimate_rows",
    "From all rows of the panel to the sample of every model, one reason at a time.",
    ("model", "step_no"),
    ("model", "step_no", "step", "n_dropped", "n_left"),
)
ESTIMATE_CURVE = Table(
    "estimate_curve",
    "One coefficient under every variant of the data or the model.",
    ("variant", "model", "term"),
    (
        "variant", "model", "term", "coef",
        *(f"{name}_{c}" for c in _BY_CLUSTERING for name in ("se", "p", "ci_low", "ci_high")),
        "n_obs", "n_pairs", "kp_f_pair", "notes",
    ),
)  # fmt: skip

OFFICE = Table(
    "office",
    "Telegraph offices: where each stands, how surely, and in which city.",
    ("office_id",),
    (
        "office_id", "office_name", "px", "py", "lon", "lat", "sigma_km", "position", "map_lon", "map_lat",
        "map_sigma_km", "sigma_extra_km", "gazetteer_match", "gazetteer_id", "gazetteer_km", "city_code",
        "assign_flag", "snap_km", "p_city", "p_nowhere",
    ),
)  # fmt: skip
OFFICE_CITY = Table(
    "office_city",
    "Probability of every city in which an office may stand.",
    ("office_id", "city_code"),
    ("office_id", "city_code", "p_office"),
)
CITY_OFFICE = Table(
    "city_office",
    "Offices of every city, counted in three ways.",
    ("city_code",),
    ("city_code", "n_offices", "n_offices_expected", "n_offices_split"),
)
OFFICE_DRAW = Table(
    "office_draw",
    "Offices of every city in every draw of control points and positions.",
    ("draw", "city_code"),
    ("draw", "city_code", "n_offices", "share_root"),
)
PAIR_INSTRUMENT = Table(
    "pair_instrument",
    "The historical instruments of every pair and year, dated as the rows of pair_year.",
    ("pair_id", "year"),
    ("pair_id", "year", "office_share", "national_net", "iv_hist_tel", "phone_share", "iv_1984_tel"),
)
INSTRUMENT_YEAR = Table(
    "instrument_year",
    "National net flow behind the instrument, year by year, and the pairs it sums over.",
    ("year",),
    ("year", "flow_year", "national_net", "n_pairs_net", "dkf_htol_sum", "dkf_ltoh_sum"),
)
INSTRUMENT_DIAGNOSTICS = Table(
    "instrument_diagnostics",
    "What decides whether an instrument can work.",
    ("instrument", "statistic"),
    ("instrument", "statistic", "value"),
)
PAIR_LINE = Table(
    "pair_line",
    "Pairs of cities along the telegraph lines of the sheet.",
    ("pair_id",),
    ("pair_id", "city_i", "city_j", "is_line_direct", "is_line_connected", "line_km"),
)

GEOREFERENCE = Table(
    "georeference",
    "Models from the scan to the ground, ranked by the error of points that were left out.",
    ("transform_model",),
    (
        "transform_model", "rank_loo", "is_chosen", "n_points_fitted", "n_parameters", "rmse_km", "sigma_axis_km",
        "loo_rmse_km", "loo_median_km", "loo_p90_km", "block_rmse_km", "n_points_check", "check_rmse_km", "n_outliers",
        "map_parameters", "transform_notes",
    ),
)  # fmt: skip
CONTROL_POINT = Table(
    "control_point",
    "Control points with the residuals and leave-one-out errors of the chosen model.",
    ("point_id",),
    (
        "point_id", "px", "py", "lon", "lat", "is_enabled", "point_role", "point_kind", "sigma_px",
        "residual_east_km", "residual_north_km", "residual_km", "loo_east_km", "loo_north_km", "loo_km",
        "leverage", "studentised", "is_outlier", "point_note",
    ),
)  # fmt: skip

BOUNDARY_DIFF = Table(
    "boundary_diff",
    "What became of every unit between two boundary vintages.",
    ("old_code", "new_code"),
    (
        "old_code", "new_code", "old_name", "new_name", "changes", "old_area_km2", "new_area_km2", "area_change",
        "lost_km2", "gained_km2", "noise_km2", "ground", "event",
    ),
)  # fmt: skip
BOUNDARY_PIECE = Table(
    "boundary_piece",
    "Ground that units of two vintages share: what stayed, what moved, and strips of noise.",
    ("old_code", "new_code"),
    (
        "old_code", "new_code", "old_name", "new_name", "overlap_km2", "old_share", "new_share", "width_km", "core_km2",
        "verdict", "counties", "event",
    ),
)  # fmt: skip
CROSSWALK = Table(
    "crosswalk",
    "Weights that carry tables of an earlier vintage to a later one.",
    ("old_code", "new_code"),
    (
        "old_code", "new_code", "old_name", "new_name", "weight", "old_share", "overlap_km2", "uncovered_share",
        "basis", "is_sliver",
    ),
)  # fmt: skip

TABLES: dict[str, Table] = {
    t.name: t
    for t in (
        CITY_YEAR, DISTRICT_YEAR, PAIR_YEAR, NATIONAL_YEAR, ESTIMATE, ESTIMATE_MODEL, ESTIMATE_ROWS, ESTIMATE_CURVE,
        OFFICE, OFFICE_CITY, CITY_OFFICE, OFFICE_DRAW, PAIR_INSTRUMENT, INSTRUMENT_YEAR, INSTRUMENT_DIAGNOSTICS,
        PAIR_LINE, GEOREFERENCE, CONTROL_POINT,
        BOUNDARY_DIFF, BOUNDARY_PIECE, CROSSWALK,
    )
}  # fmt: skip


def check(table: Table, frame: pd.DataFrame, *, where: object = None) -> pd.DataFrame:
    """Return ``frame`` with exactly the table's columns in order, or say what is wrong with it.

    Raises
    ------
    TableInvalid
        A column is missing or undeclared, a key is repeated or null, a value does not fit its dtype.
    """
    missing = [c for c in table.columns if c not in frame.columns]
    extra = [c for c in frame.columns if c not in table.columns]
    if missing or extra:
        raise TableInvalid(
            f"table {table.name} misses {missing or 'nothing'} and has undeclared {extra or 'nothing'}",
            where=where,
            mend="declare columns in gis/tables.py",
        )
    if not frame.columns.is_unique:
        twice = sorted(set(frame.columns[frame.columns.duplicated()]))
        raise TableInvalid(f"table {table.name} has columns twice: {twice}", where=where, mend="drop or rename one")
    keys = frame.loc[:, list(table.key)]
    if keys.isna().any(axis=None):
        names = [name for name in table.key if keys[name].isna().any()]
        raise TableInvalid(
            f"table {table.name} has a row without {' and '.join(names)}", where=where, mend="fill or drop such rows"
        )
    repeated = keys.duplicated()
    if repeated.any():
        first = keys[repeated].iloc[0].to_dict()
        raise TableInvalid(
            f"table {table.name} has {int(repeated.sum())} repeated keys, first {first}",
            where=where,
            mend=f"keep one row for each {' and '.join(table.key)}",
        )
    return frame.loc[:, list(table.columns)]


def arrow_from_frame(table: Table, frame: pd.DataFrame, *, where: object = None) -> pa.Table:
    """Check a DataFrame and convert it to Arrow under the table's schema; see `check` for the errors."""
    import pyarrow as pa

    checked = check(table, frame, where=where)
    # Arrow cuts 0.5 to 0 where a column of Python objects is to hold integers; as float64 it is refused.
    objects = [n for n in table.columns if COLUMNS[n].dtype.startswith("int") and checked[n].dtype == object]
    checked = checked.assign(**{n: checked[n].infer_objects() for n in objects})
    try:
        return pa.Table.from_pandas(checked, schema=table.arrow_schema(), preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise TableInvalid(
            f"table {table.name}: {error}", where=where, mend="bring the column to its dtype in gis/tables.py"
        ) from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it is flushed and renamed over it, on failure removed.

    Raises
    ------
    WriteFailed
        The operating system refused (disk full, no permission); ``path`` is as it was.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:40]}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise WriteFailed(f"cannot write: {error}", where=path, mend="check the folder's rights and space") from error
    temporary = Path(name)
    temporary.unlink()  # some drivers refuse to write over a file that exists
    try:
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if isinstance(error, GisError):  # an input that could not be read, not this output
            raise
        raise WriteFailed(
            f"could not finish writing: {error}", where=path, mend="free some space; what stood there is untouched"
        ) from error
    finally:
        for left in temporary.parent.glob(f"{escape(temporary.name)}*"):  # drivers add -wal, -journal and .aux.xml
            with suppress(OSError):
                left.unlink()


def write_table(table: Table, frame: pd.DataFrame, path: Path, *, metadata: dict[str, Any] | None = None) -> Path:
    """Check ``frame`` and write it as Parquet (zstd), atomically; ``metadata`` goes into the file as JSON."""
    return write_batches(table, [arrow_from_frame(table, frame, where=path)], path, metadata=metadata)


def write_batches(
    table: Table, batches: Iterable[pa.Table], path: Path, *, metadata: dict[str, Any] | None = None
) -> Path:
    """Write a stream of Arrow tables under the table's schema, one row group each, in bounded memory."""
    import pyarrow.parquet as pq

    schema = table.arrow_schema()
    if metadata:
        schema = schema.with_metadata(
            {**(schema.metadata or {}), b"lightpanel": json.dumps(metadata, ensure_ascii=False).encode()}
        )
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_table(batch.cast(schema) if batch.schema != schema else batch)
    return Path(path)


def read_table(table: Table, path: Path) -> pd.DataFrame:
    """Read a Parquet file written by `write_table` and check that it has the table's columns.

    Raises
    ------
    TableInvalid
        There is no such file, it is not Parquet or truncated, or it misses a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    if not path.exists():
        raise TableInvalid(f"there is no table {table.name}", where=path, mend="lightpanel run")
    try:
        frame = pq.read_table(path).to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        raise TableInvalid(
            f"table {table.name} cannot be read: {error}", where=path, mend="delete it and rewrite it: lightpanel run"
        ) from error
    missing = [c for c in table.columns if c not in frame.columns]
    if missing:
        raise TableInvalid(f"table {table.name} misses {missing}", where=path, mend="rewrite it: lightpanel run")
    return frame
