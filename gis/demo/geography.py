"""The demo's country: a rectangle of wiggly districts, nested in cities, in two boundary vintages.

In: a seed. Out: ``Geography``: 61 atoms (polygons that partition the rectangle), the town of every district, and for
each vintage which atoms make which district and city. Shared borders are one line of vertices used from both sides,
so that a partition is exact to the last bit.

Everything here is fictional. No name is the name of a real unit. Codes have the structure of GB/T 2260 and begin with a
province (52 in the west, 44 in the rest, so that there are regions), as the readers of codes demand; their city
numbers, 61 to 69 and 43, have never been given out there (test_names_and_codes_are_fictional).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gis.crs import crs_from
from gis.grid import Zones

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WEST, EAST, SOUTH, NORTH = 109.0, 114.0, 25.0, 35.0
"""The rectangle [degree]: from end to end the Lambert area factor falls by 6 % and a 30" cell shrinks by 9 %."""

N_ROWS, N_COLS = 10, 6
"""Lattice cells from south to north and from west to east; every cell is a district of 2019, give or take a strip."""

BORDER_LEVELS = 5
"""Midpoint displacements per border: 2**5 segments, 3 km long on average."""

BORDER_ROUGHNESS = 0.1
"""Offset of the first midpoint over the border's length; each finer level has 0.6 of it."""

NEW, OLD = "2019", "2010"
"""The two vintages."""

Layer = Literal["city", "district"]
LAYERS: tuple[Layer, ...] = ("city", "district")

CITY_NAMES = ("青崖", "墨洲", "澜桐", "霁泽", "砚坞", "栖桐", "岚川", "槿原", "沐岑", "疏桐", "澄湄", "翎梧")
"""City c stands in column pair c // 4 from the west and is number c % 4 from the south."""

DISTRICT_NAMES = (
    "青埠", "澜湄", "青涧", "漪麓", "墨浦", "墨寨", "霁坞", "岚洲", "砚渚", "栖埠", "沐岫", "槿汀",
    "疏浦", "澄寨", "璇洲", "皓梧", "珂泽", "筠汀", "瑶麓", "霭桐", "蕴川", "翎桐", "漪洲", "澜崖",
    "青湄", "墨陌", "霁梧", "岚陌", "砚寨", "栖洲", "沐垣", "槿湄", "疏渚", "澄岑", "璇泽", "皓岑",
    "珂渚", "筠坞", "瑶寨", "霭岫", "蕴垣", "翎麓", "漪渚", "澜涧", "青坞", "墨梧", "霁埠", "岚埠",
    "砚涧", "栖岑", "疏汀", "澄埠", "璇渚", "皓湄", "珂垣", "筠寨", "瑶梧", "霭原", "蕴泽", "翎汀",
)  # fmt: skip
"""In the order of the lattice, row by row from the south-west."""

Cell = tuple[int, int]
"""(row, column) of the lattice, from the south-west."""

ABOLISHED = "446900"
"""City of 2010 that is split among three neighbours, as Chaohu was in 2011."""
ABOLISHED_NAME = "皓陌"
ABOLISHED_CELLS: tuple[Cell, ...] = ((5, 3), (4, 3), (4, 4), (5, 2))
"""Its counties; the first is the seat."""
DIVIDED_CELL: Cell = (4, 4)
"""The one of them that is itself divided: its western strip goes with ``(4, 3)`` to another city."""
STRIP_VERTEX = 10
"""Border vertex, of 32, at which the strip is cut off."""
TRANSFERRED_CELL: Cell = (2, 0)
"""County that moves from city 1 to city 0."""
RECODED_CITY, RECODED_FROM = 11, "444300"
"""City that was a prefecture (numbers 21 to 50): same territory, every code new."""
RENAMED_CITY, RENAMED_FROM = 2, "瑶垣"
"""City that only changes its name."""
UPGRADED_CELL: Cell = (8, 2)
"""County that becomes a district of its city: same territory, new code and name."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A city or district of one vintage."""

    code: str
    """Six characters."""
    name: str
    """With its ending: 市, 区, 县 or 地区."""
    parent: str
    """City code of a district, ``""`` for a city."""
    atoms: tuple[int, ...]
    """Indices into ``Geography.atoms``."""


@dataclass(frozen=True, slots=True)
class Geography:
    """The demo's polygons and towns."""

    atoms: NDArray[Any] = field(repr=False)
    """(61,) shapely polygons in EPSG:4326: the 60 lattice cells row by row, the divided one short of its strip; and
    last the strip."""
    towns_lonlat: Floats = field(repr=False)
    """(60, 2) longitude and latitude of the town of every lattice cell [degree]."""
    seats: tuple[int, ...]
    """(12,) lattice cell whose town is the seat of city c of 2019."""
    units: dict[tuple[str, Layer], tuple[Unit, ...]] = field(repr=False)
    """Units by vintage and layer, in the order of their codes."""

    def zones(self, vintage: str, layer: Layer) -> Zones:
        """One layer of one vintage as zones; a unit of several atoms is their union, without inner borders."""
        import shapely

        units = self.units[vintage, layer]
        geometry = np.array([shapely.coverage_union_all(self.atoms[list(unit.atoms)]) for unit in units], dtype=object)
        return Zones(
            codes=tuple(unit.code for unit in units),
            geometry=shapely.orient_polygons(geometry),
            crs=crs_from("EPSG:4326"),
            vintage=vintage,
            names=tuple(unit.name for unit in units),
            parents=tuple(unit.parent for unit in units) if layer == "district" else (),
        )


def city_of_cell(cell: Cell) -> int:
    """City of 2019 of a lattice cell: each pair of columns holds four P-shaped cities of five cells."""
    row, col = cell
    half = row // 5  # rows 0-4 and 5-9 repeat
    step = row % 5
    upper = step > 2 or (step == 2 and col % 2 == 1)
    return 4 * (col // 2) + 2 * half + int(upper)


def cell_index(cell: Cell) -> int:
    """Position of a cell in ``Geography.atoms`` and ``DISTRICT_NAMES``."""
    return cell[0] * N_COLS + cell[1]


def all_cells() -> list[Cell]:
    """All lattice cells, row by row from the south-west."""
    return [(row, col) for row in range(N_ROWS) for col in range(N_COLS)]


SEAT_CELLS: tuple[Cell, ...] = (
    (0, 0), (3, 1), (6, 0), (8, 0), (1, 3), (3, 2), (6, 3), (9, 2), (1, 4), (3, 5), (6, 5), (8, 4),
)  # fmt: skip
"""Seat of city c. City 0's neighbours have theirs far from it, so that it is lit by its own people alone."""


@lru_cache(maxsize=4)
def geography(seed: int) -> Geography:
    """Make the country of a seed."""
    import shapely

    rng = np.random.default_rng([seed, 1])
    atoms = _atoms(rng)
    jitter = rng.uniform(-0.05, 0.05, (len(all_cells()), 2))
    towns = shapely.get_coordinates(shapely.centroid(atoms[: len(all_cells())])) + jitter
    towns.setflags(write=False)
    atoms.setflags(write=False)
    units: dict[tuple[str, Layer], tuple[Unit, ...]] = {}
    for vintage, (cities, districts) in ((NEW, _units_new()), (OLD, _units_old())):
        units[vintage, "city"] = tuple(sorted(cities, key=lambda unit: unit.code))
        units[vintage, "district"] = tuple(sorted(districts, key=lambda unit: unit.code))
    return Geography(atoms, towns, tuple(cell_index(cell) for cell in SEAT_CELLS), units)


# --- the mesh ---------------------------------------------------------------------------------------------------------


def _atoms(rng: np.random.Generator) -> NDArray[Any]:
    """Polygons of the lattice cells, and the strip cut off the divided one; counter-clockwise."""
    import shapely

    while True:
        atoms = _drawn_atoms(rng)
        # In one draw of 200 two borders meet near a sharp corner: draw again.
        if shapely.is_valid(atoms).all() and shapely.coverage_is_valid(atoms):
            return atoms


def _drawn_atoms(rng: np.random.Generator) -> NDArray[Any]:
    import shapely

    south_north, west_east = _borders(rng)
    chord_row, chord_col = DIVIDED_CELL
    cut_low = west_east[chord_row, chord_col][STRIP_VERTEX]
    cut_high = west_east[chord_row + 1, chord_col][STRIP_VERTEX]
    chord = _wiggle(rng, cut_low, cut_high, levels=4, roughness=0.03)
    rings, strip = [], None
    for row, col in all_cells():
        low, high = west_east[row, col], west_east[row + 1, col]
        left, right = south_north[row, col], south_north[row, col + 1]
        if (row, col) == DIVIDED_CELL:
            n = STRIP_VERTEX
            strip = _ring(low[: n + 1], chord, high[: n + 1], left)
            low, high, left = low[n:], high[n:], chord
        rings.append(_ring(low, right, high, left))
    return np.array([shapely.Polygon(ring) for ring in [*rings, strip]], dtype=object)


def _ring(low: Floats, right: Floats, high: Floats, left: Floats) -> Floats:
    """Join four sides, given from west to east and from south to north, counter-clockwise."""
    return np.concatenate([low[:-1], right[:-1], high[::-1][:-1], left[::-1]])


def _borders(rng: np.random.Generator) -> tuple[dict[Cell, Floats], dict[Cell, Floats]]:
    """Borders of the lattice: (row, col) -> vertices northward from node (row, col), and eastward from it."""
    lon, lat = np.meshgrid(np.linspace(WEST, EAST, N_COLS + 1), np.linspace(SOUTH, NORTH, N_ROWS + 1))
    inner_col = (np.arange(N_COLS + 1) % N_COLS > 0)[None, :]
    inner_row = (np.arange(N_ROWS + 1) % N_ROWS > 0)[:, None]
    lon = lon + rng.uniform(-0.12, 0.12, lon.shape) * inner_col  # nodes of the frame stay on it
    lat = lat + rng.uniform(-0.14, 0.14, lat.shape) * inner_row
    nodes = np.round(np.stack([lon, lat], axis=-1), 9)
    south_north, west_east = {}, {}
    for row in range(N_ROWS):
        for col in range(N_COLS + 1):
            wild = BORDER_ROUGHNESS if inner_col[0, col] else 0.0
            south_north[row, col] = _wiggle(rng, nodes[row, col], nodes[row + 1, col], BORDER_LEVELS, wild)
    for row in range(N_ROWS + 1):
        for col in range(N_COLS):
            wild = BORDER_ROUGHNESS if inner_row[row, 0] else 0.0
            west_east[row, col] = _wiggle(rng, nodes[row, col], nodes[row, col + 1], BORDER_LEVELS, wild)
    return south_north, west_east


def _wiggle(rng: np.random.Generator, start: Floats, end: Floats, levels: int, roughness: float) -> Floats:
    """Fractal line from start to end by midpoint displacement: (2**levels + 1, 2) [degree]."""
    line = np.stack([start, end])
    for level in range(levels):
        step = np.diff(line, axis=0)
        across = np.stack([-step[:, 1], step[:, 0]], axis=1)
        offset = rng.uniform(-1, 1, (len(step), 1)) * roughness * 0.6**level * 2
        middle = line[:-1] + step / 2 + across * offset
        line = np.insert(line, np.arange(1, len(line)), middle, axis=0)
    return np.round(line, 9)  # 0.1 mm: a coordinate survives every text format


# --- who belongs to whom ----------------------------------------------------------------------------------------------


def city_code(city: int) -> str:
    """Code of city c of 2019: the western column pair is province 52, the other two are province 44."""
    return f"52{61 + city}00" if city < 4 else f"44{57 + city}00"


def _endings(seat: Cell, cells: list[Cell]) -> dict[Cell, tuple[str, str]]:
    """Last two digits and ending of every district of a city: the seat is a district, the rest counties and a town."""
    rest = iter([("21", "县"), ("22", "县"), ("81", "市"), ("23", "县"), ("24", "县")])
    return {cell: ("02", "区") if cell == seat else next(rest) for cell in sorted(cells, key=lambda c: c != seat)}


def _strip_index() -> int:
    return N_ROWS * N_COLS


def _units_new() -> tuple[list[Unit], list[Unit]]:
    """Cities and districts of 2019."""
    cities, districts = [], []
    for city, name in enumerate(CITY_NAMES):
        cells = [cell for cell in all_cells() if city_of_cell(cell) == city]
        parent, mine = city_code(city), []
        for cell, (digits, ending) in _endings(SEAT_CELLS[city], cells).items():
            if cell == UPGRADED_CELL:
                digits, ending = "03", "区"
            atoms: tuple[int, ...] = (cell_index(cell),)
            if cell == (DIVIDED_CELL[0], DIVIDED_CELL[1] - 1):
                atoms += (_strip_index(),)
            mine.append(Unit(parent[:4] + digits, DISTRICT_NAMES[cell_index(cell)] + ending, parent, atoms))
        districts += mine
        cities.append(Unit(parent, name + "市", "", tuple(atom for unit in mine for atom in unit.atoms)))
    return cities, districts


def _units_old() -> tuple[list[Unit], list[Unit]]:
    """Cities and districts of 2010: those of 2019 with every change taken back."""
    _, new = _units_new()
    old: list[Unit] = []
    for unit in new:
        cell = divmod(unit.atoms[0], N_COLS)
        code, name, parent, atoms = unit.code, unit.name, unit.parent, unit.atoms
        if cell in ABOLISHED_CELLS:
            n = ABOLISHED_CELLS.index(cell)
            code, name = ABOLISHED[:4] + f"{20 + n if n else 2:02d}", name[:2] + ("县" if n else "区")
            parent, atoms = ABOLISHED, (unit.atoms[0],)
            if cell == DIVIDED_CELL:
                atoms += (_strip_index(),)
        elif cell == TRANSFERRED_CELL:
            code, name, parent = city_code(1)[:4] + "25", name[:2] + "县", city_code(1)
        elif cell == UPGRADED_CELL:
            code, name = code[:4] + "29", name[:2] + "县"
        elif parent == city_code(RECODED_CITY):
            # The county-level city at a prefecture's seat has a number below 21, as 522401 had in prefecture 522400.
            code, name = RECODED_FROM[:4] + ("01" if code.endswith("02") else code[4:]), name.replace("区", "市")
            parent = RECODED_FROM
        old.append(Unit(code, name, parent, atoms))
    names = {city_code(city): name + "市" for city, name in enumerate(CITY_NAMES)}
    names |= {ABOLISHED: ABOLISHED_NAME + "市", RECODED_FROM: CITY_NAMES[RECODED_CITY] + "地区"}
    names[city_code(RENAMED_CITY)] = RENAMED_FROM + "市"
    parents = sorted({unit.parent for unit in old})
    cities = [
        Unit(code, names[code], "", tuple(atom for unit in old if unit.parent == code for atom in unit.atoms))
        for code in parents
    ]
    return cities, old
