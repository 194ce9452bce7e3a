"""`{{convert}}`: forms as they stand in articles, with what Wikipedia shows for them; laws over all units."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.wiki_convert import convert_quantity
from corpora.wiki_units import _UNITS, find_unit


def convert(call: str) -> str | None:
    """`call` is what stands between the braces, nothing nested in it."""
    name, *parameters = call.split("|")
    named = dict(part.split("=", 1) for part in parameters if "=" in part)
    positional = [part for part in parameters if "=" not in part]
    return convert_quantity(positional, named, abbreviate=name == "cvt")


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        # rounding, Help:Convert
        ("convert|100|mi|km", "100 miles (160 km)"),
        ("convert|1300|mi", "1,300 miles (2,100 km)"),
        ("convert|1|km", "1 kilometre (0.62 mi)"),
        ("convert|10000|ft|km", "10,000 feet (3.0 km)"),
        ("convert|3.21|kg|lb", "3.21 kilograms (7.1 lb)"),
        ("convert|200|km|mi|0", "200 kilometres (124 mi)"),
        ("convert|34000|mi|km|-1", "34,000 miles (54,720 km)"),
        ("convert|652,000|km2|sqmi|abbr=on", "652,000 km² (252,000 sq mi)"),
        ("convert|11|ft|m|sigfig=3", "11 feet (3.35 m)"),
        ("convert|22|C", "22 °C (72 °F)"),
        ("convert|-12|°C|0|abbr=on", "−12 °C (10 °F)"),
        ("convert|20|C-change", "20 °C (36 °F)"),
        # names and symbols
        ("convert|5|mi|km|adj=on", "5-mile (8.0 km)"),
        ("convert|5|mi|km|adj=mid|-long", "5-mile-long (8.0 km)"),
        ("convert|5|mi|km|abbr=off", "5 miles (8.0 kilometres)"),
        ("convert|5|mi|km|abbr=in", "5 mi (8.0 kilometres)"),
        ("cvt|5|mi", "5 mi (8.0 km)"),
        ("convert|100|m|sp=us", "100 meters (330 ft)"),
        ("convert|9|mi|spell=in", "nine miles (14 km)"),
        ("convert|1|acre|ha", "1 acre (0.40 ha)"),
        ("convert|9.3|sqft", "9.3 square feet (0.86 m²)"),
        # arrangement
        ("convert|8|mi|km|disp=or|abbr=on", "8 mi or 13 km"),
        ("convert|8|mi|km|disp=sqbr", "8 miles [13 km]"),
        ("convert|8|mi|km|order=flip", "13 kilometres (8 mi)"),
        ("convert|8|mi|km|disp=out", "13 km"),
        ("convert|8|mi|km|disp=number", "13"),
        ("convert|90|mph|km/h kn|abbr=on", "90 mph (140 km/h; 78 kn)"),
        ("convert|10|nmi", "10 nautical miles (19 km; 12 mi)"),
        # ranges
        ("convert|60|to|70|mph", "60 to 70 miles per hour (97 to 113 km/h)"),
        ("convert|10|-|100|km|mi", "10–100 kilometres (6.2–62.1 mi)"),
        ("convert|20|x|30|ft|m", "20 by 30 feet (6.1 m × 9.1 m)"),
        ("cvt|550-700|t|lb", "550–700 t (1,200,000–1,500,000 lb)"),
        ("convert|2|and|3|kg|lb", "2 and 3 kilograms (4.4 and 6.6 lb)"),
        # several units, fractions, multiples
        ("convert|6|ft|1|in|cm", "6 feet 1 inch (185 cm)"),
        ("convert|5|ft|11|in|abbr=on", "5 ft 11 in (1.80 m)"),
        ("convert|185|cm|ftin|abbr=on", "185 cm (6 ft 1 in)"),
        ("convert|12|st|4|lb|kg", "12 stone 4 pounds (78 kg)"),
        ("convert|1/2|in", "1/2 inches (13 mm)"),
        ("convert|101|e6acre|e6ha|abbr=off", "101 million acres (41 million hectares)"),
        ("convert|477|koilbbl/d|abbr=on", "477×10³ bbl/d (75.8×10³ m³/d)"),
        ("convert|30|mpgus", "30 miles per US gallon (7.8 L/100 km; 36 mpg-imp)"),
        ("convert|1082 | mi", "1,082 miles (1,741 km)"),
    ],
)
def test_the_forms_of_articles_read_as_on_wikipedia(call: str, expected: str) -> None:
    assert convert(call) == expected


@pytest.mark.parametrize(
    "call",
    ["convert", "convert|5", "convert|five|km", "convert|5|parasang", "convert|5|km|kg", "convert|5|km|parasang"],
)
def test_what_is_not_understood_gives_nothing(call: str) -> None:
    assert convert(call) is None


@pytest.mark.parametrize("code", sorted(_UNITS))
def test_every_unit_converts_into_what_it_is_shown_in_and_back(code: str) -> None:
    unit = find_unit(code)
    assert unit is not None
    for other in unit.default.split(" "):
        there = convert_quantity(["12.5", code, other, "9"], {"disp": "out", "abbr": "on", "comma": "off"})
        assert there, (code, other)
        number = there.split(" ")[0].split("×")[0].partition("/")[0].replace("−", "-")
        back = convert_quantity([number, other, code, "3"], {"disp": "out", "abbr": "on", "comma": "off"})
        assert back, (other, code)
        value = float(back.split(" ")[0].split("×")[0].partition("/")[0].replace("−", "-"))
        if abs(float(number)) > 1e-3:
            assert math.isclose(value, 12.5, rel_tol=1e-3), (code, other, there, back)


@given(
    st.decimals(min_value="0.001", max_value="10000000", places=3),
    st.sampled_from(["km", "ft", "lb", "sqmi", "ha", "mph", "hp", "L", "in", "acre", "kg", "t"]),
)
def test_the_converted_number_has_two_digits_that_count_and_is_near_the_true_one(value: object, code: str) -> None:
    shown = convert_quantity([str(value), code], {"abbr": "on", "comma": "off"})
    assert shown is not None
    unit = find_unit(code)
    other = find_unit(unit.default.split(" ")[0]) if unit else None
    assert unit is not None
    assert other is not None
    found = re.search(r"\(([\d.]+)", shown)
    assert found is not None
    true = float(str(value)) * unit.scale / other.scale
    assert abs(float(found[1]) - true) <= 0.051 * true


PARAMETERS = st.text(max_size=8) | st.sampled_from(["1", "km", "to", "-", "ft", "in", "1/0", "9e99", "", "C"])
OPTIONS = ({}, {"sigfig": "3"}, {"round": "5"}, {"disp": "x"}, {"spell": "in"}, {"adj": "mid"}, {"order": "flip"})


@given(st.lists(PARAMETERS, max_size=7))
def test_no_parameters_make_it_raise(parameters: list[str]) -> None:
    for named in OPTIONS:
        convert_quantity(parameters, named)
