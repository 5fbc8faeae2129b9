"""Maps whose truth is known, for the tests of georeferencing.

In: seeds and errors. Out: control points of synthetic sheets, and slow reference answers that share no code with the
package.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pyproj import Geod, Proj

from gis.historical import ControlPoints, control_points

SIZE = (5000, 6000)
"""(height, width) of the synthetic sheets [px]."""
BONNE = "+proj=bonne +lat_1=40 +lon_0=116.4 +datum=WGS84 +units=m"
"""The projection of METHOD 8.3's experiment."""


def places(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw n places in a trapezium like China's densely settled part."""
    lon, lat = rng.uniform(80, 128, 20 * n), rng.uniform(20, 49, 20 * n)
    inside = np.abs(lon - 104) < 10 + 0.9 * (lat - 20)
    return lon[inside][:n], lat[inside][:n]


def moved(lon: Any, lat: Any, east_km: Any, north_km: Any) -> tuple[np.ndarray, np.ndarray]:
    """Move places on the ellipsoid."""
    azimuth = np.degrees(np.arctan2(east_km, north_km))
    out = Geod(ellps="WGS84").fwd(lon, lat, azimuth, np.hypot(east_km, north_km) * 1000)
    return np.asarray(out[0]), np.asarray(out[1])


def sheet_px(lon: Any, lat: Any, proj: str = BONNE, *, turn: float = 1.2, km_per_px: float = 1.0) -> np.ndarray:
    """(n, 2) where a sheet in ``proj`` shows places [px]: askew by ``turn`` degrees."""
    globe = Proj(proj)
    x, y = globe(np.asarray(lon), np.asarray(lat))
    x0, y0 = globe(104.0, 35.0)
    east, south = (x - x0) / 1000 / km_per_px, -(y - y0) / 1000 / km_per_px
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    return np.column_stack([SIZE[1] / 2 + c * east - s * south, SIZE[0] / 2 + s * east + c * south])


def drafted_map(seed: int, *, n: int = 50, drafting_km: float = 9.0, reading_px: float = 2.0) -> ControlPoints:
    """METHOD 8.3's experiment: n towns of a Bonne map, drawn with an error and read with another, per axis."""
    rng = np.random.default_rng(seed)
    lon, lat = places(rng, n)
    drawn = moved(lon, lat, *rng.normal(0, drafting_km, (2, n)))
    px = sheet_px(*drawn) + rng.normal(0, reading_px, (n, 2))
    return control_points(px[:, 0], px[:, 1], lon, lat)


def affine_points(seed: int = 0, n: int = 12, *, crs: str = "EPSG:4326") -> ControlPoints:
    """n exact points of a sheet that is an affine map of longitude and latitude, askew."""
    rng = np.random.default_rng(seed)
    px, py = rng.uniform(0, 1000, n), rng.uniform(0, 800, n)
    return control_points(px, py, 100 + 0.02 * px - 0.001 * py, 45 - 0.0012 * px - 0.018 * py, crs=crs)


def example(real_data: Path, name: str) -> Path:
    """One of the real example files."""
    return real_data / "gcp" / "synthetic_format_examples" / name


# --- oracles ----------------------------------------------------------------------------------------------------------


def polynomial_left_out(points: ControlPoints, xy: np.ndarray, order: int) -> np.ndarray:
    """(n, 2) where a polynomial fitted to the others by normal equations puts each point."""
    u, v = (points.px - 3000) / 3000, (points.py - 2500) / 3000
    pairs = [(i, j) for i in range(order + 1) for j in range(order + 1 - i)]
    design = np.array([[a**i * b**j for i, j in pairs] for a, b in zip(u, v, strict=True)])
    out = np.empty_like(xy)
    for k in range(len(xy)):
        rest = [i for i in range(len(xy)) if i != k]
        a = design[rest]
        out[k] = design[k] @ np.linalg.solve(a.T @ a, a.T @ xy[rest])
    return out


def similarity_left_out(points: ControlPoints, xy: np.ndarray) -> np.ndarray:
    """(n, 2) the same for a similarity: four real unknowns a, b, c, d of x = a u + b v + c, y = b u - a v + d."""
    out = np.empty_like(xy)
    for k in range(len(xy)):
        rows, goal = [], []
        for i in range(len(xy)):
            if i != k:
                u, v = points.px[i] / 1000, points.py[i] / 1000
                rows += [[u, v, 1, 0], [-v, u, 0, 1]]
                goal += [xy[i, 0], xy[i, 1]]
        a, b, c, d = np.linalg.lstsq(np.array(rows), np.array(goal), rcond=None)[0]
        u, v = points.px[k] / 1000, points.py[k] / 1000
        out[k] = a * u + b * v + c, -a * v + b * u + d
    return out


def spline_left_out(points: ControlPoints, xy: np.ndarray, normal: Any, smoothing: float) -> np.ndarray:
    """(n, 2) the same for a thin-plate spline, by scipy's interpolator on normalised pixels."""
    from scipy.interpolate import RBFInterpolator

    nodes, out = np.column_stack(normal(points.px, points.py)), np.empty_like(xy)
    for k in range(len(xy)):
        rest = np.arange(len(xy)) != k
        plate = RBFInterpolator(nodes[rest], xy[rest], kernel="thin_plate_spline", smoothing=smoothing, degree=1)
        out[k] = plate(nodes[k : k + 1])[0]
    return out
