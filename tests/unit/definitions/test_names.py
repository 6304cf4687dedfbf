"""Names, tags and owners."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Any

import pytest

from opgrid import DynamicOutput, In, NodeInvocation, Out, graph, job, op
from opgrid.contracts.structure import APPROVAL_TAG, APPROVAL_TIMEOUT_TAG
from opgrid.contracts.tags import READ, SET, tags_of
from opgrid.definitions.automation import RUN_KEY_TAG
from opgrid.definitions.chaining import UPSTREAM_RUN_TAG
from opgrid.definitions.names import RESERVED, check_mapping_key, check_name
from opgrid.definitions.partitions.base import PARTITION_RANGE_TAG, PARTITION_SET_TAG, PARTITION_TAG
from opgrid.definitions.schedule import SCHEDULE_TAG
from opgrid.definitions.sensor import SENSOR_TAG
from opgrid.errors import InvalidDefinitionError
from orchestrator.daemon.retries import NUMBER_TAG
from orchestrator.planner import routing
from orchestrator.storage.records import BACKFILL_TAG, LOCATION_TAG, ROOT_TAG

_PAGE = Path(__file__).parents[3] / "docs" / "reference" / "tags.md"


@pytest.mark.parametrize("name", ["a", "A_1", "1", "_", "x" * 200])
def test_good_names(name: str) -> None:
    assert check_name(name, "an op") == name


@pytest.mark.parametrize("name", ["", "a b", "a-b", "a.b", "ä", "a\n", "a[b]"])
def test_names_are_letters_digits_and_underscores(name: str) -> None:
    with pytest.raises(InvalidDefinitionError, match=r"ASCII letters \(a-z, A-Z\), digits and underscores"):
        check_name(name, "an op")


def test_a_bad_name_is_shown_with_a_good_one() -> None:
    with pytest.raises(InvalidDefinitionError, match=r"'my op' cannot be.*\(jobs.py:3\).*'my_op'"):
        check_name("my op", "an op", "jobs.py:3")


@pytest.mark.parametrize(("name", "near"), [("ünïcode", "unicode"), ("ﬁn", "fin"), ("naïve-é", "naive_e")])
def test_of_a_name_with_accents_the_letters_below_them_are_shown(name: str, near: str) -> None:
    for check in (lambda: check_name(name, "an op"), lambda: check_mapping_key(name)):
        with pytest.raises(InvalidDefinitionError, match=f"For example: '{near}'"):
            check()


@pytest.mark.parametrize("name", ["context", "config", "input", "output", "type", "int", "arg_dict", "class", "None"])
def test_reserved_words(name: str) -> None:
    assert name in RESERVED
    with pytest.raises(InvalidDefinitionError, match="reserved"):
        check_name(name, "an op")


def test_every_keyword_is_reserved() -> None:
    assert set(keyword.kwlist) <= RESERVED


def test_names_are_strings() -> None:
    with pytest.raises(InvalidDefinitionError, match="has to be a string"):
        check_name(5, "an op")


def test_a_name_is_as_long_as_every_database_takes_it() -> None:
    assert check_name("n" * 255, "a job") == "n" * 255
    with pytest.raises(InvalidDefinitionError, match=r"The name 'n{40}\.\.\.' of a job has 256 characters"):
        check_name("n" * 256, "a job")


def test_the_rule_holds_for_everything_that_has_a_name() -> None:
    def body() -> None: ...

    for make in (
        lambda: op(name="a-b")(body),
        lambda: op(out={"a-b": Out()})(body),
        lambda: op(ins={"a-b": In()})(lambda **_: None),
        lambda: graph(name="a-b")(body),
        lambda: job(name="a-b")(body),
        lambda: op(body).alias("a-b"),
        lambda: graph(body).to_job(name="a-b"),
        lambda: op(lambda dict: None),
    ):
        with pytest.raises(InvalidDefinitionError, match="cannot be the name"):
            make()


def test_mapping_keys_follow_the_rule_but_no_word_is_reserved() -> None:
    assert check_mapping_key("type") == "type"
    with pytest.raises(InvalidDefinitionError, match=r"'a.b' cannot be a mapping key.*'a_b'"):
        DynamicOutput(1, "a.b")
    key: Any = 3
    with pytest.raises(InvalidDefinitionError, match=r"has to be a string.*str\("):
        DynamicOutput(1, key)
    assert check_mapping_key("x" * 2000)
    with pytest.raises(
        InvalidDefinitionError, match=r"mapping key 'x+\.\.\.' of .* has 2001 characters, and may have 2000"
    ):
        DynamicOutput(1, "x" * 2001)


# ---- tags ----------------------------------------------------------------------------------------------------


def test_tag_values_that_are_no_strings_become_json() -> None:
    assert tags_of({"a": "x", "b": 3, "c": {"k": [1, None]}, "d": True}, "op 'f'") == {
        "a": "x",
        "b": "3",
        "c": '{"k": [1, null]}',
        "d": "true",
    }


@pytest.mark.parametrize("value", [object(), {1, 2}, {1: 2}, b"x"])
def test_tag_values_that_json_cannot_hold_are_refused(value: object) -> None:
    with pytest.raises(InvalidDefinitionError, match="The tag 'k' of op 'f'"):
        tags_of({"k": value}, "op 'f'")


def test_a_long_tag_key_is_only_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match="at most 63"):
        assert tags_of({"k" * 64: "v"}, "op 'f'") == {"k" * 64: "v"}


@pytest.mark.parametrize("key", ["a", "opgrid/priority", "a.b-c/d_e", "k" * 63])
def test_good_tag_keys_do_not_warn(key: str) -> None:
    assert tags_of({key: "v"}, "op 'f'") == {key: "v"}


def test_a_misspelt_tag_of_ours_is_refused_wherever_a_definition_has_it() -> None:
    def body() -> None: ...

    tags = {"opgrid/time_out": "1"}
    for make in (
        lambda: op(tags=tags)(body),
        lambda: op(body).tag(tags),
        lambda: NodeInvocation("body", tags=tags),
        lambda: graph(tags=tags)(body),
        lambda: job(tags=tags)(body),
        lambda: job(run_tags=tags)(body),
    ):
        with pytest.raises(InvalidDefinitionError, match=r"'opgrid/time_out' of .*Did you mean 'opgrid/timeout'\?"):
            make()
    with pytest.raises(InvalidDefinitionError, match=r"'opgrid/x'.* There are: 'opgrid/approval'"):
        op(tags={"opgrid/x": "1"})(body)


def test_tags_that_runs_have_may_be_misspelt() -> None:
    @job(tags={"opgrid/run_key": "k", "opgridlike/x": "y"})
    def j() -> None: ...

    assert "opgrid/time_out" in j.execute_in_process(tags={"opgrid/time_out": "1"}).run.tags


def test_every_tag_that_opgrid_has_may_be_given() -> None:
    of_constants = {
        RUN_KEY_TAG,
        SCHEDULE_TAG,
        SENSOR_TAG,
        UPSTREAM_RUN_TAG,
        PARTITION_TAG,
        PARTITION_RANGE_TAG,
        PARTITION_SET_TAG,
        APPROVAL_TAG,
        APPROVAL_TIMEOUT_TAG,
        ROOT_TAG,
        BACKFILL_TAG,
        LOCATION_TAG,
        NUMBER_TAG,
    }
    of_routing = {tag for value in vars(routing).values() if isinstance(value, tuple) for tag in value}
    documented = set(re.findall(r"^\| `(opgrid/\w+)`", _PAGE.read_text(), re.MULTILINE))
    assert documented == READ
    assert {tag for tag in of_constants | of_routing if tag.startswith("opgrid/")} <= READ | SET


def test_tag_keys_are_strings() -> None:
    tags: Any = {3: "x"}
    with pytest.raises(InvalidDefinitionError, match="keys have to be strings"):
        tags_of(tags, "op 'f'")


# ---- owners ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", ["nobody", "a@b", "team:", "", 3])
def test_owners_are_addresses_or_teams(owner: Any) -> None:
    with pytest.raises(InvalidDefinitionError, match="email address"):

        @job(owners=[owner])
        def j() -> None: ...


def test_good_owners() -> None:
    @job(owners=["ana@example.com", "team:data-eng"])
    def j() -> None: ...

    assert j.owners == ("ana@example.com", "team:data-eng")


def test_owners_are_a_list() -> None:
    owners: Any = "ana@example.com"
    with pytest.raises(InvalidDefinitionError, match="have to be a list"):

        @job(owners=owners)
        def j() -> None: ...
