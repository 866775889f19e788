"""The colour of a package: the same whatever else is in the page, told apart by every eye, readable."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

from fsprobe.report.html import colours
from fsprobe.report.html import page as html

STYLE = (Path(html.__file__).parent / "templates" / "shared" / "page.css").read_text()
BLINDNESS = {
    # Machado, Oliveira & Fernandes 2009, severity 1.0, on linear RGB
    "none": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}
Rgb = tuple[float, float, float]


def colour(name: str) -> Rgb:
    """Linear RGB of a variable of the style sheet, which has it once: light and dark pages share it."""
    (found,) = re.findall(rf"--{name}: (#[0-9a-f]{{6}});", STYLE)
    parts = [int(found[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return red, green, blue


def seen(rgb: Rgb, eye: str) -> Rgb:
    """Oklab of a colour as an eye sees it."""
    r, g, b = (max(0.0, sum(x * y for x, y in zip(row, rgb, strict=True))) for row in BLINDNESS[eye])
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    middle = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.793617785 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.428592205 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.808675766 * short,
    )


def luminance(rgb: Rgb) -> float:
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]


def test_every_eye_tells_the_colours_of_packages_apart() -> None:
    packages = [colour(f"p{number}") for number in range(2, 2 + colours.N_HUES)]
    for eye in BLINDNESS:
        for one, other in itertools.combinations(packages, 2):
            assert math.dist(seen(one, eye), seen(other, eye)) > 0.06, (eye, one, other)


def test_names_on_every_colour_can_be_read() -> None:
    ink = luminance(colour("on-p"))
    for number in range(2 + colours.N_HUES):
        assert (luminance(colour(f"p{number}")) + 0.05) / (ink + 0.05) > 4.5


def test_a_package_has_its_colour_whatever_else_was_imported() -> None:
    alone = colours.slots(["numpy.core"])
    among = colours.slots(["pandas", "email.mime.text", "(program)", "numpy", "numpy.linalg", "strange"])
    assert alone["numpy"] == among["numpy"]
    assert (among["email"], among["(program)"]) == (colours.STANDARD_LIBRARY, colours.OTHER)
    assert len({among[name] for name in ("numpy", "pandas")}) == 2
    assert all(2 <= slot <= 9 for slot in (among["strange"], colours.slot_of("\udc80\u202e<b>")))


def test_settled_packages_stand_once() -> None:
    names = list(itertools.chain.from_iterable(colours.SETTLED))
    assert len(names) == len(set(names))
    assert len(colours.SETTLED) == colours.N_HUES


def test_packages_whose_bars_touch_differ() -> None:
    by_slot: dict[int, list[str]] = {}
    for number in range(200):
        by_slot.setdefault(colours.slot_of(f"package{number}"), []).append(f"package{number}")
    one, other, third = by_slot[5][:3]
    parents = {one: None, f"{one}.x": one, other: one, f"{one}.y": one, "top": None, third: "top", "json": other}
    sums = {one: 90.0, f"{one}.x": 40.0, other: 30.0, f"{one}.y": 20.0, "top": 50.0, third: 50.0, "json": 1.0}
    pairs = list(colours.touching(parents, sums))
    assert set(pairs) == {
        (f"{one}.x", one),
        (other, one),
        (f"{one}.y", one),
        (third, "top"),
        ("json", other),
        (one, "top"),
        (f"{one}.x", other),
        (other, f"{one}.y"),
        (f"{one}.y", third),
    }
    found = colours.slots(sorted(parents, key=lambda name: -sums[name]), pairs)
    assert found[one] == 5, "the most important one has its own colour"
    assert found["json"] == colours.STANDARD_LIBRARY
    for left, right in pairs:
        if colours.top_of(left) != colours.top_of(right):
            assert found[colours.top_of(left)] != found[colours.top_of(right)]


def test_where_no_colour_is_free_a_package_keeps_its_own() -> None:
    names = [f"package{number}" for number in range(40)]
    found = colours.slots(names, itertools.combinations(names, 2))
    assert set(found.values()) == set(range(2, 10))
    assert all(found[name] == colours.slot_of(name) for name in names[20:])
