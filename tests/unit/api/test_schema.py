"""The schema as a whole: what other clients rely on, its limits, and questions that nobody foresaw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLUnionType,
    parse,
    print_ast,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.api.graphql.limits import ALIASES, DEPTH
from orchestrator.api.graphql.schema import FILE, schema, text
from tests.unit.api.conftest import PLACE, Api
from tests.unit.api.test_runs import drive

TYPES = schema._schema.type_map


def test_the_published_schema_is_current() -> None:
    assert FILE.read_text() == text(), "run: make docs"


@pytest.mark.parametrize(
    ("union", "members"),
    [
        (
            "LaunchRunResult",
            "LaunchRunSuccess InvalidStepError InvalidOutputError RunConfigValidationInvalid PipelineNotFoundError "
            "RunConflict UnauthorizedError PythonError InvalidSubsetError PresetNotFoundError "
            "ConflictingExecutionParamsError NoModeProvidedError",
        ),
        (
            "TerminateRunResult",
            "TerminateRunSuccess TerminateRunFailure RunNotFoundError UnauthorizedError PythonError",
        ),
    ],
)
def test_results_are_the_unions_that_clients_branch_on(union: str, members: str) -> None:
    found = TYPES[union]
    assert isinstance(found, GraphQLUnionType)
    assert {each.name for each in found.types} == set(members.split())


@pytest.mark.parametrize(
    ("type", "interface"),
    [
        ("LaunchRunSuccess", "LaunchPipelineRunSuccess"),
        ("RunConflict", "PipelineRunConflict"),
        ("RunConfigValidationInvalid", "PipelineConfigValidationInvalid"),
        ("Run", "PipelineRun"),
        ("RunNotFoundError", "PipelineRunNotFoundError"),
        ("TerminateRunSuccess", "TerminatePipelineExecutionSuccess"),
        ("Job", "Pipeline"),
    ],
)
def test_older_clients_find_the_interfaces_that_they_spread_on(type: str, interface: str) -> None:
    found = TYPES[type]
    assert isinstance(found, GraphQLObjectType)
    assert interface in {each.name for each in found.interfaces}


@pytest.mark.parametrize(
    "file", sorted(Path(__file__).with_name("client_queries").glob("*.graphql")), ids=lambda f: f.stem
)
def test_the_operations_of_dagsters_client_fit(file: Path) -> None:
    from graphql import validate

    assert validate(schema._schema, parse(file.read_text())) == []


def test_a_query_that_asks_too_much_is_refused(api: Api) -> None:
    nested = "error " + "{ cause " * 20 + "{ message }" + " }" * 20
    query = (
        '{ logsForRun(runId: "x") { ... on EventConnection { events { ... on MessageEvent { ' + nested + " } } } } }"
    )
    (error,) = api.raw(query).errors
    assert "depth" in error.message.lower()
    many = "{" + " ".join(f"a{each}: version" for each in range(ALIASES + 1)) + "}"
    assert "aliases" in api.raw(many).errors[0].message
    long = "{" + " version" * 5000 + "}"
    assert "token" in api.raw(long).errors[0].message.lower()


def causes(depth: int) -> str:
    """A question as deep as that, with the last two thirds of it in fragments."""
    inner = "message"
    for _ in range(depth - 5):
        inner = f"cause {{ {inner} }}"
    return (
        "{ logsForRun(runId: 1) { ... on EventConnection { events { ...failures } } } }"
        " fragment failures on MessageEvent { ... on ExecutionStepFailureEvent { error { cause { ...reason } } } }"
        f" fragment reason on PythonError {{ cause {{ {inner} }} }}"
    )


def test_what_stands_in_fragments_counts_as_if_it_stood_there(api: Api) -> None:
    assert not api.raw(causes(DEPTH)).errors
    (error,) = api.raw(causes(DEPTH + 1)).errors
    assert "depth" in error.message
    half = " ".join(f"a{each}: version" for each in range(ALIASES // 2))
    assert not api.raw(f"{{ ...half instance {{ id }} ...half }} fragment half on Query {{ {half} }}").errors
    (error,) = api.raw(f"{{ ...half b: version ...half }} fragment half on Query {{ {half} }}").errors
    assert "aliases" in error.message


@pytest.mark.parametrize("inner", ["count", "results { id: runId }", "...nowhere", "...f0"])
def test_fragments_that_multiply_are_looked_into_once(api: Api, inner: str) -> None:
    last = 60
    fragments = [f"fragment f{each} on Runs {{ ...f{each + 1} ...f{each + 1} }}" for each in range(last)]
    query = f"{{ runsOrError {{ ...f0 }} }} {' '.join(fragments)} fragment f{last} on Runs {{ {inner} }}"
    result = api.raw(query)  # would take centuries
    assert bool(result.errors) == (inner != "count")


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        ("RunsFilter", {"statuses": ["GONE"]}, "GONE"),
        ("RunsFilter", {"job": "adding"}, "job"),
        ("RunsFilter!", None, "RunsFilter!"),
        ("Int", "5", "Int cannot represent"),
        ("Int", 2**31, "Int cannot represent"),
    ],
)
def test_what_is_wrong_with_variables_is_told(api: Api, kind: str, given: Any, told: str) -> None:
    argument = "limit" if kind == "Int" else "filter"
    result = api.raw(f"query ($given: {kind}) {{ runsOrError({argument}: $given) {{ __typename }} }}", given=given)
    assert "$given" in result.errors[0].message and told in result.errors[0].message


def test_what_the_database_does_not_take_is_told(any_api: Api) -> None:
    result = any_api.raw("query ($job: String) { runsOrError(filter: {jobName: $job}) { __typename } }", job="a\0b")
    assert not result.errors or "NUL" in result.errors[0].message


def test_what_breaks_inside_is_logged_and_not_told(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    api.store.close()
    del api.backend.store  # whoever asks now meets an AttributeError
    (error,) = api.raw("{ runTagKeysOrError { __typename } }").errors
    assert error.message == "The server could not answer this; see its log."
    assert "has no attribute 'store'" in caplog.text


@pytest.mark.parametrize(
    "query", ["{ version", "{ nothing }", "{" + " version" * 5000 + "}", "query ($n: Int!) { runsOrError(limit: $n) }"]
)
def test_what_is_wrong_with_a_question_is_told_and_not_logged(
    api: Api, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert api.raw(query).errors
    assert caplog.text == ""


# ---- questions that nobody foresaw -----------------------------------------------------------------------------------

WORDS = st.sampled_from(
    ["", "adding", "daily", PLACE, "x", "2026-01-03", "é\u202e<b>", "a" * 300, "-1", "0", "../..", "'; --"]
)


def value(draw: Any, kind: Any, depth: int = 0) -> Any:
    if isinstance(kind, GraphQLNonNull):
        return value(draw, kind.of_type, depth)
    if depth > 3 or draw(st.integers(0, 5)) == 0:
        return None
    if isinstance(kind, GraphQLList):
        return [
            each
            for each in (value(draw, kind.of_type, depth + 1) for _ in range(draw(st.integers(0, 2))))
            if each is not None
        ]
    if isinstance(kind, GraphQLInputObjectType):
        found = {name: value(draw, field.type, depth + 1) for name, field in kind.fields.items()}
        return {
            name: each
            for name, each in found.items()
            if each is not None or isinstance(kind.fields[name].type, GraphQLNonNull)
        }
    if isinstance(kind, GraphQLEnumType):
        return draw(st.sampled_from(sorted(kind.values)))
    assert isinstance(kind, GraphQLScalarType)
    return draw(
        {
            "Int": st.integers(-(2**31), 2**31 - 1),
            "Float": st.floats(-1e12, 1e12),
            "Boolean": st.booleans(),
        }.get(kind.name, WORDS)
    )


def selection(draw: Any, kind: Any, depth: int = 0) -> str:
    while isinstance(kind, GraphQLNonNull | GraphQLList):
        kind = kind.of_type
    if isinstance(kind, GraphQLScalarType | GraphQLEnumType):
        return ""
    if isinstance(kind, GraphQLUnionType):
        some = draw(
            st.lists(st.sampled_from(list(kind.types)), min_size=1, max_size=2, unique_by=lambda each: each.name)
        )
        return "{ __typename " + " ".join(f"... on {each.name} {selection(draw, each, depth)}" for each in some) + " }"
    assert isinstance(kind, GraphQLObjectType | GraphQLInterfaceType)
    parts = ["__typename"]
    names = sorted(kind.fields)
    for name in draw(st.lists(st.sampled_from(names), max_size=4, unique=True)):
        field = kind.fields[name]
        if any(isinstance(each.type, GraphQLNonNull) for each in field.args.values()):
            continue
        inner = selection(draw, field.type, depth + 1) if depth < 4 else None
        if inner is not None:
            parts.append(f"f{len(parts)}_{depth}: {name} {inner}")
    return "{ " + " ".join(parts) + " }"


@st.composite
def questions(draw: Any) -> tuple[str, dict[str, Any]]:
    """A query or mutation that fits the schema, with some arguments."""
    root, word = draw(
        st.sampled_from([(schema._schema.query_type, "query"), (schema._schema.mutation_type, "mutation")])
    )
    name = draw(st.sampled_from(sorted(root.fields)))
    field = root.fields[name]
    variables = {key: value(draw, arg.type) for key, arg in field.args.items()}
    variables = {
        key: "" if each is None and isinstance(field.args[key].type, GraphQLNonNull) else each
        for key, each in variables.items()
    }
    if not field.args:
        return f"{word} {{ {name} {selection(draw, field.type)} }}", {}
    declared = ", ".join(f"${key}: {arg.type}" for key, arg in field.args.items())
    passed = ", ".join(f"{key}: ${key}" for key in field.args)
    return f"{word} ({declared}) {{ {name}({passed}) {selection(draw, field.type)} }}", variables


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(questions())
def test_no_question_that_fits_breaks_the_server(api: Api, asked: tuple[str, dict[str, Any]]) -> None:
    query, variables = asked
    if not api.store.count():
        drive(api, api.launch(executionMetadata={"tags": [{"key": "x", "value": "0"}]}))
    result = api.raw(query, **variables)
    for error in result.errors or ():
        assert error.original_error is None or "Variable" in error.message, (print_ast(parse(query)), variables, error)
