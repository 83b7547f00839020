"""Several servers on one index: what one of them is told, all of them know."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from httpx2 import Client

from tests.serve.test_index import picture

pytestmark = pytest.mark.slow


def test_two_servers_answer_from_one_index(folder: Path, photos: Path, tmp_path: Path) -> None:
    photo = {"photo": ("p.jpg", picture(photos, 1), "image/jpeg")}
    with ExitStack() as stack:
        clients = []
        for number in (0, 1):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            log = stack.enter_context((tmp_path / f"{number}.log").open("w"))
            command = [sys.executable, "-m", "ilion", "serve", str(folder), "--port", str(port)]
            server = subprocess.Popen([*command, "--rate", "0"], stdout=log, stderr=log, env=os.environ)
            stack.callback(server.wait)
            stack.callback(server.terminate)
            client = Client(base_url=f"http://127.0.0.1:{port}", timeout=120)
            clients.append(stack.enter_context(client))
        until = time.monotonic() + 180
        for client in clients:
            while True:
                try:
                    assert client.get("/ready").status_code == 200
                    break
                except OSError:
                    assert time.monotonic() < until, (tmp_path / "0.log").read_text()
                    time.sleep(0.2)
                except Exception as error:
                    if "Connect" not in type(error).__name__ or time.monotonic() > until:
                        raise
                    time.sleep(0.2)
        first, second = clients
        same = [client.post("/api/search", files=photo).json()["photos"] for client in clients]
        assert same[0] == same[1]
        assert (
            first.post("/api/photos", files=photo, data={"id": "new", "object": "valve"}).status_code == 201
        )
        assert second.post("/api/search", files=photo).json()["photos"][0]["id"] == "new"
        assert second.delete("/api/photos", params={"id": "new"}).status_code == 200
        found = first.post("/api/search", files=photo, data={"k": "100"}).json()["photos"]
        assert "new" not in [p["id"] for p in found]
