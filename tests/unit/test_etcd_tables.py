"""What importing the tables of systems and clients costs, and that our messages are etcd's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chaoskit.systems.etcd import rpc_pb2
from chaoskit.systems.etcd.clients import CLIENTS

pytestmark = pytest.mark.unit


def run_python(code: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_looking_up_a_system_and_a_clients_environment_imports_neither_gevent_nor_grpc_nor_etcd3() -> None:
    code = (
        "import sys; from chaoskit.systems import SYSTEMS; from chaoskit.systems.etcd.clients import CLIENTS;"
        "assert CLIENTS['etcd3']().environment;"
        "print({'gevent', 'grpc', 'etcd3', 'google.protobuf'} & set(sys.modules))"
    )
    assert run_python(code, {}).strip() == "set()"


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_is_filed_under_its_own_name(name: str) -> None:
    assert CLIENTS[name]().name == name


def test_our_messages_have_the_field_numbers_of_etcds_and_live_beside_etcd3s_in_one_process() -> None:
    code = """
from etcd3.etcdrpc import rpc_pb2 as theirs, kv_pb2
from chaoskit.systems.etcd import rpc_pb2 as ours
compared = 0
for name, mine in ours.DESCRIPTOR.message_types_by_name.items():
    other = theirs.DESCRIPTOR.message_types_by_name.get(name) or kv_pb2.DESCRIPTOR.message_types_by_name.get(name)
    if other is None:
        continue
    for field in mine.fields:
        their = other.fields_by_name.get(field.name)
        if their is not None:
            compared += 1
            assert (field.number, field.type) == (their.number, their.type), (name, field.name)
print(compared)
"""
    assert int(run_python(code, {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"})) > 90


def test_the_generated_code_runs_with_the_oldest_protobuf_that_is_allowed() -> None:
    generated = re.search(r"Protobuf Python Version: (\d+)\.(\d+)", Path(rpc_pb2.__file__).read_text())
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    allowed = re.search(r'"protobuf>=(\d+)\.(\d+)', project)
    assert generated and allowed
    assert tuple(map(int, generated.groups())) <= tuple(map(int, allowed.groups()))
