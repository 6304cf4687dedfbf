"""Two jobs from one graph, each with resources of its own."""

from opgrid import ConfigurableResource, ResourceDefinition, graph, op


class Server(ConfigurableResource):
    def ping_server(self): ...


@op
def interact_with_server(server: Server):
    server.ping_server()


@graph
def do_stuff():
    interact_with_server()


prod_server = ResourceDefinition.mock_resource()
local_server = ResourceDefinition.mock_resource()

prod_job = do_stuff.to_job(resource_defs={"server": prod_server}, name="do_stuff_prod")
local_job = do_stuff.to_job(resource_defs={"server": local_server}, name="do_stuff_local")
