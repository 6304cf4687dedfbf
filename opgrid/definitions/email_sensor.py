"""A sensor that writes an e-mail when a run has failed."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable, Iterable, Sequence
from email.message import EmailMessage
from html import escape
from typing import Any

from opgrid.contracts.status import RunStatus
from opgrid.definitions.run_status_sensor import RunFailureSensorContext, RunStatusSensorDefinition, run_status_sensor
from opgrid.definitions.sensor import DefaultSensorStatus
from opgrid.errors import InvalidDefinitionError

Written = Callable[[RunFailureSensorContext], str]


def make_email_on_run_failure_sensor(
    email_from: str,
    email_password: str,
    email_to: Sequence[str],
    email_body_fn: Written | None = None,
    email_subject_fn: Written | None = None,
    smtp_host: str = "smtp.gmail.com",
    smtp_type: str = "SSL",
    smtp_port: int | None = None,
    smtp_user: str | None = None,
    name: str | None = None,
    webserver_base_url: str | None = None,
    monitored_jobs: Iterable[Any] | None = None,
    job_selection: Iterable[Any] | None = None,
    monitor_all_code_locations: bool = False,
    default_status: DefaultSensorStatus = DefaultSensorStatus.STOPPED,
    monitor_all_repositories: bool = False,
) -> RunStatusSensorDefinition:
    """One e-mail for each run that fails. ``smtp_type`` is ``SSL`` (port 465) or ``STARTTLS`` (port 587).

    Bodies are HTML. What the server answers is raised by the sensor: smtplib.SMTPException, OSError.
    """
    if smtp_type not in ("SSL", "STARTTLS"):
        raise InvalidDefinitionError(f"smtp_type={smtp_type!r}: it has to be 'SSL' or 'STARTTLS'.")
    if isinstance(email_to, str):
        raise InvalidDefinitionError(f"email_to={email_to!r}: it has to be a list of addresses.")
    port = smtp_port if smtp_port is not None else 465 if smtp_type == "SSL" else 587

    def email_on_run_failure(context: RunFailureSensorContext) -> None:
        message = EmailMessage()
        message["From"], message["To"] = email_from, ", ".join(email_to)
        message["Subject"] = (email_subject_fn or _subject)(context)
        body = email_body_fn(context) if email_body_fn is not None else _body(context, webserver_base_url)
        message.set_content(body, subtype="html")
        tls = ssl.create_default_context()
        if smtp_type == "SSL":
            with smtplib.SMTP_SSL(smtp_host, port, context=tls) as server:
                server.login(smtp_user or email_from, email_password)
                server.send_message(message)
        else:
            with smtplib.SMTP(smtp_host, port) as server:
                server.starttls(context=tls)
                server.login(smtp_user or email_from, email_password)
                server.send_message(message)

    return run_status_sensor(
        RunStatus.FAILURE,
        name,
        monitored_jobs=monitored_jobs,
        job_selection=job_selection,
        monitor_all_code_locations=monitor_all_code_locations or monitor_all_repositories,
        default_status=default_status,
    )(email_on_run_failure)


def _subject(context: RunFailureSensorContext) -> str:
    return f"opgrid: job {context.run.job} failed"


def _body(context: RunFailureSensorContext, base_url: str | None) -> str:
    run_id = escape(context.run.run_id)
    shown = f'<a href="{escape(base_url.rstrip("/"))}/runs/{run_id}">{run_id}</a>' if base_url else run_id
    reason = context.failure_event.reason
    return f"<p>Job {escape(context.run.job)} failed.</p><p>Run {shown}</p><p>Error: {escape(reason)}</p>"
