"""The job: list the files, measure each in a step of its own, rank and link what was found, write the report."""

from __future__ import annotations

import platform
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

from examples.stdlib_census.analysis import Measure, measure
from examples.stdlib_census.imports import ImportGraph, link
from examples.stdlib_census.ranking import Ranking, rank
from examples.stdlib_census.report import build_report, write
from examples.stdlib_census.sources import Source, find_sources, mapping_keys, sha_of
from opgrid import (
    Config,
    ConfigurableResource,
    Definitions,
    DynamicOut,
    DynamicOutput,
    Failure,
    HookContext,
    MetadataValue,
    OpExecutionContext,
    Out,
    job,
    op,
    success_hook,
)


class Library(ConfigurableResource):
    """A folder of Python files. A worker says so when its own files are not those that were listed."""

    root: str = ""  #: empty: the standard library of the Python that runs the step
    tests: bool = False  #: the package ``test`` too

    @property
    def folder(self) -> Path:
        return Path(self.root or sysconfig.get_path("stdlib")).resolve()

    def sources(self) -> list[Source]:
        return find_sources(self.folder, self.tests)

    def read(self, source: Source) -> bytes:
        path = self.folder / source.path
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            content = None
        if content is None or sha_of(content) != source.sha:
            raise Failure(
                description=f"{path} is {'missing' if content is None else 'another file'} here: all workers of a "
                "census need the same Python, or a root that they share.",
                allow_retries=False,
            )
        return content


class ListConfig(Config):
    limit: int = 0  #: take only so many files, spread over the whole list; 0 takes all


class ReportConfig(Config):
    output: str = "census-report"  #: folder for the files; relative to where the process that writes them was started


@op(out=DynamicOut(), description="One output a file.")
def list_files(context: OpExecutionContext, library: Library, config: ListConfig) -> Iterator[DynamicOutput[Source]]:
    sources = spread(library.sources(), config.limit)
    if not sources:
        raise Failure(description=f"There are no Python files in {library.folder}.", allow_retries=False)
    context.log.info(f"{len(sources)} files in {library.folder}")
    for key, source in zip(mapping_keys([source.module for source in sources]), sources, strict=True):
        yield DynamicOutput(source, mapping_key=key)


def spread(sources: list[Source], limit: int) -> list[Source]:
    """``limit`` of them at equal distances, so that a small census is like the whole one."""
    if not 0 < limit < len(sources):
        return sources
    return [sources[number * len(sources) // limit] for number in range(limit)]


@op(tags={"census/part": "measure"}, description="Parse one file and count what is in it.")
def measure_file(context: OpExecutionContext, library: Library, source: Source) -> Measure:
    content = library.read(source)
    began = time.perf_counter()
    found = measure(content, source.module, source.is_package)
    context.add_output_metadata({"lines": found.lines, "milliseconds": (time.perf_counter() - began) * 1000})
    return found


@op(description="Sum up by package and put in order.")
def rank_all(measures: list[Measure]) -> Ranking:
    return rank(measures)


@op(description="Who imports whom.")
def link_all(measures: list[Measure]) -> ImportGraph:
    return link(measures)


@op(
    out={"folder": Out(str), "digest": Out(str)},
    tags={"census/part": "report"},
    description="Write the report: JSON, a page to read and two pictures.",
)
def write_report(
    context: OpExecutionContext, config: ReportConfig, ranking: Ranking, graph: ImportGraph
) -> tuple[str, str]:
    report = build_report(platform.python_version(), ranking, graph)
    folder = Path(config.output).resolve()
    write(report, ranking, graph, folder)
    context.add_output_metadata({"page": MetadataValue.path(str(folder / "report.md"))}, output_name="folder")
    return str(folder), report["digest"]


@success_hook
def announce(context: HookContext) -> None:
    context.log.info(f"The census is in {context.op_output_values['folder']}")


@job(
    resource_defs={"library": Library()},
    tags={"example": "stdlib_census"},
    description="Counts what is in the Python standard library: a step for each file.",
)
def census() -> None:
    measures = list_files().map(measure_file).collect()
    write_report.with_hooks({announce})(rank_all(measures), link_all(measures))


defs = Definitions(jobs=[census])
