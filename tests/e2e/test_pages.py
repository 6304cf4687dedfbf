"""What people do on the pages, in a real browser, against real workers."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from benchmarks.web import STEPS, store_wide
from tests.e2e.conftest import AXE, CODE
from tests.e2e.shop import LONG
from tests.integration.service import Service
from tests.integration.site import Site, start

pytestmark = [pytest.mark.celery, pytest.mark.slow]
PLACE = f"locations/{CODE.name}"


def status(page: Any, text: str, seconds: int = 40) -> None:
    """The run that is shown comes to this status."""
    expect(page.locator("main .status").first).to_have_text(text, timeout=seconds * 1000)


def write(page: Any, text: str) -> None:
    """Into the editor, in the place of all that is there."""
    editor = page.get_by_role("textbox", name="Run config as YAML")
    editor.click()
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    editor.fill(text)


def run_id_of(page: Any) -> str:
    page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}"))
    return str(re.search(r"/runs/([0-9a-f-]{36})", page.url)[1])  # type: ignore[index]


def test_launch_fail_and_run_again_from_the_failure_with_another_config(page: Any, site: Site) -> None:
    page.goto(f"{PLACE}/jobs/shipping/launchpad")
    write(page, "ops:\n  packing:\n    ops:\n      pack:\n        config:\n          fial: true")
    expect(page.get_by_label("Check of the config")).to_contain_text("fial")
    expect(page.locator(".cm-lint-marker-error")).to_have_count(1)
    expect(page.get_by_role("button", name="Launch run")).to_be_disabled()
    write(page, "ops:\n  packing:\n    ops:\n      pack:\n        config:\n          fail: true")
    expect(page.get_by_label("Check of the config")).to_contain_text("The server takes this config.")
    page.get_by_role("button", name="Launch run").click()
    first = run_id_of(page)
    status(page, "Failure")
    chart = page.get_by_role("region", name="Gantt chart")
    chart.get_by_role("button", name="packing.pack × 4").click()
    chart.get_by_role("button", name="Failure packing.pack[n2]").click()
    panel = page.get_by_role("complementary", name="Step packing.pack[n2]")
    expect(panel).to_contain_text("The box is too small.")
    expect(panel.get_by_role("link", name="in Flower")).to_have_attribute(
        "href", re.compile(rf"^http://127\.0\.0\.1:5555/tasks\?worker=.+%20{first[:8]}$")
    )
    page.get_by_role("button", name="Re-execute").click()
    page.get_by_role("menuitem", name="With changes…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("radio", name="From failure")).to_be_checked()
    write(page, "ops:\n  packing:\n    ops:\n      pack:\n        config:\n          fail: false")
    expect(dialog.get_by_label("Check of the config")).to_contain_text("The server takes this config.")
    dialog.get_by_role("button", name="Launch", exact=True).click()
    page.wait_for_url(lambda url: "/runs/" in url and first not in url)
    second = run_id_of(page)
    status(page, "Success")
    query = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { parentRunId timeline } } }"
    run = site.data(query, {"id": second})["runOrError"]
    assert run["parentRunId"] == first
    ran = {step["key"] for step in run["timeline"]["steps"] if any(span[2] for span in step["spans"])}
    assert ran == {"packing.pack[n2]", "ship"}


def test_watch_it_live_and_cancel_it(page: Any, site: Site) -> None:
    run_id = site.launch("slow")
    page.goto(f"runs/{run_id}")
    status(page, "Started")
    expect(page.get_by_role("button", name="Running slowly")).to_be_visible()
    page.goto("workers")
    expect(page.get_by_role("link", name="slowly")).to_be_visible()
    (worker,) = site.data("{ fleet { workers { codeVersions outdated } } }")["fleet"]["workers"]
    expect(page.get_by_text(worker["codeVersions"][0])).to_be_visible()
    assert worker["outdated"] == []
    page.goto(f"runs/{run_id}")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    status(page, "Canceled")


def test_what_is_printed_is_found_behind_what_is_logged_and_followed(page: Any, site: Site) -> None:
    run_id = site.launch("stocktaking")
    page.goto(f"runs/{run_id}?tab=output")
    output = page.get_by_role("region", name="Output")
    expect(output.get_by_role("region", name="Lines")).to_contain_text("printed 1199")
    expect(output).to_contain_text("1200")
    expect(output).not_to_contain_text("so far")
    below = "lines => lines.scrollHeight - lines.scrollTop - lines.clientHeight"
    assert output.get_by_role("region", name="Lines").evaluate(below) < 5
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    status(page, "Canceled")
    page.reload()
    lines = page.get_by_role("region", name="Output").get_by_role("region", name="Lines")
    expect(lines).to_contain_text("printed 399")
    expect(lines).not_to_contain_text("printed 900")
    lines.evaluate("lines => { lines.scrollTop = lines.scrollHeight }")
    expect(lines).to_contain_text("printed 899")


def test_a_tag_of_several_words_leads_to_its_runs(page: Any, site: Site) -> None:
    told = 'two words, "quoted"'
    run_id = site.launch("counting", partitionKey="2026-01-02",
                         executionMetadata={"tags": [{"key": "note", "value": told}]})  # fmt: skip
    page.goto(f"runs/{run_id}")
    page.get_by_role("link", name=f"note={told}").click()
    page.wait_for_url(re.compile(r"/runs\?q="))
    expect(page.get_by_role("link", name=run_id[:8])).to_be_visible()
    expect(page.locator("main tbody tr")).to_have_count(1)


def test_a_run_is_not_called_empty_before_its_events_are_there(page: Any, site: Site, service: Service) -> None:
    run_id = site.launch("counting", partitionKey="2026-01-03")
    service.ended(run_id)

    def hold(route: Any) -> None:
        if not re.search("query Run(Logs|Timeline)", route.request.post_data):
            route.continue_()

    page.route("**/graphql", hold)
    page.goto(f"runs/{run_id}")
    for name in ("Steps", "Events"):
        expect(page.get_by_role("region", name=name)).to_contain_text("Loading")
        expect(page.get_by_role("region", name=name)).not_to_contain_text(re.compile("no such|pending"))
    page.unroute("**/graphql", hold)  # lets go what is held
    expect(page.get_by_role("button", name="RunSuccess")).to_be_visible()
    expect(page.get_by_role("button", name="1 success")).to_be_visible()


def test_a_narrow_axis_has_fewer_labels(page: Any, site: Site, service: Service) -> None:
    run_id = site.launch("shipping")  # takes longer than four labels of a millisecond
    service.ended(run_id)
    page.goto(f"runs/{run_id}")
    labels = page.locator(".axis .ticks span")
    expect(labels.nth(3)).to_be_visible()  # of a chart that is 870 pixels wide
    page.set_viewport_size({"width": 400, "height": 860})
    expect(labels.nth(3)).to_have_count(0)
    expect(labels.first).to_be_visible()


_NONE_IS_CUT_OFF = """() => {
  const end = document.querySelector(".axis .ticks").getBoundingClientRect().right;
  const ends = (label) => Math.max(...Array.from(label.childNodes, (text) => {
    const letters = document.createRange();
    letters.selectNode(text);
    return letters.getBoundingClientRect().right;
  }));
  return Array.from(document.querySelectorAll(".axis .ticks span")).every((label) => ends(label) <= end);
}"""


def test_no_label_of_an_axis_is_cut_off(page: Any, site: Site, service: Service) -> None:
    run_id = site.launch("shipping")
    service.ended(run_id)
    page.goto(f"runs/{run_id}")
    expect(page.locator(".axis .ticks span").nth(3)).to_be_visible()
    for width in range(400, 1400, 50):
        page.set_viewport_size({"width": width, "height": 860})
        page.wait_for_function(_NONE_IS_CUT_OFF)


def test_what_never_ran_is_not_called_pending(page: Any, some_run: str) -> None:
    page.goto(f"runs/{some_run}")
    steps = page.get_by_role("region", name="Steps")
    only = steps.get_by_role("button", name="1 not run")
    only.click()
    expect(steps.locator(".gantt-name")).to_have_count(1)
    steps.get_by_role("button", name="ship").click()
    expect(page.get_by_role("complementary", name="Step ship")).to_contain_text("Not run")
    steps.get_by_text("Graph", exact=True).click()
    expect(steps.get_by_label("ship: Not run")).to_be_visible()
    expect(page.get_by_text("pending")).to_have_count(0)


def test_what_is_chosen_can_be_let_go_of_when_there_is_no_more_of_it(page: Any, site: Site, service: Service) -> None:
    run_id = site.launch("slow")
    page.goto(f"runs/{run_id}")
    steps = page.get_by_role("region", name="Steps")
    steps.get_by_role("button", name="1 running").click()
    site.data("mutation ($id: String!) { terminateRun(runId: $id) { __typename } }", {"id": run_id})
    service.ended(run_id)
    steps.get_by_role("button", name="0 running").click()
    expect(steps.get_by_role("button", name="1 canceled")).to_be_visible()
    expect(steps.locator(".gantt-name")).to_have_count(1)
    expect(steps.get_by_role("button", name="running")).to_have_count(0)


def test_a_long_key_leaves_room_for_its_value(page: Any, site: Site, service: Service) -> None:
    run_id = site.launch("labels")
    service.ended(run_id)
    page.goto(f"runs/{run_id}?step=say")
    panel = page.get_by_role("complementary", name="Step say")
    value = panel.get_by_text("its value")
    expect(value).to_be_visible()
    seen, room = value.bounding_box(), panel.bounding_box()
    assert seen["x"] + seen["width"] <= room["x"] + room["width"]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (f"{PLACE}/jobs/counting/nope", "There is no such page."),
        (f"{PLACE}/jobs/shipping/partitions", "This job has no partitions."),
        ("deployment/nope", "There is no such page."),
    ],
)
def test_tabs_that_are_not_there_are_told(page: Any, path: str, told: str) -> None:
    page.goto(path)
    expect(page.get_by_text(told)).to_be_visible()


def test_approve_a_step_that_waits(page: Any, site: Site) -> None:
    run_id = site.launch("releasing")
    page.goto(f"runs/{run_id}")
    waits = page.get_by_role("region", name="Approval of sign_off")
    expect(waits).to_contain_text("Are the boxes good?", timeout=20_000)
    page.goto("")
    expect(page.get_by_role("cell", name="Are the boxes good?")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Question")).to_be_visible()
    page.goto(f"runs/{run_id}")
    page.set_viewport_size({"width": 375, "height": 800})
    question = waits.get_by_text("Are the boxes good?")
    expect(question).to_be_visible()
    assert question.bounding_box()["width"] > 200
    waits.get_by_role("textbox", name="Note").fill("looked at them")
    waits.get_by_role("button", name="Approve").click()
    status(page, "Success")
    expect(page.get_by_text("local approved it. looked at them")).to_be_visible()
    page.goto("deployment/audit")
    expect(page.get_by_role("cell", name=f"{run_id} sign_off: approved")).to_be_visible()


def test_a_backfill_of_some_partitions(page: Any, site: Site) -> None:
    page.goto(f"{PLACE}/jobs/counting/partitions")
    page.get_by_role("button", name=re.compile("2026-01-02")).click()
    page.get_by_role("button", name=re.compile("2026-01-05")).click(modifiers=["Shift"])
    expect(page.locator(".cell[aria-pressed=true]")).to_have_count(4)
    page.get_by_label("Title").fill("four days")
    page.get_by_role("button", name="Launch backfill").click()
    page.wait_for_url(re.compile("/backfills/"))
    expect(page.locator("main .status").first).to_have_text("Success", timeout=60_000)
    expect(page.locator(".cell.ok")).to_have_count(4)
    page.goto(f"{PLACE}/jobs/counting/partitions")
    expect(page.locator(".cell.ok")).to_have_count(4)


def test_a_schedule_and_a_sensor_are_switched_and_tried_out(page: Any) -> None:
    page.goto("automation")
    switch = page.get_by_role("switch", name="nightly runs")
    expect(switch).not_to_be_checked()
    expect(switch).to_be_enabled()
    page.locator("label", has=switch).or_(switch).first.click(force=True)
    expect(switch).to_be_checked()
    page.reload()
    expect(switch).to_be_checked()
    page.get_by_role("link", name="nightly").click()
    page.get_by_role("button", name="Dry run").click()
    expect(page.get_by_role("dialog")).to_contain_text("launch shipping")
    page.keyboard.press("Escape")
    page.goto(f"{PLACE}/sensors/arrivals")
    page.get_by_role("button", name="Edit").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("position 7")
    page.get_by_role("dialog").get_by_role("button", name="Set", exact=True).click()
    expect(page.get_by_text("Cursor: position 7")).to_be_visible()


def test_find_runs_and_steer_many(page: Any, site: Site) -> None:
    ids = [site.launch("counting", partitionKey=f"2026-01-1{each}", executionMetadata={"tags": [{"key": "batch", "value": "x y"}]}) for each in (0, 1)]  # fmt: skip # noqa: E501
    page.goto("runs?q=" + 'tag:"batch=x y"')
    for run_id in ids:
        expect(page.locator(f"tr[data-run='{run_id}']")).to_contain_text("Success", timeout=40_000)
    page.get_by_role("checkbox", name="Choose all").check()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    expect(page.get_by_text("There are no such runs.")).to_be_visible()
    assert site.data("query ($id: ID!) { runOrError(runId: $id) { __typename } }", {"id": ids[0]})["runOrError"] == {
        "__typename": "RunNotFoundError"
    }


def test_graphs_open_config_is_completed_and_the_form_writes_yaml(page: Any) -> None:
    page.goto(f"{PLACE}/jobs/shipping")
    page.get_by_role("button", name="Open packing", exact=True).click()
    page.get_by_role("button", name="orders", exact=True).click()
    expect(page.get_by_role("complementary", name="About packing.orders")).to_contain_text("Reads the orders of a day.")
    page.goto(f"{PLACE}/jobs/shipping/launchpad")
    write(page, "ops:\n  packing:\n    ops:\n      orders:\n        config:\n          ")
    page.keyboard.press("Control+Space")
    expect(page.locator(".cm-tooltip-autocomplete")).to_contain_text("count")
    page.keyboard.press("Escape")
    page.get_by_role("radiogroup", name="View of the config").get_by_text("Form").click()
    page.get_by_label("count").fill("9")
    page.get_by_role("radiogroup", name="View of the config").get_by_text("YAML").click()
    expect(page.get_by_role("textbox", name="Run config as YAML")).to_contain_text("count: 9")


def test_search_and_shortcuts(page: Any) -> None:
    page.goto("")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("textbox", name=re.compile("Search for jobs"))).to_be_focused()
    page.keyboard.type("nightl")
    expect(page.get_by_role("option", name=re.compile("nightly"))).to_be_visible()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/schedules/nightly"))
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.locator("body").press("?")
    expect(page.get_by_role("dialog")).to_contain_text("This sheet")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url(re.compile("/runs$"))


def test_what_is_shown_stays_while_the_server_does_not_answer(page: Any, site: Site) -> None:
    first = site.launch("counting", partitionKey="2026-01-06")
    page.goto("runs")
    chosen = page.get_by_role("checkbox", name=f"Choose {first[:8]}")
    chosen.check()
    refusal = json.dumps({"errors": [{"message": "The database is away."}]})
    page.route("**/graphql", lambda route: route.fulfill(body=refusal, content_type="application/json"))
    second = site.launch("counting", partitionKey="2026-01-08")
    told = page.get_by_role("alert", name="What is shown may be out of date")
    expect(told).to_contain_text("The database is away.")
    expect(chosen).to_be_checked()
    page.unroute("**/graphql")
    third = site.launch("counting", partitionKey="2026-01-09")
    expect(page.locator(f"tr[data-run='{third}']")).to_be_visible()
    expect(page.locator(f"tr[data-run='{second}']")).to_be_visible()
    expect(told).to_have_count(0)
    expect(chosen).to_be_checked()


def test_a_page_that_the_server_did_not_answer_for_is_asked_for_again(page: Any, site: Site) -> None:
    """Also where nothing changes afterwards that it would be told of."""
    page.goto("jobs")
    job = page.locator("main").get_by_role("link", name="counting", exact=True)
    expect(job).to_be_visible()
    refusal = json.dumps({"errors": [{"message": "The database is away."}]})
    page.route("**/graphql", lambda route: route.fulfill(body=refusal, content_type="application/json"))
    job.click()
    problem = page.locator("main").get_by_role("alert")
    expect(problem).to_contain_text("The database is away.")
    page.unroute("**/graphql")
    expect(page.get_by_role("heading", name="counting")).to_be_visible()
    expect(problem).to_have_count(0)


def test_events_that_the_server_did_not_answer_for_are_asked_for_again(page: Any, site: Site) -> None:
    """Also of a run that has ended."""
    run_id = site.launch("counting", partitionKey="2026-01-07")
    page.goto(f"runs/{run_id}?tab=config")
    status(page, "Success")
    refusal = json.dumps({"errors": [{"message": "The database is away."}]})
    page.route("**/graphql", lambda route: route.fulfill(body=refusal, content_type="application/json"))
    page.get_by_role("tab", name="Events").click()
    events = page.get_by_role("region", name="Events", exact=True)
    expect(events.get_by_role("alert")).to_contain_text("The database is away.")
    page.unroute("**/graphql")
    expect(events.get_by_role("region", name="List of events")).to_be_visible()
    expect(events.get_by_role("alert")).to_have_count(0)


def test_five_thousand_steps_are_one_row_and_then_as_many_as_fit(page: Any, service: Service) -> None:
    run_id = store_wide(service.store)
    page.goto(f"runs/{run_id}")
    page.get_by_role("button", name=f"work × {STEPS}").click()
    chart = page.get_by_role("region", name="Gantt chart")
    expect(chart.get_by_role("button", name="work[k00000]")).to_be_visible()
    assert chart.locator(".gantt-row").count() < 60
    chart.locator(".gantt-row .bar.ok").nth(3).hover()
    expect(page.get_by_role("tooltip")).to_contain_text("attempt 1, Success")
    page.mouse.move(5, 5)
    chart.evaluate("chart => { chart.scrollTop = chart.scrollHeight }")
    expect(chart.get_by_role("button", name=f"work[k{STEPS - 1:05d}]")).to_be_visible()
    assert chart.locator(".gantt-row").count() < 60
    page.get_by_label("Find a step").fill("k04711")
    expect(chart.get_by_role("button", name="work[k04711]")).to_be_visible()
    expect(chart.locator(".gantt-row")).to_have_count(2)
    page.get_by_label("Zoom").fill("8")
    beginning = chart.locator(".axis .ticks span").filter(has_text=re.compile("^0 ms$"))
    expect(beginning).to_have_count(1)
    chart.evaluate("chart => { chart.scrollLeft = chart.scrollWidth / 2 }")
    expect(beginning).to_have_count(0)
    page.get_by_label("Find a step").fill("none")
    expect(page.get_by_text("There are no such steps.")).to_be_visible()
    page.get_by_label("Find a step").fill("k04711")
    expect(beginning).to_be_visible()
    assert page.evaluate("performance.memory.usedJSHeapSize") < 300 * 2**20


def test_a_run_that_is_deleted_elsewhere_is_told_to_be_gone(page: Any, site: Site) -> None:
    run_id = site.launch("labels")
    page.goto(f"runs/{run_id}")
    status(page, "Failure")
    site.data("mutation ($id: String!) { deleteRun(runId: $id) { __typename } }", {"id": run_id})
    expect(page.locator("main").get_by_role("alert")).to_contain_text(f"There is no run '{run_id}'.")


def away(page: Any, operation: str) -> Any:
    """Until it is called, the server does not answer this operation."""

    def refuse(route: Any) -> None:
        if operation in route.request.post_data:
            refusal = json.dumps({"errors": [{"message": "The database is away."}]})
            route.fulfill(body=refusal, content_type="application/json")
        else:
            route.continue_()

    page.route("**/graphql", refuse)
    return lambda: page.unroute("**/graphql", refuse)


def test_what_a_step_said_is_asked_for_again(page: Any, site: Site, some_run: str) -> None:
    page.goto(f"runs/{some_run}?tab=config")
    status(page, "Failure")
    back = away(page, "query RunLogs")
    page.get_by_role("region", name="Gantt chart").get_by_role("button", name="packing.orders").click()
    panel = page.get_by_role("complementary", name="Step packing.orders")
    expect(panel.get_by_role("alert")).to_contain_text("The database is away.")
    back()
    expect(panel.get_by_text("Output result").first).to_be_visible()
    expect(panel.get_by_role("alert")).to_have_count(0)


def test_the_steps_of_a_run_are_asked_for_again(page: Any, site: Site, some_run: str) -> None:
    back = away(page, "query RunTimeline")
    page.goto(f"runs/{some_run}?tab=config")
    steps = page.get_by_role("region", name="Steps")
    expect(steps.get_by_role("alert")).to_contain_text("The database is away.")
    back()
    expect(steps.get_by_role("button", name="packing.orders")).to_be_visible()


def test_the_launchpad_asks_again(page: Any, site: Site, some_run: str) -> None:
    page.goto(f"{PLACE}/jobs/counting/launchpad")
    check = page.get_by_label("Check of the config")
    expect(check).to_contain_text("The server takes this config.")
    back = away(page, "query CheckConfig")
    write(page, "ops: {}")
    expect(check).to_contain_text("The database is away.")
    back()
    expect(check).to_contain_text("The server takes this config.")
    back = away(page, "query Partitions")
    page.reload()
    expect(page.locator("main").get_by_role("alert")).to_contain_text("The database is away.")
    back()
    expect(page.get_by_role("combobox", name="Partition")).to_have_attribute("placeholder", re.compile("One of [1-9]"))
    expect(page.locator("main").get_by_role("alert")).to_have_count(0)
    back = away(page, "query RunPage")
    page.goto(f"{PLACE}/jobs/shipping/launchpad?run={some_run}")
    expect(page.locator("main").get_by_role("alert")).to_contain_text("The database is away.")
    back()
    expect(page.get_by_role("textbox", name="Run config as YAML")).to_contain_text("fail: true")


def test_the_focus_goes_back_where_it_was(page: Any, site: Site, some_run: str) -> None:
    page.goto(f"runs/{some_run}")
    status(page, "Failure")
    more = page.get_by_role("button", name="More", exact=True)
    more.press("Enter")
    delete = page.get_by_role("menuitem", name="Delete")
    expect(delete).to_be_enabled()
    delete.press("Enter")
    expect(page.get_by_role("button", name="Yes")).to_be_focused()
    page.keyboard.press("Escape")
    expect(more).to_be_focused()
    again = page.get_by_role("button", name="Re-execute")
    expect(again).to_be_enabled()
    again.press("Enter")
    changed = page.get_by_role("menuitem", name="With changes…")
    expect(changed).to_be_enabled()
    changed.press("Enter")
    editor = page.get_by_role("dialog").get_by_role("textbox", name="Run config as YAML")
    editor.focus()
    page.keyboard.press("Escape")  # of the editor, where it ends a completion, and lets Tab out of it
    page.keyboard.press("Tab")
    expect(editor).to_be_visible()
    expect(editor).not_to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(again).to_be_focused()
    step = page.get_by_role("button", name="ship", exact=False).last
    step.press("Enter")
    page.get_by_role("button", name="Close the step").press("Enter")
    expect(step).to_be_focused()
    page.goto(f"{PLACE}/sensors/arrivals")
    dry = page.get_by_role("button", name="Dry run")
    expect(dry).to_be_enabled()  # once it is known who looks
    dry.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dry).to_be_focused()
    page.get_by_role("link", name="Jobs", exact=True).press("Enter")
    page.wait_for_url(re.compile("/jobs$"))
    expect(page.get_by_role("main")).to_be_focused()


def test_many_rows_and_cells_are_one_stop_of_the_tab_key(page: Any, service: Service) -> None:
    page.goto(f"runs/{store_wide(service.store)}?tab=config")
    chart = page.get_by_role("region", name="Gantt chart")
    fold = chart.get_by_role("button", name=f"work × {STEPS}")
    fold.press("Enter")
    expect(chart.get_by_role("button", name="work[k00000]")).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(chart.get_by_role("button", name="work[k00000]")).to_be_focused()
    page.keyboard.press("End")
    last = chart.get_by_role("button", name=f"work[k{STEPS - 1:05d}]")
    expect(last).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("tab", name="Config")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(last).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(last).to_be_focused()
    zoom = page.get_by_label("Zoom")
    for step in range(1, 3):
        zoom.press("ArrowRight")
        expect(zoom).to_have_value(re.compile(rf"^{step / 2:g}"))
        expect(zoom).to_be_focused()
    last.press("ArrowRight")  # there is nothing beside it
    page.wait_for_function("() => document.querySelector('[aria-label=\"Gantt chart\"]').scrollLeft > 0")
    expect(last).to_be_focused()
    page.goto(f"{PLACE}/jobs/counting/partitions")
    cells = page.locator(".cell")
    cells.first.focus()
    page.keyboard.press("ArrowRight")
    expect(cells.nth(1)).to_be_focused()
    expect(page.get_by_role("tooltip")).to_contain_text("2026-01-02")
    page.keyboard.press("Enter")
    expect(cells.nth(1)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Tab")
    expect(page.locator(".cell:focus")).to_have_count(0)


def test_events_are_one_stop_of_the_tab_key(page: Any, some_run: str) -> None:
    page.goto(f"runs/{some_run}?tab=events")
    events = page.get_by_role("region", name="List of events")
    first = events.get_by_role("button").first
    events.focus()
    page.keyboard.press("Tab")
    expect(first).to_be_focused()
    page.keyboard.press("End")
    last = events.get_by_role("button", name="RunFailure")
    expect(last).to_be_focused()
    page.keyboard.press("Enter")
    expect(last).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Home")
    expect(first).to_be_focused()
    started = events.locator("[data-index]", has_text="StepStart").first
    kind, step = started.get_by_role("button").all()
    kind.focus()
    page.keyboard.press("ArrowRight")
    expect(step).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(kind).to_be_focused()
    page.keyboard.press("Tab")
    expect(events.locator("button:focus")).to_have_count(0)


def test_keys_lead_into_a_menu_that_is_asked_for(page: Any, site: Site) -> None:
    site.launch("counting", partitionKey="2026-01-06")
    page.goto("runs")
    page.get_by_role("button", name="Add filter").press("Enter")
    key = page.get_by_role("menuitem", name="opgrid/partition", exact=True)
    key.focus()
    page.route("**/graphql", lambda route: None)
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("menu").get_by_text("Loading")).to_be_visible()
    page.unroute("**/graphql")  # what waits goes on
    expect(page.locator("[role=menuitem]:focus")).to_have_text(re.compile("^2026-"))


def test_escape_leaves_the_navigation_of_a_narrow_window(page: Any) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto("runs")
    burger = page.get_by_role("button", name="Navigation")
    burger.press("Enter")
    expect(burger).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(burger).to_have_attribute("aria-expanded", "false")
    expect(burger).to_be_focused()


def test_a_tab_that_an_update_has_left_behind_goes_on(browser: Any, site: Site) -> None:
    """Parts of it that it has not loaded yet are not there any more."""
    context = browser.new_context(base_url=site.url)
    page = context.new_page()
    page.goto("jobs")
    page.route("**/assets/JobPage-*", lambda route: route.fulfill(status=404), times=1)
    page.get_by_role("main").get_by_role("link", name="counting").first.click()
    expect(page.get_by_role("heading", name="counting")).to_be_visible()
    page.goto("jobs")
    page.evaluate("sessionStorage.clear()")
    page.route("**/assets/JobPage-*", lambda route: route.fulfill(status=404))
    page.get_by_role("main").get_by_role("link", name="counting").first.click()
    expect(page.get_by_role("alert", name="This page cannot be shown")).to_be_visible()
    page.get_by_role("navigation").get_by_role("link", name="Runs").click()
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    context.close()


def test_a_tab_that_misses_a_part_for_long_is_loaded_anew_once(browser: Any, site: Site) -> None:
    context = browser.new_context(base_url=site.url)
    context.add_init_script("Date.now = () => performance.timeOrigin * 10_000")  # hours go by from load to load
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("jobs")
    page.route("**/assets/JobPage-*", lambda route: route.fulfill(status=404), times=2)
    with page.expect_event("load"):
        page.get_by_role("main").get_by_role("link", name="counting").first.click()
    expect(page.get_by_role("alert", name="This page cannot be shown")).to_be_visible()
    page.get_by_role("button", name="Load it anew").click()
    expect(page.get_by_role("heading", name="counting")).to_be_visible()
    assert sum(url.endswith("/healthz") for url in asked) == 1
    context.close()


def test_a_tab_says_that_the_service_is_away(page: Any) -> None:
    """Though it asks nothing meanwhile."""
    is_away = [False]
    connections: list[Any] = []

    def connect(connection: Any) -> None:
        connections.append(connection)
        if is_away[0]:
            connection.close()
        else:
            connection.connect_to_server()

    page.route_web_socket("**/graphql", connect)
    with page.expect_websocket():
        page.goto("runs")
    told = page.get_by_role("alert", name="What is shown may be out of date")
    is_away[0] = True
    connections[-1].close()
    expect(told).to_contain_text("The connection to the service is lost")
    is_away[0] = False
    expect(told).to_have_count(0)


def test_a_tab_says_that_the_service_was_updated(page: Any, site: Site) -> None:
    page.goto("runs")
    told = page.get_by_role("alert", name="opgrid was updated")
    version = site.data("{ version }")["version"]
    expect(page.get_by_role("navigation")).to_contain_text(f"opgrid {version}")
    expect(told).to_have_count(0)
    newer = lambda route: route.fulfill(body=route.fetch().text().replace(f'"version":"{version}"', '"version":"9.9"'))  # noqa: E731
    page.route("**/graphql", newer)
    site.data("mutation { reloadWorkspace { __typename } }")
    expect(told).to_contain_text(f"These pages are of version {version}, and the service is 9.9 now.")
    page.unroute_all(behavior="wait")
    told.get_by_role("button", name="Load them anew").click()
    expect(page.get_by_role("navigation")).to_contain_text(f"opgrid {version}")
    expect(told).to_have_count(0)


def test_by_worker_there_are_as_many_bars_as_fit(page: Any, service: Service) -> None:
    page.goto(f"runs/{store_wide(service.store)}?view=workers&tab=config")
    chart = page.get_by_role("region", name="Gantt chart")
    expect(chart.locator(".bar").first).to_be_visible()
    assert chart.locator(".bar").count() < 1000
    chart.locator(".bar").nth(3).hover()
    expect(page.get_by_role("tooltip")).to_contain_text(re.compile(r"\d+ steps: \d+ success"))
    page.get_by_label("Zoom").fill("8")
    chart.locator("[data-tip^='work[k0'] .bar").first.click()
    expect(page.get_by_role("complementary", name=re.compile(r"Step work\[k0"))).to_be_visible()
    assert chart.locator(".bar").count() < 1000
    expect(chart.locator(".axis .ticks span").nth(3)).to_be_visible()


def test_an_overview_that_stays_open_does_not_grow(page: Any, site: Site) -> None:
    """What it asked for half a minute ago, nobody asks for again."""

    def swell(route: Any) -> None:
        if "query Overview" not in route.request.post_data:
            route.continue_()
            return
        answer = route.fetch().json()
        shown.append(next(numbers))
        answer["data"]["waitingApprovals"] = [
            {"runId": "r", "stepKey": f"step-{shown[-1]}.", "question": "x" * 2**21 + str(shown[-1]), "since": 0.0}
        ]
        route.fulfill(json=answer)

    numbers, shown = itertools.count(), list[int]()
    page.clock.install()
    page.route("**/graphql", swell)
    page.goto("")
    expect(page.get_by_text("Waiting for an approval")).to_be_visible()
    tools = page.context.new_cdp_session(page)

    def held() -> int:
        tools.send("HeapProfiler.collectGarbage")
        return int(tools.send("Runtime.getHeapUsage")["usedSize"])

    before = held()
    for _ in range(20):
        page.wait_for_function("number => document.body.textContent.includes(`step-${number}.`)", arg=shown[-1])
        with page.expect_response(lambda answer: "query Overview" in (answer.request.post_data or "")):
            page.clock.run_for(31_000)
    assert held() - before < 20 * 2**20
    page.unroute_all(behavior="wait")


def test_why_steps_wait_and_a_queue_that_nobody_serves(page: Any, site: Site) -> None:
    run_id = site.launch("learning")
    page.goto(f"runs/{run_id}")
    expect(page.get_by_text("1 step waits in the queue 'gpu', which no worker serves.")).to_be_visible(timeout=30_000)
    page.goto("workers")
    expect(page.get_by_role("alert")).to_contain_text("no worker serves this queue", timeout=30_000)
    page.goto(f"runs/{run_id}")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    status(page, "Canceled")


def test_runs_are_found_by_a_part_of_their_id_and_tokens_are_taken_away(page: Any, site: Site) -> None:
    run_id = site.launch("counting", partitionKey="2026-01-12")
    page.goto("")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("textbox", name=re.compile("Search for jobs"))).to_be_focused()
    page.keyboard.type(run_id[:8])
    page.get_by_role("option", name=re.compile("run by id")).wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(f"/runs/{run_id}$"))
    page.goto(f"runs?q=id:{run_id[:8]} job:shipping")
    expect(page.get_by_text("There are no such runs.")).to_be_visible()
    page.get_by_role("button", name="Without job:shipping").click()
    expect(page.locator(f"tr[data-run='{run_id}']")).to_be_visible()
    page.get_by_role("button", name="Add filter").click()
    page.get_by_role("menuitem", name="opgrid/partition", exact=True).hover()
    page.get_by_role("menuitem", name="2026-01-12", exact=True).click()
    expect(page.get_by_role("button", name="Without tag:opgrid/partition=2026-01-12")).to_be_visible()
    expect(page.locator(f"tr[data-run='{run_id}']")).to_be_visible()


def test_under_a_prefix_with_tokens(browser: Any, service: Service, site: Site, tmp_path: Path) -> None:
    """A viewer signs in, looks, may change nothing, and signs out."""
    other = Service(tmp_path, service.environ["OPGRID_DATABASE_URL"], None)
    (tmp_path / "opgrid.yaml").write_text("web: {tokens: [{name: eve, token: look, role: viewer}]}\n")
    try:
        there = start(other, "web", "-f", str(CODE), "--path-prefix", "/up/here")
        context = browser.new_context(base_url=there.url)
        page = context.new_page()
        sockets: list[str] = []
        page.on("websocket", lambda socket: sockets.append(socket.url))
        page.clock.install()
        with page.expect_websocket() as refused:
            page.goto("")
        token = page.get_by_label("Token", exact=True)
        expect(token).to_be_visible()
        while not refused.value.is_closed():  # an error may come before its end
            page.wait_for_timeout(50)
        page.clock.run_for(10_000)
        expect(page.get_by_role("alert", name="What is shown may be out of date", include_hidden=True)).to_have_count(0)
        token.fill("guess")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_text("Nobody has this token.")).to_be_visible()
        token.fill("look")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_text("opgrid 0", exact=False)).to_contain_text("eve")
        page.get_by_role("link", name="Jobs", exact=True).click()
        page.wait_for_url(there.url + "jobs")
        page.get_by_role("link", name="Launchpad of shipping").click()
        page.wait_for_url(there.url + f"{PLACE}/jobs/shipping/launchpad")
        expect(page.get_by_label("Check of the config")).to_contain_text("The server takes this config.")
        expect(page.get_by_role("button", name="Launch run")).to_be_disabled()
        assert sockets and all(url.endswith("/up/here/graphql") for url in sockets)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
        context.close()
    finally:
        other.close()


# ---- accessibility and hostile texts ---------------------------------------------------------------------------------

PATHS = [
    "",
    "runs",
    "jobs",
    f"{PLACE}/jobs/shipping",
    f"{PLACE}/jobs/shipping/launchpad",
    f"{PLACE}/jobs/shipping/runs",
    f"{PLACE}/jobs/counting/partitions",
    "automation",
    f"{PLACE}/schedules/nightly",
    f"{PLACE}/sensors/arrivals",
    "backfills",
    "workers",
    "deployment",
    "deployment/services",
    "deployment/pools",
    "deployment/settings",
    "deployment/audit",
    "graphiql",
]


@pytest.fixture(scope="module")
def some_run(site: Site) -> str:
    run_id = site.launch("shipping", {"ops": {"packing": {"ops": {"pack": {"config": {"fail": True}}}}}})
    return run_id


def test_every_page_is_accessible(page: Any, site: Site, some_run: str) -> None:
    """In the dark, its colors."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed: make ui")
    axe = AXE.read_text()
    found: dict[str, list[str]] = {}

    def look(path: str, scheme: str, rules: list[str]) -> None:
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(150)
        page.evaluate(
            "Promise.allSettled(document.getAnimations().filter(each => each instanceof CSSTransition)"
            ".map(each => each.finished))"
        )
        result = page.evaluate(
            "rules => axe.run(document, {runOnly: rules}).then(found => found.violations"
            ".map(each => each.id + ': ' + each.nodes.slice(0, 3).map(node => node.target.join(' ')).join(', ')))",
            rules,
        )
        if result:
            found[f"{path} ({scheme})"] = result

    for path in [
        *PATHS,
        f"runs/{some_run}?step=orders",
        f"runs/{some_run}?tab=output",
        f"runs/{some_run}?view=workers",
        f"runs/{some_run}?view=graph",
    ]:
        page.goto(path)
        page.wait_for_load_state("networkidle")
        page.evaluate(axe)
        look(path, "light", ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"])
        look(path, "dark", ["color-contrast"])
    assert found == {}, json.dumps(found, indent=1)


def test_no_page_is_wider_than_a_narrow_window(page: Any, site: Site, some_run: str) -> None:
    page.set_viewport_size({"width": 375, "height": 800})
    long_named = site.launch(LONG)
    wide: dict[str, int] = {}
    runs = [f"runs/{some_run}?step=orders", f"runs/{some_run}?view=graph", f"runs/{long_named}"]
    for path in [*PATHS, f"{PLACE}/jobs/{LONG}", *runs]:
        page.goto(path)
        page.wait_for_load_state("networkidle")
        found = page.evaluate("document.documentElement.scrollWidth")
        if found > 375:
            wide[path] = found
    assert wide == {}


def test_a_long_name_pushes_nothing_out_of_the_page(page: Any) -> None:
    page.goto("jobs")
    link = page.get_by_role("link", name="Launchpad of shipping")
    expect(link).to_be_visible()
    seen = link.bounding_box()
    assert seen["x"] + seen["width"] <= 1360


def test_several_jobs_of_a_sensor_are_told_apart(page: Any) -> None:
    page.goto("automation")
    expect(page.get_by_role("row", name=re.compile("returns"))).to_contain_text(
        re.compile("slow, learning|learning, slow")
    )


HIT = "window.hit=1"
ELEMENTS = [
    f"<script>{HIT}</script>",
    f"<img src=x onerror={HIT}>",
    f"<svg onload={HIT}>",
    f"<svg><script>{HIT}</script></svg>",
    f"<svg><animate onbegin={HIT} attributeName=x dur=1s>",
    f"<iframe srcdoc='<script>parent.{HIT}</script>'></iframe>",
    f"<iframe src='javascript:parent.{HIT}'></iframe>",
    f"<video><source onerror={HIT}></video>",
    f"<audio src=x onerror={HIT}>",
    f"<details open ontoggle={HIT}>x</details>",
    f"<body onload={HIT}>",
    f"<input autofocus onfocus={HIT}>",
    f"<select autofocus onfocus={HIT}></select>",
    f"<textarea autofocus onfocus={HIT}></textarea>",
    f"<marquee onstart={HIT}>x</marquee>",
    f"<object data='javascript:{HIT}'></object>",
    f"<embed src='javascript:{HIT}'>",
    f"<form action='javascript:{HIT}'><button autofocus>x</button></form>",
    f"<math><mi xlink:href='javascript:{HIT}'>x</mi></math>",
    f"<style>@import 'javascript:{HIT}';</style>",
    f"<meta http-equiv=refresh content='0;url=javascript:{HIT}'>",
    f"<base href='javascript:{HIT}//'>",
    f"<a href='javascript:{HIT}' autofocus onfocus={HIT}>x</a>",
    f"[x](javascript:{HIT})",
    f"javascript:{HIT}",
]
DISGUISES: list[Any] = [
    lambda text: text,
    lambda text: '"' + ">" + text,
    lambda text: "'" + ">" + text,
    lambda text: "--><!---->" + text,
    lambda text: "</textarea></title></style></script>" + text,
    lambda text: "]]>" + text,
    lambda text: text.replace("<", "<\n"),
    lambda text: text.replace("<", "<<"),
    lambda text: text.replace(" on", "/on").replace(" src", "/src") + "/",
    lambda text: text.replace("javascript:", "java\tscript:") + "\t",
    lambda text: text.replace("javascript:", "JaVaScRiPt:").replace("script", "ScRiPt"),
    lambda text: text.replace("<", "&lt;").replace(">", "&gt;"),
    lambda text: text.replace("<", "%3C").replace(">", "%3E"),
    lambda text: text.replace("<", "\\u003c").replace(">", "\\x3e"),
    lambda text: "\u202e" + text + "\u202c",
    lambda text: "\u001b[31m" + text + "\u001b[0m",
    lambda text: f"\u001b]8;;javascript:{HIT}\u0007{text}\u001b]8;;\u0007",
    lambda text: "{{constructor.constructor('" + HIT + "')()}}" + text,
    lambda text: "${" + HIT + "}" + text,
    lambda text: "'-" + HIT + "-'" + text,
]
VECTORS = [
    disguise(element).replace(HIT, f"window.hit={number}")
    for number, (element, disguise) in enumerate(itertools.product(ELEMENTS, DISGUISES), 1)
]


def test_hostile_texts_stay_texts(page: Any, site: Site) -> None:
    assert len(set(VECTORS)) == 500
    tags = [{"key": f"t{number}", "value": vector} for number, vector in enumerate(VECTORS)]
    run_id = site.launch("counting", partitionKey="2026-01-07", executionMetadata={"tags": tags})
    said = site.launch("labels", {"ops": {"say": {"config": {"texts": VECTORS}}}})
    setting = (
        "mutation ($s: SensorSelector!, $c: String) { setSensorCursor(sensorSelector: $s, cursor: $c) { __typename } }"
    )
    site.data(setting, {"s": {"repositoryLocationName": CODE.name, "sensorName": "arrivals"}, "c": "".join(VECTORS)})
    site.launch("shipping", {"ops": {}}, executionMetadata={"tags": tags[:50]})
    pool = "mutation ($k: String!) { setConcurrencyLimit(concurrencyKey: $k, limit: 1) }"
    for vector in VECTORS[::20]:
        site.data(pool, {"k": vector})
    backfill = """mutation ($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {
      ... on LaunchBackfillSuccess { backfillId } } }"""
    selector = {"partitionSetName": "counting", "repositorySelector": {"repositoryLocationName": CODE.name}}
    params = {"selector": selector, "partitionNames": ["2026-01-07"], "title": "".join(VECTORS), "tags": tags[:20]}
    made = site.data(backfill, {"p": params})["launchPartitionBackfill"]["backfillId"]
    page.goto(f"runs/{said}")
    status(page, "Failure")
    paths = [
        f"runs/{run_id}",
        f"runs/{run_id}?tab=config",
        f"runs/{said}?step=say",
        f"runs/{said}?step=say&tab=output",
        f"runs/{said}?tab=config",
        f"runs/{said}?view=graph&step={VECTORS[21]}",
        "runs",
        "",
        "automation",
        f"{PLACE}/sensors/arrivals",
        f"{PLACE}/jobs/labels",
        "backfills",
        f"backfills/{made}",
        "deployment/pools",
        "deployment/audit",
        f"{PLACE}/jobs/counting/launchpad?run={run_id}",
        f"{PLACE}/jobs/labels/launchpad?run={said}",
        "runs?q=" + "tag:x=" + VECTORS[21],
        f"runs/{VECTORS[21]}",
    ]
    for path in paths:
        page.goto(quote(path, safe="/?=&:"))
        page.wait_for_load_state("networkidle")
        if path.endswith("step=say"):
            page.get_by_role("combobox", name="Kind of events").click()
            page.get_by_role("option", name="Failures").click()
            page.get_by_role("button", name="StepFailure").first.click()
        if path.startswith(f"runs/{said}"):
            page.mouse.wheel(0, 4000)
            page.wait_for_timeout(200)
        assert page.evaluate("window.hit") is None, path
        assert page.locator("a[href^='javascript:' i]").count() == 0, path
        assert page.locator("main iframe, main img[src='x'], main object, main embed, main base").count() == 0, path
    delete = "mutation ($k: String!) { deleteConcurrencyLimit(concurrencyKey: $k) }"
    for vector in VECTORS[::20]:
        site.data(delete, {"k": vector})
