"""Write the demo: a whole workspace, small, fictional, and with every answer known.

In: a folder and a seed. Out: ``DemoPaths``, what was written. The same seed writes the same bytes, on the same
versions of the libraries. Nothing is run: that is `lightpanel run`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gis.demo.fields import YEARS
from gis.demo.flows import flows
from gis.demo.geography import LAYERS, NEW, OLD, geography
from gis.demo.historical import control_points, offices, offices_text, points_text, scan, truth_offices_text
from gis.demo.pictures import png_from_grey
from gis.demo.rasters import write_lights, write_population
from gis.demo.truth import truth_table
from gis.errors import WriteFailed
from gis.workspace import BOUNDARIES, CONFIG_NAME, HISTORICAL, RASTERS

if TYPE_CHECKING:
    from gis.grid import Zones

FLOWS, TRUTH = "flows", "truth"

STAMP = "2020-01-01T00:00:00Z"
"""Time written into files whose format demands one."""

CONFIG_TEXT = f'''\
# A lightpanel workspace. Paths are relative to this folder; lines that start with # are off.
# This one is synthetic: the places do not exist, and truth/levels.parquet holds what an exact method must find.

[workspace]
name = "lightpanel demo"

[lights]
product = "eantli_like"          # a profile: file names, unit, what a negative means
years = [{YEARS[0]}, {YEARS[-1]}]             # both included; without this line, all years found under rasters/
synthetic_years = [{", ".join(map(str, YEARS))}]  # made up, not observed: said in every output
missing_years = "nan"            # a year without a raster: "nan", "error" or "interpolate"
# files = "rasters/my_lights_{{year}}.tif"  # where names differ from the profile's
# dn_min = 0.5                   # lit threshold: light below it counts as 0

[population]
product = "landscan"             # finds the archive of 2016 too, and leaves the coloured picture in it alone
missing_years = "error"          # a light year without population: "error", "nearest", "static" or "interpolate"
synthetic_years = [{", ".join(map(str, YEARS))}]

# Boundaries of one vintage hold for all years, so that a city is the same place throughout.
[boundaries.city]
file = "{BOUNDARIES}/demo_{NEW}.gpkg"
layer = "city"
vintage = "{NEW}-12-31"

[boundaries.district]
file = "{BOUNDARIES}/demo_{NEW}.gpkg"
layer = "district"
vintage = "{NEW}-12-31"

# The older boundaries: put these two sections in place of the two above. Thirteen cities then, one of them split since,
# one still a prefecture under another code. The shapefiles are in GBK and do not say so; encoding and columns are
# found by themselves, and written out here for files where they are not.
# [boundaries.city]
# file = "{BOUNDARIES}/demo_{OLD}/city.shp"
# vintage = "{OLD}-12-31"
# encoding = "GB18030"
# columns = {{ code = "代码", name = "名称" }}
#
# [boundaries.district]
# file = "{BOUNDARIES}/demo_{OLD}/district.shp"
# vintage = "{OLD}-12-31"
# encoding = "GB18030"
# columns = {{ code = "代码", name = "名称", parent = "市代码" }}

[levels]
measure = "lambert"              # weigh cells by area in ESRI:102027; "true": on the ellipsoid; "cells": every cell 1
cov_pop_min = 0.95               # less of the people covered by light data: no level (flag LOWCOV)
cov_area_flag = 0.95             # less of the area: flagged LOWAREA, level kept

[panel]
tie = "previous"                 # what orders a pair that was equal last year
# cities = "roster.csv"          # a column city_code: these cities only

# The telegraph offices of the old map, placed through its control points, and the instrument built on them.
[instrument]
flows = "flows/flows.csv"        # src,dst,year,n
drop_unknown = true              # flows of cities outside the panel (another vintage, a roster) are left out

[instrument.offices]
file = "historical/offices.csv"  # digitised in pixels of the scan
control_points = "historical/gcps.points"
model = "auto"                   # the transform with the smallest leave-one-out error

[output]
crs = "ESRI:102027"              # of the GeoPackage; or "EPSG:4326"
'''


@dataclass(frozen=True, slots=True)
class DemoPaths:
    """What `write_demo` wrote; every path is absolute."""

    root: Path
    """The workspace."""
    config: Path
    """``workspace.toml``: the newer boundaries; the older ones stand in it as comments."""
    boundaries_new: Path
    """GeoPackage of 2019 with layers ``city`` and ``district``."""
    boundaries_old_city: Path
    """Shapefile of 2010, in GBK without ``.cpg``."""
    boundaries_old_district: Path
    """The same for districts."""
    lights: dict[int, Path]
    """Lights by year."""
    population: dict[int, Path]
    """Population by year; one is a ``.zip``."""
    scan: Path
    """Scan of the old map, PNG."""
    control_points: Path
    """``gcps.points``, QGIS."""
    offices: Path
    """Digitised telegraph offices, in pixels of the scan."""
    truth_offices: Path
    """Where they stood."""
    flows: Path
    """``src,dst,year,n``."""
    truth: Path
    """`gis.demo.truth_table` as Parquet."""


def write_demo(folder: str | Path, *, seed: int = 1907) -> DemoPaths:
    """Write the demo workspace into a folder that is new or empty.

    Parameters
    ----------
    seed : non-negative int
        Draws borders, towns, noise and counts; the design (which city overtakes which, what is missing) stays.

    Raises
    ------
    WriteFailed
        The folder holds something, or cannot be written; nothing half-written stays behind.
    """
    root = Path(folder).expanduser().resolve()
    mend = "name a new folder: lightpanel demo my-demo"
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise WriteFailed("the demo is written into a new or empty folder; this one is neither", where=root, mend=mend)
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        build = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    except OSError as error:
        raise WriteFailed(f"cannot write: {error}", where=root, mend=mend) from error
    try:
        paths = _write_all(build, seed)
        root.mkdir(exist_ok=True)
        for child in sorted(build.iterdir()):
            os.replace(child, root / child.name)
    except OSError as error:
        if isinstance(error, WriteFailed):
            raise
        raise WriteFailed(
            f"could not finish writing: {error}", where=root, mend="free some space, or " + mend
        ) from error
    finally:
        shutil.rmtree(build, ignore_errors=True)
    return _moved(paths, build, root)


def _write_all(root: Path, seed: int) -> DemoPaths:
    old_city, old_district = (root / BOUNDARIES / f"demo_{OLD}" / f"{layer}.shp" for layer in LAYERS)
    history, found = root / HISTORICAL, offices(seed)
    paths = DemoPaths(
        root=root,
        config=_write(root / CONFIG_NAME, CONFIG_TEXT),
        boundaries_new=root / BOUNDARIES / f"demo_{NEW}.gpkg",
        boundaries_old_city=old_city,
        boundaries_old_district=old_district,
        lights=write_lights(root / RASTERS, seed),
        population=write_population(root / RASTERS, seed),
        scan=_write(history / "telegraph_map.png", png_from_grey(scan(seed))),
        control_points=_write(history / "gcps.points", points_text(control_points(seed))),
        offices=_write(history / "offices.csv", offices_text(found)),
        truth_offices=_write(history / "truth_offices.csv", truth_offices_text(found)),
        flows=_write(root / FLOWS / "flows.csv", flows(seed).to_csv(index=False, lineterminator="\n")),
        truth=root / TRUTH / "levels.parquet",
    )
    paths.truth.parent.mkdir()
    truth_table(seed).to_parquet(paths.truth, index=False, compression="zstd")
    old_city.parent.mkdir(parents=True)
    _write_geopackage(paths.boundaries_new, seed)
    _write_old_shapefile(old_city, geography(seed).zones(OLD, "city"))
    _write_old_shapefile(old_district, geography(seed).zones(OLD, "district"))
    return paths


def _write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _write_geopackage(path: Path, seed: int) -> None:
    """The new boundaries, as a careful office delivers them: two layers, CRS, UTF-8."""
    import geopandas as gpd
    import pyogrio

    with _gdal_option("OGR_CURRENT_DATE", STAMP):
        for layer in LAYERS:
            zones = geography(seed).zones(NEW, layer)
            columns: dict[str, Any] = {"code": zones.codes, "name": zones.names}
            if zones.parents:
                columns["city_code"] = zones.parents
            frame = gpd.GeoDataFrame(columns, geometry=zones.geometry, crs=zones.crs)
            pyogrio.write_dataframe(frame, path, layer=layer, driver="GPKG", append=layer != LAYERS[0])


def _write_old_shapefile(path: Path, zones: Zones) -> None:
    """The old boundaries, as they are found: Chinese columns in GBK, and nothing that says so."""
    import geopandas as gpd
    import pyogrio

    columns: dict[str, Any] = {"代码": zones.codes, "名称": zones.names}
    if zones.parents:
        columns["市代码"] = zones.parents
    frame = gpd.GeoDataFrame(columns, geometry=zones.geometry, crs=zones.crs)
    options = {"DBF_DATE_LAST_UPDATE": STAMP[:10]}
    pyogrio.write_dataframe(frame, path, driver="ESRI Shapefile", encoding="GBK", layer_options=options)
    path.with_suffix(".cpg").unlink()
    table = bytearray(path.with_suffix(".dbf").read_bytes())
    table[29] = 0  # the dBase code page: 77 says GBK, and files from elsewhere seldom do
    path.with_suffix(".dbf").write_bytes(table)


@contextmanager
def _gdal_option(name: str, value: str) -> Iterator[None]:
    import pyogrio

    before = pyogrio.get_gdal_config_option(name)
    pyogrio.set_gdal_config_options({name: value})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({name: before})


def _moved(paths: DemoPaths, old: Path, new: Path) -> DemoPaths:
    def move(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: move(path) for key, path in value.items()}
        return new / value.relative_to(old)

    return replace(paths, **{entry.name: move(getattr(paths, entry.name)) for entry in fields(paths)})
