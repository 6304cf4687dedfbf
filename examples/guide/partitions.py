"""A job that is configured by choosing a partition."""

from opgrid import Config, OpExecutionContext, job, op, static_partitioned_config


class ContinentConfig(Config):
    continent_name: str


@op
def count_cities(context: OpExecutionContext, config: ContinentConfig) -> int:
    context.log.info("continent: " + config.continent_name)
    return len(config.continent_name)


@static_partitioned_config(partition_keys=["africa", "asia", "europe"])
def continent_config(partition_key: str):
    return {"ops": {"count_cities": {"config": {"continent_name": partition_key}}}}


@job(config=continent_config)
def count_by_continent():
    count_cities()
