"""Which variables stand in the pair panel, made from the config: the plan of the panel step.

In: `PanelInputs`, levels, flows. Out: `PanelPlan` for cities and for districts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

    from gis.workspace import CityCovariate, Config, Moderator, PairCovariate

Batches = Callable[[], Iterable["pa.Table"]]
Named = tuple[str, Variable]

LABEL = 80
"""Longest label (gis/tables)."""


@dataclass
class Variables:
    """Makes the variables of the city panel from what the workspace configures."""

    inputs: PanelInputs
    """Where tables are read."""
    levels: pd.DataFrame
    """Rows of ``CITY_YEAR`` of the roster."""
    flows: FlowTable | None
    """Flows between cities."""

    @property
    def config(self) -> Config:
        """The workspace's config."""
        return self.inputs.place.config

    @property
    def codes(self) -> tuple[str, ...]:
        """Roster."""
        return self.inputs.codes

    # --- controls and geography --------------------------------------------------------------------------------------

    def controls(self) -> list[Named]:
        """Flows, high-speed rail, technological similarity, intellectual-property cities."""
        out: list[Named] = []
        inputs, how = self.inputs, self.config.covariates
        if self.flows is not None and self.config.flows is not None:
            out.append((FLOWS, oriented(self.flows, lag=self.config.flows.lag)))
        if (rail := how.hsr) is not None:
            frame = inputs.table(rail.file, "covariates.hsr")
            told = inputs.kwargs(rail, frame, ("city_code", "city_i", "city_j"))
            opened = inputs.explained(lambda: hsr_openings(frame, self.codes, **told))
            out.append(("covariates.hsr", hsr_variable(opened, lag=rail.lag)))
        if (ts := how.ts) is not None:
            classes = inputs.table(ts.file, "covariates.ts")
            told_ts = inputs.kwargs(ts, classes)
            years, cosine = inputs.explained(
                lambda: similarities(classes, self.codes, level=ts.level, stock=ts.stock, **told_ts)
            )
            out.append(("covariates.ts", similarity_variable(years, cosine, lag=ts.lag)))
        if (ipp := how.ipp) is not None:
            cities = inputs.table(ipp.file, "covariates.ipp")
            told_ipp = inputs.kwargs(ipp, cities)
            since = inputs.explained(lambda: since_years(cities, ipp.column, self.codes, **told_ipp))
            out.append(("covariates.ipp", ipp_variable(since, lag=ipp.lag)))
        return out

    def geography(self) -> tuple[list[Named], NDArray[np.bool_] | None]:
        """Distances, borders, provinces and clusters; and which city is in which cluster."""
        how, inputs = self.config.covariates, self.inputs
        out: list[Named] = [
            ("same province", distances.same_group("is_same_province", [code[:2] for code in self.codes]))
        ]
        if how.distance is not None:
            points = self._points()
            missing = [c for c, p in zip(self.codes, points, strict=True) if np.isnan(p).any()]
            if missing:
                inputs.notes.append(f"distance: {len(missing)} cities have no point: {', '.join(missing[:5])}")
            km = distances.pair_distances(points)
            borders = distances.shared_borders(
                inputs.zones(), self.codes, tolerance_km=how.distance.border_tolerance_km
            )
            out.append(("covariates.distance", distances.distance_variable(km, bin_km=how.distance.bin_km)))
            out.append(("covariates.distance", distances.border_variable(borders)))
        members = None
        if (clusters := how.clusters) is not None:
            frame = inputs.table(clusters.file, "covariates.clusters")
            told = inputs.kwargs(clusters, frame)
            members = inputs.explained(lambda: distances.memberships(frame, self.codes, **told))
            out.append(("covariates.clusters", distances.cluster_variable(members)))
        return out, members

    def _points(self) -> NDArray[np.float64]:
        how, inputs = self.config.covariates.distance, self.inputs
        assert how is not None
        if how.points == "seats":
            frame = inputs.table(str(how.file), "covariates.distance")
            return distances.points_from_table(frame, self.codes, where=inputs.place.path(str(how.file)))
        if how.points == "polygon":
            return distances.centroids(inputs.zones(), self.codes)
        return self._population_points()

    def _population_points(self) -> NDArray[np.float64]:
        """Mean of the districts' centroids by their population of the first year."""
        from gis.export.parquet import read_units
        from gis.tables import DISTRICT_YEAR

        out = self.inputs.place.out
        path = out / f"{DISTRICT_YEAR.name}.parquet"
        if not path.is_file():
            raise ConfigInvalid(
                "points by population need districts",
                where="covariates.distance.points",
                mend='add [boundaries.district], or set points = "polygon"',
            )
        rows = read_table(DISTRICT_YEAR, path)
        rows = rows[rows["year"] == rows["year"].min()]
        zones = read_units(out / "units_district.parquet")
        points = distances.centroids(zones, tuple(rows["district_code"]))
        group = np.array([{c: k for k, c in enumerate(self.codes)}.get(c, -1) for c in rows["city_code"]], np.int64)
        return distances.weighted_centroids(points, rows["pop_persons"].to_numpy(float), group, len(self.codes))

    # --- the workspace's own -----------------------------------------------------------------------------------------

    def own(self) -> tuple[list[Named], list[Column]]:
        """City-level and pair-level tables in the forms asked for, and the declaration of their columns."""
        out: list[Named] = []
        columns: list[Column] = []
        for k, city in enumerate(self.config.covariates.city):
            role = f"covariates.city.{k} ({city.name})"
            variable, made = self._city(city, role)
            out.append((role, variable))
            columns += made
        for k, pair in enumerate(self.config.covariates.pair):
            role = f"covariates.pair.{k} ({pair.name})"
            out.append((role, self._pair(pair, role)))
            columns.append(declared(pair.name, pair.unit, pair.label or pair.column, role))
        return out, columns

    def _city(self, source: CityCovariate, role: str) -> tuple[Variable, list[Column]]:
        frame = self.inputs.table(source.file, role)
        matrix = self.matrix(source, frame, source.column, source.year, source.per).transformed(source.transform)
        names, variable = city_variable(source.name, matrix, source.forms, lag=source.lag)
        told = source.label or (source.column if source.per is None else f"{source.column} over {source.per}")
        when = f", {source.year}" if source.year is not None else ""
        columns = []
        for name, form in zip(names, source.forms, strict=True):
            unit = "1" if form == "ratio_lh" else f"({source.unit})^2" if form == "product" else source.unit
            columns.append(declared(name, unit, f"{told}{when}: {IN_WORDS[form]}", role))
        return variable, columns

    def _pair(self, source: PairCovariate, role: str) -> Variable:
        frame = self.inputs.table(source.file, role)
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
        if (kno := how.compat_kno) is not None:
            out += [
                (f"moderators.{name}", moderators.compat_kno(matrix, ln=kno.ln, lag=kno.lag, name=name))
                for name, matrix in self._both("compat_kno", kno)
            ]
        if how.compat_dem is not None:
            out += self._demand()
        for name in ("gap_k", "gap_d"):
            source: Moderator | None = getattr(how, name)
            if source is not None:
                out += [(f"moderators.{n}", moderators.gap(n, m, lag=source.lag)) for n, m in self._both(name, source)]
        if (labour := how.gap_l) is not None:
            for name, matrix in self._both("gap_l", labour):
                reverse = labour.reverse if name == "gap_l" else "none"
                largest = moderators.largest_ratio(matrix, rows(), labour.lag) if reverse == "max" else None
                made = moderators.gap(name, matrix, reverse=reverse, largest=largest, lag=labour.lag)
                out.append((f"moderators.{name}", made))
        if (scale := how.gap_scale) is not None:
            (_, persons), *_ = self._both("gap_scale", scale)
            out.append(("moderators.gap_scale", moderators.gap_scale(persons, lag=scale.lag)))
        if how.center:
            out = [(name, moderators.centred(v, moderators.means_of(v, rows()))) for name, v in out]
        if how.regions:
            out.append(("moderators.regions", moderators.regions(self.codes)))
        if how.gap_light:
            levels = city_matrix(self.levels, "level", self.codes)
            out.append(("moderators.gap_light", moderators.gap_light(levels)))
        return out

    def _rows(self, batches: Batches) -> Callable[[], Iterable[PairRows]]:
        lag = self.config.flows.orient_lag if self.config.flows else 1
        return lambda: (rows_from_arrow(batch, self.codes).labelled(lag) for batch in batches())

    def _both(self, name: str, source: Moderator) -> list[tuple[str, CityMatrix]]:
        """A moderator's matrix and, where a second column is given, its alternative's."""
        frame = self.inputs.table(source.file, f"moderators.{name}")
        out = [(name, self.matrix(source, frame, source.column, source.year, source.per))]
        if source.alt is not None:
            out.append((f"{name}_alt", self.matrix(source, frame, source.alt, source.year, source.alt_per)))
        return out

    def _demand(self) -> list[Named]:
        source = self.config.moderators.compat_dem
        assert source is not None
        frame, inputs = self.inputs.table(source.file, "moderators.compat_dem"), self.inputs
        told = inputs.kwargs(source, frame)
        from gis.panel.rows import need

        need(frame, ("city_code", "hs2", "country", "value"), "the imports", told["where"])
        at = inputs.explained(lambda: city_positions(frame["city_code"], self.codes, told.pop("recode"), **told))
        values = moderators.compat_dem(frame, self.codes, at, inputs.place.path(source.file))
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


def city_plan(variables: Variables, batches: Batches) -> PanelPlan:
    """Everything that is configured for pairs of cities."""
    config, codes = variables.config, variables.codes
    controls = variables.controls()
    geography, members = variables.geography()
    own, columns = variables.own()
    sample = config.sample
    known = [name for name in ("hsr", "ts", "ipp") if getattr(config.covariates, name) is not None]
    return PanelPlan(
        codes,
        (*controls, *geography, *variables.moderators(batches), *variables.instruments(), *own),
        tuple(columns),
        tuple(known) if sample.controls is None else sample.controls,
        config.flows.orient_lag if config.flows else 1,
        _inside(variables, members),
        sample.bal_quantile,
        sample.bal_max,
        sample.winsor,
    )


def district_plan(below: PanelInputs, flows: FlowTable | None, parents: dict[str, str]) -> PanelPlan:
    """Flows and geography for pairs of districts."""
    config = below.place.config
    out: list[Named] = []
    if flows is not None and config.flows is not None:
        out.append((FLOWS, oriented(flows, lag=config.flows.lag)))
    out.append(("same province", distances.same_group("is_same_province", [c[:2] for c in below.codes])))
    out.append(("same city", distances.same_group("is_same_city", [parents.get(c, "") or "" for c in below.codes])))
    if (how := config.covariates.distance) is not None:
        zones = below.zones()
        km = distances.pair_distances(distances.centroids(zones, below.codes))
        borders = distances.shared_borders(zones, below.codes, tolerance_km=how.border_tolerance_km)
        out.append(("covariates.distance", distances.distance_variable(km, bin_km=how.bin_km)))
        out.append(("covariates.distance", distances.border_variable(borders)))
    sample = config.sample
    return PanelPlan(
        below.codes,
        tuple(out),
        orient_lag=config.flows.orient_lag if config.flows else 1,
        bal_quantile=sample.bal_quantile,
        bal_max=sample.bal_max,
        winsor=sample.winsor,
    )


def _inside(variables: Variables, members: NDArray[np.bool_] | None) -> Callable[[PairRows], NDArray[np.bool_]] | None:
    """Which pairs are asked for."""
    sample, inputs = variables.config.sample, variables.inputs
    shared = None
    if sample.clusters_only:
        if members is None:
            raise ConfigInvalid(
                "clusters_only needs clusters", where="sample.clusters_only", mend="add [covariates.clusters]"
            )
        shared = distances.cluster_variable(members)
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
    return Column(name, "float64", unit, label if len(label) <= LABEL else label[: LABEL - 3].rstrip() + "...")


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
