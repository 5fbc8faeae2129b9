"""What is known of each raster product: names of its files, unit, fill values, source; and the rules for its cells.

In: a raster section of ``workspace.toml``, a ``RasterInfo``. Out: ``Product`` profiles, ``CellRules``. Each profile is
explained for researchers in ``rasters/README.md``; a fact that could not be checked against its source says so in
``unverified``, and is read from the file instead of assumed.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gis.errors import ConfigInvalid
from gis.raster_io import CellRules, integer_fills

if TYPE_CHECKING:
    from gis.raster_io import Negatives, RasterInfo
    from gis.workspace import RasterSource


@dataclass(frozen=True, slots=True)
class Product:
    """Profile of a raster product, or of one year series of the user's own."""

    name: str
    """What ``product =`` in ``workspace.toml`` says."""
    title: str
    """Full name for reports."""
    unit: str
    """Unit of a cell's value."""
    quantity: Literal["count", "intensity"]
    """Counts are summed as they are; intensities are weighed by cell area (METHOD 1.3)."""
    files: tuple[str, ...]
    """Path patterns below ``rasters/``: ``{year}`` is the year, ``*`` anything but a slash; all are looked for."""
    grid: str
    """CRS, cell and extent as published; the file's own are what counts."""
    negatives: Negatives
    """What a cell below zero becomes, unless the config says otherwise."""
    source: str
    """Where it is published: a DOI or address."""
    citation: str
    """How its authors ask to be cited."""
    licence: str
    """Terms of use."""
    below_zero_is_nodata: bool = False
    """Whether any value below zero is a fill value."""
    nodata_is_zero: bool = False
    """Whether cells without data hold nothing (nobody lives at sea) rather than something unknown."""
    valid_range: tuple[float, float] | None = None
    """Values outside are an error; only where the authors state a range."""
    saturation: float | None = None
    """Value at which the sensor stops, where it does."""
    first_year: int | None = None
    """First year published."""
    last_year: int | None = None
    """Last year known here; later ones may exist."""
    notes: tuple[str, ...] = ()
    """What a reader of results must know."""
    unverified: tuple[str, ...] = ()
    """Facts of this profile taken from general knowledge, not from the source."""


_NOT_FOR_CHANGE = (
    "LandScan's authors publish it for the geographic WGS 84 grid only, and not for change between years: "
    "part of each year's change is a change of method"
)

EANTLI_LIKE = Product(
    name="eantli_like",
    title="EANTLI_Like night lights of China, 2000-2020",
    unit="DN",
    quantity="intensity",
    files=("EANTLI_like_{year}/EANTLI_like_{year}.tif", "EANTLI_[Ll]ike_{year}.tif"),
    grid="1 km; not EPSG:4326; the CRS is not stated",
    negatives="zero",
    source="https://doi.org/10.3974/geodp.2022.03.12",
    citation="Zhong, X. Y., Yan, Q. W., Li, G. E. (2022). Development of Time Series of Nighttime Light Dataset of "
    "China (2000-2020). Journal of Global Change Data & Discovery 6(3), 416-424. doi:10.3974/geodp.2022.03.12",
    licence="the repository's data sharing policy; cite paper and dataset",
    first_year=2000,
    last_year=2020,
    notes=(
        "De-saturated with a vegetation index: values pass 63; about 0 to 75 were seen",
        "DMSP/OLS before 2013, NPP/VIIRS after: one series by fusion",
        "Cells outside the data are missing: a county can have none in a year",
    ),
    unverified=("CRS", "nodata value", "licence text"),
)

LANDSCAN = Product(
    name="landscan",
    title="LandScan Global ambient population",
    unit="persons",
    quantity="count",
    files=(
        "landscan-global-{year}.tif",
        "landscan-global-{year}-assets/landscan-global-{year}.tif",
        "landscan-global-{year}-assets.zip",
        "lspop{year}",
    ),
    grid='EPSG:4326, 30", 43200 x 20880 to about 2012 (84 N), 43200 x 21600 later (90 N)',
    negatives="nan",
    below_zero_is_nodata=True,
    nodata_is_zero=True,
    source="https://landscan.ornl.gov",
    citation="Name the release used, as in: Sims, K., Reith, A., Bright, E., Kaufman, J., Pyle, J., Epting, J., "
    "Gonzales, J., Adams, D., Powell, E., Urban, M., Rose, A. (2023). LandScan Global 2022. Oak Ridge National "
    "Laboratory. doi:10.48690/1529167",
    licence="CC BY 4.0",
    first_year=2000,
    last_year=2023,
    notes=(
        _NOT_FOR_CHANGE,
        "Ambient population: an average over 24 hours, not where people are registered",
        "A landscan-global-YEAR-colorized.tif lies beside the data: a picture, refused",
    ),
    unverified=("nodata -2147483647 in most releases, -9999 in others: read from the file",),
)

HARMONIZED = Product(
    name="harmonized_dmsp_viirs",
    title="Harmonised global night lights, DMSP and DMSP-like VIIRS",
    unit="DN",
    quantity="intensity",
    files=("Harmonized_DN_NTL_{year}_calDMSP.tif", "Harmonized_DN_NTL_{year}_simVIIRS.tif"),
    grid='EPSG:4326, 30"',
    negatives="zero",
    valid_range=(0.0, 63.0),
    saturation=63.0,
    source="https://doi.org/10.6084/m9.figshare.9828827",
    citation="Li, X., Zhou, Y., Zhao, M., Zhao, X. (2020). A harmonized global nighttime light dataset 1992-2018. "
    "Scientific Data 7, 168. doi:10.1038/s41597-020-0510-y",
    licence="CC BY 4.0",
    first_year=1992,
    last_year=2021,
    notes=(
        "calDMSP to 2013, simVIIRS from 2014: expect a break between the two",
        "The authors advise using DN > 7 (dn_min = 8)",
        "DMSP is 6-bit: bright cores stop at 63 and read flat",
        "No nodata value is declared; 0 is both dark and outside",
    ),
)

NPP_VIIRS_LIKE = Product(
    name="npp_viirs_like",
    title="Extended NPP-VIIRS-like night lights",
    unit="nW cm-2 sr-1",
    quantity="intensity",
    files=("LongNTL_{year}.tif", "{year}_HasMask/LongNTL_{year}.tif"),
    grid='EPSG:4326, 15"',
    negatives="zero",
    source="https://doi.org/10.7910/DVN/YGIVCD",
    citation="Chen, Z., Yu, B., Yang, C., Zhou, Y., Yao, S., Qian, X., Wang, C., Wu, B., Wu, J. (2021). An extended "
    "time series (2000-2018) of global NPP-VIIRS-like nighttime light data from a cross-sensor calibration. "
    "Earth System Science Data 13, 889-906. doi:10.5194/essd-13-889-2021",
    licence="as stated at the DOI",
    first_year=2000,
    last_year=2024,
    notes=("2000-2012 come from DMSP by an auto-encoder, later years from monthly VIIRS: expect a break at 2012/13",),
    unverified=("CRS", "nodata value", "licence"),
)

VIIRS_ANNUAL = Product(
    name="viirs_annual",
    title="VIIRS DNB annual composites (EOG VNL V2)",
    unit="nW cm-2 sr-1",
    quantity="intensity",
    files=(
        "VNL_v2*_npp*_{year}_*average_masked*.tif",
        "VNL_v2*_npp*_{year}_*average_masked*.tif.gz",
        "VNL_npp*_{year}_*average_masked*.tif",
        "VNL_npp*_{year}_*average_masked*.tif.gz",
    ),
    grid='EPSG:4326, 15", 75 N to 65 S',
    negatives="zero",
    source="https://eogdata.mines.edu/products/vnl/",
    citation="Elvidge, C. D., Zhizhin, M., Ghosh, T., Hsu, F.-C., Taneja, J. (2021). Annual time series of global "
    "VIIRS nighttime lights derived from monthly averages: 2012 to 2019. Remote Sensing 13(5), 922. "
    "doi:10.3390/rs13050922",
    licence="public domain (Colorado School of Mines)",
    first_year=2012,
    last_year=2024,
    notes=(
        "Noise leaves small negatives, fires and flares leave outliers; often no nodata value is declared",
        "2012 and 2013 come as vcmcfg, later years as vcmslcfg: the treatment of stray light differs",
    ),
    unverified=("that EOG's own terms equal those shown by the Earth Engine catalogue",),
)

CHINA_1KM = Product(
    name="china_1km",
    title="DMSP-OLS-like night lights of China, 1 km",
    unit="DN",
    quantity="intensity",
    files=("DMSP{year}.tif", "DMSP-like{year}.tif"),
    grid="1 km; the CRS is not stated",
    negatives="zero",
    source="https://doi.org/10.7910/DVN/GIYGJU",
    citation="Wu, Y., Shi, K., Chen, Z., Liu, S., et al. (2022). Developing improved time-series DMSP-OLS-like data "
    "(1992-2019) in China by integrating DMSP-OLS and SNPP-VIIRS. IEEE Transactions on Geoscience and Remote Sensing "
    "60, 4407714. doi:10.1109/TGRS.2021.3135333",
    licence="as stated at the DOI; the authors require citing paper and dataset",
    first_year=1992,
    last_year=2021,
    notes=("2013 exists twice, DMSP2013.tif and DMSP-like2013.tif: keep one", "DMSP before 2013, simulated after"),
    unverified=("CRS", "nodata value", "range of values"),
)

GPW = Product(
    name="gpw",
    title="Gridded Population of the World v4.11, population count",
    unit="persons",
    quantity="count",
    files=(
        "gpw_v4_population_count_rev11_{year}_*.tif",
        "gpw-v4-population-count-rev11_{year}_*_tif.zip",
    ),
    grid='EPSG:4326, 30" to 1 degree',
    negatives="nan",
    nodata_is_zero=True,
    source="https://doi.org/10.7927/H4JW8BX5",
    citation="Center for International Earth Science Information Network - CIESIN - Columbia University (2018). "
    "Gridded Population of the World, Version 4 (GPWv4): Population Count, Revision 11. Palisades, NY: NASA "
    "Socioeconomic Data and Applications Center (SEDAC). doi:10.7927/H4JW8BX5",
    licence="CC BY 4.0",
    first_year=2000,
    last_year=2020,
    notes=(
        "Several resolutions of one year are several files: keep one",
        "Every fifth year only: say in population.missing_years what the years between use",
        "A tile in circulation declares nodata 0 but is filled with -3.4e38: the fill is recognised by its size",
    ),
)

WORLDPOP = Product(
    name="worldpop",
    title="WorldPop population count, China",
    unit="persons",
    quantity="count",
    files=("chn_ppp_{year}.tif", "chn_ppp_{year}_UNadj.tif", "chn_ppp_{year}_1km_Aggregated*.tif"),
    grid='EPSG:4326, 3" (about 100 m) or 30"',
    negatives="nan",
    nodata_is_zero=True,
    source="https://hub.worldpop.org",
    citation="WorldPop and Center for International Earth Science Information Network (CIESIN), Columbia University "
    "(2018). Global High Resolution Population Denominators Project. doi:10.5258/SOTON/WP00645",
    licence="CC BY 4.0",
    first_year=2000,
    last_year=2020,
    notes=("UNadj files are scaled to UN country totals: do not mix them with the others in one series",),
    unverified=("the DOI (that of the unadjusted 100 m country files)", "nodata value"),
)

GHS_POP = Product(
    name="ghs_pop",
    title="GHS-POP R2023A residential population",
    unit="persons",
    quantity="count",
    files=(
        "GHS_POP_E{year}_GLOBE_R2023A_*.tif",
        "GHS_POP_E{year}_GLOBE_R2023A_*/GHS_POP_E{year}_GLOBE_R2023A_*.tif",
        "GHS_POP_E{year}_GLOBE_R2023A_*.zip",
    ),
    grid="World Mollweide (ESRI:54009), 100 m or 1 km",
    negatives="nan",
    nodata_is_zero=True,
    source="https://doi.org/10.2905/2FF68A52-5B5B-4A22-8F40-C41DA8332CFE",
    citation="Schiavina, M., Freire, S., Carioli, A., MacManus, K. (2023). GHS-POP R2023A - GHS population grid "
    "multitemporal (1975-2030). European Commission, Joint Research Centre (JRC). "
    "doi:10.2905/2FF68A52-5B5B-4A22-8F40-C41DA8332CFE",
    licence="CC BY 4.0 (European Commission reuse notice)",
    first_year=1975,
    last_year=2030,
    notes=("Every fifth year; 2025 and 2030 are projections", "Tiles (_R6_C30) must be mosaicked into one file first"),
    unverified=("nodata value", "licence text"),
)

CUSTOM = Product(
    name="custom",
    title="User's own raster series",
    unit="",
    quantity="intensity",
    files=(),
    grid="",
    negatives="zero",
    source="",
    citation="",
    licence="",
)

PRODUCTS: dict[str, Product] = {
    p.name: p
    for p in (
        EANTLI_LIKE, LANDSCAN, HARMONIZED, NPP_VIIRS_LIKE, VIIRS_ANNUAL, CHINA_1KM, GPW, WORLDPOP, GHS_POP, CUSTOM,
    )
}  # fmt: skip
"""All profiles by name."""


def product_for(source: RasterSource, *, key: str = "lights") -> Product:
    """Return the profile a config section names, with what the section overrides.

    Parameters
    ----------
    key : str
        Section of ``workspace.toml``, for messages: ``lights`` or ``population``.

    Raises
    ------
    ConfigInvalid
        Unknown product; ``custom`` without unit, quantity and files; a quantity the product does not have.
    """
    product = PRODUCTS.get(source.product)
    if product is None:
        near = difflib.get_close_matches(source.product.lower(), PRODUCTS, n=1, cutoff=0.4)
        raise ConfigInvalid(
            f"unknown product {source.product!r}",
            where=f"{key}.product",
            mend=f'did you mean product = "{near[0]}"?' if near else f"known products: {', '.join(PRODUCTS)}",
        )
    if product is CUSTOM:
        missing = [name for name in ("unit", "quantity", "files") if getattr(source, name) is None]
        if missing:
            raise ConfigInvalid(
                f"a custom product needs {' and '.join(missing)}", where=key, mend=_example(missing, key)
            )
    elif source.quantity is not None and source.quantity != product.quantity:
        raise ConfigInvalid(
            f"{product.name} holds a {product.quantity}, not a {source.quantity}",
            where=f"{key}.quantity",
            mend='remove quantity, or set product = "custom"',
        )
    quantity = source.quantity or product.quantity
    if quantity == "count" and source.dn_min > 0:
        raise ConfigInvalid(
            "a lit threshold would remove people from a count", where=f"{key}.dn_min", mend=f"remove {key}.dn_min"
        )
    # Persons below zero are no measurement of few persons, as radiance below zero is of little light.
    own = "nan" if product is CUSTOM and quantity == "count" else product.negatives
    return replace(
        product,
        unit=source.unit or product.unit,
        quantity=quantity,
        negatives=source.negatives or own,
        valid_range=source.valid_range or product.valid_range,
    )


def _example(missing: list[str], key: str) -> str:
    lines = {"unit": 'unit = "DN"', "quantity": 'quantity = "intensity"', "files": 'files = "rasters/my_{year}.tif"'}
    return f"add to [{key}], for example: " + ", ".join(lines[name] for name in missing)


def rules_for(product: Product, source: RasterSource, info: RasterInfo) -> CellRules:
    """Say which cells of one file are data, from the product, the config and the file.

    The no-data values are the declared one, the configured ones and the dtype's own fills, rounded as the working
    dtype holds them (a declared 0.1 is another number in float32) and left out where it cannot hold them at all.
    The declared one of a scaled file is left out too: reading has turned those cells into NaN.
    """
    configured = source.nodata if isinstance(source.nodata, tuple) else (source.nodata,)
    declared = None if info.is_scaled else info.nodata
    fills = () if info.is_scaled else (*integer_fills(info.dtype), *integer_fills(info.working_dtype))
    values = [float(v) for v in (declared, *configured, *fills) if v is not None]
    return CellRules(
        nodata=tuple(dict.fromkeys(_held(values, info.working_dtype))),
        below_zero_is_nodata=product.below_zero_is_nodata,
        negatives=product.negatives,
        valid_range=product.valid_range,
        dn_min=source.dn_min,
    )


def _held(values: list[float], dtype: np.dtype[Any]) -> list[float]:
    if dtype.kind == "i":
        limits = np.iinfo(dtype)
        return [v for v in values if limits.min <= v <= limits.max and v == int(v)]
    with np.errstate(over="ignore"):
        return [float(dtype.type(v)) for v in values if not np.isnan(v)]
