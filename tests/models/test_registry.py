"""registry: a download is there whole and verified, or not at all, and one line says what to do."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from facelib import paths
from facelib.errors import InputError
from facelib.models import registry

CONTENT = bytes(range(256)) * 100


class Publisher(BaseHTTPRequestHandler):
    """A server with a right file, a cut one, a wrong one and a login page; the path says which."""

    def do_GET(self):
        self.server.asked.append(self.path)
        content = {"/wrong": CONTENT[::-1], "/login": b"<html>please log in"}.get(self.path, CONTENT)
        if self.path == "/gone":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if self.path == "/cut" else content)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def publish(server, tmp_path, monkeypatch):
    """Makes "yunet" a file that the local server publishes; what is known of it is given by name."""
    monkeypatch.setenv("FACELIB_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.asked.clear()

    def publish(path: str, **known) -> registry.Download:
        item = replace(
            registry.DOWNLOADS["yunet"],
            url=f"http://127.0.0.1:{server.server_port}{path}",
            **known,
        )
        monkeypatch.setitem(registry.DOWNLOADS, "yunet", item)
        return item

    return publish


KNOWN = {"size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}


def left_behind(folder) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_the_right_file_is_kept_and_fetched_once(publish, server, tmp_path):
    item = publish("/right", **KNOWN)
    with pytest.raises(InputError, match="is not here; run `facelib data fetch yunet`"):
        registry.locate("yunet")
    for _ in range(2):
        assert registry.fetch("yunet") == item.path == registry.locate("yunet")
        assert item.path.read_bytes() == CONTENT
    assert server.asked == ["/right"] and left_behind(tmp_path) == [item.name]


def test_a_damaged_copy_is_replaced(publish, tmp_path):
    item = publish("/right", **KNOWN)
    item.path.parent.mkdir(parents=True)
    item.path.write_bytes(CONTENT[:-1])
    assert registry.fetch("yunet").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "known", "reason"),
    [
        ("/cut", KNOWN, "the connection broke off|has 12,800 bytes, the published file 25,600"),
        ("/wrong", KNOWN, "has another sha256 than the published file"),
        ("/wrong", KNOWN | {"size": None}, "has another sha256 than the published file"),
        ("/login", KNOWN, "has 19 bytes, the published file 25,600"),
        ("/gone", KNOWN, "the server answers 404"),
    ],
)
def test_a_wrong_file_leaves_nothing(publish, tmp_path, path, known, reason):
    item = publish(path, **known)
    with pytest.raises(InputError, match=reason) as caught:
        registry.fetch("yunet")
    line = str(caught.value)
    assert "\n" not in line
    assert f"by hand: download {item.url} and put it at {item.path}" in line
    assert left_behind(tmp_path) == []


def test_a_good_file_survives_a_failed_download(publish, monkeypatch):
    item = publish("/right", **KNOWN)
    registry.fetch("yunet")
    newer = replace(item, url=item.url.replace("/right", "/cut"), sha256="0" * 64, size=5)
    monkeypatch.setitem(registry.DOWNLOADS, "yunet", newer)
    with pytest.raises(InputError):
        registry.fetch("yunet")
    assert item.path.read_bytes() == CONTENT


def test_a_place_that_cannot_be_written(publish, tmp_path):
    item = publish("/right", **KNOWN)
    item.path.parent.parent.mkdir(parents=True)
    item.path.parent.write_text("a file where the folder should be")
    with pytest.raises(InputError, match="cannot be downloaded .* by hand"):
        registry.fetch("yunet")


@pytest.mark.parametrize("status", [-11, 1, 0])
def test_a_detector_is_tried_in_a_process_of_its_own(status, publish, tmp_path, monkeypatch):
    """What ends the process there is an error here; a known file needs no trial."""
    item = publish("/right", **KNOWN)
    tried = []
    monkeypatch.setattr(
        registry.subprocess,
        "run",
        lambda command, **_: tried.append(command[-1]) or SimpleNamespace(returncode=status),
    )
    registry._is_read.cache_clear()
    monkeypatch.setattr(registry, "_YUNETS", (item.sha256,))
    registry.fetch("yunet")
    registry.check_detector(item.path)
    item.path.write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match=r"is damaged \(its sha256 .*`facelib data fetch yunet` brings"):
        registry.check_detector(item.path)
    assert not tried
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(CONTENT[:-1])
    for _ in range(2):
        if status:
            with pytest.raises(InputError, match="mine.onnx: OpenCV cannot read it as a YuNet model"):
                registry.check_detector(mine)
        else:
            registry.check_detector(mine)
    assert tried == [str(mine)]
    registry._is_read.cache_clear()


def test_a_file_that_is_no_detector_is_refused_in_earnest(tmp_path):
    (tmp_path / "mine.onnx").write_bytes(CONTENT)
    with pytest.raises(InputError, match="OpenCV cannot read it"):
        registry.check_detector(tmp_path / "mine.onnx")


def test_damaged_weights_are_named(tmp_path):
    import keras

    def build(units: int = 3):
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])

    path, model = tmp_path / "x.weights.h5", build()
    model.save_weights(path)
    whole, values = path.read_bytes(), model.get_weights()
    registry.load_weights(model, path)
    for content in (whole[: len(whole) // 2], whole[:100], b"", b"text"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"x\.weights\.h5: cannot be read: damaged") as caught:
            registry.load_weights(model, path)
        assert "\n" not in str(caught.value)
    model.set_weights([each * np.nan for each in values])
    model.save_weights(path)
    with pytest.raises(InputError, match="numbers that are not finite"):
        registry.load_weights(build(), path)
    build(5).save_weights(path)
    with pytest.raises(InputError, match=r"x\.weights\.h5: "):
        registry.load_weights(build(), path)
    with h5py.File(path, "w") as file:  # a kilobyte that says it has 10^12 numbers
        file.create_dataset("x", (10**12,), "f4", chunks=(1000,))
    with pytest.raises(InputError, match="1,000,000,000,000 numbers"):
        registry.load_weights(build(), path)
    with pytest.raises(InputError, match="'magic', which is none of ours"):
        registry.build("magic", path)


def test_published_files_are_known_as_well_as_they_can_be():
    for name, item in registry.DOWNLOADS.items():
        assert item.url.startswith("https://") and item.url.endswith(item.name)
        assert len(bytes.fromhex(item.sha256)) == 32 and (item.size or name == "deepface-gender")
        assert item.path.is_relative_to(paths.data())


#: The most parameters that each network may have: the README and the issues promise it.
LARGEST = {
    "emotion": 10e6,
    "emotion-tiny": 100e3,
    "emotion-baseline": 1.5e6,
    "gender": 1e6,
    "vqvae": 3e6,
    "prior": 4e6,
}


@pytest.mark.parametrize("task", LARGEST)
def test_shipped_networks_have_complete_cards(task):
    assert task in registry.shipped()
    card = registry.card(task)
    for field in (
        "name", "architecture", "input", "output", "intended_use", "limits", "parameters", "data",
        "data_digest", "command", "recipe", "date", "weights_digest",
    ):  # fmt: skip
        assert card[field], field
    assert "metrics" in card and "seed" in card["recipe"]
    assert card["parameters"] <= LARGEST[task]
    files = {f"{task}.weights.h5": "weights_digest"}
    if task not in registry.GENERATOR:
        files[f"{task}.onnx"] = "graph_digest"
    for name, field in files.items():
        assert card[field], field
        path = paths.WEIGHTS / name
        assert paths.digest(path).startswith(card[field]), f"{name} is not the file that its card describes"
        # Two bytes a parameter; the gender network's graph alone has four (its folded values are not halves).
        each = 4 if name == "gender.onnx" else 2
        assert path.stat().st_size < each * card["parameters"] + 120_000
    if task == "gender":
        assert "pparent gender" in card["limits"] and "children" in card["limits"]


def test_the_prior_writes_for_the_codec_that_is_shipped():
    assert registry.card("prior")["codec_digest"] == registry.card("vqvae")["weights_digest"]


def test_the_weights_stay_small():
    assert sum(path.stat().st_size for path in paths.WEIGHTS.iterdir()) <= 40e6


@pytest.mark.parametrize(
    "devices, flags, mixed",
    [
        (["cpu:0"], "flags : fpu avx2", False),
        (["cpu:0"], "flags : fpu avx512f avx512_bf16", True),
        (["cpu:0"], None, False),  # not Linux
        (["gpu:0"], "flags : fpu", True),
    ],
)
def test_bfloat16_is_for_hardware_that_has_it(tmp_path, monkeypatch, devices, flags, mixed):
    import keras

    if flags:
        (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: devices)
    monkeypatch.setattr(registry, "Path", lambda name: tmp_path / "cpuinfo")
    assert registry.precision() == ("mixed_bfloat16" if mixed else "float32")
    assert registry.precision(False) == "float32"


def test_many_pictures_are_looked_at_in_parts(monkeypatch):
    many = np.random.default_rng(0).random((18, 48, 48, 1), np.float32)
    graph = registry.OnnxNetwork("emotion-tiny")
    whole = graph(many)
    monkeypatch.setattr(registry.OnnxNetwork, "PART", 7)
    np.testing.assert_allclose(graph(many), whole, atol=1e-6)
    assert graph(many[:0]).shape == (0, 7)


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (lambda: registry.fetch("vgg"), "nothing is called 'vgg'; choose yunet, deepface-emotion"),
        (lambda: registry.card("age"), "no weights called 'age' are shipped"),
        (lambda: registry.OnnxNetwork("age"), "no weights called 'age' are shipped"),
        (lambda: registry.load_emotion_model("vgg"), "choose facelib, tiny, baseline or deepface"),
    ],
)
def test_unknown_names(load, message):
    with pytest.raises(InputError, match=message):
        load()
