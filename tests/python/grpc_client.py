"""Calls every gRPC service of the platform as a stranger, and prints what it saw as JSON.

Standard input names the way to learn the calls (`protos` is the folder of the .proto files; without it only
reflection is used), the services with address and token, and a user's token for tasks and chats.
"""

import base64
import importlib
import json
import pathlib
import platform
import sys
import tempfile

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_tools import protoc

PATIENCE = 30


class Generated:
    """Knows the calls from stubs that protoc made of the .proto files."""

    def __init__(self, protos):
        self.out = tempfile.TemporaryDirectory()
        root = pathlib.Path(protos)
        files = [str(file.relative_to(root)) for file in root.rglob("*.proto")]
        includes = [f"-I{protos}", f"-I{pathlib.Path(protoc.__file__).parent / '_proto'}"]
        status = protoc.main(["protoc", *includes, f"--python_out={self.out.name}", f"--grpc_python_out={self.out.name}", *files])
        assert status == 0, "protoc refuses the files"
        sys.path.insert(0, self.out.name)
        # Python has a module of this name: it may have a folder, too.
        platform.__path__ = [f"{self.out.name}/platform"]
        self.modules = {}
        for file in files:
            module = importlib.import_module(file.removesuffix(".proto").replace("/", ".") + "_pb2")
            for service in module.DESCRIPTOR.services_by_name.values():
                self.modules[service.full_name] = (service, importlib.import_module(module.__name__ + "_grpc"))

    def method(self, channel, service, name):
        descriptor, module = self.modules[service]
        stub = getattr(module, descriptor.name + "Stub")(channel)
        return descriptor.methods_by_name[name], getattr(stub, name)


class Reflected:
    """Knows the calls from what the server tells about itself."""

    def method(self, channel, service, name):
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        method = pool.FindServiceByName(service).methods_by_name[name]
        arity = channel.unary_stream if method.server_streaming else channel.unary_unary
        answer = message_factory.GetMessageClass(method.output_type)
        call = arity(
            f"/{service}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return method, call


class Service:
    """One address with the credentials for it."""

    def __init__(self, calls, given):
        self.calls, self.name = calls, given["name"]
        self.channel = grpc.insecure_channel(given["address"])
        self.tokens = {"service": given["token"], "user": given["user"], "nobody": None}

    def call(self, method, message=None, who="service"):
        """Makes a call and returns its answers as a list of JSON objects."""
        service, _, name = method.rpartition("/")
        descriptor, call = self.calls.method(self.channel, service, name)
        request = message_factory.GetMessageClass(descriptor.input_type)()
        json_format.ParseDict(message or {}, request)
        token = self.tokens[who]
        metadata = [("authorization", f"Bearer {token}")] if token else []
        answers = call(request, metadata=metadata, timeout=PATIENCE)
        answers = answers if descriptor.server_streaming else [answers]
        return [json_format.MessageToDict(answer) for answer in answers]

    def refusal(self, method, who):
        """Returns code and details of a call that fails."""
        try:
            return self.call(method, who=who)
        except grpc.RpcError as error:
            details = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
            return [error.code().name, "missing_credential" if b"missing_credential" in details else ""]

    def health(self, name):
        """Asks as Consul does."""
        request = health_pb2.HealthCheckRequest(service=name)
        answer = health_pb2_grpc.HealthStub(self.channel).Check(request, timeout=PATIENCE)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def diagnostics(service):
    """What every service answers."""
    own = "platform.v1.Diagnostics/"
    return {
        "health": [service.health(""), service.health(service.name)],
        "describe": service.call(own + "Describe")[0],
        "probe": service.call(own + "Probe")[0],
        "counters": service.call(own + "Counters")[0],
        "breakers": service.call(own + "Breakers")[0],
        "refused": service.refusal(own + "Describe", "nobody"),
    }


def tasks(service):
    """A task from its creation to its end."""
    own = "tasks.v1.Tasks/"
    data = base64.b64encode(b'{"prompt": "hello"}').decode()
    create = {"type": "llm.generate", "input": {"data": data, "contentType": "application/json"}}
    task = service.call(own + "CreateTask", create, "user")[0]["task"]["id"]
    # The stream ends with the task.
    events = service.call(own + "WatchTask", {"id": task}, "user")
    return {
        "id": task,
        "events": [item["event"] for item in events if "event" in item],
        "task": service.call(own + "GetTask", {"id": task}, "user")[0],
        "listed": [item["id"] for item in service.call(own + "ListTasks", {}, "user")[0]["tasks"]],
        "types": service.call(own + "ListTaskTypes", {}, "user")[0],
        "cancelled": service.call(own + "CancelTask", {"id": task}, "user")[0]["id"],
        "claim": service.refusal("tasks.v1.Leases/Claim", "user"),
        "heartbeat": service.refusal("tasks.v1.Leases/Heartbeat", "user"),
    }


def agents(service):
    """The table of agents."""
    own = "agents.v1.Agents/"
    listed = service.call(own + "ListAgents", {}, "user")[0]["agents"]
    return {
        "listed": listed,
        "one": service.call(own + "GetAgent", {"name": listed[0]["name"]}, "user")[0],
        "announce": service.refusal(own + "Announce", "user"),
    }


def inference(service):
    """The fleet, and a streamed chat."""
    own = "inference.v1.Inference/"
    chat = {"messages": [{"role": "ROLE_USER", "content": "hello"}]}
    return {
        "models": service.call(own + "ListModels", {}, "user")[0],
        "nodes": service.call(own + "ListNodes", {}, "user")[0],
        "chat": service.call(own + "Chat", chat, "user"),
    }


def main():
    given = json.load(sys.stdin)
    calls = Generated(given["protos"]) if given.get("protos") else Reflected()
    stories = {"task-coordinator": tasks, "agent-orchestrator": agents, "ollama-proxy": inference}
    seen = {}
    for entry in given["services"]:
        service = Service(calls, entry)
        seen[service.name] = diagnostics(service)
        if service.name in stories:
            seen[service.name]["own"] = stories[service.name](service)
    json.dump(seen, sys.stdout)


main()
