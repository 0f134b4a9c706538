"""Locust's page beside a run: what it lets through, and how it is asked for."""

from __future__ import annotations

import socket

import pytest
from flask import Flask
from typer.testing import CliRunner

from chaoskit.cli import app
from chaoskit.cli.web_ui import check_port, with_default_port
from chaoskit.errors import InvalidExperiment
from chaoskit.load.worker.web_ui import refusal

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("GET", "/", "127.0.0.1:8089", 404),  # let through: the empty app below knows no pages
        ("GET", "/stats/requests", "localhost:8089", 404),
        ("POST", "/swarm", "127.0.0.1:8089", 403),
        ("GET", "/stop", "127.0.0.1:8089", 403),
        ("GET", "/stop/", "127.0.0.1:8089", 403),
        ("GET", "/stats/reset", "127.0.0.1:8089", 403),
        ("GET", "/exceptions/reset", "127.0.0.1:8089", 403),
        ("DELETE", "/", "127.0.0.1:8089", 403),
        ("GET", "/", "attacker.example:8089", 403),
    ],
)
def test_the_page_is_to_look_at_and_only_from_this_machine(method: str, path: str, host: str, status: int) -> None:
    app = Flask(__name__)
    app.before_request(refusal(8089))
    assert app.test_client().open(path, method=method, headers={"Host": host}).status_code == status


def test_the_option_alone_means_locusts_own_port() -> None:
    assert with_default_port(["run", "x", "--web-ui"]) == ["run", "x", "--web-ui=8089"]
    assert with_default_port(["run", "x", "--web-ui=9000"]) == ["run", "x", "--web-ui=9000"]


def test_a_port_that_is_taken_is_told_before_anything_starts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InvalidExperiment, match="cannot be used: Address already in use; --web-ui=PORT names"):
            check_port(taken.getsockname()[1])


@pytest.mark.parametrize("option", [[], ["--web-ui=8089"], ["--web-ui=65535"]])
def test_a_run_is_read_with_and_without_the_page(option: list[str]) -> None:
    read = CliRunner().invoke(app, ["run", "nope.yaml", *option])
    assert isinstance(read.exception, InvalidExperiment), read.output
    assert "no such file" in str(read.exception)
