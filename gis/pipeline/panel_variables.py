"""Which variables stand in the pair panel, made from the config: the plan of the panel step.

In: `PanelInputs`, levels, flows. Out: `PanelPlan`, for pairs of cities and, from the same settings and their tables of
districts, for pairs of districts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from gis.errors import ConfigInvalid
from gis.panel import distances, moderators
from gis.panel.assemble import FLOWS, PanelPlan
from gis.panel.controls import hsr_openings, hsr_variable, ipp_variable, similarities, similarity_variable, since_years
from gis.panel.covariates import (
    IN_WORDS,
    CityMatrix,
    city_matrix,
    city_positions,
    city_variable,
    pair_table,
    pair_variable,
)
from gis.panel.flows import FlowTable, oriented
from gis.panel.rows import PairRows, Variable, rows_from_arrow
from gis.pipeline.panel_inputs import PanelInputs
from gis.tables import COLUMNS, Column, read_table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from gis.workspace import CityCovariate, Config, Distance, Moderator, PairCovariate

Batches = Callable[[], Iterable["pa.Table"]]
Named = tuple[str, Variable]
M = TypeVar("M", bound="Moderator")

LABEL = 80
"""Longest label (gis/tables)."""


@dataclass
class Variables:
    """Makes the variables of a panel from what the workspace configures for units of one level."""

    inputs: PanelInputs
    """Where tables are read; its level is the panel's."""
    levels: pd.DataFrame
    """Rows of ``CITY_YEAR`` or ``DISTRICT_YEAR``, of the roster."""
    flows: FlowTable | None
    """Flows between the units."""
    members: NDArray[np.bool_] | None = None
    """(n_clusters, n_codes) which unit is in which cluster; known once the variables are made."""

    @property
    def config(self) -> Config:
        """The workspace's config."""
        return self.inputs.place.config

    @property
    def codes(self) -> tuple[str, ...]:
        """Roster."""
        return self.inputs.codes

    @cached_property
    def fixed(self) -> tuple[tuple[Named, ...], tuple[Named, ...], tuple[Column, ...]]:
        """What is the same for every panel of these units: controls and geography, own variables and their columns."""
        own, columns = self.own()
        return (*self.controls(), *self.geography()), tuple(own), tuple(columns)

    # --- controls and geography --------------------------------------------------------------------------------------

    def controls(self) -> list[Named]:
        """Flows, high-speed rail, technological similarity, intellectual-property cities."""
        out: list[Named] = []
        inputs, how = self.inputs, self.config.covariates
        if self.flows is not None and self.config.flows is not None:
            out.append((FLOWS, oriented(self.flows, lag=self.config.flows.lag)))
        if (rail := inputs.of_level(how.hsr, "covariates.hsr")) is not None:
            told = inputs.kwargs(*rail, ("city_code", "city_i", "city_j"))
            opened = inputs.explained(lambda: hsr_openings(rail[1], self.codes, **told))
            out.append(("covariates.hsr", hsr_variable(opened, lag=rail[0].lag)))
        if (classes := inputs.of_level(how.ts, "covariates.ts")) is not None:
            ts, told_ts = classes[0], inputs.kwargs(*classes)
            years, cosine = inputs.explained(
                lambda: similarities(classes[1], self.codes, level=ts.level, stock=ts.stock, **told_ts)
            )
            out.append(("covariates.ts", similarity_variable(years, cosine, lag=ts.lag)))
        if (listed := inputs.of_level(how.ipp, "covariates.ipp")) is not None:
            ipp, told_ipp = listed[0], inputs.kwargs(*listed)
            since = inputs.explained(lambda: since_years(listed[1], ipp.column, self.codes, **told_ipp))
            out.append(("covariates.ipp", ipp_variable(since, lag=ipp.lag)))
        return out

    def geography(self) -> list[Named]:
        """Distances, borders, provinces, cities and clusters; sets ``members``."""
        how, inputs = self.config.covariates, self.inputs
        out: list[Named] = [
            ("same province", distances.same_group("is_same_province", [code[:2] for code in self.codes]))
        ]
        if inputs.level == "district":
            parents = dict(zip(self.levels["district_code"], self.levels["city_code"].fillna(""), strict=True))
            out.append(("same city", distances.same_group("is_same_city", [parents.get(c, "") for c in self.codes])))
        if how.distance is not None:
            points = self._points(how.distance)
            missing = [c for c, p in zip(self.codes, points, strict=True) if np.isnan(p).any()]
            if missing:
                what = {"city": "cities", "district": "districts"}[inputs.level]
                inputs.notes.append(f"distance: {len(missing)} {what} have no point: {', '.join(missing[:5])}")
            km = distances.pair_distances(points)
            borders = distances.shared_borders(
                inputs.zones(), self.codes, tolerance_km=how.distance.border_tolerance_km
            )
            out.append(("covariates.distance", distances.distance_variable(km, bin_km=how.distance.bin_km)))
            out.append(("covariates.distance", distances.border_variable(borders)))
        if (listed := inputs.of_level(how.clusters, "covariates.clusters")) is not None:
            told = inputs.kwargs(*listed)
            self.members = inputs.explained(lambda: distances.memberships(listed[1], self.codes, **told))
            out.append(("covariates.clusters", distances.cluster_variable(self.members)))
        return out

    def _points(self, how: Distance) -> NDArray[np.float64]:
        inputs = self.inputs
        if how.points == "population":
            from gis.pipeline.panel_points import population_points

            year = int(self.levels["year"].min())
            points, files = population_points(inputs.place, inputs.zones(), self.codes, year)
            inputs.files |= {f"population.{k}": file for k, file in enumerate(files)}
            return points
        if how.points == "seats" and inputs.level == "city":
            frame = inputs.table(str(how.file), "covariates.distance")
            return distances.points_from_table(frame, self.codes, where=inputs.place.path(str(how.file)))
        return distances.centroids(inputs.zones(), self.codes)

    # --- the workspace's own -----------------------------------------------------------------------------------------

    def own(self) -> tuple[list[Named], list[Column]]:
        """City-level and pair-level tables in the forms asked for, and the declaration of their columns."""
        out: list[Named] = []
        columns: list[Column] = []
        for k, city in enumerate(self.config.covariates.city):
            role = f"covariates.city.{k} ({city.name})"
            if (found := self.inputs.of_level(city, role)) is not None:
                variable, made = self._city(*found, role)
                out.append((role, variable))
                columns += made
        for k, pair in enumerate(self.config.covariates.pair):
            role = f"covariates.pair.{k} ({pair.name})"
            if (of_pairs := self.inputs.of_level(pair, role)) is not None:
                out.append((role, self._pair(*of_pairs)))
                columns.append(declared(pair.name, pair.unit, pair.label or pair.column, role))
        return out, columns

    def _city(self, source: CityCovariate, frame: pd.DataFrame, role: str) -> tuple[Variable, list[Column]]:
        matrix = self.matrix(source, frame, source.column, source.year, source.per).transformed(source.transform)
        names, variable = city_variable(source.name, matrix, source.forms, lag=source.lag)
        told = source.label or (source.column if source.per is None else f"{source.column} over {source.per}")
        when = f", {source.year}" if source.year is not None else ""
        told, unit = f"{told}{when}", source.unit
        if source.transform != "none":
            told = f"{'ln' if source.transform == 'ln' else 'ln(1 + x)'} of {told}"
            unit = unit if unit == "1" else f"ln({unit})"
        columns = []
        for name, form in zip(names, source.forms, strict=True):
            of_form = {"ratio_lh": "1", "product": unit if unit == "1" else f"({unit})^2"}.get(form, unit)
            words = f": {IN_WORDS[form]}"  # what tells the forms apart is not what a long label loses
            columns.append(declared(name, of_form, shortened(told, LABEL - len(words)) + words, role))
        return variable, columns

    def _pair(self, source: PairCovariate, frame: pd.DataFrame) -> Variable:
        told = self.inputs.kwargs(source, frame, ("city_i", "city_j"))
        fill = np.nan if source.absent is None else source.absent
        table = self.inputs.explained(lambda: pair_table(frame, source.column, self.codes, fill=fill, **told))
        return pair_variable(source.name, table, lag=source.lag)[1]

    def matrix(self, source: Any, frame: pd.DataFrame, column: str, year: int | None, per: str | None) -> CityMatrix:
        """A column of a city-level table."""
        told = self.inputs.kwargs(source, frame)
        return self.inputs.explained(lambda: city_matrix(frame, column, self.codes, base_year=year, per=per, **told))

    # --- moderators --------------------------------------------------------------------------------------------------

    def moderators(self, batches: Batches) -> list[Named]:
        """Moderators by name; the whole panel is passed once more where a mean or a largest ratio is asked for."""
        how = self.config.moderators
        rows = self._rows(batches)
        out: list[Named] = []
        for name, source, matrix in self._each("compat_kno", how.compat_kno):
            made = moderators.compat_kno(matrix, ln=source.ln, lag=source.lag, name=name)
            out.append((f"moderators.{name}", made))
        out += self._demand()
        for key in ("gap_k", "gap_d"):
            of_key: Moderator | None = getattr(how, key)
            out += [(f"moderators.{n}", moderators.gap(n, m, lag=s.lag)) for n, s, m in self._each(key, of_key)]
        for name, labour, matrix in self._each("gap_l", how.gap_l):
            reverse = labour.reverse if name == "gap_l" else "none"
            largest = moderators.largest_ratio(matrix, rows(), labour.lag) if reverse == "max" else None
            made = moderators.gap(name, matrix, reverse=reverse, largest=largest, lag=labour.lag)
            out.append((f"moderators.{name}", made))
        for _, scale, persons in self._each("gap_scale", how.gap_scale)[:1]:
            out.append(("moderators.gap_scale", moderators.gap_scale(persons, lag=scale.lag)))
        if how.center:
            out = [(name, moderators.centred(v, moderators.means_of(v, rows()))) for name, v in out]
        if how.regions:
            out.append(("moderators.regions", moderators.regions(self.codes)))
        if how.gap_light:
            levels = city_matrix(self.levels, "level", self.codes, code=f"{self.inputs.level}_code")
            out.append(("moderators.gap_light", moderators.gap_light(levels)))
        return out

    def _rows(self, batches: Batches) -> Callable[[], Iterable[PairRows]]:
        lag = self.config.flows.orient_lag if self.config.flows else 1
        return lambda: (rows_from_arrow(batch, self.codes).labelled(lag) for batch in batches())

    def _each(self, name: str, source: M | None) -> list[tuple[str, M, CityMatrix]]:
        """A moderator's matrix and, where a second column is given, its alternative's; none where it has no table."""
        found = self.inputs.of_level(source, f"moderators.{name}")
        if found is None:
            return []
        source, frame = found
        out = [(name, source, self.matrix(source, frame, source.column, source.year, source.per))]
        if source.alt is not None:
            out.append((f"{name}_alt", source, self.matrix(source, frame, source.alt, source.year, source.alt_per)))
        return out

    def _demand(self) -> list[Named]:
        from gis.panel.rows import need

        found = self.inputs.of_level(self.config.moderators.compat_dem, "moderators.compat_dem")
        if found is None:
            return []
        frame, told = found[1], self.inputs.kwargs(*found)
        need(frame, ("city_code", "hs2", "country", "value"), "the imports", told["where"])
        at = self.inputs.explained(lambda: city_positions(frame["city_code"], self.codes, told.pop("recode"), **told))
        values = moderators.compat_dem(frame, self.codes, at, told["where"])
        others = moderators.mean_of_others(values, self.codes)
        return [
            (f"moderators.{name}", moderators.of_lo(name, moderators.fixed(v, self.codes)))
            for name, v in (("compat_dem", values), ("compat_dem_province", others))
        ]

    def instruments(self) -> list[Named]:
        """Instruments of an earlier step, where it has run."""
        from gis.tables import PAIR_INSTRUMENT

        path = self.inputs.place.out / f"{PAIR_INSTRUMENT.name}.parquet"
        if not path.is_file():
            return []
        frame = read_table(PAIR_INSTRUMENT, path)
        return [("pair_instrument", looked_up(frame, ("iv_hist_tel", "iv_1984_tel"), self.codes))]


def panel_plan(variables: Variables, batches: Batches) -> PanelPlan:
    """Everything that is configured for the pairs in ``batches``; for districts, what has a table of districts.

    Instruments, and restrictions to a roster or to clusters, are of cities. A control that districts have no table
    for is not asked of their rows.
    """
    config, sample = variables.config, variables.config.sample
    fixed, own, columns = variables.fixed
    of_cities = variables.inputs.level == "city"
    instruments = variables.instruments() if of_cities else []
    named = (*fixed, *variables.moderators(batches), *instruments, *own)
    configured = [name for name in ("hsr", "ts", "ipp") if getattr(config.covariates, name) is not None]
    controls = tuple(configured) if sample.controls is None else sample.controls
    if not of_cities:
        controls = tuple(name for name in controls if name in columns_of(named, variables.codes))
    return PanelPlan(
        variables.codes,
        named,
        columns,
        controls,
        config.flows.orient_lag if config.flows else 1,
        _inside(variables) if of_cities else None,
        sample.bal_quantile,
        sample.bal_max,
        sample.winsor,
    )


def columns_of(named: Iterable[Named], codes: tuple[str, ...]) -> set[str]:
    """Names of the columns that variables make."""
    nothing = PairRows(codes, *(np.empty(0, np.int64) for _ in range(6)))
    return {name for _, variable in named for name in variable(nothing)}


def _inside(variables: Variables) -> Callable[[PairRows], NDArray[np.bool_]] | None:
    """Which pairs are asked for."""
    sample, inputs = variables.config.sample, variables.inputs
    shared = None
    if sample.clusters_only:
        if variables.members is None:
            raise ConfigInvalid(
                "clusters_only needs clusters", where="sample.clusters_only", mend="add [covariates.clusters]"
            )
        shared = distances.cluster_variable(variables.members)
    listed = None
    if sample.cities is not None:
        frame = inputs.table(sample.cities, "sample.cities")
        from gis.panel.rows import need

        path = inputs.place.path(sample.cities)
        need(frame, ("city_code",), "the roster", path)
        at = inputs.explained(lambda: city_positions(frame["city_code"], variables.codes, where=path))
        listed = np.isin(np.arange(len(variables.codes)), at)
    if shared is None and listed is None:
        return None

    def inside(rows: PairRows) -> NDArray[np.bool_]:
        keep = np.ones(len(rows), bool)
        if shared is not None:
            keep &= shared(rows)["is_same_cluster"]
        if listed is not None:
            keep &= listed[rows.i] & listed[rows.j]
        return keep

    return inside


def declared(name: str, unit: str, label: str, role: str) -> Column:
    """Declaration of a column of the workspace's own."""
    if name in COLUMNS or len(name) > 32:
        raise ConfigInvalid(
            f"the name {name} is {'taken' if name in COLUMNS else 'longer than 32 characters'}",
            where=role,
            mend="give the variable another name",
        )
    return Column(name, "float64", unit, shortened(label, LABEL))


def shortened(text: str, room: int) -> str:
    """The text, or as much of it as there is room for, with dots."""
    return text if len(text) <= room else text[: room - 3].rstrip() + "..."


def looked_up(frame: pd.DataFrame, names: tuple[str, ...], codes: tuple[str, ...]) -> Variable:
    """Variable that finds columns of a table by pair and year; NaN where the table has no row."""
    from gis.panel.pair_index import n_pairs
    from gis.panel.rows import rows_from_frame

    rows = rows_from_frame(frame.assign(hi=None, lo=None), codes)
    known = (rows.i >= 0) & (rows.j >= 0)
    years, at = np.unique(rows.year, return_inverse=True)
    values = {}
    for name in names:
        values[name] = np.full((n_pairs(len(codes)), max(years.size, 1)), np.nan)
        values[name][rows.pair[known], at[known]] = frame[name].to_numpy(np.float64, na_value=np.nan)[known]

    def columns(wanted: PairRows) -> dict[str, NDArray[Any]]:
        k = np.minimum(np.searchsorted(years, wanted.year), max(years.size - 1, 0))
        there = years[k] == wanted.year if years.size else np.zeros(len(wanted), bool)
        return {name: np.where(there, table[wanted.pair, k], np.nan) for name, table in values.items()}

    return columns
