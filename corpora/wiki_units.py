"""The units that `{{convert}}` knows, as data: how each is written, what it measures and what it is shown in.

The rule: a unit is a row here and nothing else. A row: codes (those after the first are aliases), symbol, name, plural
name (empty: an "s" is added), size in the first unit of its group, and what it is converted to when nothing is asked.
"""

from typing import NamedTuple

__all__ = ["COMPOSITES", "Unit", "find_unit"]


class Unit(NamedTuple):
    """One unit of measurement."""

    code: str
    symbol: str
    name: str
    plural: str
    quantity: str  # units of one quantity can be converted into each other
    scale: float  # size in the quantity's first unit
    offset: float  # added before scaling, for temperatures
    default: str  # codes, separated by spaces
    inverse: bool = False  # litres per 100 km and miles per gallon run in opposite directions
    multiple: str = ""  # "million": said before the name and the symbol


_TABLE = """
# length
m metre meter meters metres|m|metre||1|ft
km kilometre kilometer kilometers kilometres|km|kilometre||1e3|mi
cm centimetre centimeter|cm|centimetre||0.01|in
mm millimetre millimeter|mm|millimetre||1e-3|in
dm|dm|decimetre||0.1|in
μm µm um micrometre micrometer|μm|micrometre||1e-6|in
nm|nm|nanometre||1e-9|in
Mm|Mm|megametre||1e6|mi
Gm|Gm|gigametre||1e9|mi
in inch inches|in|inch|inches|0.0254|mm
ft foot feet|ft|foot|feet|0.3048|m
yd yard yards|yd|yard||0.9144|m
mi mile miles|mi|mile||1609.344|km
nmi NM nautical|nmi|nautical mile||1852|km mi
smi|mi|statute mile||1609.344|km
fathom fathoms|fathoms|fathom||1.8288|ft m
furlong furlongs|furlong|furlong||201.168|ft m
chain chains ch|chain|chain||20.1168|ft m
rod rods|rod|rod||5.0292|ft m
league leagues|league|league||4828.032|km
hand hands|h|hand||0.1016|in cm
AU au|AU|astronomical unit||149597870700|km mi
ly|ly|light-year||9460730472580800|pc
pc|pc|parsec||30856775814913673|ly
kpc|kpc|kiloparsec||30856775814913673e3|kly
kly|kly|thousand light-years|thousand light-years|9460730472580800e3|kpc
Mpc|Mpc|megaparsec||30856775814913673e6|Mly
Mly|Mly|million light-years|million light-years|9460730472580800e6|Mpc
angstrom Å|Å|ångström||1e-10|nm
# area
m2 sqm m²|m²|square metre||1|sqft
km2 sqkm km²|km²|square kilometre||1e6|sqmi
cm2 sqcm cm²|cm²|square centimetre||1e-4|sqin
mm2 sqmm|mm²|square millimetre||1e-6|sqin
ha hectare hectares|ha|hectare||1e4|acre
acre acres|acre|acre||4046.8564224|ha
sqmi mi2|sq mi|square mile||2589988.110336|km2
sqft ft2|sq ft|square foot|square feet|0.09290304|m2
sqin in2|sq in|square inch|square inches|0.00064516|cm2
sqyd yd2|sq yd|square yard||0.83612736|m2
dunam|dunam|dunam||1000|m2
# volume
m3 cum m³|m³|cubic metre||1|cuft
km3 km³|km³|cubic kilometre||1e9|cumi
cm3 cc|cm³|cubic centimetre||1e-6|cuin
mm3|mm³|cubic millimetre||1e-9|cuin
L l litre liter litres liters|L|litre||1e-3|impgal USgal
mL ml|mL|millilitre||1e-6|impoz USoz
cL cl|cL|centilitre||1e-5|impoz USoz
hL hl|hL|hectolitre||0.1|impgal USgal
kL kl|kL|kilolitre||1|cuft
ML Ml|ML|megalitre||1e3|e6cuft
GL Gl|GL|gigalitre||1e6|e9cuft
cuft ft3|cu ft|cubic foot|cubic feet|0.028316846592|m3
cuin in3 cuinch|cu in|cubic inch|cubic inches|1.6387064e-5|cm3
cuyd yd3|cu yd|cubic yard||0.764554857984|m3
cumi mi3|cu mi|cubic mile||4168181825.440579584|km3
USgal usgal gal|US gal|US gallon||0.003785411784|L impgal
impgal|imp gal|imperial gallon||0.00454609|L USgal
USqt|US qt|US quart||0.000946352946|L
USpt|US pt|US pint||0.000473176473|L
impqt|imp qt|imperial quart||0.0011365225|L
imppt|imp pt|imperial pint||0.00056826125|L
USoz USfloz|US fl oz|US fluid ounce||2.95735295625e-5|mL
impoz|imp fl oz|imperial fluid ounce||2.84130625e-5|mL
oilbbl|bbl|barrel||0.158987294928|m3
USbbl|US bbl|US barrel||0.119240471196|L
USbsh bushel|US bsh|US bushel||0.03523907016688|L
acre.ft acreft acre·ft|acre⋅ft|acre-foot|acre-feet|1233.48183754752|m3
# mass
kg kilogram kilograms|kg|kilogram||1|lb
g gram grams|g|gram||1e-3|oz
mg|mg|milligram||1e-6|gr
t tonne tonnes|t|tonne||1e3|LT ST
MT|t|metric ton||1e3|LT ST
kt|kt|kilotonne||1e6|LT ST
Mt|Mt|megatonne||1e9|LT ST
lb lbs pound pounds|lb|pound||0.45359237|kg
oz ounce ounces|oz|ounce||0.028349523125|g
st stone|st|stone|stone|6.35029318|lb kg
LT long_ton|long tons|long ton||1016.0469088|t
ST short_ton|short tons|short ton||907.18474|t
gr grain|gr|grain||6.479891e-5|mg
carat ct|carat|carat||2e-4|g
ozt|ozt|troy ounce||0.0311034768|oz g
cwt lcwt|cwt|hundredweight|hundredweight|50.80234544|kg
# speed
m/s|m/s|metre per second|metres per second|1|ft/s
km/h kmh kph|km/h|kilometre per hour|kilometres per hour|0.2777777777777778|mph
mph mi/h|mph|mile per hour|miles per hour|0.44704|km/h
ft/s|ft/s|foot per second|feet per second|0.3048|m/s
kn knot knots|kn|knot||0.5144444444444445|km/h mph
km/s|km/s|kilometre per second|kilometres per second|1e3|mi/s
mi/s|mi/s|mile per second|miles per second|1609.344|km/s
cm/s|cm/s|centimetre per second|centimetres per second|0.01|in/s
in/s|in/s|inch per second|inches per second|0.0254|cm/s
mm/s|mm/s|millimetre per second|millimetres per second|1e-3|in/s
ft/min|ft/min|foot per minute|feet per minute|0.00508|m/s
m/min|m/min|metre per minute|metres per minute|0.016666666666666666|ft/min
cm/year|cm/year|centimetre per year|centimetres per year|3.168808781402895e-10|in/year
mm/year|mm/year|millimetre per year|millimetres per year|3.168808781402895e-11|in/year
in/year|in/year|inch per year|inches per year|8.048774304763353e-10|cm/year
# change of temperature
K-change|K|kelvin||1|F-change
C-change °C-change|°C|degree Celsius|degrees Celsius|1|F-change
F-change °F-change|°F|degree Fahrenheit|degrees Fahrenheit|0.5555555555555556|C-change
# pressure
Pa|Pa|pascal||1|psi
kPa|kPa|kilopascal||1e3|psi
MPa|MPa|megapascal||1e6|psi
GPa|GPa|gigapascal||1e9|psi
hPa|hPa|hectopascal||1e2|inHg
mbar mb|mbar|millibar||1e2|inHg
bar|bar|bar||1e5|kPa
atm|atm|standard atmosphere||101325|kPa
psi lbf/in2|psi|pound per square inch|pounds per square inch|6894.757293168361|kPa
ksi|ksi|kilopound per square inch|kilopounds per square inch|6894757.293168361|MPa
inHg|inHg|inch of mercury|inches of mercury|3386.388640341|kPa
mmHg|mmHg|millimetre of mercury|millimetres of mercury|133.322387415|kPa
torr Torr|Torr|torr|torr|133.32236842105263|kPa
# power
W|W|watt||1|hp
kW|kW|kilowatt||1e3|hp
MW|MW|megawatt||1e6|hp
GW|GW|gigawatt||1e9|hp
hp|hp|horsepower|horsepower|745.6998715822702|kW
bhp|bhp|brake horsepower|brake horsepower|745.6998715822702|kW
shp|shp|shaft horsepower|shaft horsepower|745.6998715822702|kW
ihp|ihp|indicated horsepower|indicated horsepower|745.6998715822702|kW
PS cv|PS|metric horsepower|metric horsepower|735.49875|kW
# energy
J|J|joule||1|ftlbf
kJ|kJ|kilojoule||1e3|kcal
MJ|MJ|megajoule||1e6|kWh
GJ|GJ|gigajoule||1e9|kWh
TJ|TJ|terajoule||1e12|GWh
cal|cal|calorie||4.184|J
kcal Cal|kcal|kilocalorie||4184|kJ
kWh kW.h|kWh|kilowatt-hour||3.6e6|MJ
MWh|MWh|megawatt-hour||3.6e9|GJ
GWh|GWh|gigawatt-hour||3.6e12|TJ
TWh|TWh|terawatt-hour||3.6e15|PJ
PJ|PJ|petajoule||1e15|TWh
BTU Btu|BTU|British thermal unit||1055.05585262|kJ
ftlbf ft.lbf|ft⋅lbf|foot-pound force|foot-pounds force|1.3558179483314004|J
eV|eV|electronvolt||1.602176634e-19|J
tTNT|tons of TNT|ton of TNT|tons of TNT|4.184e9|GJ
ktTNT ktonTNT|kilotons of TNT|kiloton of TNT|kilotons of TNT|4.184e12|TJ
MtTNT MtonTNT|megatons of TNT|megaton of TNT|megatons of TNT|4.184e15|PJ
# torque
Nm N.m N·m|N⋅m|newton-metre||1|lbft
lbft lb.ft ftlb ft.lb lb·ft|lb⋅ft|pound-foot|pound-feet|1.3558179483314004|Nm
# force
N|N|newton||1|lbf
kN|kN|kilonewton||1e3|lbf
MN|MN|meganewton||1e6|lbf
lbf lb-f|lbf|pound-force|pounds-force|4.4482216152605|N
kgf|kgf|kilogram-force|kilograms-force|9.80665|N lbf
# density
kg/m3|kg/m³|kilogram per cubic metre|kilograms per cubic metre|1|lb/cuyd
g/cm3 g/cc|g/cm³|gram per cubic centimetre|grams per cubic centimetre|1e3|lb/cuin
g/L|g/L|gram per litre|grams per litre|1|lb/cuin
lb/cuft lb/ft3|lb/cu ft|pound per cubic foot|pounds per cubic foot|16.018463373960138|kg/m3
lb/cuyd lb/yd3|lb/cu yd|pound per cubic yard|pounds per cubic yard|0.5932764212577829|kg/m3
lb/cuin lb/in3|lb/cu in|pound per cubic inch|pounds per cubic inch|27679.904710191|g/cm3
# density of population
PD/km2 /km2|/km²|inhabitant per square kilometre|inhabitants per square kilometre|1|PD/sqmi
PD/sqmi /sqmi|/sq mi|inhabitant per square mile|inhabitants per square mile|0.3861021585424458|PD/km2
PD/ha /ha|/ha|inhabitant per hectare|inhabitants per hectare|100|PD/acre
PD/acre /acre|/acre|inhabitant per acre|inhabitants per acre|247.10538146716532|PD/ha
# flow
m3/s m³/s cumec|m³/s|cubic metre per second|cubic metres per second|1|cuft/s
m3/d m3/day|m³/d|cubic metre per day|cubic metres per day|1.1574074074074073e-5|cuft/d
m3/h|m³/h|cubic metre per hour|cubic metres per hour|2.777777777777778e-4|cuft/h
cuft/s ft3/s cfs|cu ft/s|cubic foot per second|cubic feet per second|0.028316846592|m3/s
cuft/h|cu ft/h|cubic foot per hour|cubic feet per hour|7.865790720000001e-6|m3/h
cuft/d|cu ft/d|cubic foot per day|cubic feet per day|3.2774128e-7|m3/d
cuft/min|cu ft/min|cubic foot per minute|cubic feet per minute|4.719474432e-4|m3/s
L/s l/s|L/s|litre per second|litres per second|1e-3|cuft/s
L/min l/min|L/min|litre per minute|litres per minute|1.6666666666666667e-5|USgal/min
USgal/min|US gal/min|US gallon per minute|US gallons per minute|6.30901964e-5|L/min
USgal/d|US gal/d|US gallon per day|US gallons per day|4.381263638888889e-8|L/d
L/d|L/d|litre per day|litres per day|1.1574074074074074e-8|USgal/d
oilbbl/d|bbl/d|barrel per day|barrels per day|1.8401307283333333e-6|m3/d
# acceleration
m/s2|m/s²|metre per second squared|metres per second squared|1|ft/s2
ft/s2|ft/s²|foot per second squared|feet per second squared|0.3048|m/s2
g0 g-force|g|standard gravity|standard gravities|9.80665|m/s2
# slope
m/km|m/km|metre per kilometre|metres per kilometre|1|ft/mi
ft/mi|ft/mi|foot per mile|feet per mile|0.1893939393939394|m/km
# yield
kg/ha|kg/ha|kilogram per hectare|kilograms per hectare|1|lb/acre
t/ha|t/ha|tonne per hectare|tonnes per hectare|1e3|LT/acre ST/acre
LT/acre|long tons per acre|long ton per acre|long tons per acre|2510.7066|t/ha
ST/acre|short tons per acre|short ton per acre|short tons per acre|2241.7023|t/ha
lb/acre|lb/acre|pound per acre|pounds per acre|1.1208511561944561|kg/ha
# consumption, in km per litre
km/L km/l|km/L|kilometre per litre|kilometres per litre|1|mpgimp mpgus
mpgus mpgUS mpg-US|mpg-US|mile per US gallon|miles per US gallon|0.4251437074976|L/100km mpgimp
mpgimp mpg-imp|mpg-imp|mile per imperial gallon|miles per imperial gallon|0.354006189934647|L/100km mpgus
L/100km l/100km|L/100 km|litre per 100 kilometres|litres per 100 kilometres|100|mpgimp mpgus
"""
_TEMPERATURES = (
    Unit("K", "K", "kelvin", "kelvins", "temperature", 1.0, 0.0, "C F"),
    Unit("C", "°C", "degree Celsius", "degrees Celsius", "temperature", 1.0, 273.15, "F"),
    Unit("F", "°F", "degree Fahrenheit", "degrees Fahrenheit", "temperature", 5 / 9, 459.67, "C"),
    Unit("R", "°R", "degree Rankine", "degrees Rankine", "temperature", 5 / 9, 0.0, "K F C"),
)
_TEMPERATURE_ALIASES = {"°C": "C", "°F": "F", "degC": "C", "degF": "F", "°R": "R", "Celsius": "C", "Fahrenheit": "F"}
_MULTIPLES = {"e3": (1e3, "thousand"), "e6": (1e6, "million"), "e9": (1e9, "billion"), "e12": (1e12, "trillion"),
              "e15": (1e15, "quadrillion")}  # fmt: skip
# As in koilbbl and Tcuft; "B" is American for 10^9.
_LETTERS = {"k": "e3", "M": "e6", "G": "e9", "B": "e9", "T": "e12"}
_TAKE_LETTERS = frozenset(["oilbbl", "oilbbl/d", "cuft", "cuft/d", "USgal", "USgal/d", "impgal", "USbbl", "tTNT"])
# Two units given or shown together -> what the input is converted to when nothing is asked.
COMPOSITES = {
    ("ft", "in"): "m",
    ("yd", "ft"): "m",
    ("mi", "yd"): "km",
    ("mi", "ft"): "km",
    ("mi", "furlong"): "km",
    ("mi", "chain"): "km",
    ("st", "lb"): "kg",
    ("lb", "oz"): "kg",
    ("LT", "cwt"): "t",
}


def _read_table() -> dict[str, Unit]:
    units: dict[str, Unit] = {}
    quantity = ""
    for line in _TABLE.strip().splitlines():
        if line.startswith("#"):
            quantity = line[2:]
            continue
        codes, symbol, name, plural, scale, default = line.split("|")
        code, *aliases = codes.split(" ")
        inverse = code == "L/100km"
        unit = Unit(code, symbol, name, plural or f"{name}s", quantity, float(scale), 0.0, default, inverse)
        units.update(dict.fromkeys((code, *aliases), unit))
    units.update({unit.code: unit for unit in _TEMPERATURES})
    units.update({alias: units[code] for alias, code in _TEMPERATURE_ALIASES.items()})
    return units


_UNITS = _read_table()


def find_unit(code: str) -> Unit | None:
    """The unit of a code, also in thousands, millions, …: `e6acre`, `koilbbl/d`.

    >>> find_unit("e6km2").multiple, find_unit("Tcuft").scale, find_unit("parasang")
    ('million', 28316846592.0, None)
    """
    unit = _UNITS.get(code)
    if unit:
        return unit
    power, base = next(((power, code[len(power) :]) for power in _MULTIPLES if code.startswith(power)), ("", ""))
    if not power and code[:1] in _LETTERS and code[1:] in _TAKE_LETTERS:
        power, base = _LETTERS[code[0]], code[1:]
    unit = _UNITS.get(base)
    if not power or unit is None or unit.offset or unit.inverse:
        return None
    factor, word = _MULTIPLES[power]
    default = " ".join(f"{power}{other}" for other in unit.default.split(" "))
    return unit._replace(code=code, scale=unit.scale * factor, multiple=word, default=default)
