"""The demo's people and lights in closed form: sums of Gaussians around towns, and a constant.

In: the geography of a seed. Out: ``Fields``: population density [persons/km2] and light [DN] at any point and year.
Both are linear in 121 fixed functions of (lon, lat); only the weights change with the year, so that an integral over
a polygon is needed once for all years.

light = r0(t) * population density + sum of glow_k(t) * G_k: everybody is equally lit, and towns glow beyond that. In
city 0 and around it there is no such glow: the level of city 0 in the measure ``true`` is r0(t), known without any
integration (to 1e-12: what neighbours' glow leaks over the border).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import WGS84_A, WGS84_E2
from gis.demo.geography import all_cells, city_of_cell, geography

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

YEARS: tuple[int, ...] = tuple(range(2012, 2020))
"""Years of lights, population and flows."""

BASE_DENSITY = 30.0
"""Population density far from any town [persons/km2], in every year."""

PLAIN_LEVEL, PLAIN_GROWTH = 0.006, 0.02
"""r0(2012) [DN km2/person] and its yearly growth."""

GLOW_PER_PERSON: tuple[float, ...] = (
    0.0, 0.0035, 0.0030, 0.0025, 0.0040, 0.0051, 0.0036, 0.0045, 0.0055, 0.0058, 0.0048, 0.0020,
)  # fmt: skip
"""Light of city c above r0 in 2012 [DN km2/person]: poorer in the west, richer in the south-east."""

GLOW_GROWTH: tuple[float, ...] = (
    0.0, 0.03, 0.035, 0.05, 0.025, 0.02, 0.08, 0.03, 0.02, 0.015, 0.03, 0.06,
)  # fmt: skip
"""Yearly growth of that light."""

PEOPLE_GROWTH: tuple[float, ...] = (
    -0.005, 0.0, 0.0, -0.01, 0.01, 0.012, 0.0, 0.005, 0.015, 0.02, 0.005, -0.015,
)  # fmt: skip
"""Yearly growth of the people of the towns of city c."""

CITY_SIZE: tuple[float, ...] = (0.7, 1.0, 0.6, 0.5, 1.1, 0.9, 0.8, 1.0, 1.2, 1.1, 0.9, 0.6)
"""How densely the towns of city c are peopled, relative to one another."""

OVERTAKER, OVERTAKEN = 6, 4
"""A pair of cities whose levels cross, and stay crossed: once Bal is above 1, and then hi and lo change places."""

GLOW_WIDTH = 0.72
"""Width of a town's glow over the width of its people: light is more concentrated than people."""


@dataclass(frozen=True, slots=True)
class Bumps:
    """Gaussians exp(-((lon - lon_k) / sx_k)^2 / 2 - ((lat - lat_k) / sy_k)^2 / 2), each a product of two."""

    lon: Floats
    """(n,) centres [degree]."""
    lat: Floats
    """(n,) centres [degree]."""
    sx: Floats
    """(n,) standard deviations along the parallel [degree of longitude]."""
    sy: Floats
    """(n,) standard deviations along the meridian [degree of latitude]."""

    def at(self, lon: Any, lat: Any) -> Floats:
        """Values at points: (n, *shape of lon)."""
        shape = (-1,) + (1,) * np.ndim(lon)
        x = (np.asarray(lon) - self.lon.reshape(shape)) / self.sx.reshape(shape)
        y = (np.asarray(lat) - self.lat.reshape(shape)) / self.sy.reshape(shape)
        return np.asarray(np.exp(-(x * x + y * y) / 2))

    def volumes_km2(self) -> Floats:
        """Integral of each over the ellipsoid, taken as flat around the centre (within 1 %; only sets amplitudes)."""
        return 2 * math.pi * self.sx * self.sy * math.radians(1) ** 2 * area_element(self.lat) / 1e6


@dataclass(frozen=True, slots=True)
class Fields:
    """Population density and light of one seed."""

    bumps: Bumps = field(repr=False)
    """(120,) first the people of the 60 towns, then their glow."""
    people_2012: Floats = field(repr=False)
    """(60,) peak density of a town's people in 2012 [persons/km2]."""
    glow_2012: Floats = field(repr=False)
    """(60,) peak of a town's glow in 2012 [DN]."""
    city: NDArray[np.int64] = field(repr=False)
    """(60,) city of 2019 of each town: its growth rates are the town's."""

    def population_weights(self, year: int) -> Floats:
        """Weights (121,) of the bumps and of the constant 1 in the population density of a year."""
        growth = 1 + np.array(PEOPLE_GROWTH)[self.city]
        people = self.people_2012 * growth ** (year - YEARS[0])
        return np.concatenate([people, np.zeros_like(people), [BASE_DENSITY]])

    def light_weights(self, year: int) -> Floats:
        """Weights (121,) of the bumps and of the constant 1 in the light of a year."""
        weights = plain_level(year) * self.population_weights(year)
        n = self.city.size
        weights[n : 2 * n] = self.glow_2012 * (1 + np.array(GLOW_GROWTH)[self.city]) ** (year - YEARS[0])
        return weights

    def population_density(self, lon: Any, lat: Any, year: int) -> Floats:
        """Persons per km2 at points given in degrees."""
        return self._at(self.population_weights(year), lon, lat)

    def light(self, lon: Any, lat: Any, year: int) -> Floats:
        """Light [DN] at points given in degrees."""
        return self._at(self.light_weights(year), lon, lat)

    def _at(self, weights: Floats, lon: Any, lat: Any) -> Floats:
        return np.asarray(np.tensordot(weights[:-1], self.bumps.at(lon, lat), axes=1) + weights[-1])


def plain_level(year: int) -> float:
    """r0(t): light per person where nothing glows, and the exact level of city 0 [DN km2/person]."""
    return float(PLAIN_LEVEL * (1 + PLAIN_GROWTH) ** (year - YEARS[0]))


def area_element(lat: Any) -> Floats:
    """Area of the ellipsoid per square radian of longitude and latitude, M N cos(phi) [m2]. Source: METHOD 1.4."""
    phi = np.radians(np.asarray(lat, np.float64))
    w2 = 1 - WGS84_E2 * np.sin(phi) ** 2
    return np.asarray(WGS84_A**2 * (1 - WGS84_E2) * np.cos(phi) / (w2 * w2))


@lru_cache(maxsize=4)
def fields(seed: int) -> Fields:
    """Draw the fields of a seed: widths and peaks are random, the levels of cities and their growth are designed."""
    land = geography(seed)
    rng = np.random.default_rng([seed, 2])
    cells = all_cells()
    city = np.array([city_of_cell(cell) for cell in cells])
    is_seat = np.isin(np.arange(len(cells)), land.seats)
    lon, lat = land.towns_lonlat.T
    sigma = np.where(is_seat, rng.uniform(0.13, 0.15, city.size), rng.uniform(0.07, 0.10, city.size))
    peak = np.where(is_seat, rng.uniform(1300, 1900, city.size), rng.uniform(500, 900, city.size))
    people = peak * np.array(CITY_SIZE)[city]
    wide = np.concatenate([sigma, GLOW_WIDTH * sigma])
    lon2, lat2 = np.tile(lon, 2), np.tile(lat, 2)
    bumps = Bumps(lon2, lat2, wide / np.cos(np.radians(lat2)), wide)
    volume = bumps.volumes_km2()
    return Fields(bumps, people, _glow(land.towns_lonlat, city, is_seat, people, volume, rng), city)


def _glow(
    towns: Floats,
    city: NDArray[np.int64],
    is_seat: NDArray[np.bool_],
    people: Floats,
    volume: Floats,
    rng: np.random.Generator,
) -> Floats:
    """Peaks of the glow in 2012: each city's designed light per person, shared out among its towns."""
    n = city.size
    share = people * volume[:n] * np.where(is_seat, 1.0, rng.uniform(0.2, 1.2, n))
    cells = np.array(all_cells())
    first = cells[city == 0]
    beside = (np.abs(cells[:, None, :] - first[None, :, :]).max(axis=2) <= 1).any(axis=1)
    share[beside] = 0.0  # no glow in city 0, nor in any district that touches it: see the module's first lines
    glow = np.zeros(n)
    base = BASE_DENSITY * 5 * 9200.0  # people outside towns; districts are about 9,200 km2
    for c in range(city.max() + 1):
        mine = city == c
        persons = (people * volume[:n])[mine].sum() + base
        if share[mine].sum() > 0:
            glow[mine] = GLOW_PER_PERSON[c] * persons * share[mine] / share[mine].sum() / volume[n:][mine]
    return glow
