"""A project is found, understood, and every mistake in it is told at once with its line."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

import seedlab.plan
from seedlab.errors import ConfigurationError, GraphError
from seedlab.plan import choices
from seedlab.plan.project import KEYS, find_project, load_project
from seedlab.plan.stages import DUPLICATES, MODES, NAME
from tests.support.seeding import execute, seed

SCHEMA = json.loads(Path(seedlab.plan.__file__).with_name("seedlab.schema.json").read_text("utf-8"))
STAGE = '[[stages]]\nid = "a"\n[[stages.seeds]]\nname = "s"\nsource = "a.csv"\n'

ACADEMY = """\
[project]
name = "academy"
schema = "models.py:metadata"
transforms = "transforms.py"

[targets.staging]
url = "${STAGING_URL}"
environment = "test"

[environments.development]
[environments.test]
subset = { universities = 2, questions = 40 }
[environments.production]
select = ["tag:essential"]

[settings]
lock_timeout = "5s"

[[stages]]
id = "courses"
  [[stages.seeds]]
  name = "all-courses"
  source = ["03-courses/*.csv"]

[[stages]]
id = "modules"
name = "Learning modules"
dependencies = ["courses"]
conditions = ["empty:modules", "environment:development", "python:conditions.py:term_has_begun"]
parallel = false

  [[stages.seeds]]
  name = "physics-modules"
  source = "05-modules/physics/*.json*"
  priority = "critical"
  estimated_ms = 5000
  environments = ["development"]
  tags = ["physics"]
  mode = "sync"
  duplicates = "first"
  transform = "expand_physics"
  [stages.seeds.tables]
  modules        = { path = "$",               key = ["course.code", "position"] }
  questions      = { path = "questions",       key = ["code"], parent = "module" }
  question_parts = { path = "$.questions.parts", columns = { position = "$index", text = "body.en" } }
"""


def make(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    return root


@pytest.fixture
def academy(tmp_path: Path) -> Path:
    return make(
        tmp_path,
        {
            "seedlab.toml": ACADEMY,
            "models.py": "",
            "transforms.py": "",
            "conditions.py": "",
            "03-courses/courses.csv": "",
            "05-modules/physics/10-waves.json": "",
            "05-modules/physics/9-heat.json.gz": "",
            "05-modules/physics/2-light.json": "",
        },
    )


def mistakes(root: Path, toml: str, **files: str) -> list[str]:
    make(root, {"seedlab.toml": toml, "a.csv": "", "b.csv": "", **files})
    with pytest.raises(ConfigurationError) as raised:
        load_project(root)
    return [line.removeprefix(f"{root}/") for line in str(raised.value).split("\n")]


# ---- which project ----


def test_a_named_folder_is_the_project(tmp_path: Path) -> None:
    make(tmp_path, {"mine/a.csv": "", "seedlab.toml": ""})

    assert find_project(Path("mine"), tmp_path) == tmp_path / "mine"


def test_without_a_name_the_nearest_file_upward_is_the_project(tmp_path: Path) -> None:
    make(tmp_path, {"seedlab.toml": "", "in/seedlab.toml": "", "in/deep/er/a.csv": ""})

    assert find_project(None, tmp_path / "in/deep/er") == tmp_path / "in"
    assert find_project(None, tmp_path) == tmp_path


def test_pyproject_may_point_to_the_project(tmp_path: Path) -> None:
    make(tmp_path, {"pyproject.toml": '[tool.seedlab]\nproject = "data"\n', "data/a.csv": "", "src/x": ""})

    assert find_project(None, tmp_path / "src") == tmp_path / "data"
    assert find_project(Path(), tmp_path) == tmp_path / "data"
    assert load_project(tmp_path).root == tmp_path / "data"


def test_a_seedlab_toml_further_up_wins_over_a_nearer_pyproject(tmp_path: Path) -> None:
    make(
        tmp_path,
        {"seedlab.toml": "", "in/pyproject.toml": '[tool.seedlab]\nproject = "d"\n', "in/d/a.csv": ""},
    )

    assert find_project(None, tmp_path / "in") == tmp_path


def test_pyproject_may_hold_the_whole_configuration(tmp_path: Path) -> None:
    inner = STAGE.replace("[[stages", "[[tool.seedlab.stages")
    make(
        tmp_path,
        {
            "pyproject.toml": f'[project]\nname = "x"\n[tool.seedlab.project]\nname = "p"\n{inner}',
            "a.csv": "",
        },
    )

    project = load_project(find_project(None, tmp_path))

    assert (project.name, project.stages[0].id) == ("p", "a")
    assert project.stages[0].place is not None
    assert project.stages[0].place.line == 5
    assert project.config == tmp_path / "pyproject.toml"


def test_a_pointer_beside_other_keys_or_to_nothing_is_an_error(tmp_path: Path) -> None:
    make(tmp_path, {"pyproject.toml": '[tool.seedlab]\nproject = "data"\nsettings = {}\n'})

    with pytest.raises(ConfigurationError) as raised:
        find_project(None, tmp_path)

    assert f"{tmp_path}/pyproject.toml:2:tool.seedlab.project: expected a folder" in str(raised.value)
    assert "pyproject.toml:3:tool.seedlab.settings: the project is in 'data'" in str(raised.value)


def test_a_folder_without_configuration_must_be_named(tmp_path: Path) -> None:
    make(tmp_path, {"a.csv": "", "pyproject.toml": "[tool.other]\nseedlab = 1\n"})

    with pytest.raises(
        ConfigurationError, match=r"name the folder, as in seedlab seed DIR, or give it a seedlab.toml"
    ):
        find_project(None, tmp_path)


@pytest.mark.parametrize("file", ["seedlab.toml", "pyproject.toml"])
def test_a_configuration_without_stages_leaves_them_to_the_files(tmp_path: Path, file: str) -> None:
    head = "" if file == "seedlab.toml" else "tool.seedlab."
    told = f'[{head}project]\nname = "shop"\n[{head}defaults]\ncreated_at = "2024-01-01"\nnote = ""\n'
    project = load_project(make(tmp_path, {file: told, "02-b.csv": "", "01-a.csv": ""}))

    assert (project.name, project.stages) == ("shop", ())
    assert [(seed.name, seed.tables[0].table) for seed in project.seeds] == [("01-a", "a"), ("02-b", "b")]
    assert project.defaults == {"created_at": "2024-01-01", "note": ""}
    if file == "seedlab.toml":
        jsonschema.validate({"defaults": project.defaults}, SCHEMA)


@pytest.mark.parametrize("file", ["seedlab.toml", "pyproject.toml"])
@pytest.mark.parametrize(
    ("dependencies", "key", "told"),
    [
        ("[]", '["name"]', ":6:stages.b.dependencies: foreign key fk_b_a_id of table b refers to a,"),
        ('["a"]', '["nme"]', "key: table b has no column or relation 'nme'; did you mean 'name'?"),
    ],
    ids=["dependency", "key"],
)
def test_what_the_tables_show_to_be_wrong_is_told_with_its_place(
    tmp_path: Path, file: str, dependencies: str, key: str, told: str
) -> None:
    head = "" if file == "seedlab.toml" else "tool.seedlab."
    stage = f'id = "b"\ndependencies = {dependencies}\n[[stages.seeds]]\nname = "t"\nsource = "b.csv"\n'
    text = f"{STAGE}[[stages]]\n{stage}[stages.seeds.tables.b]\nkey = {key}\n"
    text = text.replace("[stages", f"[{head}stages")
    make(tmp_path, {file: text, "a.csv": "name\nx\n", "b.csv": "name,a.name\ny,x\n"})
    url = f"sqlite:///{tmp_path}/t.db"
    execute(
        url,
        "CREATE TABLE a (id INTEGER PRIMARY KEY, name text NOT NULL UNIQUE);"
        "CREATE TABLE b (id INTEGER PRIMARY KEY, name text NOT NULL UNIQUE, a_id int REFERENCES a);",
    )

    with pytest.raises(ConfigurationError) as raised:
        seed(tmp_path, url)

    assert raised.value.place is not None
    assert Path(raised.value.place.file) == tmp_path / file
    assert told in str(raised.value)


@pytest.mark.parametrize(("name", "found"), [("nowhere", "nothing"), ("a.csv", "a file")])
def test_a_name_that_is_no_folder_is_an_error(tmp_path: Path, name: str, found: str) -> None:
    make(tmp_path, {"a.csv": ""})

    with pytest.raises(ConfigurationError, match=f"found {found}"):
        find_project(Path(name), tmp_path)


# ---- what it says ----


def test_everything_the_file_says_is_understood(academy: Path) -> None:
    project = load_project(academy)
    courses, modules = project.stages
    (seed,) = modules.seeds

    assert (project.name, project.schema, project.transforms) == (
        "academy",
        "models.py:metadata",
        "transforms.py",
    )
    assert (project.targets["staging"].url, project.targets["staging"].environment) == (
        "${STAGING_URL}",
        "test",
    )
    assert project.environments["test"].subset == {"universities": 2, "questions": 40}
    assert project.environments["production"].protected  # by default, though the file does not say it again
    assert project.environments["production"].select == ("tag:essential",)
    assert project.settings == {"lock_timeout": "5s"}
    assert (courses.name, courses.parallel, courses.seeds[0].mode) == ("courses", True, "upsert")
    assert (modules.name, modules.parallel, modules.dependencies) == ("Learning modules", False, ("courses",))
    assert modules.conditions[2] == "python:conditions.py:term_has_begun"
    assert (seed.stage, seed.priority, seed.estimated_ms, seed.mode) == ("modules", "critical", 5000, "sync")
    assert (seed.environments, seed.tags, seed.duplicates) == (("development",), ("physics",), "first")
    assert seed.transform == "expand_physics"


def test_nested_tables_keep_path_key_parent_and_columns(academy: Path) -> None:
    modules, questions, parts = load_project(academy).stages[1].seeds[0].tables

    assert (modules.table, modules.path, modules.key) == ("modules", "$", ("course.code", "position"))
    assert (questions.path, questions.key, questions.parent) == ("questions", ("code",), "module")
    assert (parts.path, parts.key) == ("questions.parts", None)
    assert parts.columns == {"position": "$index", "text": "body.en"}
    line = next(n for n, text in enumerate(ACADEMY.split("\n"), start=1) if "question_parts" in text)
    assert parts.place is not None
    assert parts.place.line == line


def test_files_are_ordered_by_their_numbers(academy: Path) -> None:
    files = load_project(academy).stages[1].seeds[0].files

    assert [file.name.split("/")[-1] for file in files] == ["2-light.json", "9-heat.json.gz", "10-waves.json"]
    assert [file.compression for file in files] == [None, "gz", None]


def test_a_seed_fills_the_table_its_files_are_named_after(academy: Path) -> None:
    (spec,) = load_project(academy).stages[0].seeds[0].tables

    assert (spec.table, spec.path, spec.key) == ("courses", "$", None)


def test_files_of_several_names_need_a_table(tmp_path: Path) -> None:
    toml = STAGE.replace("a.csv", "*.csv")

    assert mistakes(tmp_path, toml) == [
        'seedlab.toml:5:stages[0].seeds[0].source: files of several names (a.csv, b.csv); say which table they fill: table = "NAME"'
    ]

    make(tmp_path, {"seedlab.toml": toml + 'table = "t"\n'})
    assert [spec.table for spec in load_project(tmp_path).stages[0].seeds[0].tables] == ["t"]


def test_three_environments_exist_without_being_said(tmp_path: Path) -> None:
    make(
        tmp_path,
        {
            "seedlab.toml": STAGE + "[environments.ci]\n[environments.production]\nprotected = false",
            "a.csv": "",
        },
    )

    environments = load_project(tmp_path).environments

    assert list(environments) == ["development", "test", "production", "ci"]
    assert not environments["production"].protected


# ---- what is wrong with it ----


def test_all_mistakes_of_a_file_are_told_at_once_in_its_order(tmp_path: Path) -> None:
    toml = """\
    [setings]
    [settings]
    lock_timeout = 10
    [[stages]]
    id = "a"
    dependencies = ["bb"]
    parallel = "no"
    [[stages.seeds]]
    name = "s"
    source = "a.csv"
    mode = "upset"
    [[stages]]
    id = "b"
    dependencies = ["a"]
    """

    found = mistakes(tmp_path, toml)

    assert found == [
        "seedlab.toml:1:setings: unknown key 'setings'; did you mean 'settings'?",
        'seedlab.toml:3:settings.lock_timeout: expected a duration like "10s", "500ms", "5min", or "0" for no limit, found 10',
        "seedlab.toml:6:stages[0].dependencies: unknown stage 'bb'; did you mean 'b'?",
        "seedlab.toml:7:stages[0].parallel: expected true or false, found a string ('no')",
        "seedlab.toml:11:stages[0].seeds[0].mode: expected one of insert, upsert, sync, found 'upset'; did you mean 'upsert'?",
        "seedlab.toml:12:stages[1]: stage 'b' has no seeds; add [[stages.seeds]]",
    ]


@pytest.mark.parametrize(
    ("addition", "expected"),
    [
        (
            'priority = "hgh"',
            "6:stages[0].seeds[0].priority: expected one of critical, high, medium, low, found 'hgh'",
        ),
        ('duplicates = "lst"', "did you mean 'last'?"),
        ("estimated_ms = -1", "expected at least 0, found -1"),
        ("estimated_ms = true", "expected an integer, found a boolean (true)"),
        ('environments = ["prodution"]', "unknown environment 'prodution'; did you mean 'production'?"),
        ('tags = "x"', "expected a list of strings"),
        ("tags = [1]", "expected strings only, found an integer (1) at position 1"),
        ('transform = "f"', 'add transforms = "FILE.py" to [project]'),
        ('table = "t"\ntables = { t = {} }', "6:stages[0].seeds[0].table: 'table' and 'tables' say the same"),
        ("tables = {}", "expected at least one table"),
        (
            "tables = { t = { pth = 'x' } }",
            "stages[0].seeds[0].tables.t.pth: unknown key 'pth'; did you mean 'path'?",
        ),
        ("tables = { t = { path = 'x..y' } }", "expected a dotted path like 'questions.parts', found 'x..y'"),
        ("tables = { t = { path = '$index' } }", "unknown path '$index'"),
        ("tables = { t = { columns = { p = '$idx' } } }", "column 'p': unknown path '$idx'"),
        ("tables = { t = { key = 'code' } }", "expected a list of strings"),
        ("tables = { t = { key = [] } }", "expected at least one column or relation"),
        ("tables = { t = 'x' }", "expected a table, found a string ('x')"),
        ("[targets.x]", "6:targets.x: 'url' is missing"),
        ('[targets.x]\nurl = "u"\nenvironment = "tst"', "8:targets.x.environment: unknown environment 'tst'"),
        ("[environments.test]\nsubset = { a = '2' }", "7:environments.test.subset.a: expected an integer"),
        ('[settings]\nisolation = "serial"', "did you mean 'serializable'?"),
        ('[settings]\ndisable = ["copies"]', "did you mean 'copy'?"),
        ("[settings]\nbatch_rows = 0", "expected an integer of at least 1, found 0"),
        ('[settings]\nworkers = "2"', "expected an integer of at least 0"),
        ('[project]\nschema = "models:metadata"', "expected FILE.py:NAME, found 'models:metadata'"),
        ('[project]\nschema = "model.py:metadata"', "there is no file model.py in the project"),
        ('[project]\ntransforms = "../t.py"', "../t.py lies outside the project"),
        ('[project]\ntransforms = "t\\u0000.py"', "expected a file's path, found 't\\x00.py'"),
        ("[stages]", "this is not TOML: "),
    ],
)
def test_a_mistake_is_told_with_what_was_expected(tmp_path: Path, addition: str, expected: str) -> None:
    (only,) = mistakes(tmp_path, STAGE + addition)

    assert expected in only


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("emty:modules", "did you mean 'empty'?"),
        ("environment:develop", "unknown environment 'develop'; did you mean 'development'?"),
        ("python:nowhere.py:f", "there is no file nowhere.py"),
    ],
)
def test_conditions_are_checked_with_the_file(tmp_path: Path, condition: str, expected: str) -> None:
    (only,) = mistakes(tmp_path, STAGE.replace('id = "a"', f'id = "a"\nconditions = ["{condition}"]'))

    assert only.startswith("seedlab.toml:3:stages[0].conditions: ")
    assert expected in only


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('"c*.csv"', "'c*.csv' matches no file"),
        ('"../a.csv"', "leads out of the project"),
        ('"/etc/*.csv"', "leads out of the project"),
        ('"./"', "is the project's folder itself"),
        ('"a.txt"', "matches a.txt, but seedlab reads .csv, .tsv,"),
        ("[]", "found an empty list"),
        ("3", "expected a string, found an integer (3)"),
        ('["a.csv", "zz.csv"]', "'zz.csv' matches no file"),
        (
            '"A1.csv"',
            "'A1.csv' matches no file; patterns begin at the project's folder; did you mean 'a.csv'?",
        ),
    ],
)
def test_a_source_must_find_data_files_of_the_project(tmp_path: Path, source: str, expected: str) -> None:
    found = mistakes(tmp_path, STAGE.replace('"a.csv"', source), **{"a.txt": ""})

    assert expected in found[0]
    assert found[0].startswith("seedlab.toml:5:stages[0].seeds[0].source: ")


def test_stages_and_seeds_have_names_of_their_own(tmp_path: Path) -> None:
    assert mistakes(tmp_path, STAGE + STAGE) == [
        "seedlab.toml:7:stages[1].id: stage 'a' is declared twice, first at line 1",
        "seedlab.toml:9:stages[1].seeds[0].name: seed 's' is declared twice, first at line 3",
    ]


def test_a_table_named_twice_is_told_with_its_line(tmp_path: Path) -> None:
    (only,) = mistakes(tmp_path, STAGE + "[stages.seeds.tables]\nt = {}\nt = {}\n")

    assert only.startswith("seedlab.toml:8: this is not TOML: cannot overwrite a value")


@pytest.mark.parametrize("name", ["a+", "tag:x", "a.b", "a,b", "ä"])
def test_names_leave_the_selectors_their_signs(tmp_path: Path, name: str) -> None:
    (only,) = mistakes(tmp_path, STAGE.replace('id = "a"', f'id = "{name}"'))

    assert f"expected letters, digits, - and _, found '{name}'" in only


def test_missing_names_are_told_at_the_table(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "[[stages]]\n[[stages.seeds]]\n") == [
        "seedlab.toml:1:stages[0]: 'id' is missing",
        "seedlab.toml:2:stages[0].seeds[0]: 'source' is missing",
        "seedlab.toml:2:stages[0].seeds[0]: 'name' is missing",
    ]


def test_a_circle_of_stages_is_printed_as_a_path(tmp_path: Path) -> None:
    stages = [
        f'[[stages]]\nid = "{one}"\ndependencies = ["{other}"]\n[[stages.seeds]]\nname = "{one}"\nsource = "a.csv"\n'
        for one, other in ("ab", "bc", "ca")
    ]
    make(tmp_path, {"seedlab.toml": "".join(stages), "a.csv": ""})

    with pytest.raises(
        GraphError, match=r"seedlab.toml:1:dependencies: .* (a → b → c → a|b → c → a → b|c → a → b → c)$"
    ):
        load_project(tmp_path)


def test_a_file_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    (tmp_path / "seedlab.toml").write_bytes(b'[project]\nname = "\xff"\n')

    with pytest.raises(ConfigurationError, match="expected UTF-8, found the byte 0xff at offset 18"):
        load_project(tmp_path)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    make(tmp_path, {"seedlab.toml": "\ufeff" + STAGE, "a.csv": ""})

    assert load_project(tmp_path).stages[0].id == "a"


# ---- the published schema ----


def test_the_schema_has_the_keys_that_are_understood() -> None:
    places = {"file": SCHEMA, **SCHEMA["$defs"]}
    places["settings"] = SCHEMA["$defs"]["settings"]

    assert {name: set(place["properties"]) for name, place in places.items()} == {
        name: set(keys) for name, keys in KEYS.items()
    }
    assert all(place["additionalProperties"] is False for place in places.values())


def test_the_schema_has_the_words_that_are_understood() -> None:
    seed, settings = SCHEMA["$defs"]["seed"]["properties"], SCHEMA["$defs"]["settings"]["properties"]

    assert tuple(seed["mode"]["enum"]) == MODES
    assert tuple(seed["duplicates"]["enum"]) == DUPLICATES
    assert tuple(settings["isolation"]["enum"]) == choices.ISOLATIONS
    assert tuple(settings["level"]["enum"]) == tuple(choices.LEVELS)
    assert tuple(settings["disable"]["items"]["enum"]) == choices.SWITCHES
    assert tuple(settings["ids"]["enum"]) == choices.IDS
    assert settings["lock_timeout"]["pattern"] == choices.DURATION
    assert seed["name"]["pattern"] == NAME


def test_the_schema_is_one_and_accepts_what_we_accept() -> None:
    import tomllib

    bundled = Path(__file__).parents[1] / "data" / "seedlab.toml"
    texts = [ACADEMY, *([bundled.read_text("utf-8")] if bundled.exists() else [])]

    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for text in texts:
        jsonschema.validate(tomllib.loads(text), SCHEMA, cls=jsonschema.Draft202012Validator)


def test_the_bundled_project_is_the_one_of_this_repository() -> None:
    repository = Path(__file__).parents[1]

    found = find_project(None, repository)

    assert found == repository / "data"
    assert load_project(found).name == "academy"


def test_the_schema_refuses_what_we_refuse() -> None:
    import tomllib

    for bad in (
        '[settings]\nlock_timeout = "10"',
        "[setings]",
        STAGE + 'table = "a"\ntables = { a = {} }',
        "[[stages]]",
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(tomllib.loads(bad), SCHEMA, cls=jsonschema.Draft202012Validator)
