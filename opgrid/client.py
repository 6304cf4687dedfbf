"""Launch and follow runs of a service from anywhere, over its GraphQL API. Needs nothing but the standard library.

from opgrid.client import Client

client = Client("http://localhost:3000", token="...")
run = client.launch("adding", run_config={"ops": {"one": {"config": {"n": 3}}}})
assert client.wait(run) is RunStatus.SUCCESS
"""

from __future__ import annotations

import json
import math
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Final

from opgrid.contracts.status import RunStatus
from opgrid.errors import OpGridError

__all__ = ["Client", "ClientError", "RunInfo"]

_ERROR: Final = "__typename ... on Error { message }"
_LAUNCHED: Final = f"""... on LaunchRunSuccess {{ run {{ runId }} }}
  ... on RunConfigValidationInvalid {{ errors {{ message path }} }} {_ERROR}"""
_LAUNCH: Final = f"mutation ($p: ExecutionParams!) {{ answer: launchRun(executionParams: $p) {{ {_LAUNCHED} }} }}"
_AGAIN: Final = f"""mutation ($p: ExecutionParams, $how: ReexecutionParams) {{
  answer: launchRunReexecution(executionParams: $p, reexecutionParams: $how) {{ {_LAUNCHED} }} }}"""
_RUN: Final = """runId jobName status creationTime startTime endTime parentRunId runConfig tags { key value }
  repositoryOrigin { repositoryLocationName }"""
_LOCATIONS: Final = """{ answer: repositoriesOrError { __typename ... on RepositoryConnection {
  nodes { location { name } jobs { name } } } ... on PythonError { message } } }"""


class ClientError(OpGridError):
    """The service refused, or cannot be reached. ``kind`` is the type of its answer, such as
    ``PipelineNotFoundError``.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind, self.message = kind, message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run, as the service tells it. Times are Unix seconds."""

    run_id: str
    job_name: str
    status: RunStatus
    location: str
    tags: dict[str, str]
    run_config: dict[str, Any]
    created: float
    started: float | None
    ended: float | None
    parent_run_id: str | None


class Client:
    """Of the service at ``url``; ``token`` where it asks for one; ``timeout`` in seconds, of one request."""

    def __init__(self, url: str = "http://127.0.0.1:3000", token: str | None = None, timeout: float = 60.0) -> None:
        self._url = url.rstrip("/") + "/graphql"
        self._headers = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}
        self._timeout = timeout

    def query(self, query: str, variables: Mapping[str, Any] | None = None) -> Any:
        """The ``data`` of any query or mutation. Raises ClientError."""
        body = json.dumps({"query": query, "variables": dict(variables or {})}).encode()
        try:
            request = urllib.request.Request(self._url, body, self._headers)
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            raise ClientError(f"HTTP {error.code}", _said(error) or str(error)) from error
        except (OSError, ValueError, HTTPException) as error:
            raise ClientError("Unreachable", f"{self._url} does not answer: {error}") from error
        if not isinstance(found, dict) or not found.keys() & {"data", "errors"}:
            raise ClientError("Unreachable", f"{self._url} is not an opgrid service: it answers {str(found)[:100]!r}.")
        if found.get("errors"):
            raise ClientError("GraphQLError", "; ".join(str(each.get("message")) for each in found["errors"]))
        return found["data"]

    # ---- launching -------------------------------------------------------------------------------------------------

    def launch(
        self,
        job: str,
        *,
        location: str | None = None,
        run_config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        op_selection: Sequence[str] | None = None,
        partition_key: str | None = None,
        executor: str | None = None,
    ) -> str:
        """Launch a run; gives its id. ``location`` may be left out where only one code location has the job. Raises
        ClientError, for run config that does not fit with every problem and its path.
        """
        params = {
            "selector": self._selector(job, location, op_selection),
            "runConfigData": run_config,
            "executionMetadata": {"tags": _tags(tags)},
            "partitionKey": partition_key,
            "executor": executor,
        }
        return str(self._answer(_LAUNCH, {"p": params})["run"]["runId"])

    def reexecute(
        self,
        run_id: str,
        *,
        from_failure: bool = False,
        step_selection: Sequence[str] | None = None,
        run_config: Mapping[str, Any] | None = None,
        executor: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Run a run again, as it was or with changes; gives the new id. Raises ClientError."""
        how = {
            "parentRunId": run_id,
            "strategy": "FROM_FAILURE" if from_failure else "ALL_STEPS",
            "extraTags": _tags(tags),
        }
        params = None
        if run_config is not None or executor is not None or step_selection:
            run = self.run(run_id)
            params = {
                "selector": self._selector(run.job_name, run.location or None, None),
                "runConfigData": run_config,
                "executor": executor,
                "stepKeys": list(step_selection) if step_selection else None,
            }
        return str(self._answer(_AGAIN, {"p": params, "how": how})["run"]["runId"])

    def cancel(self, run_id: str, *, force: bool = False) -> None:
        """Ask for the end of a run; ``force`` marks it as canceled at once. Raises ClientError."""
        query = f"""mutation ($id: String!, $policy: TerminateRunPolicy) {{
          answer: terminateRun(runId: $id, terminatePolicy: $policy) {{
            ... on TerminateRunFailure {{ message }} {_ERROR} }} }}"""
        policy = "MARK_AS_CANCELED_IMMEDIATELY" if force else "SAFE_TERMINATE"
        self._answer(query, {"id": run_id, "policy": policy})

    def answer_approval(self, run_id: str, step_key: str, approved: bool, note: str = "") -> None:
        """Let a step run that waits for an approval, or let it fail. Raises ClientError."""
        query = f"""mutation ($id: String!, $step: String!, $yes: Boolean!, $note: String) {{
          answer: answerApproval(runId: $id, stepKey: $step, approved: $yes, note: $note) {{ {_ERROR} }} }}"""
        self._answer(query, {"id": run_id, "step": step_key, "yes": approved, "note": note})

    def reload(self, location: str) -> None:
        """Load the code of a location anew. Raises ClientError, also for code that does not load."""
        query = f"""mutation ($name: String!) {{ answer: reloadRepositoryLocation(repositoryLocationName: $name) {{
          ... on WorkspaceLocationEntry {{ state: locationOrLoadError {{ __typename
            ... on PythonError {{ message }} }} }}
          {_ERROR} }} }}"""
        state = self._answer(query, {"name": location}).get("state") or {}
        if state.get("__typename") == "PythonError":
            raise ClientError("PythonError", str(state["message"]))

    # ---- following -------------------------------------------------------------------------------------------------

    def run(self, run_id: str) -> RunInfo:
        """Raises ClientError."""
        query = f"query ($id: ID!) {{ answer: runOrError(runId: $id) {{ ... on Run {{ {_RUN} }} {_ERROR} }} }}"
        return _run(self._answer(query, {"id": run_id}))

    def status(self, run_id: str) -> RunStatus:
        """Raises ClientError."""
        return self.run(run_id).status

    def runs(
        self,
        *,
        job: str | None = None,
        statuses: Sequence[RunStatus] = (),
        tags: Mapping[str, str] | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> list[RunInfo]:
        """Newest first, at most 1,000; those older than the run with the id ``cursor``. Raises ClientError."""
        query = f"""query ($filter: RunsFilter, $limit: Int, $cursor: String) {{
          answer: runsOrError(filter: $filter, limit: $limit, cursor: $cursor) {{ __typename
            ... on Runs {{ results {{ {_RUN} }} }} ... on PythonError {{ message }} }} }}"""
        wanted = {"jobName": job, "tags": _tags(tags), "statuses": [each.value for each in statuses] or None}
        found = self._answer(query, {"filter": wanted, "limit": limit, "cursor": cursor})
        return [_run(each) for each in found["results"]]

    def wait(self, run_id: str, timeout: float | None = None, every: float = 0.5) -> RunStatus:
        """The status in which it ended; looks ``every`` so many seconds, once where the ``timeout`` is over already.
        Raises TimeoutError, ClientError, and ValueError for what is no number of seconds.
        """
        if timeout is not None and math.isnan(timeout):
            raise ValueError(f"timeout={timeout!r} is no number of seconds that can be waited for.")
        if not 0 <= every <= threading.TIMEOUT_MAX:
            raise ValueError(f"every={every!r} is no number of seconds that can be waited for.")
        until = None if timeout is None else time.monotonic() + timeout
        while not (status := self.status(run_id)).is_final:
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"Run {run_id} is {status.value} after {timeout:.15g} s.")
            time.sleep(every)
        return status

    def events(self, run_id: str, after: str | None = None) -> Iterator[dict[str, Any]]:
        """The log so far: ``number``, ``type``, ``step``, ``message``, ``level``, ``at`` (Unix seconds) and
        ``details``; behind a number where one is given. Raises ClientError.
        """
        query = f"""query ($id: ID!, $after: String) {{ answer: logsForRun(runId: $id, afterCursor: $after) {{
          ... on EventConnection {{ cursor hasMore events {{ __typename
            ... on MessageEvent {{ number message level timestamp stepKey details }} }} }} {_ERROR} }} }}"""
        while True:
            page = self._answer(query, {"id": run_id, "after": after})
            for each in page["events"]:
                yield {
                    "number": each["number"],
                    "type": each["__typename"].removesuffix("Event"),
                    "step": each["stepKey"],
                    "message": each["message"],
                    "level": each["level"],
                    "at": int(each["timestamp"]) / 1000,
                    "details": each["details"],
                }
            if not page["hasMore"]:
                return
            after = page["cursor"]

    # ---- asking ----------------------------------------------------------------------------------------------------

    def _answer(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self.query(query, variables)["answer"]
        problems = answer.get("errors")
        if problems:
            told = "; ".join(f"{'.'.join(each['path']) or 'run config'}: {each['message']}" for each in problems)
            raise ClientError(answer["__typename"], told)
        if "message" in answer:
            raise ClientError(answer["__typename"], answer["message"])
        return answer

    def _selector(self, job: str, location: str | None, op_selection: Sequence[str] | None) -> dict[str, Any]:
        if location is None:
            nodes = self._answer(_LOCATIONS, {})["nodes"]
            having = [each["location"]["name"] for each in nodes if job in [known["name"] for known in each["jobs"]]]
            if len(having) != 1:
                where = f"several code locations have it: {', '.join(having)}" if having else "no code location has it"
                raise ClientError("PipelineNotFoundError", f"Job {job!r} is not told by its name alone: {where}.")
            (location,) = having
        return {
            "repositoryLocationName": location,
            "jobName": job,
            "solidSelection": list(op_selection) if op_selection else None,
        }


def _run(found: Mapping[str, Any]) -> RunInfo:
    origin = found["repositoryOrigin"]
    return RunInfo(
        found["runId"],
        found["jobName"],
        RunStatus(found["status"]),
        origin["repositoryLocationName"] if origin else "",
        {tag["key"]: tag["value"] for tag in found["tags"]},
        found["runConfig"],
        found["creationTime"],
        found["startTime"],
        found["endTime"],
        found["parentRunId"],
    )


def _tags(given: Mapping[str, str] | None) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in (given or {}).items()]


def _said(error: urllib.error.HTTPError) -> str:
    try:
        with error:
            return str(json.load(error)["errors"][0]["message"])
    except (OSError, ValueError, LookupError, TypeError, HTTPException):
        return ""
