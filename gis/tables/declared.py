"""Every table: its columns in order, and the columns that identify a row.

In: ``gis.tables.columns``. Out: ``Table`` values and ``TABLES``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gis.tables.columns import COLUMNS, Column

if TYPE_CHECKING:
    import pyarrow as pa


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

_BY_CLUSTERING = ("pair", "city_two_way", "dyadic", "jackknife")

ESTIMATE = Table(
    "estimate",
    "Coefficients of every model with standard errors by pair, by both cities, dyadic and jackknifed.",
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
_SETTINGS = ("is_base", "preset", "measure", "boundaries", "iv_option")
ESTIMATE_CURVE = Table(
    "estimate_curve",
    "One coefficient under every variant of the data or the model.",
    ("variant", "model", "term"),
    (
        "variant", "model", "term", "estimator", *_SETTINGS, "coef",
        *(f"{name}_{c}" for c in _BY_CLUSTERING for name in ("se", "p", "ci_low", "ci_high")),
        "n_obs", "n_pairs", "kp_f_pair", "kp_f_city_two_way", "kp_f_dyadic",
        "coef_sd_draws", "coef_low_draws", "coef_high_draws", "n_draws", "notes",
    ),
    _SETTINGS,
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
