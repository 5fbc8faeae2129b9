"""A difference of two vintages on disk: a table for reading on, a GeoPackage for looking at.

In: ``VintageDiff``. Out: ``.csv``, ``.parquet`` or ``.gpkg``, written whole or not at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gis.errors import OptionInvalid
from gis.tables import BOUNDARY_DIFF, BOUNDARY_PIECE, atomic_path, check, write_table

if TYPE_CHECKING:
    from gis.boundaries.diff import VintageDiff


def write_diff(found: VintageDiff, path: Path) -> Path:
    """Write a difference: the table of units as ``.parquet`` or ``.csv``, both tables with polygons as ``.gpkg``.

    The GeoPackage has the layers ``boundary_diff`` (units of either vintage, those gone with their old polygon) and
    ``boundary_piece`` (ground that moved, and strips of noise), in the CRS of the later layer.

    Raises
    ------
    OptionInvalid
        Another ending.
    WriteFailed
        The operating system refused; what stood there is untouched.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        return write_table(BOUNDARY_DIFF, found.units, path)
    if path.suffix not in (".csv", ".gpkg"):
        raise OptionInvalid(f"no format {path.suffix!r}", where=path, mend="name the file .gpkg, .parquet or .csv")
    with atomic_path(path) as temporary:
        if path.suffix == ".csv":
            check(BOUNDARY_DIFF, found.units).to_csv(temporary, index=False, encoding="utf-8-sig")
        else:
            _write_layers(found, temporary)
    return path


def _write_layers(found: VintageDiff, path: Path) -> None:
    import geopandas as gpd
    import pyogrio

    over = found.overlay
    new, old = (
        dict(zip(over.new.codes, over.new.geometry, strict=True)),
        dict(zip(over.old.codes, over.old.geometry, strict=True)),
    )
    shapes = [new[b] if b else old[a] for a, b in zip(found.units["old_code"], found.units["new_code"], strict=True)]
    units = gpd.GeoDataFrame(check(BOUNDARY_DIFF, found.units), geometry=shapes, crs=over.new.crs)
    moved = (found.pieces["verdict"] != "stays").to_numpy()
    pieces = gpd.GeoDataFrame(
        check(BOUNDARY_PIECE, found.pieces[moved]), geometry=list(over.geometry[moved]), crs=over.new.crs
    )
    for name, frame, append in ((BOUNDARY_DIFF.name, units, False), (BOUNDARY_PIECE.name, pieces, True)):
        pyogrio.write_dataframe(
            frame, path, layer=name, driver="GPKG", append=append, geometry_type="MultiPolygon", promote_to_multi=True
        )
