"""The one door to rasterio: what a raster file is, its rows as plain arrays, and rasters written whole or not at all.

In: raster files. Out: ``RasterInfo`` (a north-up ``Grid`` and what the file says of itself), arrays of rows, and
GeoTIFFs. ``CellRules`` says which cell values are data. A file that would give a wrong number is refused here; what
leaves the number standing is a note.
"""

from gis.raster_io.cells import INT_FILL, CellRules, Negatives, check_range, integer_fills, is_data, working_dtype
from gis.raster_io.info import RasterInfo, read_info
from gis.raster_io.remote import RasterPath, RemoteFile, is_address, remote_file
from gis.raster_io.rows import RasterHandle, open_raster
from gis.raster_io.write import write_raster

__all__ = [
    "INT_FILL",
    "CellRules",
    "Negatives",
    "RasterHandle",
    "RasterInfo",
    "RasterPath",
    "RemoteFile",
    "check_range",
    "integer_fills",
    "is_address",
    "is_data",
    "open_raster",
    "read_info",
    "remote_file",
    "working_dtype",
    "write_raster",
]
