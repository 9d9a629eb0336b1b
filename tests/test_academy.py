"""The academy's data, read here with plain Python: nothing dangles, nothing is wrong."""

from __future__ import annotations

import csv
import graphlib
import importlib.util
import itertools
import json
import math
import re
import statistics
import tomllib
from collections import Counter
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import polars as pl
import pytest
import sqlalchemy as sa
import yaml
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

DATA = Path(__file__).parent.parent / "data"
HEBREW = re.compile("[\u05d0-\u05ea]")

Record = dict[str, Any]


# ---- reading --------------------------------------------------------------------------------------------


def nested(path: Path) -> list[Record]:
    text = path.read_text(encoding="utf-8")
    match path.suffix:
        case ".json":
            return json.loads(text)
        case ".jsonl":
            return [json.loads(line) for line in text.splitlines()]
        case _:
            return yaml.load(text, Loader=yaml.CBaseLoader)


def flat(name: str) -> list[Record]:
    """Rows of a CSV or Parquet file; an empty field is None."""
    if name.endswith(".parquet"):
        return pl.read_parquet(DATA / name).to_dicts()
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return [{key: value or None for key, value in row.items()} for row in csv.DictReader(file)]


def dig(record: Record | None, path: str) -> Any:
    """Follow a dotted path, as a column of that name or through nested objects; YAML's null is text here."""
    assert record is not None
    if path in record:
        return None if record[path] == "null" else record[path]
    value: Any = record
    for step in path.split("."):
        value = None if value in (None, "null") else value[step]
    return None if value == "null" else value


DISCIPLINE = ("discipline.faculty.university.slug", "discipline.faculty.code", "discipline.code")


@pytest.fixture(scope="module")
def academy() -> dict[str, list[Record]]:
    """Every table as a list of records, children with the key of their parent under `parent`."""
    tables: dict[str, list[Record]] = {
        "translations": flat("00-core/translations.csv"),
        "universities": nested(DATA / "01-institutions/universities.yaml"),
        "faculties": flat("01-institutions/faculties.csv"),
        "disciplines": flat("02-academic-structure/disciplines.csv"),
        "blocks": nested(DATA / "02-academic-structure/blocks.yaml"),
        "courses": flat("03-courses/colman/courses.csv"),
        "course_prerequisites": flat("03-courses/colman/course_prerequisites.csv"),
        "degrees": flat("04-degrees/degrees.csv"),
        "degree_courses": flat("04-degrees/degree_courses.parquet"),
        "modules": flat("05-modules/modules.csv"),
        "questions": [],
        "question_parts": [],
        "answers": [],
    }
    for subject in ("computer-science", "economics", "physics", "mathematics"):
        for course in nested(next((DATA / "03-courses" / subject).iterdir())):
            tables["courses"].append(course)
            for code in course["prerequisites"]:
                tables["course_prerequisites"].append(
                    {"course.code": course["code"], "prerequisite.code": code}
                )
    for path in (DATA / "04-degrees").glob("*.json"):
        for degree in nested(path):
            tables["degrees"].append(degree)
            tables["degree_courses"] += [
                {"degree.code": degree["code"], **link} for link in degree["courses"]
            ]
    for path in sorted((DATA / "05-modules/physics").iterdir()):
        for module in nested(path):
            tables["modules"].append(module)
            place = {"course": module["course"], "position": module["position"]}
            tables["questions"] += [{"module": place, **question} for question in module["questions"]]
    for path in sorted((DATA / "06-questions").iterdir()):
        tables["questions"] += nested(path)
    for question in tables["questions"]:
        for part in question["parts"]:
            tables["question_parts"].append({"parent": question["code"], **part})
            tables["answers"] += [
                {"parent": (question["code"], part["prompt"]), **a} for a in part["answers"]
            ]
    return tables


@pytest.fixture(scope="module")
def models() -> ModuleType:
    spec = importlib.util.spec_from_file_location("academy_models", DATA / "models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- size -----------------------------------------------------------------------------------------------


def test_the_academy_has_about_five_thousand_rows_in_thirteen_tables(academy, models):
    least = {"translations": 400, "universities": 15, "faculties": 70, "disciplines": 150, "blocks": 10}
    least |= {"courses": 250, "course_prerequisites": 150, "degrees": 20, "degree_courses": 250}
    least |= {"modules": 120, "questions": 350, "question_parts": 700, "answers": 2000}

    counts = {table: len(rows) for table, rows in academy.items()}

    assert counts.keys() == least.keys() == models.metadata.tables.keys()
    assert {table: n for table, n in counts.items() if n < least[table]} == {}
    assert counts["universities"] == 15
    assert counts["degrees"] == 20
    assert 4_800 <= sum(counts.values()) <= 5_500


def test_the_files_are_small_and_of_every_format():
    files = [
        path
        for path in DATA.rglob("*")
        if path.is_file() and re.match(r"\d\d-", path.relative_to(DATA).parts[0])
    ]

    assert {path.suffix for path in files} == {".csv", ".yaml", ".json", ".jsonl", ".parquet"}
    assert sum(path.stat().st_size for path in files) < 1_000_000


# ---- keys and references --------------------------------------------------------------------------------

KEYS = {
    "translations": ("en_text",),
    "universities": ("slug",),
    "faculties": ("university.slug", "code"),
    "disciplines": ("faculty.university.slug", "faculty.code", "code"),
    "blocks": ("code",),
    "courses": ("code",),
    "course_prerequisites": ("course.code", "prerequisite.code"),
    "degrees": ("code",),
    "degree_courses": ("degree.code", "course.code"),
    "modules": ("course.code", "position"),
    "questions": ("code",),
}
REFERENCES = [  # table, columns, parent
    ("universities", ("name.en_text",), "translations"),
    ("universities", ("city.en_text",), "translations"),
    ("faculties", ("university.slug",), "universities"),
    ("faculties", ("name.en_text",), "translations"),
    ("disciplines", ("faculty.university.slug", "faculty.code"), "faculties"),
    ("disciplines", ("name.en_text",), "translations"),
    ("blocks", ("name.en_text",), "translations"),
    ("courses", DISCIPLINE, "disciplines"),
    ("courses", ("name.en_text",), "translations"),
    ("courses", ("block.code",), "blocks"),
    ("course_prerequisites", ("course.code",), "courses"),
    ("course_prerequisites", ("prerequisite.code",), "courses"),
    ("degrees", DISCIPLINE, "disciplines"),
    ("degrees", ("name.en_text",), "translations"),
    ("degree_courses", ("degree.code",), "degrees"),
    ("degree_courses", ("course.code",), "courses"),
    ("degree_courses", ("block.code",), "blocks"),
    ("modules", ("course.code",), "courses"),
    ("modules", ("title.en_text",), "translations"),
    ("modules", ("block.code",), "blocks"),
    ("questions", ("module.course.code", "module.position"), "modules"),
]


def keys(rows: list[Record], columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Key of each row as text; rows whose key is NULL are left out."""
    found = [tuple(dig(row, column) for column in columns) for row in rows]
    assert all(None not in key or set(key) == {None} for key in found), "a reference is half NULL"
    return [tuple(map(str, key)) for key in found if None not in key]


@pytest.mark.parametrize("table", KEYS)
def test_every_key_is_there_and_unique(academy, table):
    found = keys(academy[table], KEYS[table])

    assert len(found) == len(academy[table])
    assert [key for key, times in Counter(found).items() if times > 1] == []


@pytest.mark.parametrize(("table", "columns", "parent"), REFERENCES)
def test_every_reference_finds_its_row(academy, table, columns, parent):
    parents = set(keys(academy[parent], KEYS[parent]))

    found = set(keys(academy[table], columns))

    assert found
    assert found - parents == set()


def test_every_reference_of_the_models_is_tested(models):
    nested_ones = {("question_parts", "question_id"), ("answers", "question_part_id")}

    told = {(table, columns[0].split(".")[0] + "_id") for table, columns, _ in REFERENCES} | nested_ones

    assert told == {
        (c.table.name, c.name) for t in models.metadata.tables.values() for c in t.columns if c.foreign_keys
    }


def test_no_course_needs_itself_in_the_end(academy):
    graph: dict[str, set[str]] = {}
    for link in academy["course_prerequisites"]:
        graph.setdefault(link["course.code"], set()).add(link["prerequisite.code"])

    order = list(graphlib.TopologicalSorter(graph).static_order())

    assert len(order) > 200


def test_translations_are_hebrew_and_all_of_them_are_used_or_general(academy):
    naming = [(table, columns) for table, columns, parent in REFERENCES if parent == "translations"]

    used = {key[0] for table, columns in naming for key in keys(academy[table], columns)}
    specific = {row["en_text"] for row in academy["translations"] if row["context"]}

    assert [row["en_text"] for row in academy["translations"] if not HEBREW.search(row["he_text"])] == []
    assert specific == used


def test_most_questions_have_a_hebrew_stem_and_none_an_english_one_there(academy):
    stems = [dig(question, "stem_he") for question in academy["questions"]]

    assert sum(stem is not None for stem in stems) > 250
    assert None in stems
    assert [stem for stem in stems if stem is not None and not HEBREW.search(stem)] == []
    assert len({question["stem"] for question in academy["questions"]}) == len(stems)


# ---- the small environment ------------------------------------------------------------------------------


def test_two_universities_and_forty_questions_leave_rows_in_every_table(academy):
    subset = tomllib.loads((DATA / "seedlab.toml").read_text())["environments"]["test"]["subset"]

    slugs = sorted(row["slug"] for row in academy["universities"])[: subset["universities"]]
    courses = {row["code"] for row in academy["courses"] if dig(row, DISCIPLINE[0]) in slugs}
    degrees = {row["code"] for row in academy["degrees"] if dig(row, DISCIPLINE[0]) in slugs}
    kept = [q for q in academy["questions"] if dig(q, "module.course.code") in courses]
    questions = sorted(kept, key=lambda question: question["code"])[: subset["questions"]]

    assert slugs == ["ariel-university", "bar-ilan-university"]
    assert {row["code"] for row in academy["courses"]} > courses > set()
    assert {row["code"] for row in academy["degrees"]} > degrees > set()
    assert any(
        {dig(r, "course.code"), dig(r, "prerequisite.code")} <= courses
        for r in academy["course_prerequisites"]
    )
    assert any(
        dig(r, "degree.code") in degrees and dig(r, "course.code") in courses
        for r in academy["degree_courses"]
    )
    assert any(dig(row, "course.code") in courses for row in academy["modules"])
    assert len(questions) == 40
    assert all(part["answers"] for question in questions for part in question["parts"])


# ---- the models -----------------------------------------------------------------------------------------


def test_the_models_compile_for_postgresql_and_every_constraint_has_a_name(models):
    dialect = postgresql.dialect()

    statements = [str(CreateTable(table).compile(dialect=dialect)) for table in models.metadata.sorted_tables]

    for statement in statements:
        rules = re.findall(r"PRIMARY KEY|FOREIGN KEY|UNIQUE \(|CHECK \(", statement)
        assert statement.count("CONSTRAINT ") == len(rules)
    assert sum("JSONB" in statement for statement in statements) == 3


def test_every_foreign_key_leads_an_index_or_a_unique_key(models):
    tables = models.metadata.tables.values()

    leading = {
        next(iter(rule.columns)) for t in tables for rule in (*t.constraints, *t.indexes) if is_indexed(rule)
    }

    assert [str(c) for t in tables for c in t.columns if c.foreign_keys and c not in leading] == []
    assert all(
        str(CreateIndex(index).compile(dialect=postgresql.dialect())) for t in tables for index in t.indexes
    )


def is_indexed(rule: object) -> bool:
    return isinstance(rule, sa.Index | sa.UniqueConstraint | sa.PrimaryKeyConstraint)


def test_sqlite_makes_the_tables_and_minds_their_checks(models):
    engine = sa.create_engine("sqlite://")
    models.metadata.create_all(engine)
    ids = {name: uuid4() for name in ("id", "discipline_id", "name_id")}
    insert = models.degrees.insert().values(code="X", level="diploma", **ids)

    with engine.connect() as connection, pytest.raises(sa.exc.IntegrityError, match="ck_degrees_level"):
        connection.execute(insert)
    engine.dispose()


# ---- answers --------------------------------------------------------------------------------------------
# Each formula again, in terms other than those the files were made with where there are any.


def sin(degrees: float) -> float:
    return math.sin(degrees * math.pi / 180)


def cos(degrees: float) -> float:
    return math.cos(degrees * math.pi / 180)


def horner(coefficients: list[float], x: float) -> Fraction:
    value = Fraction(0)
    for coefficient in coefficients:
        value = value * Fraction(x) + Fraction(coefficient)
    return value


def derivative(coefficients: list[float]) -> list[float]:
    return [c * power for c, power in zip(coefficients, range(len(coefficients) - 1, 0, -1), strict=False)]


def integral(coefficients: list[float], lower: float, upper: float) -> Fraction:
    powers = range(len(coefficients), 0, -1)
    whole = [Fraction(c) / power for c, power in zip(coefficients, powers, strict=True)] + [0]
    return horner(whole, upper) - horner(whole, lower)


def determinant(matrix: list[list[float]]) -> float:
    """Sum over all permutations (Leibniz)."""
    total = 0.0
    for order in itertools.permutations(range(len(matrix))):
        swaps = sum(a > b for a, b in itertools.combinations(order, 2))
        total += (-1) ** swaps * math.prod(matrix[row][column] for row, column in enumerate(order))
    return total


def eigenvalues(matrix: list[list[float]]) -> list[float]:
    """Both eigenvalues of a symmetric 2x2 matrix: centre and radius of its Mohr circle."""
    (a, b), (_, d) = matrix
    radius = math.hypot((a - d) / 2, b)
    return [(a + d) / 2 - radius, (a + d) / 2 + radius]


def polynomial_text(coefficients: list[float]) -> str:
    terms = []
    for power, c in zip(range(len(coefficients) - 1, -1, -1), coefficients, strict=True):
        variable = {0: "", 1: "x"}.get(
            power, "x" + str(power).translate(str.maketrans("23456789", "²³⁴⁵⁶⁷⁸⁹"))
        )
        size = "" if abs(c) == 1 and power else f"{abs(c):g}"
        terms += [(" - " if c < 0 else " + ") + size + variable] if c else []
    return re.sub(r"^ - ", "-", "".join(terms).removeprefix(" + ")) or "0"


def complex_text(z: complex) -> str:
    size = "" if abs(z.imag) == 1 else f"{abs(z.imag):g}"
    return f"{z.real:g}{'+' if z.imag >= 0 else '-'}{size}i"


def trapezoids(coefficients: list[float], lower: float, upper: float, n: int) -> Fraction:
    points = [Fraction(lower) + Fraction(upper - lower) * i / n for i in range(n + 1)]
    values = [horner(coefficients, point) for point in points]
    return sum(
        (b - a) * (x + y) / 2
        for (a, b), (x, y) in zip(itertools.pairwise(points), itertools.pairwise(values), strict=True)
    )


def halvings(n: int) -> int:
    """How often `n` can be halved until nothing is left."""
    return 0 if n == 0 else 1 + halvings(n // 2)


def iterate(start: float, times: int, factor: float, shift: float) -> float:
    return start if times == 0 else iterate(start * factor + shift, times - 1, factor, shift)


def binomial(n: int, k: int, p: float) -> float:
    return math.prod((n - i) / (i + 1) for i in range(k)) * p**k * (1 - p) ** (n - k)


def dot(u: list[float], v: list[float]) -> float:
    return math.sumprod(u, v) if hasattr(math, "sumprod") else sum(a * b for a, b in zip(u, v, strict=True))


FORMULAS: dict[str, Any] = {
    # mechanics
    "final_velocity": lambda initial_speed, acceleration, time: initial_speed + acceleration * time,
    "displacement": lambda initial_speed, acceleration, time: (
        (2 * initial_speed + acceleration * time) / 2 * time
    ),
    "braking_distance": lambda speed, deceleration: (speed / 2) * (speed / deceleration),
    "braking_time": lambda speed, deceleration: speed / deceleration,
    "free_fall_time": lambda height, g: (height / (g / 2)) ** 0.5,
    "free_fall_speed": lambda height, g: g * (height / (g / 2)) ** 0.5,
    "projectile_range": lambda speed, angle_deg, g: speed * cos(angle_deg) * 2 * speed * sin(angle_deg) / g,
    "projectile_max_height": lambda speed, angle_deg, g: speed**2 * sin(angle_deg) ** 2 / g / 2,
    "horizontal_throw_range": lambda speed, height, g: speed * (height / (g / 2)) ** 0.5,
    "net_acceleration": lambda force, friction, mass: (force - friction) / mass,
    "distance_from_rest": lambda acceleration, time: (acceleration * time) / 2 * time,
    "incline_acceleration": lambda angle_deg, mu, g: g * sin(angle_deg) - mu * g * cos(angle_deg),
    "normal_force_on_incline": lambda mass, angle_deg, g: mass * g * cos(angle_deg),
    "atwood_acceleration": lambda m1, m2, g: g * (m1 - m2) / (m1 + m2),
    "atwood_tension": lambda m1, m2, g: m1 * (g - g * (m1 - m2) / (m1 + m2)),
    "kinetic_energy": lambda mass, speed: 0.5 * mass * speed * speed,
    "stopping_force": lambda mass, speed, distance: mass * (speed * speed / (2 * distance)),
    "potential_energy": lambda mass, g, height: mass * g * height,
    "spring_energy": lambda stiffness, extension: 0.5 * stiffness * extension * extension,
    "spring_launch_speed": lambda stiffness, extension, mass: (stiffness * extension**2 / mass) ** 0.5,
    "lift_power": lambda mass, g, height, time: mass * g * (height / time),
    "efficiency_percent": lambda useful, supplied: useful / supplied * 100,
    "momentum": lambda mass, speed: mass * speed,
    "inelastic_velocity": lambda m1, v1, m2, v2: (m1 * v1 + m2 * v2) / (m1 + m2),
    "inelastic_energy_loss": lambda m1, v1, m2, v2: (
        (m1 * v1**2 + m2 * v2**2) / 2 - (m1 * v1 + m2 * v2) ** 2 / (m1 + m2) / 2
    ),
    "elastic_target_velocity": lambda m1, v1, m2: 2 * (m1 * v1 / (m1 + m2)),
    "elastic_projectile_velocity": lambda m1, v1, m2: 2 * (m1 * v1 / (m1 + m2)) - v1,
    "rebound_momentum_change": lambda mass, speed_in, speed_out: mass * speed_out - -mass * speed_in,
    "average_force": lambda mass, speed_in, speed_out, time: (mass * speed_out - -mass * speed_in) / time,
    "centripetal_acceleration": lambda speed, radius: speed * (speed / radius),
    "centripetal_force": lambda mass, speed, radius: mass * speed * (speed / radius),
    "angular_velocity_from_rpm": lambda rpm: rpm * math.tau / 60,
    "rim_speed": lambda rpm, radius: math.tau * radius / (60 / rpm),
    "disk_inertia": lambda mass, radius: mass * radius * radius / 2,
    "disk_rotational_energy": lambda mass, radius, angular_velocity: (
        mass * (radius * angular_velocity) ** 2 / 4
    ),
    "surface_gravity": lambda G, mass, radius: G * mass / radius / radius,
    "escape_speed": lambda G, mass, radius: (2 * G * mass / radius) ** 0.5,
    "hydrostatic_pressure": lambda density, g, depth: density * g * depth,
    "pressure_force": lambda density, g, depth, area: area * depth * density * g,
    # waves and heat
    "spring_period": lambda mass, stiffness: math.tau / (stiffness / mass) ** 0.5,
    "oscillator_max_speed": lambda amplitude, mass, stiffness: amplitude * (stiffness / mass) ** 0.5,
    "pendulum_period": lambda length, g: math.tau / (g / length) ** 0.5,
    "pendulum_length": lambda period, g: g / (math.tau / period) ** 2,
    "wavelength": lambda speed, frequency: speed / frequency,
    "wave_period": lambda frequency: 1 / frequency,
    "string_wave_speed": lambda tension, linear_density: (tension / linear_density) ** 0.5,
    "travel_time": lambda length, tension, linear_density: length * (linear_density / tension) ** 0.5,
    "string_harmonic": lambda n, speed, length: speed / (2 * length / n),
    "closed_pipe_fundamental": lambda speed, length: speed / (4 * length),
    "open_pipe_fundamental": lambda speed, length: speed / (2 * length),
    "sound_intensity": lambda power, distance: power / math.pi / (2 * distance) ** 2,
    "sound_level": lambda intensity, reference: 10 * (math.log10(intensity) - math.log10(reference)),
    "doppler_approaching": lambda frequency, sound_speed, source_speed: (
        frequency / (1 - source_speed / sound_speed)
    ),
    "doppler_receding": lambda frequency, sound_speed, source_speed: (
        frequency / (1 + source_speed / sound_speed)
    ),
    "refraction_angle": lambda n1, n2, angle_deg: math.degrees(math.asin(n1 / n2 * sin(angle_deg))),
    "critical_angle": lambda n1, n2: math.degrees(math.asin(n2 / n1)),
    "image_distance": lambda focal_length, object_distance: (
        focal_length * object_distance / (object_distance - focal_length)
    ),
    "magnification": lambda focal_length, object_distance: -focal_length / (object_distance - focal_length),
    "fringe_spacing": lambda wavelength, screen_distance, slit_separation: (
        screen_distance * wavelength / slit_separation
    ),
    "grating_angle": lambda wavelength, lines_per_mm, order: math.degrees(
        math.asin(order * wavelength / (1e-3 / lines_per_mm))
    ),
    "heat_energy": lambda mass, specific_heat, temperature_change: mass * specific_heat * temperature_change,
    "heating_time": lambda mass, specific_heat, temperature_change, power: (
        mass * specific_heat * temperature_change / power
    ),
    "mixing_temperature": lambda m1, t1, m2, t2: t2 + (t1 - t2) * m1 / (m1 + m2),
    "gas_pressure": lambda moles, R, temperature, volume: moles * R * temperature / volume,
    "isochoric_pressure": lambda pressure, t1, t2: pressure / t1 * t2,
    "isobaric_work": lambda pressure, v1, v2: pressure * v2 - pressure * v1,
    "internal_energy_change": lambda heat, work: heat - work,
    "carnot_efficiency_percent": lambda cold, hot: (hot - cold) / hot * 100,
    "engine_work": lambda efficiency_percent, heat: heat * efficiency_percent / 100,
    "waste_heat": lambda efficiency_percent, heat: heat - heat * efficiency_percent / 100,
    # electricity and modern physics
    "coulomb_force": lambda k, q1, q2, distance: k * abs(q1) / distance * abs(q2) / distance,
    "point_charge_field": lambda k, charge, distance: k * charge / distance / distance,
    "force_on_charge": lambda field, charge: field * charge,
    "charge_acceleration": lambda field, charge, mass: field * (charge / mass),
    "capacitor_charge": lambda capacitance, voltage: capacitance * voltage,
    "capacitor_energy": lambda capacitance, voltage: capacitance * voltage * voltage / 2,
    "series_capacitance": lambda c1, c2: 1 / (1 / c1 + 1 / c2),
    "parallel_capacitance": lambda c1, c2: c1 + c2,
    "ohm_current": lambda voltage, resistance: voltage / resistance,
    "electric_power": lambda voltage, resistance: voltage * (voltage / resistance),
    "series_current": lambda voltage, r1, r2: voltage / (r1 + r2),
    "parallel_resistance": lambda r1, r2: 1 / (1 / r1 + 1 / r2),
    "total_parallel_current": lambda voltage, r1, r2: voltage * (1 / r1 + 1 / r2),
    "time_constant": lambda resistance, capacitance: resistance * capacitance,
    "discharge_voltage": lambda voltage, resistance, capacitance, time: (
        voltage / math.exp(time / resistance / capacitance)
    ),
    "wire_force": lambda field, current, length: current * length * field,
    "wire_force_at_angle": lambda field, current, length, angle_deg: (
        current * length * field * sin(angle_deg)
    ),
    "lorentz_force": lambda charge, speed, field: charge * speed * field,
    "cyclotron_radius": lambda mass, speed, charge, field: mass * speed**2 / (charge * speed * field),
    "induced_emf": lambda turns, field_change, area, time: turns * (field_change / time) * area,
    "induced_current": lambda turns, field_change, area, time, resistance: (
        turns * (field_change / time) * area / resistance
    ),
    "transformer_voltage": lambda primary_voltage, primary_turns, secondary_turns: (
        primary_voltage / (primary_turns / secondary_turns)
    ),
    "transformer_primary_current": lambda secondary_current, primary_turns, secondary_turns: (
        secondary_current / (primary_turns / secondary_turns)
    ),
    "photon_energy_ev": lambda h, c, wavelength, e: h * (c / wavelength) / e,
    "photoelectron_energy_ev": lambda photon_energy, work_function: photon_energy - work_function,
    "de_broglie_wavelength": lambda h, mass, speed: h / mass / speed,
    "de_broglie_from_voltage": lambda h, mass, e, voltage: h / mass / (2 * e * voltage / mass) ** 0.5,
    "remaining_amount": lambda amount, half_life, time: amount * math.exp(-math.log(2) / half_life * time),
    "time_to_fraction": lambda half_life, fraction: -half_life * math.log(fraction) / math.log(2),
    "decay_constant": lambda half_life: math.log(2) / half_life,
    "lorentz_factor": lambda beta: ((1 - beta) * (1 + beta)) ** -0.5,
    "dilated_time": lambda proper_time, beta: proper_time * ((1 - beta) * (1 + beta)) ** -0.5,
    "contracted_length": lambda length, beta: length * ((1 - beta) * (1 + beta)) ** 0.5,
    # calculus
    "difference_quotient_limit": lambda a: a + a,
    "sine_limit": lambda a, b: a / b,
    "derivative_text": lambda coefficients: polynomial_text(derivative(coefficients)),
    "derivative_at": lambda coefficients, x: horner(derivative(coefficients), x),
    "tangent_intercept": lambda coefficients, x: (
        horner(coefficients, x) - horner(derivative(coefficients), x) * x
    ),
    "chain_power_derivative": lambda a, b, n, x: a * n * math.pow(a * x + b, n - 1),
    "extremum_x": lambda a, b: b / (-2 * a),
    "extremum_value": lambda a, b, c: horner([a, b, c], Fraction(-b, 2 * a)),
    "max_rectangle_area": lambda perimeter: perimeter**2 / 16,
    "exponential_derivative_at": lambda a, k, x: k * a * math.e ** (k * x),
    "solve_exponential": lambda base, value: math.log(value, base),
    "definite_integral": integral,
    "average_value": lambda coefficients, lower, upper: (
        integral(coefficients, lower, upper) / (upper - lower)
    ),
    "intersection_x": lambda a: a,
    "area_line_parabola": lambda a: integral([-1, a, 0], 0, a),
    "exponential_integral": lambda k: k**-1,
    "truncated_exponential_integral": lambda k, upper: -math.expm1(-k * upper) / k,
    "geometric_sum": lambda first, ratio: sum(first * ratio**i for i in range(200)),
    "geometric_partial_sum": lambda first, ratio, n: sum(first * ratio**i for i in range(n)),
    # algebra
    "dot_product": dot,
    "vector_norm": lambda v: math.hypot(*v),
    "angle_between_deg": lambda u, v: math.degrees(math.acos(dot(u, v) / math.hypot(*u) / math.hypot(*v))),
    "matrix_product_entry": lambda left, right, row, column: dot(
        left[row - 1], [r[column - 1] for r in right]
    ),
    "trace": lambda matrix: sum(row[i] for i, row in enumerate(matrix)),
    "solve_2x2_x": lambda a, b, e, c, d, f: determinant([[e, b], [f, d]]) / determinant([[a, b], [c, d]]),
    "solve_2x2_y": lambda a, b, e, c, d, f: determinant([[a, e], [c, f]]) / determinant([[a, b], [c, d]]),
    "determinant_2x2": determinant,
    "determinant_3x3": determinant,
    "larger_eigenvalue": lambda matrix: eigenvalues(matrix)[1],
    "smaller_eigenvalue": lambda matrix: eigenvalues(matrix)[0],
    "modulus": lambda real, imaginary: abs(complex(real, imaginary)),
    "complex_product_text": lambda a, b, c, d: complex_text(complex(a, b) * complex(c, d)),
    "combinations": lambda n, k: sum(1 for _ in itertools.combinations(range(n), k)),
    "permutations": lambda n, k: math.prod(range(n - k + 1, n + 1)),
    "linear_recurrence_term": lambda first, factor, shift, n: iterate(first, n, factor, shift),
    "gcd": lambda a, b: max(d for d in range(1, min(a, b) + 1) if a % d == b % d == 0),
    "lcm": lambda a, b: next(m for m in itertools.count(a, a) if m % b == 0),
    "power_mod": lambda base, exponent, modulus: base**exponent % modulus,
    "inverse_mod": lambda a, modulus: next(b for b in range(modulus) if a * b % modulus == 1),
    # probability and numerical methods
    "total_probability": lambda prevalence, sensitivity, false_positive: (
        prevalence * sensitivity + (1 - prevalence) * false_positive
    ),
    "bayes_posterior": lambda prevalence, sensitivity, false_positive: (
        1 / (1 + (1 - prevalence) / prevalence * false_positive / sensitivity)
    ),
    "binomial_probability": binomial,
    "binomial_standard_deviation": lambda n, p: (
        sum((k - n * p) ** 2 * binomial(n, k, p) for k in range(n + 1)) ** 0.5
    ),
    "poisson_probability": lambda rate, k: math.exp(-rate) * math.prod(rate / i for i in range(1, k + 1)),
    "z_score": lambda value, mean, deviation: statistics.NormalDist(mean, deviation).zscore(value),
    "normal_above": lambda value, mean, deviation: 1 - statistics.NormalDist(mean, deviation).cdf(value),
    "growth_rate": lambda doubling_time: math.log(2) / doubling_time,
    "exponential_growth": lambda initial, doubling_time, time: (
        initial * math.exp(math.log(2) * time / doubling_time)
    ),
    "newton_step_sqrt": lambda value, guess: guess - (guess**2 - value) / (2 * guess),
    "trapezoid_rule": trapezoids,
    "sample_mean": lambda values: sum(values, Fraction(0)) / len(values),
    "sample_variance": lambda values: statistics.stdev(values) ** 2,
    # computer science
    "binary_to_decimal": lambda digits: sum(2**i for i, digit in enumerate(reversed(digits)) if digit == "1"),
    "decimal_to_binary_text": lambda number: format(number, "b"),
    "decimal_to_hexadecimal_text": lambda number: format(number, "X"),
    "twos_complement_text": lambda number, bits: format(-number % 2**bits, f"0{bits}b"),
    "binary_search_steps": halvings,
    "selection_sort_comparisons": lambda n: sum(range(n)),
    "full_tree_nodes": lambda height: sum(2**level for level in range(height + 1)),
    "full_tree_leaves": lambda height: 2**height,
    "load_factor": lambda keys, buckets: keys / buckets,
    "complete_graph_edges": lambda n: math.comb(n, 2),
    "spanning_tree_edges": lambda n: n - 1,
    "average_access_time": lambda hit_time, miss_percent, penalty: (
        hit_time * (1 - miss_percent / 100) + (hit_time + penalty) * miss_percent / 100
    ),
    "offset_bits": lambda page_bytes: page_bytes.bit_length() - 1,
    "page_count": lambda address_bits, page_bytes: 1 << address_bits - page_bytes.bit_length() + 1,
    "subnet_hosts": lambda prefix: (1 << 32 - prefix) - 2,
    "subnet_mask_last_octet": lambda prefix: 0xFFFFFFFF << 32 - prefix & 0xFF,
    "transmission_time": lambda bits, rate: bits / rate,
    "propagation_delay": lambda distance, speed: distance / speed,
    "precision": lambda tp, fp: tp / (tp + fp),
    "recall": lambda tp, fn: tp / (tp + fn),
    "f1_score": lambda tp, fp, fn: statistics.harmonic_mean([tp / (tp + fp), tp / (tp + fn)]),
    "amdahl_speedup": lambda parallel, processors: processors / (processors * (1 - parallel) + parallel),
    "amdahl_limit": lambda parallel: 1 / (1 - parallel),
    "entropy": lambda probabilities: sum(p * math.log2(1 / p) for p in probabilities),
    # economics
    "equilibrium_price": lambda a, b, c, d: (a - c) / (b + d),
    "equilibrium_quantity": lambda a, b, c, d: c + d * (a - c) / (b + d),
    "point_elasticity": lambda a, b, price: -b * price / (a - b * price),
    "revenue": lambda a, b, price: price * (a - b * price),
    "quantity_demanded_inverse": lambda a, b, price: (a - price) / b,
    "consumer_surplus": lambda a, b, price: integral([-b, a - price], 0, (a - price) / b),
    "gdp_expenditure": lambda consumption, investment, government, exports, imports: (
        consumption + investment + government + exports - imports
    ),
    "net_exports": lambda exports, imports: exports - imports,
    "inflation_percent": lambda old_index, new_index: (new_index - old_index) / old_index * 100,
    "real_wage": lambda wage, index: 100 * wage / index,
    "unemployment_percent": lambda unemployed, employed: unemployed / (employed + unemployed) * 100,
    "participation_percent": lambda unemployed, employed, population: (
        (employed + unemployed) / population * 100
    ),
    "spending_multiplier": lambda mpc: sum(mpc**i for i in range(500)),
    "output_change": lambda mpc, spending: spending * sum(mpc**i for i in range(500)),
    "marginal_cost": lambda linear, quadratic, quantity: horner(derivative([quadratic, linear, 0]), quantity),
    "average_cost": lambda fixed, linear, quadratic, quantity: (
        horner([quadratic, linear, fixed], quantity) / Fraction(quantity)
    ),
    "monopoly_quantity": lambda a, b, c: (a - c) / b / 2,
    "monopoly_price": lambda a, b, c: a - b * ((a - c) / b / 2),
    "money_multiplier": lambda reserve_ratio: 1 / reserve_ratio,
    "money_created": lambda deposit, reserve_ratio: deposit / reserve_ratio,
    "future_value": lambda amount, rate, years: iterate(amount, years, 1 + rate, 0),
    "present_value": lambda amount, rate, years: iterate(amount, years, 1 / (1 + rate), 0),
    "net_present_value": lambda outlay, flows, rate: sum(
        f * (1 + rate) ** -year for year, f in enumerate([-outlay, *flows])
    ),
    "regression_slope": lambda x, y: statistics.linear_regression(x, y).slope,
    "regression_intercept": lambda x, y: statistics.linear_regression(x, y).intercept,
}

SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def number(token: Any) -> Any:
    """Numbers in YAML are still text here."""
    if isinstance(token, list):
        return [number(each) for each in token]
    try:
        return float(token) if isinstance(token, str) else token
    except ValueError:
        return token


def shown(text: str) -> float:
    """Read the number in an answer's text: plain, with a power of ten, or in shekels."""
    match = re.match(r"(-?)₪?([\d,.]+)(?: \u00d7 10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?", text)
    assert match is not None, text
    sign, digits, power = match.groups()
    return float(f"{sign}{digits.replace(',', '')}e{(power or '0').translate(SUPERSCRIPTS)}")


def parts(academy: dict[str, list[Record]]) -> list[Record]:
    return academy["question_parts"]


def is_correct(answer: Record) -> bool:
    return answer["correct"] in (True, "true")


def test_every_part_has_one_correct_answer_among_at_least_three(academy):
    assert [p["prompt"] for p in parts(academy) if sum(map(is_correct, p["answers"])) != 1] == []
    assert [p["prompt"] for p in parts(academy) if len(p["answers"]) < 3] == []


def test_no_two_answers_of_a_part_are_equal(academy):
    for part in parts(academy):
        texts = [answer["text"] for answer in part["answers"]]
        values = [number(answer["value"]) for answer in part["answers"] if dig(answer, "value") is not None]

        assert len(set(texts)) == len(texts)
        assert all(not math.isclose(a, b, rel_tol=1e-6) for a, b in itertools.combinations(values, 2))


def test_every_correct_answer_follows_from_its_formula(academy):
    for part in parts(academy):
        raw = part["parameters"]
        parameters = {name: each if name == "digits" else number(each) for name, each in raw.items()}
        answer = next(filter(is_correct, part["answers"]))

        expected = FORMULAS[part["formula"]](**parameters)

        place = (part["parent"], part["prompt"])
        if isinstance(expected, str):
            assert (answer["text"], dig(answer, "value")) == (expected, None), place
        else:
            assert number(answer["value"]) == pytest.approx(
                float(expected), rel=1e-6, abs=1e-12 if expected == 0 else 0
            ), place


def test_every_formula_of_the_table_is_asked_for(academy):
    assert {part["formula"] for part in parts(academy)} == FORMULAS.keys()


def test_the_text_of_an_answer_is_its_value_rounded_and_its_unit(academy):
    for answer in academy["answers"]:
        value, unit = number(dig(answer, "value")), dig(answer, "unit")

        assert (value is None) == (unit is None)
        if value is not None:
            assert shown(answer["text"]) == pytest.approx(
                value, rel=6e-4, abs=0.0051 if unit == "₪" else 0
            ), answer
            assert unit in answer["text"]
