"""``lightpanel reproject``: rasters on another grid as COGs, with an account of what was kept.

In: raster files, a target CRS and cell, or a raster to be like. Out: one COG per raster and ``ledger.parquet``.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gis.crs import crs_from, same_crs
from gis.errors import OptionInvalid
from gis.graph import run_tasks
from gis.grid import Grid
from gis.raster_io import CellRules, RasterInfo, RasterPath, RemoteFile, read_info
from gis.rasters.catalogue import CUSTOM, PRODUCTS, Product, product_for, rules_for
from gis.reproject import (
    LOSS_MAX,
    Kind,
    MassLedger,
    Resampling,
    check_kind,
    check_resampling,
    plan_for,
    target_grid,
    write_reprojected,
)
from gis.tables import LEDGER, write_table
from gis.workspace import RasterSource

if TYPE_CHECKING:
    import pandas as pd

Report = Callable[[str, int, int], None]

LEDGER_NAME = "ledger.parquet"


@dataclass(frozen=True, slots=True)
class Reprojected:
    """What a call has made."""

    paths: tuple[Path, ...]
    """One raster per input, in their order."""
    ledger: pd.DataFrame
    """Rows of ``LEDGER``."""
    notes: tuple[str, ...]
    """Warnings that leave the files standing."""


def reproject_files(
    rasters: Sequence[str | Path],
    out: str | Path,
    *,
    to: Any = "ESRI:102027",
    cell: float | None = None,
    kind: str | None = None,
    resampling: str | None = None,
    like: str | Path | None = None,
    i_know: bool = False,
    band: int = 1,
    nodata: float | None = None,
    raster_crs: Any = None,
    loss_max: float | None = None,
    threads: int | None = None,
    report: Report | None = None,
) -> Reprojected:
    """Bring rasters to one shared grid and write them as COGs into a folder.

    Parameters
    ----------
    to, cell : CRS and cell of the target [unit of the CRS]; the grid holds all rasters, its corner is a multiple of
        ``cell``. Default: 1000 in ESRI:102027.
    like : raster whose grid is taken instead.
    kind : ``count`` or ``intensity``; may be left out for a product that is recognised by its file name.
    resampling : ``conserve`` for counts by default, ``nearest`` for intensities; see `gis.reproject.resample`.
    i_know : a count may be sampled, to replicate a run that did so.
    nodata : a further value that means no data.
    raster_crs : CRS of rasters that carry none.
    loss_max : share of a total that may go missing; default: 1e-9 of a conserved count, any otherwise.

    Raises
    ------
    OptionInvalid
        An option that cannot be, or a ``kind`` that cannot be told.
    CrsInvalid
        The target CRS does not cover the rasters.
    RasterInvalid
        More was lost than allowed; that raster is not written.
    WriteFailed
        The disk is full or the folder cannot be written.
    """
    folder = Path(out)
    infos = [read_info(path, band=band, crs=raster_crs, config_key="--raster-crs") for path in rasters]
    sources = [i.path if isinstance(i.path, RemoteFile) else Path(r) for i, r in zip(infos, rasters, strict=True)]
    paths = _names(sources, folder)
    kinds = [_kind_of(info, kind) for info in infos]
    rules = [_rules(info, product, k, nodata) for info, (product, k) in zip(infos, kinds, strict=True)]
    how = [check_resampling(k, resampling, i_know=i_know) for _, k in kinds]
    target = _target(infos, to, cell, like)

    def run(function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
        return run_tasks(function, tasks, threads=threads)

    rows, notes = [], []
    for done, (info, path) in enumerate(zip(infos, paths, strict=True)):
        if report:
            report("reprojecting", done, len(infos))
        of_kind = kinds[done][1]
        plan = plan_for(info, rules[done], target, of_kind, how[done])
        limit = loss_max if loss_max is not None else _loss_max(of_kind, how[done])
        tags = {"LIGHTPANEL_PRODUCT": kinds[done][0].name}
        ledger = write_reprojected(plan, path, run=run, tags=tags, loss_max=limit)
        rows.append(ledger_row(info.path.name, of_kind, year_of(info.path.name), of_kind, how[done], target, ledger))
        notes += _notes(info, of_kind, how[done], ledger)
        if report:
            report("reprojecting", done + 1, len(infos))
    frame = ledger_frame(rows)
    write_table(LEDGER, frame, folder / LEDGER_NAME)
    return Reprojected(tuple(paths), frame, tuple(notes))


def _names(rasters: Sequence[RasterPath], folder: Path) -> list[Path]:
    if not rasters:
        raise OptionInvalid("no raster is named", mend="lightpanel reproject pop_2019.tif --kind count -o projected")
    paths = [folder / f"{Path(path.name).stem}.tif" for path in rasters]
    for source, path in zip(rasters, paths, strict=True):
        if isinstance(source, Path) and path.resolve() == source.resolve():
            raise OptionInvalid("the raster would be written over itself", where=path, mend="name another folder: -o")
    twice = sorted({p.name for p in paths if paths.count(p) > 1})
    if twice:
        raise OptionInvalid(
            f"several rasters would become {', '.join(twice)}", where=folder, mend="give them folders of their own: -o"
        )
    return paths


def product_of(path: RasterPath) -> Product | None:
    """The product whose files are called like this one; None for an unknown name, or one that several use."""
    found = [
        product
        for product in PRODUCTS.values()
        if any(
            fnmatch.fnmatch(path.name, p.rsplit("/", 1)[-1].replace("{year}", "[12][0-9][0-9][0-9]"))
            for p in product.files
        )
    ]
    return found[0] if len(found) == 1 else None


def _kind_of(info: RasterInfo, kind: str | None) -> tuple[Product, Kind]:
    product = product_of(info.path)
    if kind is None:
        if product is None:
            raise OptionInvalid(
                "this file's name is no known product's, so what its cells hold is not known",
                where=info.path,
                mend="say it: --kind count for people per cell, --kind intensity for lights",
            )
        return product, product.quantity
    wanted = check_kind(kind)
    if product is not None and product.quantity != wanted:
        raise OptionInvalid(
            f"{product.title} holds a {product.quantity}, not a {wanted}",
            where=info.path,
            mend=f"--kind {product.quantity}, or rename the file if it is something else",
        )
    return product or CUSTOM, wanted


def _rules(info: RasterInfo, product: Product, kind: Kind, nodata: float | None) -> CellRules:
    """What is data; light below zero stays as it is, for the policy of whoever sums it."""
    if product is CUSTOM:
        source = RasterSource(product="custom", unit="-", quantity=kind, files="-", nodata=nodata)
        product = product_for(source)
    else:
        source = RasterSource(product=product.name, nodata=nodata)
    rules = rules_for(product, source, info)
    return replace(rules, valid_range=None) if kind == "count" else as_they_are(rules)


def as_they_are(rules: CellRules) -> CellRules:
    """The same fills, but no policy on values: what is reprojected is what was measured."""
    return replace(rules, negatives="keep", dn_min=0.0, valid_range=None)


def _target(infos: list[RasterInfo], to: Any, cell: float | None, like: str | Path | None) -> Grid:
    if like is None:
        plane = crs_from(to, where="--to")
        if cell is None and plane.is_geographic:
            raise OptionInvalid("no cell is given", where="--cell", mend="give its side in degrees: --cell 0.01")
        return target_grid([info.grid for info in infos], plane, 1000.0 if cell is None else cell)
    grid = read_info(like).grid
    if cell is not None and not (
        abs(grid.transform.a - cell) <= 1e-9 * cell and abs(-grid.transform.e - cell) <= 1e-9 * cell
    ):
        raise OptionInvalid(
            f"the cell of --like is {grid.transform.a:g} by {-grid.transform.e:g}, --cell says {cell:g}",
            where=like,
            mend="leave --cell out: --like gives it",
        )
    if not same_crs(grid.crs, to) and str(to) != "ESRI:102027":
        raise OptionInvalid(
            f"--like is in {grid.crs.name}, --to says {to}", where=like, mend="leave --to out: --like gives it"
        )
    return grid


def _loss_max(kind: Kind, resampling: Resampling) -> float:
    return LOSS_MAX if kind == "count" and resampling == "conserve" else float("inf")


def _notes(info: RasterInfo, kind: Kind, resampling: Resampling, ledger: MassLedger) -> list[str]:
    out = []
    if kind == "count" and resampling != "conserve":
        out.append(
            f"{info.path.name}: {resampling} resampling of a count kept {1 - ledger.loss_share:.1%} of the total; "
            "do not use it for anything but a comparison"
        )
    if ledger.beyond_total > 0:
        share = ledger.beyond_total / ledger.source_total
        out.append(f"{info.path.name}: {share:.3g} of the total lies beyond the target grid")
    return out


# --- rows of the ledger ----------------------------------------------------------------------------------------------


def year_of(name: str) -> int | None:
    """The year a file name tells, when it tells one."""
    years = set(re.findall(r"(?<!\d)(?:19|20)\d\d(?!\d)", name))
    return int(years.pop()) if len(years) == 1 else None


def ledger_row(
    raster: str,
    raster_kind: str,
    year: int | None,
    kind: Kind,
    resampling: str,
    target: Grid | None,
    ledger: MassLedger,
) -> dict[str, Any]:
    """One row of ``LEDGER``; what only a run knows is left missing."""
    plane = "km2" if target is None or not target.is_geographic else "square degree"
    return {
        "raster_kind": raster_kind,
        "raster": raster,
        "raster_year": year,
        "preset": None,
        "resampling": resampling,
        "mass_unit": "count" if kind == "count" else f"value {plane}",
        "source_mass": ledger.source_total,
        "inside_mass": float("nan"),
        "outside_mass": float("nan"),
        "beyond_mass": ledger.beyond_total,
        "reprojected_mass": ledger.reprojected_total,
        "loss_share": ledger.loss_share,
        "n_source_nodata_cells": ledger.n_nodata_cells,
        "n_source_negative_cells": ledger.n_negative_cells,
        "source_negative_mass": ledger.negative_total,
    }


def ledger_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a table of ``LEDGER``."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(LEDGER.columns))
    return frame.astype({"raster_year": "Int32"})
