"""Georeference annotations of IIIF, as Allmaps reads and writes them.

In: JSON (Annotation, or AnnotationPage with one). Out: ``ControlPoints`` on WGS 84. Source: IIIF Georeference
Extension, https://iiif.io/api/extension/georef/; drafts before 1.0 wrote ``pixelCoords``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gis.historical.control_points import (
    WGS84,
    ControlPoints,
    ControlPointsInvalid,
    ControlPointsUnreadable,
    control_points,
)
from gis.historical.formats.text import write_text

CONTEXTS = ("http://iiif.io/api/extension/georef/1/context.json", "http://iiif.io/api/presentation/3/context.json")
ASPECT = 0.01
"""Sizes whose ratios of width to height differ by more than this share are of different images."""
MODELS: dict[str, dict[str, Any]] = {
    "affine": {"type": "polynomial", "options": {"order": 1}},
    "poly2": {"type": "polynomial", "options": {"order": 2}},
    "poly3": {"type": "polynomial", "options": {"order": 3}},
    "tps": {"type": "thinPlateSpline"},
}
"""Models the annotation can name; others are left to the reader's default."""


def read_iiif(path: Path, *, size: tuple[int, int] | None = None) -> ControlPoints:
    """Read a georeference annotation.

    Parameters
    ----------
    size : (height, width) of the scan at hand [px], optional
        Pixels of an annotation made on the same image in another size are scaled to it.

    Raises
    ------
    ControlPointsUnreadable
        It is not JSON, or holds no georeference annotation, or several.
    ControlPointsInvalid
        The annotation's image has another shape than the scan; a point lacks a coordinate.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise ControlPointsUnreadable(f"not JSON: {error}", where=path, mend="download the annotation again") from error
    annotation = _annotation(data, path)
    features = annotation["body"].get("features") or []
    if not features:
        raise ControlPointsUnreadable(
            "there are no points in it", where=path, mend="add some in Allmaps and save again"
        )
    across, down = _scale(annotation, size, path)
    columns: list[list[float]] = []
    ids = []
    for i, feature in enumerate(features, start=1):
        try:
            properties = feature.get("properties") or {}
            pixel = properties.get("resourceCoords") or properties["pixelCoords"]
            place = feature["geometry"]["coordinates"]
            values = [float(pixel[0]) * across, float(pixel[1]) * down, float(place[0]), float(place[1])]
        except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
            raise ControlPointsInvalid(
                f"point {i} of the annotation lacks a coordinate",
                where=path,
                mend="each feature needs properties.resourceCoords [px, py] and geometry.coordinates [lon, lat]",
            ) from error
        columns.append(values)
        ids.append(str(feature.get("id") or i))
    if len(set(ids)) < len(ids):
        ids = [str(i + 1) for i in range(len(ids))]
    px, py, lon, lat = zip(*columns, strict=True)
    return control_points(px, py, lon, lat, crs=WGS84, ids=ids, source=path)


def write_iiif(
    points: ControlPoints,
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    scan: Path | None = None,
    image_id: str | None = None,
    transformation: str | None = None,
) -> Path:
    """Write the used points as one georeference annotation.

    Parameters
    ----------
    image_id : URI of the IIIF image, which Allmaps needs to show it; default: the scan's file name
    transformation : a model's name; written where the format has a word for it
    """
    source: dict[str, Any] = {"id": image_id or (scan.name if scan else path.stem), "type": "ImageService2"}
    if size is not None:
        source |= {"height": size[0], "width": size[1]}
    target: dict[str, Any] = {"type": "SpecificResource", "source": source}
    if size is not None:
        height, width = size
        outline = f"0,0 {width},0 {width},{height} 0,{height}"
        svg = f'<svg width="{width}" height="{height}"><polygon points="{outline}" /></svg>'
        target["selector"] = {"type": "SvgSelector", "value": svg}
    used = points.used()
    features = [
        {
            "type": "Feature",
            "id": used.ids[i],
            "properties": {"resourceCoords": [float(used.px[i]), float(used.py[i])]},
            "geometry": {"type": "Point", "coordinates": [float(used.lon[i]), float(used.lat[i])]},
        }
        for i in range(len(used))
    ]
    body: dict[str, Any] = {"type": "FeatureCollection", "features": features}
    if transformation in MODELS:
        body["transformation"] = MODELS[transformation]
    annotation = {
        "@context": list(CONTEXTS), "type": "Annotation", "motivation": "georeferencing",
        "target": target, "body": body,
    }  # fmt: skip
    return write_text(path, json.dumps(annotation, ensure_ascii=False, indent=1) + "\n")


def _annotation(data: Any, path: Path) -> dict[str, Any]:
    found = [data] if not isinstance(data, dict) or "items" not in data else list(data["items"])
    good = [
        item
        for item in found
        if isinstance(item, dict)
        and item.get("type") == "Annotation"
        and isinstance(item.get("body"), dict)
        and item["body"].get("type") == "FeatureCollection"
    ]
    if len(good) == 1:
        return good[0]
    what = f"{len(good)} georeference annotations" if good else "no georeference annotation"
    mend = "save the annotation of one map to a file of its own" if good else "export the map's annotation from Allmaps"
    raise ControlPointsUnreadable(f"the file holds {what}", where=path, mend=mend)


def _scale(annotation: dict[str, Any], size: tuple[int, int] | None, path: Path) -> tuple[float, float]:
    """Factors from the annotation's pixels to the scan's: (across, down)."""
    target = annotation.get("target")
    source = target.get("source", target) if isinstance(target, dict) else None
    height, width = (source.get("height"), source.get("width")) if isinstance(source, dict) else (None, None)
    if size is None or not height or not width:
        return 1.0, 1.0
    across, down = size[1] / float(width), size[0] / float(height)
    if abs(across / down - 1) > ASPECT:
        raise ControlPointsInvalid(
            f"the annotation is of an image of {width} x {height} px, the scan has {size[1]} x {size[0]}",
            where=path,
            mend="give the whole image the annotation was made on, neither cropped nor turned, in any size",
        )
    return across, down
