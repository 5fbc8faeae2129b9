"""workspace.toml: everything it may say is read, and everything else is named with what was meant."""

from __future__ import annotations

import copy
import tomllib
from itertools import zip_longest
from pathlib import Path
from typing import get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from gis.errors import ConfigInvalid, WorkspaceMissing
from gis.workspace import CONFIG_NAME, Config, config_from_dict, read_workspace

FULL = """
[workspace]
name = "两市"

[lights]
product = "custom"
files = "rasters/lights_{year}.tif"
years = [2000, 2020]
band = 2
unit = "nW cm-2 sr-1"
quantity = "intensity"
crs = "EPSG:4326"
nodata = [-9999, 1e30]
negatives = "zero"
valid_range = [0, 1000.5]
dn_min = 0.5
synthetic_years = [2001, 2003]
missing_years = "interpolate"

[lights.masks]
flares = "rasters/flares.gpkg"
flare_radius_km = 2.5
water = "boundaries/land.gpkg"
coast_buffer_km = 5

[population]
product = "landscan"
files = "rasters/pop_{year}.tif"
years = [2000, 2020]
band = 1
unit = "persons"
quantity = "count"
crs = "EPSG:4326"
nodata = -9999
negatives = "zero"
valid_range = [0, 1e6]
dn_min = 0
synthetic_years = []
missing_years = "static"
static_year = 2010

[boundaries]
mode = "crosswalk"
crosswalk_weight = "lights"
max_uncovered = 0.05

[[boundaries.vintages]]
[boundaries.vintages.city]
file = "boundaries/city_2010.shp"
layer = "city"
vintage = 2010
crs = "EPSG:4490"
encoding = "GB18030"
codes = ["110000"]
exclude = ["460300"]
columns = { code = "地级码", name = "地级", parent = "省级码" }
[boundaries.vintages.district]
file = "boundaries/district_2010.shp"
layer = "district"
vintage = 2010
crs = "EPSG:4490"
encoding = "GB18030"
codes = ["110101"]
exclude = []
columns = { code = "县码", name = "县", parent = "地级码" }

[boundaries.city]
file = "boundaries/city.shp"
layer = "city"
vintage = 2019
crs = "EPSG:4490"
encoding = "GB18030"
codes = ["110000", "120000"]
exclude = ["460300"]
[boundaries.city.columns]
code = "地级码"
name = "地级"
parent = "省级码"

[boundaries.district]
file = "boundaries/district.gpkg"
layer = "district"
vintage = "2019-12-31"
crs = "EPSG:4326"
encoding = "UTF-8"
codes = ["110101"]
exclude = []
[boundaries.district.columns]
code = "code"
name = "name"
parent = "city"

[levels]
measure = "true"
cov_pop_min = 0.9
cov_area_flag = 0.8
rescale = true
pop_min_persons = 10
preset = "paper"

[reproject]
crs = "EPSG:32650"
cell = 500.0
lights = "average"
population = "conserve"
rasters = true
ledger = false
loss_max = 0.001

[estimate]
models = ["eq2"]
tables = ["more.csv"]
flows = "flows.csv"
where = "bal <= 3"
clustering = "dyadic"
all_errors = true
by_year = ["hsr"]
[estimate.formulas]
mine = "bal ~ hsr | pair_id + year"

[panel]
tie = "drop"
cities = "cities.csv"
districts = true

[instrument]
flows = "historical/flows.csv"
drop_unknown = true
counts = "split"
national = "asinh"
lag = 2
leave_out = "loo"
denominator = "sample"
zeros = "plus1"
iv_scale = 100.5

[instrument.offices]
file = "historical/offices.csv"
layer = "offices"
crs = "EPSG:4326"
space = "pixel"
control_points = "historical/map.points"
control_points_crs = "EPSG:4326"
scan = "historical/map.png"
meridian = "paris"
model = "tps"
sigma = "local"
sigma_km = 12.5
gazetteer = "historical/places.csv"
gazetteer_year = 1907
lines = "historical/lines.csv"
lines_touch_km = 2.5
snap_sigmas = 3
split_km = 30
draws = 5000
bootstrap = "points"
bootstrap_draws = 100
seed = 7

[instrument.telephones]
file = "historical/telephones_1984.csv"
column = "count"

[flows]
file = "flows/flows.csv"
vintage = 2010
districts = "flows/districts.csv"
drop_unknown = true
years = [2000, 2019]
lag = 2
orient_lag = 2
link_above = 1.5
empty_margin = "nan"

[flows.citations]
patents = "flows/patents.parquet"
citations = "flows/citations.parquet"
encoding = "gb18030"
postcodes = "flows/postcodes.csv"
vintage = "2010"
date = "grant"
multi = "fractional"
repeated = "each"
cited = "all"

[flows.citations.columns]
application = "申请号"
year = "申请年"
publication_year = "公开年"
grant_year = "授权年"
type = "类型"
stage = "阶段"
applicant_no = "序号"
city_code = "地址代码"
postcode = "邮编"
lon = "经度"
lat = "纬度"
is_digital = "数字技术"
citing = "引证"
cited = "被引"

[covariates.hsr]
file = "panel/hsr.csv"
districts = "panel/district_hsr.csv"
vintage = "2010"
drop_unknown = true
lag = 0

[covariates.ts]
file = "panel/classes.parquet"
districts = "panel/district_classes.csv"
vintage = "2010"
drop_unknown = true
level = "class"
stock = true
lag = 2

[covariates.ipp]
file = "panel/ipp.csv"
districts = "panel/district_ipp.csv"
vintage = "2010"
drop_unknown = true
column = "since"
lag = 2

[covariates.distance]
points = "seats"
file = "panel/seats.csv"
bin_km = 50.5
border_tolerance_km = 0.5

[covariates.clusters]
file = "panel/clusters.csv"
districts = "panel/district_clusters.csv"
vintage = "2010"
drop_unknown = true

[[covariates.city]]
file = "panel/city.csv"
districts = "panel/district_city.csv"
vintage = "2010"
drop_unknown = true
name = "gdp"
column = "gdp_10k"
forms = ["ratio_lh", "sum"]
per = "pop"
transform = "ln"
lag = 2
year = 2000
label = "Output per head"
unit = "yuan/person"

[[covariates.pair]]
file = "panel/pair.csv"
districts = "panel/district_pair.csv"
vintage = "2010"
drop_unknown = true
name = "trade"
column = "tons"
lag = 2
absent = 0.5
label = "Freight between the two"
unit = "t"

[moderators]
regions = true
gap_light = true
center = true

[moderators.compat_kno]
file = "panel/firms.csv"
districts = "panel/district_firms.csv"
vintage = "2010"
drop_unknown = true
column = "firms"
per = "pop"
year = 2000
lag = 2
alt = "capital"
alt_per = "pop"
ln = "ln1p"

[moderators.compat_dem]
file = "panel/imports.csv"
districts = "panel/district_imports.csv"
vintage = "2000"
drop_unknown = true

[moderators.gap_k]
file = "panel/loans.csv"
districts = "panel/district_loans.csv"
vintage = "2000"
drop_unknown = true
column = "loans"
per = "pop"
year = 2000
lag = 2
alt = "assets"
alt_per = "pop"

[moderators.gap_l]
file = "panel/census.csv"
districts = "panel/district_census.csv"
vintage = "2000"
drop_unknown = true
column = "illiterate"
per = "adults"
year = 2000
lag = 2
alt = "schooling"
alt_per = "adults"
reverse = "inverse"

[moderators.gap_d]
file = "panel/internet.csv"
districts = "panel/district_internet.csv"
vintage = "2000"
drop_unknown = true
column = "users"
per = "pop"
year = 2000
lag = 2
alt = "users"
alt_per = "pop"

[moderators.gap_scale]
file = "panel/urban.csv"
districts = "panel/district_urban.csv"
vintage = "2000"
drop_unknown = true
column = "urban"
per = "one"
year = 2000
lag = 2
alt = "other"
alt_per = "one"

[within_city]
centre = "share90"
seats = "panel/seats.csv"
base_year = 2000
dynamic = true
mld_zeros = "floor"
mld_floor = 0.01
lag = 2
pairs = true

[sample]
bal_quantile = [0.025, 0.975]
bal_max = 3.5
winsor = [0.01, 0.99]
clusters_only = true
cities = "panel/roster.csv"
controls = ["hsr", "ts"]

[output]
crs = "EPSG:4326"
pair_lines = true

[compute]
threads = 2
remote = true
"""

LEAST = {
    "lights": {"product": "viirs"},
    "population": {"product": "landscan"},
    "boundaries": {"city": {"file": "city.gpkg", "vintage": 2019}},
}


def sections(model: type[BaseModel] = Config, at: tuple[str, ...] = ()):
    """(dotted place, model) of every section of the file, the root included."""
    yield at, model
    for name, field in model.model_fields.items():
        for kind in getattr(field.annotation, "__args__", (field.annotation,)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                first = ("0",) if get_origin(field.annotation) is tuple else ()  # of a list of sections, the first
                yield from sections(kind, (*at, name, *first))


SECTIONS = {".".join(at) or "root": (at, model) for at, model in sections()}
KEYS = [(at, key) for at, model in SECTIONS.values() for key in model.model_fields]


def with_value(at, key, value):
    """The smallest config, and one more value in it."""
    data = copy.deepcopy(LEAST)
    place = data
    for part, then in zip_longest(at, at[1:]):
        place = place[0] if part == "0" else place.setdefault(part, [{}] if then == "0" else {})
        if part == "0":
            place.setdefault("city", {"file": "city_2010.gpkg", "vintage": 2010})
    if at[:1] == ("boundaries",) and at[-1] == "district":
        place.update(file="district.gpkg", vintage=2019)
    place[key] = value
    return data


def write(folder, text, encoding="utf-8"):
    (folder / CONFIG_NAME).write_bytes(text.encode(encoding))
    return folder


# --- what it may say -------------------------------------------------------------------------------------------


def test_a_full_file_is_read_to_the_last_key(tmp_path):
    config = read_workspace(write(tmp_path, FULL)).config
    given = tomllib.loads(FULL)
    for at, model in SECTIONS.values():
        section, place = config, given
        for part in at:
            index = int(part) if part == "0" else part
            section, place = section[0] if index == 0 else getattr(section, part), place[index]
        assert set(place) == set(model.model_fields), f"the example does not show all of {'.'.join(at)}"
        for key in set(model.model_fields) - {part for parts, _ in SECTIONS.values() for part in parts}:
            value = getattr(section, key)
            if isinstance(place[key], dict):  # held as pairs, which cannot be changed
                value = dict(value)
            assert (list(value) if isinstance(value, tuple) else value) == place[key]


def test_a_short_file_has_the_papers_defaults():
    config = config_from_dict(LEAST)
    assert config.levels.measure == "lambert"
    assert (config.levels.cov_pop_min, config.levels.cov_area_flag, config.levels.pop_min_persons) == (0.95, 0.95, 1.0)
    assert config.panel.tie == "previous"
    assert config.output.crs == "ESRI:102027"
    assert (config.lights.missing_years, config.population.missing_years) == ("nan", "error")
    assert config.boundaries.district is None
    assert config.compute.threads is None


@pytest.mark.parametrize(
    ("written", "vintage"), [("2019", 2019), ('"2019"', "2019"), ('"2019-12-31"', "2019-12-31"), ("2019-12-31",) * 2]
)
def test_a_vintage_may_be_a_year_a_text_or_a_date(tmp_path, written, vintage):
    text = FULL.replace("vintage = 2019\n", f"vintage = {written}\n")
    assert read_workspace(write(tmp_path, text)).config.boundaries.city.vintage == vintage


def test_a_byte_order_mark_is_no_fault(tmp_path):
    assert read_workspace(write(tmp_path, FULL, "utf-8-sig")).config.workspace.name == "两市"


# --- where things are ------------------------------------------------------------------------------------------


def test_paths_are_relative_to_the_workspace(workdir):
    (workdir / "panel").mkdir()
    write(workdir / "panel", FULL)
    place = read_workspace("panel")
    root = workdir.resolve() / "panel"
    assert place.root == root
    assert place.path(place.config.boundaries.city.file) == root / "boundaries" / "city.shp"
    assert (place.rasters, place.out, place.cache) == (root / "rasters", root / "out", root / ".cache")
    assert place.config_path == root / CONFIG_NAME
    assert place.path("/data/city.shp") == Path("/data/city.shp")


def test_the_current_folder_is_the_default(workdir):
    assert read_workspace(write(workdir, FULL).relative_to(workdir)).root == workdir.resolve()
    assert read_workspace().root == workdir.resolve()


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: (folder / CONFIG_NAME).mkdir()])
def test_a_folder_without_the_file_is_no_workspace(tmp_path, make):
    make(tmp_path)
    with pytest.raises(
        WorkspaceMissing, match=r"mend:  lightpanel init writes one; lightpanel demo a full one"
    ) as caught:
        read_workspace(tmp_path)
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.where == str(tmp_path.resolve())


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("[lights\n", "utf-8"), ("a = 1\na = 2\n", "utf-8"), ('name = "两市"\n', "gb18030"), (FULL, "utf-16")],
    ids=["not toml", "a key twice", "GB18030", "UTF-16"],
)
def test_a_file_that_is_not_toml_in_utf8_is_refused(tmp_path, text, encoding):
    with pytest.raises(ConfigInvalid, match=r"(?s)not a TOML file in UTF-8.*where: .*workspace\.toml.*mend:  correct"):
        read_workspace(write(tmp_path, text, encoding))


# --- what it may not say ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at", "key"), KEYS, ids=lambda v: ".".join(v) if isinstance(v, tuple) else v)
@pytest.mark.parametrize(
    "slip", [lambda k: f"{k}s_", lambda k: k[:-1], lambda k: k.upper()[0] + k[1:], lambda k: k + k[-1]]
)
def test_a_slip_in_any_key_at_any_level_is_told_the_key(at, key, slip):
    wrong = slip(key)
    if sum(other[:-1] == wrong for other in SECTIONS[".".join(at) or "root"][1].model_fields) > 1:
        pytest.skip("the slip is as near to another key")
    if wrong in SECTIONS[".".join(at) or "root"][1].model_fields:
        pytest.skip("the slip is a key of its own")
    with pytest.raises(ConfigInvalid, match=rf"unknown key {'.'.join((*at, wrong))}\b") as caught:
        config_from_dict(with_value(at, wrong, 1))
    assert f"did you mean {key}?" in caught.value.mend


@pytest.mark.parametrize(("at", "model"), SECTIONS.values(), ids=SECTIONS)
def test_a_key_like_no_other_is_told_all_of_them(at, model):
    with pytest.raises(ConfigInvalid, match=r"unknown key .*qqqq") as caught:
        config_from_dict(with_value(at, "qqqq", 1))
    assert f"known keys here: {', '.join(model.model_fields)}" in caught.value.mend


@pytest.mark.parametrize(
    ("gone", "mend"),
    [
        (("lights",), "add lights"),
        (("population",), "add population"),
        (("boundaries",), "add boundaries"),
        (("lights", "product"), "add lights.product"),
        (("boundaries", "city", "file"), "add boundaries.city.file"),
        (("boundaries", "city", "vintage"), "add boundaries.city.vintage"),
    ],
)
def test_a_missing_key_is_named(gone, mend):
    data = copy.deepcopy(LEAST)
    place = data
    for part in gone[:-1]:
        place = place[part]
    del place[gone[-1]]
    with pytest.raises(ConfigInvalid, match=rf"(?s)missing key {'.'.join(gone)}.*mend:  {mend}$"):
        config_from_dict(data)


@pytest.mark.parametrize(
    ("at", "key", "value", "what"),
    [
        (("lights",), "years", [2020, 2000], "2020 comes after 2000: give the lower one first"),
        (("lights",), "years", [2000], "lights.years.1: Field required"),
        (("lights",), "years", [2000, 2001, 2002], "at most 2 items"),
        (("lights",), "valid_range", [5, 1], "5.0 comes after 1.0"),
        (("lights",), "band", 0, "greater than or equal to 1"),
        (("lights",), "band", 1.5, "valid integer"),
        (("lights",), "dn_min", -1, "greater than or equal to 0"),
        (("lights",), "dn_min", float("nan"), "greater than or equal to 0"),
        (("lights",), "quantity", "density", "'count' or 'intensity'"),
        (("lights",), "nodata", "none", "valid number, unable to parse string as a number or Input should be a valid"),
        (("lights",), "synthetic_years", [2000, 2001.5], "lights.synthetic_years.1"),
        (("lights", "masks"), "flare_radius_km", 0, "greater than 0"),
        (("lights",), "masks", "all", "valid dictionary"),
        (("population",), "missing_years", "nan", "'error', 'nearest', 'static' or 'interpolate'"),
        (("boundaries", "city"), "vintage", [2019], "valid string or Input should be a valid integer"),
        (("boundaries", "city"), "codes", [110000], "boundaries.city.codes.0: Input should be a valid string"),
        (("levels",), "measure", "albers", "'lambert', 'true' or 'cells'"),
        (("levels",), "cov_pop_min", 95, "less than or equal to 1"),
        (("panel",), "tie", "first", "'previous', 'drop' or 't-2'"),
        (("compute",), "threads", 0, "greater than or equal to 1"),
    ],
)
def test_a_value_that_cannot_be_is_refused_under_its_own_key(at, key, value, what):
    with pytest.raises(ConfigInvalid) as caught:
        config_from_dict(with_value(at, key, value), where=CONFIG_NAME)
    dotted = ".".join((*at, key))
    assert caught.value.what.startswith(dotted)
    assert what in caught.value.what
    assert caught.value.mend.startswith(f"correct {dotted}")
    assert "; " not in caught.value.mend  # one fault, one thing to correct
    assert caught.value.where == CONFIG_NAME


def test_boundaries_without_a_layer_are_refused():
    with pytest.raises(
        ConfigInvalid, match=r"(?s)give \[boundaries\.city\], \[boundaries\.district\], or both.*mend: "
    ):
        config_from_dict({**LEAST, "boundaries": {}})


def test_light_masks_are_no_key_of_population():
    with pytest.raises(ConfigInvalid, match=r"unknown key population\.masks"):
        config_from_dict(with_value(("population",), "masks", {"flares": "flares.gpkg"}))


def test_several_faults_are_all_listed(tmp_path):
    text = '[lights]\nprodukt = "viirs"\nband = 0\n[levels]\nmeasure = "albers"\n[panell]\n'
    with pytest.raises(ConfigInvalid) as caught:
        read_workspace(write(tmp_path, text))
    for what in ("missing key lights.product", "unknown key lights.produkt", "lights.band: ", "levels.measure: ",
                 "missing key population", "missing key boundaries", "unknown key panell"):  # fmt: skip
        assert what in caught.value.what
    for mend in ("add lights.product", "did you mean product?", "correct lights.band", "correct levels.measure",
                 "add population", "add boundaries", "did you mean panel?"):  # fmt: skip
        assert mend in caught.value.mend


NONSENSE = st.recursive(
    st.integers() | st.text(max_size=3) | st.booleans(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.text(max_size=6), NONSENSE, max_size=4))
def test_nothing_but_config_invalid_comes_out_of_nonsense(data):
    with pytest.raises(ConfigInvalid) as caught:
        config_from_dict({**data, "lights": data.get("lights", data)})  # no [boundaries]: never valid
    assert caught.value.mend


# --- frozen ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at", "model"), SECTIONS.values(), ids=SECTIONS)
def test_nothing_in_a_config_can_be_changed(at, model):
    section = config_from_dict(tomllib.loads(FULL))
    for part in at:
        section = section[0] if part == "0" else getattr(section, part)
    for key in model.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, key, None)
        assert not isinstance(getattr(section, key), (list, dict, set))


def test_the_values_given_are_not_touched():
    given = tomllib.loads(FULL)
    before = copy.deepcopy(given)
    config_from_dict(given)
    assert given == before
