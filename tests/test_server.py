"""The server as users start it: answers, plates, who may call it, and how it ends."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from command_line import Run
from maskdepth import Predictor
from maskdepth.client import Client, ServerError
from maskdepth.images import decode_png, encode_png, load_picture
from maskdepth.inference.plate import load_profile, profile_from_disparity
from maskdepth.inference.plate.calibration import KnownPoint
from maskdepth.inference.plate.profile import save_profile
from servers import Reply, ServerAddress, process_server, quiet_afterwards

PAIR = Path(__file__).resolve().parents[1] / "examples/pair"
TOKENS = ("first-token-0123456789", "second-token-0123456789")

__all__ = ["quiet_afterwards"]  # a fixture for all tests here


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    """The sample pair at a quarter of its size."""
    return {
        name: encode_png(np.ascontiguousarray(load_picture(PAIR / f"{name}.jpg")[::4, ::4]))
        for name in ("picture", "plate")
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerAddress]:
    """A server with two tokens; requests have the first unless they say otherwise."""
    folder = tmp_path_factory.mktemp("server")
    tokens = folder / "tokens"
    tokens.write_text("# two\n" + "\n".join(TOKENS) + "\n")
    with process_server(folder / "plates", "--token-file", str(tokens)) as address:
        address.headers = {"Authorization": f"Bearer {TOKENS[0]}"}
        yield address


@pytest.fixture(scope="module")
def client(server: ServerAddress) -> Client:
    return Client(server.url, TOKENS[0])


def predict(server: ServerAddress, pictures: dict[str, bytes], **headers: str) -> Reply:
    parts: dict[str, bytes | str] = {"image": pictures["picture"], "plate": pictures["plate"]}
    return server.call("POST", "/v1/predict", parts, headers)


def test_json_png_and_zip_hold_what_the_library_predicts(
    server: ServerAddress, client: Client, pictures: dict[str, bytes]
) -> None:
    expected = Predictor.from_pretrained(threads=1).predict(pictures["picture"], pictures["plate"])
    answer = client.predict(pictures["picture"], pictures["plate"])
    assert np.array_equal(answer.alpha, expected.alpha_8_bit() / np.float32(255))
    assert np.array_equal(answer.cutout, expected.cutout())
    assert np.allclose(answer.disparity, expected.disparity, atol=1e-4, equal_nan=True)
    assert answer.depth_m is None
    assert answer.record["plate_used"]

    png = predict(server, pictures, Accept="image/png")
    assert png.headers["content-type"] == "image/png"
    assert np.array_equal(decode_png(png.body), expected.cutout())

    archive = zipfile.ZipFile(io.BytesIO(predict(server, pictures, Accept="application/zip").body))
    assert sorted(archive.namelist()) == [
        "picture.json",
        "picture_alpha.png",
        "picture_cutout.png",
        "picture_disparity.png",
        "picture_preview.jpg",
    ]
    assert predict(server, pictures, Accept="text/html").status == 406
    assert (
        predict(server, pictures, Accept="image/png;q=0.1, application/json")
        .headers["content-type"]
        .startswith("application/json")
    )


def test_a_stored_plate_gives_the_same_and_metres_where_it_is_calibrated(
    client: Client, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    plate_id = client.add_plate(pictures["plate"])
    with_id = client.predict(pictures["picture"], plate_id=plate_id, only="alpha")
    with_file = client.predict(pictures["picture"], pictures["plate"], only="alpha")
    assert with_id.files == with_file.files

    plate = load_picture(pictures["plate"])
    rows = np.linspace(0.1, 1, plate.shape[0], dtype=np.float32)[:, None]
    points = [KnownPoint(10, 10, 8.0), KnownPoint(10, 120, 2.0)]
    profile = profile_from_disparity(plate, np.repeat(rows, plate.shape[1], axis=1), points)
    save_profile(tmp_path / "scene.plate", profile)
    profile_id = client.add_plate(tmp_path / "scene.plate")
    answer = client.predict(pictures["picture"], plate_id=profile_id)
    assert answer.depth_m is not None
    assert answer.record["object"]["median_m"] > 0

    kinds = {plate["id"]: plate["kind"] for plate in client.plates()}
    assert kinds == {plate_id: "picture", profile_id: "profile"}
    for each in kinds:
        client.remove_plate(each)
    with pytest.raises(ServerError, match="There is no plate") as caught:
        client.predict(pictures["picture"], plate_id=plate_id)
    assert caught.value.status == 404
    assert client.plates() == []


def test_one_token_never_reaches_the_plates_of_another(
    server: ServerAddress, client: Client, pictures: dict[str, bytes]
) -> None:
    plate_id = client.add_plate(pictures["plate"])
    other = Client(server.url, TOKENS[1])
    assert other.plates() == []
    for call in (
        lambda: other.predict(pictures["picture"], plate_id=plate_id),
        lambda: other.remove_plate(plate_id),
    ):
        with pytest.raises(ServerError) as caught:
            call()
        assert caught.value.status == 404
    other_headers = {"Authorization": f"Bearer {TOKENS[1]}"}
    assert server.call("GET", f"/v1/plates/{plate_id}", headers=other_headers).status == 404
    assert server.call("GET", f"/v1/plates/{plate_id}").record["width"] == 128
    client.remove_plate(plate_id)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/v1/plates", {"Authorization": ""}, 401),
        ("GET", "/v1/plates", {"Authorization": "Bearer wrong-token-0123456789"}, 401),
        ("GET", "/metrics", {"Authorization": f"Basic {TOKENS[0]}"}, 401),
        ("GET", "/healthz", {"Authorization": ""}, 200),
        ("GET", "/readyz", {"Authorization": ""}, 200),
        ("GET", "/docs", {"Authorization": ""}, 200),
        ("GET", "/metrics", {}, 200),
        ("GET", "/healthz", {"Host": "evil.example"}, 421),
        ("GET", "/healthz", {"Host": "10.1.2.3"}, 421),
        ("GET", "/healthz", {"Host": "localhost:1"}, 200),
        ("GET", "/healthz", {"Host": "user@localhost"}, 421),
        ("GET", "/v1/plates", {"Origin": "http://evil.example"}, 403),
        ("GET", "/v1/plates", {"Origin": "null"}, 403),
        ("POST", "/v1/predict", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("GET", "/v1/nothing", {}, 404),
        ("PUT", "/v1/plates", {}, 405),
        ("GET", "/v1/plates/..%2f..%2fetc", {}, 404),
    ],
)
def test_who_may_call_what(
    server: ServerAddress, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    reply = server.call(method, path, headers=headers)
    assert reply.status == status
    assert "access-control-allow-origin" not in reply.headers
    assert len(reply.headers["x-request-id"]) == 16
    if status >= 400:
        assert reply.record["error"].endswith(".")


@pytest.mark.parametrize(("token", "status"), [(TOKENS[1], 101), ("wrong", 401), (None, 401)])
def test_a_stream_takes_the_token_of_a_browser(
    server: ServerAddress, token: str | None, status: int
) -> None:
    offered = "maskdepth.v1" if token is None else f"maskdepth.v1, bearer.{token}"
    with server.open() as connection:
        lines = [
            *("GET /v1/stream HTTP/1.1", f"Host: 127.0.0.1:{server.port}", f"Origin: {server.url}"),
            *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
            *("Sec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==", f"Sec-WebSocket-Protocol: {offered}"),
        ]
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        reply = connection.recv(4096).decode()
    assert reply.startswith(f"HTTP/1.1 {status}")
    if status == 101:
        assert "maskdepth.v1\r\n" in reply
        assert "bearer" not in reply


def test_its_own_pages_may_call_it(server: ServerAddress) -> None:
    origin = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    assert server.call("GET", "/v1/plates", headers=origin).status == 200


def test_bad_pictures_get_the_sentence_of_the_command_line(
    server: ServerAddress, pictures: dict[str, bytes], run: Run, tmp_path: Path
) -> None:
    other_shape = encode_png(np.zeros((60, 200, 3), np.uint8))
    for name, image, plate, status in (
        ("text", b"no picture at all", None, 415),
        ("document", b"%PDF-1.4 and more", None, 415),
        ("truncated", pictures["picture"][:2000], None, 422),
        ("plate", pictures["picture"], other_shape, 422),
    ):
        parts: dict[str, bytes | str] = {"image": image}
        arguments: list[str | Path] = ["predict", tmp_path / name, "-o", tmp_path / "out"]
        (tmp_path / name).write_bytes(image)
        if plate is not None:
            parts["plate"] = plate
            (tmp_path / "plate.png").write_bytes(plate)
            arguments += ["--plate", tmp_path / "plate.png"]
        reply = server.call("POST", "/v1/predict", parts)
        sentence = run(*arguments).err.splitlines()[0]
        assert reply.status == status
        expected = sentence.replace(str(tmp_path / name), f"the {len(image)} bytes given")
        assert reply.record["error"] in expected
        assert reply.record["part"] == ("image" if plate is None else "plate")


def test_a_picture_of_too_many_pixels_is_turned_away_by_its_header(server: ServerAddress) -> None:
    bomb = encode_png(np.zeros((6000, 5000, 3), np.uint8))
    started = time.monotonic()
    reply = server.call("POST", "/v1/predict", {"image": bomb})
    assert reply.status == 413
    assert "5000x6000" in reply.record["error"]
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"a=1", "application/x-www-form-urlencoded", 415),
        (b"", "", 415),
        (b"", "multipart/form-data", 422),
        (b"--b\r\nContent-Disposi", "multipart/form-data; boundary=b", 422),
        (b"--b--\r\n", "multipart/form-data; boundary=b", 422),
    ],
)
def test_a_body_that_is_no_form_is_turned_away(
    server: ServerAddress, body: bytes, kind: str, status: int
) -> None:
    reply = server.call("POST", "/v1/predict", body=body, headers={"Content-Type": kind})
    assert (reply.status, "error" in reply.record) == (status, True)


def test_the_page_of_routes_needs_nothing_from_elsewhere(server: ServerAddress) -> None:
    page = server.call("GET", "/docs")
    text = page.body.decode()
    assert "<script" not in text
    assert "http" not in text.replace("http://127.0.0.1:8000", "")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    schema = server.call("GET", "/openapi.json").record
    assert {"/v1/predict", "/v1/plates", "/healthz", "/readyz", "/metrics"} <= set(schema["paths"])
    assert all(path in text for path in schema["paths"])


def test_a_server_with_tokens_shows_no_page(server: ServerAddress) -> None:
    root = server.call("GET", "/")
    assert (root.status, root.headers["location"]) == (307, "docs")
    assert server.call("GET", "/model.onnx").status == 404


def test_the_curl_lines_of_the_documentation_work(
    server: ServerAddress, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    for name, data in pictures.items():
        (tmp_path / f"{name}.jpg").write_bytes(data)
    page = (PAIR.parents[1] / "docs/serve.md").read_text(encoding="utf-8")
    lines = re.findall(r"^curl .*$", page, flags=re.MULTILINE)
    assert len(lines) == 8
    for line in lines:
        arguments = shlex.split(line.replace("http://127.0.0.1:8000", server.url))[1:]
        header = f"Authorization: Bearer {TOKENS[0]}"
        command = [curl, "--silent", "--show-error", "--fail", "-H", header, *arguments]
        result = subprocess.run(command, capture_output=True, cwd=tmp_path, check=True)
        assert result.stdout or (tmp_path / arguments[-1]).stat().st_size > 100
    assert load_picture(tmp_path / "cutout.png").shape == (128, 128, 3)
    for plate in server.call("GET", "/v1/plates").record["plates"]:
        server.call("DELETE", f"/v1/plates/{plate['id']}")


def test_metrics_and_log_name_requests_and_no_secrets(
    server: ServerAddress, client: Client, pictures: dict[str, bytes]
) -> None:
    server.call("GET", "/v1/plates", headers={"X-Request-Id": "my-request.1"})
    with pytest.raises(ServerError, match="There is no plate"), client.stream("nope"):
        pass
    with server.open() as connection:  # goes away in the middle of its body
        head = (
            f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKENS[0]}\r\n"
        )
        head += "Content-Length: 900\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n--b"
        connection.sendall(head.encode())
    client.predict(pictures["picture"], only="alpha")
    metrics = server.call("GET", "/metrics").body.decode()
    assert 'maskdepth_requests_total{route="/v1/predict",status="200"}' in metrics
    assert "process_resident_memory_bytes" in metrics
    assert server.process is not None
    log = next(Path(part).with_suffix(".log") for part in server.process.args if "plates" in part)  # type: ignore[union-attr]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert any(line.get("request_id") == "my-request.1" for line in lines)
    assert not any(token in log.read_text() for token in TOKENS)
    assert [line for line in lines if line["level"] == "error"] == []
    assert "x.jpg" not in log.read_text()


def test_a_killed_server_loses_no_plate_and_a_stopped_one_ends_well(
    tmp_path: Path, pictures: dict[str, bytes]
) -> None:
    with process_server(tmp_path / "plates") as address:
        plate_id = Client(address.url).add_plate(pictures["plate"])
        assert address.process is not None
        address.process.kill()
        address.process.wait(10)
    (tmp_path / "plates/local/.0123456789abcdef.part").write_bytes(b"half a plate")
    (tmp_path / "plates/local/mine.jpg").write_bytes(b"somebody's")
    with process_server(tmp_path / "plates") as address:
        client = Client(address.url)
        assert [plate["id"] for plate in client.plates()] == [plate_id]
        assert client.predict(pictures["picture"], plate_id=plate_id, only="alpha").files
        assert address.process is not None
        address.process.send_signal(signal.SIGTERM)
        assert address.process.wait(10) == 0
    left = sorted(path.name for path in (tmp_path / "plates/local").iterdir())
    assert left == [f"{plate_id}-128x128.picture", "mine.jpg"]


def test_listening_to_other_machines_needs_a_token(run: Run, tmp_path: Path) -> None:
    outcome = run("serve", "--host", "0.0.0.0", "--store", tmp_path / "plates")
    assert outcome.code == 2
    assert "needs a --token-file" in outcome.err
    (tmp_path / "tokens").write_text("short\n")
    outcome = run("serve", "--token-file", tmp_path / "tokens", "--store", tmp_path / "plates")
    assert outcome.code == 2
    assert "too short" in outcome.err
    outcome = run("serve", "--token-file", tmp_path / "none", "--store", tmp_path / "plates")
    assert outcome.code == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "tokens"]


def test_a_port_in_use_is_a_sentence(server: ServerAddress, run: Run, tmp_path: Path) -> None:
    outcome = run("serve", "--port", str(server.port), "--store", tmp_path / "plates")
    assert outcome.code == 2
    assert f"cannot listen on 127.0.0.1, port {server.port}" in outcome.err


def test_without_its_packages_the_server_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['uvicorn'] = None; sys.argv = ['maskdepth', 'serve']\n"
        "from maskdepth.cli import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert result.returncode == 1
    assert "pip install '.[serve]'" in result.stderr


def test_a_profile_is_the_same_from_its_bytes(tmp_path: Path) -> None:
    picture = np.full((40, 60, 3), 90, np.uint8)
    save_profile(
        tmp_path / "a.plate", profile_from_disparity(picture, np.full((40, 60), 0.5, np.float32))
    )
    from_bytes = load_profile((tmp_path / "a.plate").read_bytes())
    assert np.array_equal(from_bytes.picture, picture)
    assert from_bytes.file is None
