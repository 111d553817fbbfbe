"""Nothing opens a socket but what is listed here: by what modules import and name, and by what commands do."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT, environment, images_file

PACKAGES = (ROOT / "ganzoo", ROOT / "cli" / "ganzoo_cli")
ALLOWED = {
    # Data sets are fetched if they are not on disk.
    "ganzoo/data/published.py": {"http", "socket", "urllib.request", "urlopen", "download_and_extract_archive"},
    # Several processes train one run if torchrun started them.
    "ganzoo/compute/distributed.py": {"torch.distributed"},
    # --log tensorboard writes files.
    "ganzoo/training/loggers.py": {"torch.utils.tensorboard"},
    # --executor ray asks for a cluster, whose address is tried first.
    "ganzoo/studies/executors.py": {"socket", "create_connection", "ray"},
}
# Modules that connect, listen or fetch.
NETWORK = {
    *("socket", "socketserver", "ssl", "http", "urllib.request", "ftplib", "smtplib", "poplib", "imaplib", "xmlrpc"),
    *("asyncio", "webbrowser", "multiprocessing.connection", "multiprocessing.managers", "logging.handlers"),
    *("torch.distributed", "torch.hub", "torch.utils.model_zoo", "torch.utils.tensorboard", "onnx.hub", "ray"),
    *("requests", "httpx", "aiohttp", "urllib3", "websockets", "grpc", "tornado", "flask", "fastapi", "uvicorn"),
    *("huggingface_hub", "fsspec", "boto3", "wandb", "mlflow", "tensorboard", "sentry_sdk", "paramiko"),
}
# Functions that connect, listen or fetch, whoever they belong to.
FETCHING = {
    *("urlopen", "urlretrieve", "create_connection", "create_server", "load_state_dict_from_url"),
    *("download_url", "download_and_extract_archive", "download_url_to_file", "snapshot_download", "from_pretrained"),
}
EVENTS = ("bind", "connect", "sendto", "sendmsg", "getaddrinfo", "gethostbyname", "gethostbyaddr", "getnameinfo")
# Each process that has this on its path notes what it does, and those that it starts do too.
WATCH = f"""
import os, sys

def note(text):
    with open(os.environ["SOCKETS"], "a") as file:
        file.write(text + "\\n")

def watch(event, arguments):
    if event.startswith("socket.") and event.removeprefix("socket.") in {EVENTS}:
        note(f"{{event}} {{arguments[-1]}}")

sys.addaudithook(watch)
note("watching")
"""
DRIVER = """
import json, sys
from ganzoo_cli.app import main

for arguments in json.loads(sys.argv[1]):
    sys.argv = ["ganzoo", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code, arguments
"""


def named(node: ast.AST) -> list[str]:
    """The modules and functions that a node of a program names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Attribute | ast.Name):
        return [ast.unparse(node)]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
        return [part.value for part in node.args if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return []


def uses(source: str) -> Iterator[str]:
    """What a module has of the network: what it imports, also by a name in a string, and the functions it names."""
    for node in ast.walk(ast.parse(source)):
        for name in named(node):
            if not isinstance(node, ast.Name):
                yield from (module for module in NETWORK if f"{name}.".startswith(f"{module}."))
            yield from {name.rpartition(".")[2]} & FETCHING


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import socket as s", {"socket"}),
        ("import http.server", {"http"}),
        ("from urllib import request", {"urllib.request"}),
        ("from urllib.request import urlopen as get", {"urllib.request", "urlopen"}),
        ("def f():\n    from torch import distributed", {"torch.distributed"}),
        ("import torch\ntorch.hub.load('x')", {"torch.hub"}),
        ("importlib.import_module('torch.distributed.nn')", {"torch.distributed"}),
        ("load().datasets.utils.download_url('x')", {"download_url"}),
        ("import urllib.parse, torch, sockets_of_mine", set()),
        ("from . import socket\nself.http.requests", set()),
    ],
)
def test_the_search_sees_each_way_to_the_network(source: str, expected: set[str]) -> None:
    assert set(uses(source)) == expected


def test_no_module_reaches_for_the_network_but_those_listed() -> None:
    paths = [path for package in PACKAGES for path in package.rglob("*.py")]
    found = {path.relative_to(ROOT).as_posix(): set(uses(path.read_text(encoding="utf-8"))) for path in paths}
    assert {name: names for name, names in found.items() if names} == ALLOWED


def watched(place: Path, *commands: list[str]) -> tuple[list[str], list[str], str]:
    """What commands do with sockets, in one process and in all that it starts; those processes; and their stderr.

    Proxies lead to a port where nobody listens.
    """
    (place / "watch").mkdir()
    (place / "watch" / "sitecustomize.py").write_text(WATCH)
    proxies = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https")} | {"no_proxy": ""}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(commands)],
        cwd=place,
        env={**environment(place / "watch"), **proxies, "SOCKETS": str(place / "sockets")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    lines = (place / "sockets").read_text().splitlines()
    processes = [line for line in lines if line == "watching"]
    return [line for line in lines if line != "watching"], processes, done.stderr if done.returncode else ""


def test_a_data_set_that_has_to_be_fetched_is_seen(tmp_path: Path) -> None:
    events, _, err = watched(tmp_path, ["data", "kmnist", "--data-dir", str(tmp_path / "data")])
    assert any(event.startswith("socket.connect") for event in events)
    assert "could not be fetched" in err


@pytest.mark.slow
def test_commands_open_no_socket(tmp_path: Path) -> None:
    source, judged = images_file(tmp_path / "images.npz"), ["--dataset", "mnist-5k", "--n", "8", "--seeds", "1"]
    classes = ["--figures", "classes"]
    small = ["--steps", "2", "--batch-size", "16", "--set", "generator.width=8", "--set", "discriminator.width=8"]
    runs = [["train", "--variant", name, "--dataset", source, "--out", name, *small] for name in ("cgan", "sagan")]
    events, processes, err = watched(
        tmp_path,
        ["list", "variants"],
        ["data", source],
        *runs,
        ["resume", "cgan", "--steps", "3"],
        ["sample", "cgan", "-n", "4", "--out", "a.png"],
        ["export", "cgan", "--onnx", "-o", "a.onnx"],
        ["export", "sagan", "--onnx", "-o", "b.onnx"],  # tried out in a process of its own
        ["export", "cgan", "--format", "pt2", "-o", "cgan/a.pt2"],
        ["sample", "a.onnx", "-n", "4", "--out", "b.png"],
        ["info", "a.onnx"],
        ["verify", "b.onnx"],
        ["report", "cgan", "--out", "pages"],
        ["evaluate", "cgan", *judged, *classes],
        ["compare", "--variants", "gan,wgan", "--steps", "2", "--jobs", "2", *judged, *classes],
    )
    assert err == ""
    assert len(processes) > 1
    assert events == []
