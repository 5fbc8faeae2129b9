"""What makes QGIS open a GeoPackage layer coloured: quantile classes, a style in QML, and the table that holds it.

In: values of a column, an open SQLite connection. Out: class limits, QML text, rows of ``layer_styles``.
Source of the table: QGIS, "Save style to database"; f_table_catalog and f_table_schema are empty texts there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

if TYPE_CHECKING:
    import sqlite3

    from numpy.typing import NDArray

N_CLASSES = 7
"""Classes of a graduated map: about as many as an eye tells apart in a sequence."""

DARK, LIGHT = (24, 22, 72), (255, 226, 110)
"""Ends of the colour ramp, from night to light (RGB)."""

LINE_WIDTHS = (0.1, 0.7)
"""Widths of lines from the lowest to the highest class [mm]: among thousands of lines, the strong ones stand out."""

LAYER_STYLES = """
CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256),
    styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30),
    ui TEXT(30), update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now'))
)"""


def quantile_limits(values: NDArray[np.float64], n_classes: int = N_CLASSES) -> tuple[float, ...]:
    """Limits of classes of about equal size: ``n`` classes have ``n + 1`` limits, each above the one before it.

    Values that are not finite are left out. Equal quantiles are merged, so many equal values give fewer classes;
    one distinct value gives one class, no value gives none (an empty tuple).
    """
    finite = np.asarray(values, np.float64)[np.isfinite(values)]
    if finite.size == 0:
        return ()
    limits = np.unique(np.quantile(finite, np.linspace(0, 1, n_classes + 1)))
    if limits.size == 1:
        limits = np.repeat(limits, 2)
    return tuple(float(v) for v in limits)


def ramp(n: int) -> list[tuple[int, int, int]]:
    """``n`` colours from `DARK` to `LIGHT`, evenly spaced."""
    share = np.linspace(0, 1, n) if n > 1 else np.array([0.5])
    return [(int(r), int(g), int(b)) for r, g, b in np.rint(np.outer(1 - share, DARK) + np.outer(share, LIGHT))]


def graduated_qml(column: str, limits: tuple[float, ...], *, line: bool = False, by_year: bool = False) -> str:
    """A QGIS style that colours features by ``column`` in the classes between ``limits``.

    Parameters
    ----------
    line : bool
        Whether features are lines instead of polygons.
    by_year : bool
        Whether rows are years: the temporal controller then shows one year at a time.
    """
    root = ElementTree.Element("qgis", version="3.28.0", styleCategories="Symbology|Temporal")
    if by_year:
        # mode 4: start and end from expressions (QGIS, Qgis::VectorTemporalMode)
        start, end = 'make_date("year", 1, 1)', 'make_date("year", 12, 31)'
        ElementTree.SubElement(
            root, "temporal", enabled="1", mode="4", limitMode="0", startExpression=start, endExpression=end
        )
    renderer = ElementTree.SubElement(
        root, "renderer-v2", type="graduatedSymbol", attr=column, graduatedMethod="GraduatedColor", symbollevels="0"
    )
    ranges = ElementTree.SubElement(renderer, "ranges")
    symbols = ElementTree.SubElement(renderer, "symbols")
    n = len(limits) - 1
    step = (LINE_WIDTHS[1] - LINE_WIDTHS[0]) / max(n - 1, 1)
    for k, colour in enumerate(ramp(n)):
        low, high = limits[k], limits[k + 1]
        # repr keeps every bit: the largest value must not fall outside the last class by rounding
        ElementTree.SubElement(
            ranges,
            "range",
            lower=repr(low),
            upper=repr(high),
            symbol=str(k),
            label=f"{low:.3g} – {high:.3g}",
            render="true",
        )
        symbols.append(_symbol(str(k), colour, width=LINE_WIDTHS[0] + k * step if line else None))
    text = ElementTree.tostring(root, encoding="unicode")
    return f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n{text}"


def _symbol(name: str, colour: tuple[int, int, int], width: float | None) -> ElementTree.Element:
    rgb = ",".join(str(c) for c in (*colour, 255))
    properties: dict[str, Any]
    if width is not None:
        kind, properties = "line", {"line_color": rgb, "line_style": "solid", "line_width": f"{width:.2f}"}
    else:
        kind = "fill"
        properties = {"color": rgb, "style": "solid", "outline_color": "90,90,90,255", "outline_width": "0.1"}
    symbol = ElementTree.Element("symbol", name=name, type=kind, alpha="1", clip_to_extent="1", force_rhr="0")
    layer = ElementTree.SubElement(
        symbol, "layer", {"class": f"Simple{kind.title()}", "enabled": "1", "locked": "0", "pass": "0"}
    )
    options = ElementTree.SubElement(layer, "Option", type="Map")
    for key, value in properties.items():
        ElementTree.SubElement(options, "Option", name=key, value=value, type="QString")
    for key, value in properties.items():  # QGIS before 3.18 reads these instead
        ElementTree.SubElement(layer, "prop", k=key, v=value)
    return symbol


def add_style(db: sqlite3.Connection, layer: str, geometry_column: str, qml: str, title: str) -> None:
    """Make ``qml`` the style QGIS opens a layer with; the table is made, and registered, at the first call."""
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'layer_styles'").fetchone() is None:
        db.execute(LAYER_STYLES)
        db.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description) VALUES (?, ?, ?, ?)",
            ("layer_styles", "attributes", "layer_styles", "Styles QGIS opens the layers with"),
        )
    db.execute(
        "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,"
        " styleQML, styleSLD, useAsDefault, description, owner, ui) VALUES ('', '', ?, ?, ?, ?, '', 1, ?, '', NULL)",
        (layer, geometry_column, layer, qml, title),
    )
