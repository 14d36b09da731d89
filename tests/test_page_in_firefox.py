"""The page as a file in headless Firefox, which gives local files no origin and no modules."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from maskdepth.errors import PageNotBuiltError
from maskdepth.page import write_page

_READY_SECONDS = 120
_STATE = "JSON.stringify([document.documentElement.dataset.state ?? '', document.body.innerText])"


class _Session:
    """A session of WebDriver BiDi (W3C), which needs no driver beside Firefox."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._number = 0
        self.complaints: list[str] = []

    async def call(self, method: str, **params: Any) -> Any:
        self._number += 1
        command = {"id": self._number, "method": method, "params": params}
        await self._socket.send(json.dumps(command))
        while True:
            message = json.loads(await self._socket.recv())
            if message.get("id") == self._number:
                assert message["type"] == "success", message
                return message["result"]
            if message.get("method") == "log.entryAdded" and message["params"]["level"] == "error":
                self.complaints.append(message["params"]["text"])


async def show(address: str, url: str) -> tuple[str, list[str]]:
    """The text of a page once it is ready, and its errors."""
    websockets = pytest.importorskip("websockets", reason="websockets is not installed")
    async with websockets.connect(f"{address}/session", max_size=None) as socket:
        session = _Session(socket)
        await session.call("session.new", capabilities={})
        await session.call("session.subscribe", events=["log.entryAdded"])
        tree = await session.call("browsingContext.getTree")
        context = tree["contexts"][0]["context"]
        await session.call("browsingContext.navigate", context=context, url=url, wait="complete")
        target = {"context": context, "sandbox": "test"}
        while True:
            answer = await session.call(
                "script.evaluate", expression=_STATE, target=target, awaitPromise=False
            )
            state, text = json.loads(answer["result"]["value"])
            if state == "ready" or session.complaints:
                return text, session.complaints
            await asyncio.sleep(0.2)


def test_the_sample_pair_is_cut_out_in_firefox(tmp_path: Path) -> None:
    path = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
    if path is None:
        pytest.skip("no Firefox is installed (Debian: apt-get install firefox-esr)")
    try:
        write_page(tmp_path / "page.html")
    except PageNotBuiltError as error:
        pytest.skip(str(error))
    command = [path, "--headless", "--no-remote", "--remote-debugging-port=0"]
    command += ["--profile", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as firefox:
        timer = threading.Timer(_READY_SECONDS, firefox.kill)
        timer.start()
        try:
            assert firefox.stderr is not None
            found = None
            while found is None:
                line = firefox.stderr.readline()
                assert line, "Firefox has ended"
                found = re.search(r"WebDriver BiDi listening on (\S+)", line)
            text, complaints = asyncio.run(show(found[1], (tmp_path / "page.html").as_uri()))
        finally:
            timer.cancel()
            firefox.kill()
    assert complaints == []
    assert "The camera has not moved." in text
