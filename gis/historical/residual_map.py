"""The residual map: the scan, and at every control point an arrow to where the model says it should have been.

In: a picture, control points, an ``Accuracy``. Out: a PNG. Drawn with Pillow, which is small; a plotting library would
be ten times its size for some dozens of arrows (decision 0023).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.historical.accuracy import Accuracy
from gis.historical.control_points import ControlPoints
from gis.tables import atomic_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gis.raster_io.pictures import PictureHandle

    Floats = NDArray[np.float64]

LONG_SIDE = 1600
"""Longer side of the picture [px]; smaller scans are shown in their own size, not below `SHORT`."""
SHORT = 800
FADE = 0.45
"""Share of the scan's contrast that is kept, so that arrows stand out."""
TYPICAL = 0.04
"""Length of the median arrow as a share of the longer side."""
FOOT = 92
"""Height of the lines below the map [px]."""
FITTED, WRONG, CHECK, OFF = (20, 70, 200), (210, 20, 20), (0, 130, 70), (120, 120, 120)
"""Colours: fitted points, outliers among them, check points, disabled points."""
LEFT_OUT = (235, 140, 20)
"""Colour of the thin arrow to where the point is put by the others."""


def residual_map(picture: PictureHandle, points: ControlPoints, accuracy: Accuracy, path: Path) -> Path:
    """Draw the residual map as PNG, atomically.

    Thick arrows run from the point as digitised to where the model puts its true position; thin orange ones to where a
    fit without the point puts it. All are lengthened by one factor, given below the map with the length of 10 km.
    """
    from PIL import Image, ImageDraw

    height, width = picture.info.size
    scale = min(LONG_SIDE / max(height, width), max(1.0, SHORT / max(height, width)))
    shape = (max(1, round(height * scale)), max(1, round(width * scale)))
    image = Image.new("RGB", (shape[1], shape[0] + FOOT), "white")
    image.paste(Image.fromarray(_faded(picture, shape)), (0, 0))
    draw = ImageDraw.Draw(image)

    used, check = points.used(), points.take(points.is_check)
    kept, out = _errors_px(accuracy, used)
    checked = np.column_stack(accuracy.transform.to_pixel(check.lon, check.lat)) - _pixels(check)
    exaggeration = _exaggeration(kept, out, max(height, width))
    for point in _pixels(points.take(~points.enabled)) * scale:
        _cross(draw, point, OFF)
    for i, at in enumerate(_pixels(used) * scale):
        _arrow(draw, at, out[i] * scale * exaggeration, LEFT_OUT, 1)
        colour = WRONG if accuracy.is_outlier[i] else FITTED
        _arrow(draw, at, kept[i] * scale * exaggeration, colour, 3)
        _dot(draw, at, colour)
        _label(draw, at, kept[i], used.ids[i], colour)
    for i, at in enumerate(_pixels(check) * scale):
        _arrow(draw, at, checked[i] * scale * exaggeration, CHECK, 3)
        _dot(draw, at, CHECK)
        _label(draw, at, checked[i], check.ids[i], CHECK)
    _foot(draw, shape, accuracy, exaggeration, 10.0 / _km_per_px(accuracy) * scale * exaggeration)
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG", optimize=True)
    return path


def residuals_px(points: ControlPoints, accuracy: Accuracy) -> Floats:
    """(n, 2) where the model puts each point's true position minus where it was digitised: (right, down) [px]."""
    return np.column_stack(accuracy.transform.to_pixel(points.lon, points.lat)) - _pixels(points)


def _errors_px(accuracy: Accuracy, used: ControlPoints) -> tuple[Floats, Floats]:
    """(n, 2) residuals and leave-one-out errors on the scan [px]."""
    kept = residuals_px(used, accuracy)
    # Linearised: kilometres east and north on the ground, to pixels at the point.
    step = 0.01
    origin = np.column_stack(accuracy.transform.to_pixel(used.lon, used.lat))
    east = np.column_stack(accuracy.transform.to_pixel(used.lon + step, used.lat)) - origin
    north = np.column_stack(accuracy.transform.to_pixel(used.lon, used.lat + step)) - origin
    km = step * 111.32
    east /= (km * np.cos(np.radians(used.lat)))[:, None]
    north /= km
    # Predicted minus true on the ground points the other way on the scan: from the digitised point to the drawn truth.
    out = -(accuracy.loo_east_km[:, None] * east + accuracy.loo_north_km[:, None] * north)
    return np.nan_to_num(kept), np.nan_to_num(out)


def _km_per_px(accuracy: Accuracy) -> float:
    from gis.historical.accuracy import offsets_km

    px, py = accuracy.px.mean(), accuracy.py.mean()
    lon, lat = accuracy.transform.to_lonlat(np.array([px, px + 1, px]), np.array([py, py, py + 1]))
    east, north = offsets_km(np.repeat(lon[:1], 2), np.repeat(lat[:1], 2), lon[1:], lat[1:])
    return math.sqrt(abs(east[0] * north[1] - east[1] * north[0])) or 1.0


def _exaggeration(kept: Floats, out: Floats, side: int) -> float:
    """One, two or five times a power of ten that brings the median arrow to `TYPICAL` of the longer side."""
    length = np.hypot(*kept.T) if np.hypot(*kept.T).max(initial=0) > 1e-3 else np.hypot(*out.T)
    middle = float(np.median(length)) if length.size else 0.0
    if middle < 1e-6:
        return 1.0
    wanted = TYPICAL * side / middle
    power = 10.0 ** math.floor(math.log10(wanted))
    return max(step * power for step in (1, 2, 5) if step * power <= wanted * (1 + 1e-9))


def _faded(picture: PictureHandle, shape: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = picture.info.size
    rgba = picture.read_rgba(0, height, 0, width, shape=shape).astype(np.float32)
    share = FADE * rgba[3] / 255
    return np.moveaxis(np.rint(255 - share * (255 - rgba[:3])).astype(np.uint8), 0, -1).copy()


def _arrow(draw: Any, at: Floats, by: Floats, colour: tuple[int, int, int], thick: int) -> None:
    length = float(np.hypot(*by))
    if length < 1:
        return
    end = at + by
    along = by / length
    head = min(5.0 + 2 * thick, length / 2)
    across = np.array([-along[1], along[0]]) * head * 0.45
    neck = end - along * head
    draw.line([*at, *neck], fill=colour, width=thick)
    draw.polygon([tuple(end), tuple(neck + across), tuple(neck - across)], fill=colour)


def _dot(draw: Any, at: Floats, colour: tuple[int, int, int]) -> None:
    draw.ellipse([at[0] - 4, at[1] - 4, at[0] + 4, at[1] + 4], outline=colour, fill="white", width=2)


def _label(draw: Any, at: Floats, by: Floats, name: str, colour: tuple[int, int, int]) -> None:
    """Write a point's name on the side its arrow does not go to."""
    right = by[0] <= 0
    place = (at[0] + (7 if right else -7), at[1])
    draw.text(place, _ascii(name), fill=colour, font=_font(12), anchor="lm" if right else "rm")


def _cross(draw: Any, at: Floats, colour: tuple[int, int, int]) -> None:
    for sign in (-1, 1):
        draw.line([at[0] - 5, at[1] - 5 * sign, at[0] + 5, at[1] + 5 * sign], fill=colour, width=2)


def _foot(draw: Any, shape: tuple[int, int], accuracy: Accuracy, exaggeration: float, ten_km: float) -> None:
    top = shape[0] + 8
    sigma = "none (interpolates)" if math.isnan(accuracy.sigma_axis_km) else f"{accuracy.sigma_axis_km:.2f} km per axis"
    draw.text(
        (10, top),
        f"{accuracy.model}, {accuracy.n_points} points: leave-one-out RMSE {accuracy.loo_rmse_km:.2f} km, "
        f"sigma {sigma}, RMSE {accuracy.rmse_km:.2f} km (optimistic)",
        fill="black",
        font=_font(15),
    )
    note = "; ".join(accuracy.notes) or f"outliers: {', '.join(map(_ascii, accuracy.outliers)) or 'none'}"
    draw.text(
        (10, top + 22), _ascii(note)[: shape[1] // 7], fill=WRONG if accuracy.outliers else "black", font=_font(13)
    )
    y, x = top + 62, 10
    _arrow(draw, np.array([x, y]), np.array([ten_km, 0.0]), FITTED, 3)
    draw.text((x, y - 18), f"10 km (arrows {exaggeration:g} x)", fill=FITTED, font=_font(12))
    x = max(x + int(ten_km) + 20, 190)
    for text, colour in (
        ("residual", FITTED), ("outlier", WRONG), ("without the point", LEFT_OUT), ("check point", CHECK),
        ("disabled", OFF),
    ):  # fmt: skip
        draw.rectangle([x, y - 5, x + 10, y + 5], fill=colour)
        draw.text((x + 15, y - 8), text, fill="black", font=_font(12))
        x += 30 + 7 * len(text)


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _ascii(text: str) -> str:
    """Text without the letters the built-in font has none of."""
    return "".join(c if c.isascii() else "?" for c in text)


def _pixels(points: ControlPoints) -> Floats:
    return np.column_stack([points.px, points.py])
