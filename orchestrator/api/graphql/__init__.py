"""The GraphQL schema, a file a noun; the names are those of Dagster's schema where it has one."""
