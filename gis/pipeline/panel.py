"""The panel step: Bal with flows, controls, geography and moderators; networks; inequality within cities.

In: a workspace with a finished run in ``out/`` and the sections ``[flows]``, ``[covariates]``, ``[moderators]``,
``[within_city]``, ``[sample]``. Out: the tables ``pair_panel``, ``panel_rows``, ``flow``, ``flow_rows``,
``flow_total``, ``city_network``, ``network_year``, ``district_centre``, ``city_within``; the lineage learns of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis import tables
from gis.errors import ConfigInvalid, TableInvalid
from gis.pipeline.panel_inputs import PanelInputs
from gis.pipeline.panel_resume import last_panel, panel_key, remember_panel
from gis.pipeline.panel_variables import Variables, panel_plan
from gis.workspace import Workspace, read_workspace

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from gis.panel.assemble import PanelPlan
    from gis.panel.citations import CitationFlows
    from gis.panel.flows import FlowTable

Report = Callable[[str, int, int], None]

DISTRICT_PAIRS, DISTRICT_PANEL = "district_pair_year", "district_pair_panel"
WITHIN_PAIRS, WITHIN_PANEL = "within_city_pair_year", "within_city_pair_panel"
"""File names of tables whose columns are those of ``pair_year`` and ``pair_panel``."""


@dataclass(frozen=True, slots=True)
class PanelResult:
    """What the step has made."""

    workspace: Workspace
    """Where it ran."""
    paths: dict[str, Path]
    """Table -> file, in the order written."""
    waterfall: pd.DataFrame
    """Rows of ``PANEL_ROWS``."""
    flow_rows: pd.DataFrame | None
    """Rows of ``FLOW_ROWS``; None where flows come from a table."""
    notes: tuple[str, ...]
    """What a reader of the results must know, one sentence each."""
    is_new: bool = True
    """False where nothing has changed since the last step, and its tables stand."""


def build_panel(workspace: str | Path | Workspace = ".", *, report: Report | None = None) -> PanelResult:
    """Join everything that is configured to the pair panel, and write the tables that go with it.

    Parameters
    ----------
    report : called with (step, done, in all).

    Raises
    ------
    TableInvalid
        There is no finished run in ``out/``; a table misses a column, repeats a key, or holds a value that cannot be.
    CodeInvalid
        A table names a unit that is not in the panel.
    ConfigInvalid, OptionInvalid
        The sections contradict one another. Nothing of a table is written before all its inputs were read.
    """
    place = workspace if isinstance(workspace, Workspace) else read_workspace(workspace)
    return _PanelStep(place, report or (lambda step, done, n: None)).run()


def summary_lines(result: PanelResult) -> list[str]:
    """What ``lightpanel panel`` prints: both waterfalls, and what is to be known."""
    lines = []
    for title, frame in (("citations", result.flow_rows), ("rows", result.waterfall)):
        if frame is None:
            continue
        width = max(len(text) for text in frame["step"])
        lines.append(f"{title}:")
        for row in frame.to_dict("records"):
            detail = f"  ({row['detail']})" if row.get("detail") else ""
            lost = f"-{row['n_dropped']:,}" if row["step_no"] else ""
            lines.append(f"  {row['step']:{width}}  {lost:>12}  {row['n_left']:>12,}{detail}")
    lines += [f"note: {note}" for note in result.notes]
    if not result.is_new:
        return [*lines, f"nothing has changed since the last panel step: its {len(result.paths)} tables stand"]
    return [*lines, *(f"wrote {p}" for p in result.paths.values())]


class _PanelStep:
    """One run of the step; each table is made once."""

    def __init__(self, place: Workspace, say: Report) -> None:
        self.place, self.say = place, say
        self.config = place.config
        self.paths: dict[str, Path] = {}
        self.rows: dict[str, int] = {}
        self.metadata = {"workspace": self.config.workspace.name}

    def run(self) -> PanelResult:
        pairs = self.place.out / f"{tables.PAIR_YEAR.name}.parquet"
        levels = tables.read_table(tables.CITY_YEAR, self.place.out / f"{tables.CITY_YEAR.name}.parquet")
        codes = roster_of_file(pairs)
        key = panel_key(self.place, self._of_the_run())
        if (last := last_panel(self.place, key)) is not None:
            return self._as_it_stands(*last)
        vintage = str(levels["vintage"].iloc[0]) if len(levels) else ""
        inputs = PanelInputs(self.place, codes, vintage)
        self.say("reading flows and covariates", 0, 1)
        flows, counted = self._flows(inputs)
        variables = Variables(inputs, levels[levels["city_code"].isin(codes)], flows)
        plan = panel_plan(variables, lambda: batches_of(pairs))
        self.say("reading flows and covariates", 1, 1)
        waterfall = self._panel(plan, pairs, tables.PAIR_PANEL.name)
        self._write(tables.PANEL_ROWS, waterfall)
        if flows is not None:
            self._write_flows(flows, counted)
        self._districts(inputs, flows, codes)
        self._remember(inputs)
        remember_panel(self.place, key, self.paths, inputs.notes)
        flow_rows = counted.waterfall if counted else None
        return PanelResult(self.place, self.paths, waterfall, flow_rows, tuple(inputs.notes))

    def _as_it_stands(self, paths: dict[str, Path], notes: tuple[str, ...]) -> PanelResult:
        """The last step's result, read back."""
        waterfall = tables.read_table(tables.PANEL_ROWS, paths[tables.PANEL_ROWS.name])
        counted = paths.get(tables.FLOW_ROWS.name)
        flow_rows = tables.read_table(tables.FLOW_ROWS, counted) if counted else None
        return PanelResult(self.place, paths, waterfall, flow_rows, notes, is_new=False)

    def _of_the_run(self) -> list[Path]:
        """Results of earlier steps that this one reads, as far as they are there."""
        names = (tables.CITY_YEAR.name, tables.DISTRICT_YEAR.name, tables.PAIR_YEAR.name, DISTRICT_PAIRS,
                 tables.PAIR_INSTRUMENT.name, "units_city", "units_district")  # fmt: skip
        return [path for name in names if (path := self.place.out / f"{name}.parquet").is_file()]

    def _flows(self, inputs: PanelInputs) -> tuple[FlowTable | None, CitationFlows | None]:
        source = self.config.flows
        if source is None or (source.file is None and source.citations is None):
            return None, None
        return inputs.flows(source)

    def _panel(self, plan: PanelPlan, pairs: Path, name: str) -> pd.DataFrame:
        """Write one panel; returns its waterfall."""
        from gis.panel.assemble import assembly

        made = assembly(plan, lambda: batches_of(pairs))
        n, total = 0, n_batches(pairs)

        def counted() -> Iterator[pa.Table]:
            nonlocal n
            for k, batch in enumerate(made.batches()):
                self.say(f"joining {name}", k, total)
                n += batch.num_rows
                yield batch

        path = self.place.out / f"{name}.parquet"
        self.paths[name] = tables.write_batches(made.table, counted(), path, metadata=self.metadata)
        self.rows[name] = n
        self.say(f"joining {name}", total, total)
        return made.waterfall.frame()

    def _write(self, table: tables.Table, frame: pd.DataFrame) -> None:
        kept = table.with_columns(frame.columns)
        path = self.place.out / f"{table.name}.parquet"
        self.paths[table.name] = tables.write_table(kept, frame, path, metadata=self.metadata)
        self.rows[table.name] = len(frame)

    def _write_flows(self, flows: FlowTable, counted: CitationFlows | None) -> None:
        from gis.panel.networks import networks

        source = self.config.flows
        assert source is not None
        self._write(tables.FLOW, flows.frame().astype({"year": np.int32}))
        self._write(tables.FLOW_TOTAL, counted.by_year if counted else totals_of_flows(flows))
        if counted:
            self._write(tables.FLOW_ROWS, counted.waterfall)
        self.say("networks", 0, 1)
        cities, years = networks(flows, threshold=source.link_above, empty=source.empty_margin)
        self._write(tables.CITY_NETWORK, cities)
        self._write(tables.NETWORK_YEAR, years)
        self.say("networks", 1, 1)

    # --- districts ---------------------------------------------------------------------------------------------------

    def _districts(self, inputs: PanelInputs, flows: FlowTable | None, cities: tuple[str, ...]) -> None:
        path = self.place.out / f"{tables.DISTRICT_YEAR.name}.parquet"
        how, source = self.config.within_city, self.config.flows
        if not path.is_file():
            if how.pairs or (source and source.districts):
                raise ConfigInvalid(
                    "the run has no districts",
                    where=self.place.config_path,
                    mend="add [boundaries.district], then lightpanel run",
                )
            return
        from gis.indicators.inequality import inequality

        self.say("within cities", 0, 1)
        districts = tables.read_table(tables.DISTRICT_YEAR, path)
        below = PanelInputs(self.place, tuple(sorted(set(districts["district_code"]))), inputs.vintage, "district",
                            inputs.files, inputs.notes)  # fmt: skip
        centre = self._centre(inputs, below, districts)
        within = inequality(districts, centre, cities=cities, mld_zeros=how.mld_zeros, mld_floor=how.mld_floor)
        table = None
        if source is not None and source.districts is not None:
            from gis.panel.within_city import centre_periphery_flows

            table = below.flow_file(source.districts, source, "district flows")
            within = centre_periphery_flows(table, centre, within, lag=how.lag, city_flows=flows)
        self._write(tables.DISTRICT_CENTRE, centre)
        self._write(tables.CITY_WITHIN, within)
        self.say("within cities", 1, 1)
        variables = Variables(below, districts, table)
        if how.pairs:
            self._panel_of(variables, self._within_pairs(districts), WITHIN_PANEL)
        pairs = self.place.out / f"{DISTRICT_PAIRS}.parquet"
        if self.config.panel.districts and pairs.is_file():
            self._panel_of(variables, pairs, DISTRICT_PANEL)

    def _panel_of(self, variables: Variables, pairs: Path, name: str) -> None:
        self._panel(panel_plan(variables, lambda: batches_of(pairs)), pairs, name)

    def _centre(self, inputs: PanelInputs, below: PanelInputs, districts: pd.DataFrame) -> pd.DataFrame:
        from gis.indicators.centre import choose_centre, seats_from_points
        from gis.panel.distances import points_from_table

        how = self.config.within_city
        rule = how.centre or ("seat" if how.seats else "brightest")
        seats: tuple[str, ...] = ()
        if rule == "seat" and how.seats:
            frame = inputs.table(how.seats, "within_city.seats")
            codes = tuple(sorted(set(districts["city_code"].dropna()) - {""}))
            points = points_from_table(frame, codes, drop_unknown=True, where=self.place.path(how.seats))
            seats = seats_from_points(points, below.zones())
            lost = int(np.isnan(points).any(axis=1).sum())
            if lost:
                inputs.notes.append(f"{lost} cities have no seat in {how.seats}: no centre, no bal_in")
        return choose_centre(districts, rule, base_year=how.base_year, dynamic=how.dynamic, seats=seats)

    def _within_pairs(self, districts: pd.DataFrame) -> Path:
        from gis.panel.within_city import within_city_pairs

        path = self.place.out / f"{WITHIN_PAIRS}.parquet"
        batches = within_city_pairs(districts, tie=self.config.panel.tie)
        metadata = {**self.metadata, "units": "district"}
        self.paths[WITHIN_PAIRS] = tables.write_batches(tables.PAIR_YEAR, batches, path, metadata=metadata)
        return path

    # --- lineage -----------------------------------------------------------------------------------------------------

    def _remember(self, inputs: PanelInputs) -> None:
        from gis.export.lineage import Lineage, read_lineage, write_lineage

        place, log = self.place, self.place.out / "lineage.json"
        lineage = read_lineage(log, workspace=place.root) if log.is_file() else Lineage(place.root)
        lineage.settings, lineage.versions = self.config.model_dump(mode="json"), {}
        made_from = [lineage.add_input(role, path) for role, path in inputs.files.items()]
        for path in self._of_the_run():
            relative = lineage.relative(path)
            made_from.append(relative if relative in lineage.outputs else lineage.add_input("run", path))
        for name, path in self.paths.items():
            lineage.add_output(path, rows=self.rows.get(name), made_from=made_from, steps=["panel"])
        write_lineage(log, lineage)
        for name in {t.name for t in _OWN} | {
            DISTRICT_PANEL,
            WITHIN_PAIRS,
            WITHIN_PANEL,
        }:  # of an earlier run with other settings
            if name not in self.paths:
                (place.out / f"{name}.parquet").unlink(missing_ok=True)


_OWN = (
    tables.FLOW, tables.FLOW_ROWS, tables.FLOW_TOTAL, tables.PAIR_PANEL, tables.PANEL_ROWS, tables.CITY_NETWORK,
    tables.NETWORK_YEAR, tables.DISTRICT_CENTRE, tables.CITY_WITHIN,
)  # fmt: skip
"""Tables of this step."""


def batches_of(path: Path) -> Iterator[pa.Table]:
    """Row groups of a pair panel: whole pairs each, as `gis.panel.write_pairs` wrote them."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    for group in range(file.num_row_groups):
        yield file.read_row_group(group, columns=list(tables.PAIR_YEAR.columns))


def n_batches(path: Path) -> int:
    """How many row groups a pair panel has."""
    import pyarrow.parquet as pq

    return int(pq.ParquetFile(path).num_row_groups)


def roster_of_file(path: Path) -> tuple[str, ...]:
    """Codes of the units of a pair panel, rising.

    Raises
    ------
    TableInvalid
        There is no pair panel.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not path.is_file():
        raise TableInvalid("there is no pair panel", where=path, mend="lightpanel run")
    names = ["city_i", "city_j"]
    file = pq.ParquetFile(path, read_dictionary=names)
    found: set[str] = set()
    for group in range(file.num_row_groups):
        some = file.read_row_group(group, columns=names)
        found |= {code for name in names for code in pc.unique(some[name]).to_pylist()}
    return tuple(sorted(found))


def totals_of_flows(flows: FlowTable) -> pd.DataFrame:
    """Rows of ``FLOW_TOTAL`` for flows of a table: all have a place."""
    import pandas as pd

    frame = flows.frame()
    same = frame["src"] == frame["dst"]
    of_year: Any = lambda part: part.groupby("year")["n"].sum().reindex(flows.years, fill_value=0.0).to_numpy(float)  # noqa: E731
    nothing = np.zeros(flows.years.size)
    return pd.DataFrame(
        {
            "year": flows.years.astype(np.int32),
            "flow_between": of_year(frame[~same]),
            "flow_within": of_year(frame[same]),
            "flow_src_na": nothing,
            "flow_dst_na": nothing,
            "flow_both_na": nothing,
        }
    )
