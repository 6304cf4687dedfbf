"""The jobs of this folder, for the command line: ``opgrid job list -m examples.guide.definitions``."""

from examples.guide.decorator import do_stuff
from examples.guide.default_config import do_it_all_with_default_config
from examples.guide.from_graph import local_job, prod_job
from examples.guide.mapped_config import do_it_all_with_simplified_config
from examples.guide.partitions import count_by_continent
from opgrid import Definitions, job


@job
def do_it_all(): ...


defs = Definitions(
    jobs=[
        do_it_all,
        do_stuff,
        prod_job,
        local_job,
        do_it_all_with_default_config,
        do_it_all_with_simplified_config,
        count_by_continent,
    ]
)
