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
from dataclasses import dataclass, replace
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
    ("coef", "float64", "outcome/term", "Coefficient, in units of the outcome per unit of the term"),
    ("se_pair", "float64", "outcome/term", "Standard error, clustered by pair"),
    ("p_pair", "float64", "1", "Two-sided p value, clustered by pair"),
    ("ci_low_pair", "float64", "outcome/term", "Lower end of the 95 % interval, clustered by pair"),
    ("ci_high_pair", "float64", "outcome/term", "Upper end of the 95 % interval, clustered by pair"),
    ("se_city_two_way", "float64", "outcome/term", "Standard error, clustered by first and second city"),
    ("p_city_two_way", "float64", "1", "Two-sided p value, clustered by first and second city"),
    ("ci_low_city_two_way", "float64", "outcome/term", "Lower end of the 95 % interval, clustered by both cities"),
    ("ci_high_city_two_way", "float64", "outcome/term", "Upper end of the 95 % interval, clustered by both cities"),
    ("se_dyadic", "float64", "outcome/term", "Standard error, dyadic-robust"),
    ("p_dyadic", "float64", "1", "Two-sided p value, dyadic-robust"),
    ("ci_low_dyadic", "float64", "outcome/term", "Lower end of the 95 % interval, dyadic-robust"),
    ("ci_high_dyadic", "float64", "outcome/term", "Upper end of the 95 % interval, dyadic-robust"),
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
    ("value", "float64", "of the statistic", "Its value"),
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
    # reprojection
    ("raster", "string", "", "File name of the raster"),
    ("raster_kind", "string", "", "lights or population in a run; otherwise count or intensity"),
    ("raster_year", "int32", "year", "Year of the raster; null where its name tells none"),
    ("preset", "string", "", "Preset of the run: exact, paper, paper_both or arcgis"),
    ("resampling", "string", "", "How the raster was brought to another grid; empty when it was not"),
    ("mass_unit", "string", "", "Unit of the row's totals"),
    ("source_mass", "float64", "as mass_unit", "Sum of all valid cells of the raster (the part read)"),
    ("inside_mass", "float64", "as mass_unit", "The part of it inside the units of the city layer"),
    ("outside_mass", "float64", "as mass_unit", "The part of it outside them"),
    ("beyond_mass", "float64", "as mass_unit", "The part of it beyond the grid it was brought to"),
    ("reprojected_mass", "float64", "as mass_unit", "Sum of all valid cells of the reprojected raster"),
    ("loss_share", "float64", "1", "Share of the mass due on the target grid that did not arrive"),
    ("n_source_nodata_cells", "float64", "cells", "Cells of the raster without data (in the part read)"),
    ("n_source_negative_cells", "float64", "cells", "Cells of the raster below zero that are no fill value"),
    ("source_negative_mass", "float64", "raster unit", "Sum of those cells, below zero, before any policy"),
    # sensitivity
    ("level_variant", "string", "", "Preset and measure, as exact/lambert or paper/lambert"),
    ("n_unit_years", "int64", "rows", "City-years with a level both here and in the reference"),
    ("level_spearman", "float64", "1", "Rank correlation of levels with the reference, over all city-years"),
    ("level_spearman_lowest", "float64", "1", "The lowest such correlation within one year"),
    ("n_pair_years", "int64", "rows", "Pair-years ordered both here and in the reference"),
    ("n_flipped", "int64", "rows", "Pair-years whose hi and lo are the other way round than in the reference"),
    ("flipped_share", "float64", "1", "n_flipped over n_pair_years"),
    ("bal_mean", "float64", "1", "Mean Bal"),
    ("bal_median", "float64", "1", "Median Bal"),
    ("bal_spearman", "float64", "1", "Rank correlation of Bal with the reference"),
    ("level_move", "float64", "1", "Median change of level against the reference, the median city's taken out"),
    ("rank_move", "int32", "", "Rank by the size of level_move within the variant, from 1"),
    ("lineage_id", "string", "", "The code the unit had last: one for all its years, codes and names"),
    ("unit_code", "string", "", "Code of the unit in the vintage"),
    ("unit_name", "string", "", "Name of the unit in the vintage"),
    ("level_before", "float64", "DN km2/person", "Level of the earlier result, on the earlier boundaries"),
    ("level_same_bounds", "float64", "DN km2/person", "Level on the earlier boundaries from the inputs of now"),
    ("level_after", "float64", "DN km2/person", "Level on the new boundaries from the inputs of now"),
    ("change_share", "float64", "1", "level_after over level_before, minus 1"),
    ("change_boundary", "float64", "DN km2/person", "Change of the level by the boundaries alone"),
    ("change_other", "float64", "DN km2/person", "Change of the level by everything else: rasters, settings, code"),
    ("light_before_dn_km2", "float64", "DN km2", "Light of the unit in the earlier result"),
    ("light_after_dn_km2", "float64", "DN km2", "Light of the unit in the new result"),
    ("pop_before_persons", "float64", "persons", "Population of the unit in the earlier result"),
    ("pop_after_persons", "float64", "persons", "Population of the unit in the new result"),
    ("status", "string", "", "same, changed, appeared or vanished between two results"),
    ("is_flipped", "bool", "", "Whether hi and lo changed places between the results; null where one lacks them"),
    ("bal_before", "float64", "1", "Bal of the earlier result"),
    ("bal_after", "float64", "1", "Bal of the new result"),
    ("hi_before", "string", "", "More developed city of the pair in the earlier result, in its codes"),
    ("hi_after", "string", "", "More developed city of the pair in the new result"),
    ("cause_code", "string", "", "Unit of the pair whose level moved most, in the codes of the row"),
    ("cause_name", "string", "", "Name of that unit"),
    ("cause", "string", "", "What happened to that unit"),
    # flows
    ("src", "string", "", "City or district that knowledge comes from: the cited side"),
    ("dst", "string", "", "City or district that knowledge goes to: the citing side"),
    ("n", "float64", "flows", "Units of knowledge that move from src to dst in the year"),
    ("flow_between", "float64", "flows", "Flow between different units of the roster"),
    ("flow_within", "float64", "flows", "Flow of units of the roster to themselves: the diagonal"),
    ("flow_src_na", "float64", "flows", "Flow whose source has no place in the roster"),
    ("flow_dst_na", "float64", "flows", "Flow whose destination has no place in the roster"),
    ("flow_both_na", "float64", "flows", "Flow whose source and destination have no place in the roster"),
    # the whole pair panel
    ("dkf_htol", "float64", "flows", "Flow from hi to lo in the lagged year"),
    ("dkf_ltoh", "float64", "flows", "Flow from lo to hi in the lagged year"),
    ("ln_dkf_htol", "float64", "ln(1 + flows)", "ln(1 + dkf_htol)"),
    ("ln_dkf_ltoh", "float64", "ln(1 + flows)", "ln(1 + dkf_ltoh)"),
    ("ln_dkf_net", "float64", "ln(1 + flows)", "ln_dkf_htol minus ln_dkf_ltoh: the net flow from hi to lo"),
    ("dkf_balance", "float64", "1", "Twice the smaller of the two directed flows over their sum"),
    ("hsr", "int32", "", "1 where one high-speed line served both cities in the lagged year, else 0"),
    ("ts", "float64", "1", "Technological similarity: cosine of the two cities' patent-class vectors"),
    ("ipp", "int32", "cities", "Intellectual-property demonstration cities in the pair: 0, 1 or 2"),
    ("dist_km", "float64", "km", "Geodesic distance between the points of the two units"),
    ("dist_bin_km", "int32", "km", "Lower edge of the bin of distances that holds dist_km"),
    ("is_border", "bool", "", "Whether the two units share a stretch of border"),
    ("is_same_province", "bool", "", "Whether the first two digits of both codes are equal"),
    ("is_same_city", "bool", "", "Whether both districts belong to one city"),
    ("is_same_cluster", "bool", "", "Whether some urban cluster has both cities as members"),
    ("compat_kno", "float64", "ln(firms)", "Logarithm of the new digital firms of lo in the lagged year"),
    ("compat_kno_alt", "float64", "ln(units)", "compat_kno from its second column, such as registered capital"),
    ("compat_dem", "float64", "1", "1 over the mean Theil of lo's imports across source countries"),
    ("compat_dem_province", "float64", "1", "Mean of compat_dem over the other cities of lo's province"),
    ("gap_k", "float64", "1", "Capital (loans) per head of lo over that of hi, base year"),
    ("gap_k_alt", "float64", "1", "gap_k from its second column, such as fixed assets"),
    ("gap_l", "float64", "1", "Illiteracy of lo over that of hi, reversed: largest ratio minus the ratio"),
    ("gap_l_alt", "float64", "1", "Second column of gap_l, such as years of schooling: lo over hi"),
    ("gap_d", "float64", "1", "Internet users of lo over those of hi, base year"),
    ("gap_d_alt", "float64", "1", "gap_d from its second column, such as users per head"),
    ("east_east", "int32", "", "1 where both cities lie in the 11 eastern provinces, else 0"),
    ("west_west", "int32", "", "1 where neither city lies in the 11 eastern provinces, else 0"),
    ("east_west", "int32", "", "1 where one city lies in the 11 eastern provinces, else 0"),
    ("east_dev", "int32", "", "1 where the eastern city of an east-west pair is hi; null for other pairs"),
    ("gap_scale", "float64", "classes", "Size class of hi minus that of lo, seven classes of 2014"),
    ("gap_scale_1989", "float64", "classes", "Size class of hi minus that of lo, four classes of 1989"),
    ("gap_light", "int32", "", "1 where lo's mean level is in the lowest and hi's in the highest quarter"),
    ("gap_light_first", "int32", "", "gap_light by the levels of the first year instead of means"),
    ("bal_trimmed", "float64", "1", "bal after trimming or winsorising; null outside the base sample"),
    ("row_flag", "string", "", "Why the row is not in the base sample; empty when it is"),
    ("detail", "string", "", "Units behind most of the rows that go at this step"),
    # networks
    ("out_degree", "float64", "1", "Cities that the city sends to, over all other cities"),
    ("in_degree", "float64", "1", "Cities that the city receives from, over all other cities"),
    ("degree", "float64", "1", "Cities linked with the city in either direction, over all other cities"),
    ("betweenness_directed", "float64", "1", "Share of shortest directed paths between others through the city"),
    ("betweenness", "float64", "1", "Share of shortest paths between others through the city, either way"),
    ("ex_margin", "float64", "cities", "Extensive margin: cities that the city sends to"),
    ("in_margin", "float64", "flows/city", "Intensive margin: outflow per city that the city sends to"),
    ("flow_local", "float64", "flows", "Flow of the city to itself"),
    ("flow_out", "float64", "flows", "Flow to all other cities of the network"),
    ("flow_in", "float64", "flows", "Flow from all other cities of the network"),
    ("reciprocity", "float64", "1", "Share of links out that are returned; missing without any"),
    ("n_nodes", "int32", "cities", "Cities of the network, isolated ones included"),
    ("n_links", "int64", "links", "Directed links between different cities"),
    ("density", "float64", "1", "Links over all possible ones"),
    ("local_share", "float64", "1", "Flow within cities over all flow"),
    # within cities
    ("n_districts", "int32", "units", "Districts behind the indices: those with a level"),
    ("n_districts_missing", "int32", "units", "Districts of the city without a level in the year"),
    ("gini", "float64", "1", "Gini of the districts' levels, weighted by population"),
    ("gini_unweighted", "float64", "1", "Gini of the districts' levels, every district alike"),
    ("theil", "float64", "1", "Theil index of the districts' levels, weighted by population"),
    ("theil_between", "float64", "1", "Part of theil between centre and periphery"),
    ("theil_within", "float64", "1", "Part of theil within centre and within periphery"),
    ("theil_unweighted", "float64", "1", "Theil index of the districts' levels, every district alike"),
    ("mld", "float64", "1", "Mean log deviation of the districts' levels, weighted by population"),
    ("mld_unweighted", "float64", "1", "Mean log deviation of the districts' levels, every district alike"),
    ("cv", "float64", "1", "Coefficient of variation of the districts' levels, weighted by population"),
    ("cv_unweighted", "float64", "1", "Coefficient of variation of the districts' levels, every district alike"),
    ("min_max_ratio", "float64", "1", "Lowest over highest level of a district"),
    ("bal_in", "float64", "1", "Level of the periphery over the level of the centre"),
    ("centre_rule", "string", "", "How the centre was chosen: seat, districts, brightest or share90"),
    ("n_centre", "int32", "units", "Districts of the centre with a level"),
    ("is_centre", "bool", "", "Whether the district belongs to its city's centre"),
    ("dkf_ctop", "float64", "flows", "Flow from the city's centre to its periphery in the lagged year"),
    ("dkf_ptoc", "float64", "flows", "Flow from the city's periphery to its centre in the lagged year"),
    ("ln_dkf_ctop_net", "float64", "ln(1 + flows)", "ln(1 + dkf_ctop) minus ln(1 + dkf_ptoc)"),
    ("dkf_external", "float64", "flows", "Flow into the city from all other cities in the lagged year"),
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
    """Column names in order; each is declared in ``COLUMNS``, or among ``own``."""
    optional: tuple[str, ...] = ()
    """Columns that a file may lack: what nobody configured is not there."""
    own: tuple[Column, ...] = ()
    """Columns that a workspace declares itself; their names stand in ``columns`` too."""

    def column(self, name: str) -> Column:
        """Declaration of one of the columns."""
        return next((column for column in self.own if column.name == name), None) or COLUMNS[name]

    def with_columns(self, names: Iterable[str], own: Iterable[Column] = ()) -> Table:
        """The table as one file has it: without the optional columns not named, with a workspace's own at the end."""
        there, added = set(names), tuple(own)
        kept = tuple(c for c in self.columns if c in there or c not in self.optional)
        return replace(self, columns=(*kept, *(c.name for c in added)), optional=(), own=added)

    def arrow_schema(self) -> pa.Schema:
        """Arrow schema with unit and label in each field's metadata, and title and key in the table's."""
        import pyarrow as pa

        fields = []
        for name in self.columns:
            column = self.column(name)
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

LEDGER = Table(
    "ledger",
    "What every raster holds, what of it lies inside the units, and what a reprojection kept of it.",
    ("raster_kind", "raster"),
    (
        "raster_kind", "raster", "raster_year", "preset", "resampling", "mass_unit", "source_mass", "inside_mass",
        "outside_mass", "beyond_mass", "reprojected_mass", "loss_share", "n_source_nodata_cells",
        "n_source_negative_cells", "source_negative_mass",
    ),
)  # fmt: skip
SENSITIVITY = Table(
    "sensitivity",
    "Levels and Bal under every measure and preset, held against exact sums in the configured measure.",
    ("level_variant",),
    (
        "level_variant", "preset", "measure", "n_unit_years", "level_spearman", "level_spearman_lowest",
        "n_pair_years", "n_flipped", "flipped_share", "bal_mean", "bal_median", "bal_spearman",
    ),
)  # fmt: skip
SENSITIVITY_LEVEL = Table(
    "sensitivity_level",
    "Level of every city in every year under every measure and preset.",
    ("level_variant", "city_code", "year"),
    ("level_variant", "city_code", "year", "city_name", "level"),
)
SENSITIVITY_CITY = Table(
    "sensitivity_city",
    "The cities whose levels move most under each measure and preset.",
    ("level_variant", "rank_move"),
    ("level_variant", "rank_move", "city_code", "city_name", "level_move"),
)

UNIT_LINEAGE = Table(
    "unit_lineage",
    "Which unit stands behind a code of a yearly panel, in every vintage.",
    ("layer", "lineage_id", "vintage"),
    (
        "layer", "lineage_id", "vintage", "unit_code", "unit_name", "area_km2", "area_change", "changes", "ground",
        "event",
    ),
)  # fmt: skip
REBAL_LEVEL = Table(
    "rebal_level",
    "Levels of every city before and after a change of boundaries, split into boundaries and everything else.",
    ("old_code", "new_code", "year"),
    (
        "old_code", "new_code", "year", "city_name", "status", "level_before", "level_same_bounds", "level_after",
        "change_share", "change_boundary", "change_other", "light_before_dn_km2", "light_after_dn_km2",
        "pop_before_persons", "pop_after_persons", "changes", "cause",
    ),
)  # fmt: skip
REBAL_PAIR = Table(
    "rebal_pair",
    "Pair rows that changed, appeared or vanished with the boundaries, and the unit that is the cause.",
    ("pair_id", "year", "status"),
    (
        "pair_id", "year", "status", "is_flipped", "bal_before", "bal_after", "hi_before", "hi_after", "cause_code",
        "cause_name", "changes", "cause",
    ),
)  # fmt: skip

FLOW = Table(
    "flow",
    "Directed flows of knowledge between units, in the codes of the panel; a missing row of a covered year is 0.",
    ("src", "dst", "year"),
    ("src", "dst", "year", "n"),
)
FLOW_ROWS = Table(
    "flow_rows",
    "From all citations read to those that count as flows, one reason at a time.",
    ("step_no",),
    ("step_no", "step", "n_dropped", "n_left"),
)
FLOW_TOTAL = Table(
    "flow_total",
    "Flows of every year: between units, within them, and those with an end that has no place.",
    ("year",),
    ("year", "flow_between", "flow_within", "flow_src_na", "flow_dst_na", "flow_both_na"),
)
_PANEL_VARIABLES = (
    "dkf_htol", "dkf_ltoh", "ln_dkf_htol", "ln_dkf_ltoh", "ln_dkf_net", "dkf_balance", "hsr", "ts", "ipp",
    "dist_km", "dist_bin_km", "is_border", "is_same_province", "is_same_city", "is_same_cluster",
    "compat_kno", "compat_kno_alt", "compat_dem", "compat_dem_province", "gap_k", "gap_k_alt", "gap_l", "gap_l_alt",
    "gap_d", "gap_d_alt", "east_east", "west_west", "east_west", "east_dev", "gap_scale", "gap_scale_1989",
    "gap_light", "gap_light_first", "iv_hist_tel", "iv_1984_tel",
)  # fmt: skip
PAIR_PANEL = Table(
    "pair_panel",
    "The whole pair panel: Bal with flows, controls, geography and moderators, all oriented by the row's hi and lo.",
    ("pair_id", "year"),
    (*PAIR_YEAR.columns, *_PANEL_VARIABLES, "bal_trimmed", "row_flag"),
    _PANEL_VARIABLES,
)
PANEL_ROWS = Table(
    "panel_rows",
    "From all rows of the pair panel to the sample with all controls, one reason at a time.",
    ("step_no",),
    ("step_no", "step", "n_dropped", "n_left", "detail"),
)
CITY_NETWORK = Table(
    "city_network",
    "Every city's place in the network of flows, year by year.",
    ("city_code", "year"),
    (
        "city_code", "year", "out_degree", "in_degree", "degree", "betweenness_directed", "betweenness", "ex_margin",
        "in_margin", "flow_local", "flow_out", "flow_in", "reciprocity",
    ),
)  # fmt: skip
NETWORK_YEAR = Table(
    "network_year",
    "The network of flows as a whole, year by year.",
    ("year",),
    ("year", "n_nodes", "n_links", "density", "reciprocity", "flow_between", "flow_within", "local_share"),
)
DISTRICT_CENTRE = Table(
    "district_centre",
    "Which districts are the centre of their city.",
    ("district_code", "year"),
    ("district_code", "year", "city_code", "is_centre", "centre_rule"),
)
CITY_WITHIN = Table(
    "city_within",
    "Inequality between the districts of every city, and between its centre and periphery.",
    ("city_code", "year"),
    (
        "city_code", "year", "n_districts", "n_districts_missing", "gini", "gini_unweighted", "theil",
        "theil_between", "theil_within", "theil_unweighted", "mld", "mld_unweighted", "cv", "cv_unweighted",
        "min_max_ratio", "bal_in", "centre_rule", "n_centre", "dkf_ctop", "dkf_ptoc", "ln_dkf_ctop_net",
        "dkf_external",
    ),
    ("dkf_ctop", "dkf_ptoc", "ln_dkf_ctop_net", "dkf_external"),
)  # fmt: skip

TABLES: dict[str, Table] = {
    t.name: t
    for t in (
        CITY_YEAR, DISTRICT_YEAR, PAIR_YEAR, NATIONAL_YEAR, ESTIMATE, ESTIMATE_MODEL, ESTIMATE_ROWS, ESTIMATE_CURVE,
        OFFICE, OFFICE_CITY, CITY_OFFICE, OFFICE_DRAW, PAIR_INSTRUMENT, INSTRUMENT_YEAR, INSTRUMENT_DIAGNOSTICS,
        PAIR_LINE, GEOREFERENCE, CONTROL_POINT,
        BOUNDARY_DIFF, BOUNDARY_PIECE, CROSSWALK, UNIT_LINEAGE, REBAL_LEVEL, REBAL_PAIR,
        LEDGER, SENSITIVITY, SENSITIVITY_LEVEL, SENSITIVITY_CITY,
        FLOW, FLOW_ROWS, FLOW_TOTAL, PAIR_PANEL, PANEL_ROWS, CITY_NETWORK, NETWORK_YEAR, DISTRICT_CENTRE, CITY_WITHIN,
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
    objects = [n for n in table.columns if table.column(n).dtype.startswith("int") and checked[n].dtype == object]
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
    missing = [c for c in table.columns if c not in frame.columns and c not in table.optional]
    if missing:
        raise TableInvalid(f"table {table.name} misses {missing}", where=path, mend="rewrite it: lightpanel run")
    return frame
