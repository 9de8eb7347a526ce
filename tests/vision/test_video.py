"""facelib.vision.video: frames at their times, faces that keep their number, bounded memory, clear errors."""

from __future__ import annotations

import struct
import time
import wave
from functools import cache
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import facelib
from facelib.data import synthetic_drawing, synthetic_faces
from facelib.emotions import EMOTIONS
from facelib.errors import InputError
from facelib.vision import video
from facelib.vision.detection import Detection
from facelib.vision.encoder import FaceEncoder

RATE = 25
SIDE = 96  # of a drawn head, in pixels


# --- films made here ----------------------------------------------------------------------------------


@cache
def head(identity: int, emotion: str = "neutral", side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """A drawn head, (side, side, 3) float32 times its coverage, and the coverage (side, side, 1)."""
    who, shot = synthetic_drawing.traits(np.array([identity])), synthetic_faces._shots(1, None)
    units = synthetic_faces._units(emotion, 1.0)[None]
    colours = []
    for channel in range(3):
        tinted = {name: getattr(who, name) * tint[channel] for name, tint in synthetic_faces.TINTS.items()}
        gray, cover = synthetic_drawing.layers(SimpleNamespace(**vars(who) | tinted), shot, units, side)
        colours.append(gray[0])
    return np.stack(colours, -1), cover[0][..., None]


def scene(heads, size=(240, 320)) -> np.ndarray:
    """A wall with heads, (H, W, 3) uint8 RGB. heads: (x, y, identity, emotion), the last in front."""
    picture = np.full((*size, 3), 120, np.float32)
    for x, y, *who in heads:
        gray, cover = head(*who)
        x, y, side = round(x), round(y), len(gray)
        top, left = max(0, -y), max(0, -x)
        bottom, right = min(side, size[0] - y), min(side, size[1] - x)
        if top < bottom and left < right:
            part = picture[y + top : y + bottom, x + left : x + right]
            inside = np.s_[top:bottom, left:right]
            part[:] = gray[inside] + (1 - cover[inside]) * part
    return np.clip(picture, 0, 255).astype(np.uint8)


def write(path, frames, rate: float = RATE, code: str = "mp4v"):
    """A film of RGB frames; the number of each stands in its upper row as black and white squares."""
    film = None
    for number, frame in enumerate(frames):
        frame = frame.copy()
        for bit in range(12):
            frame[:16, 16 * bit : 16 * bit + 16] = 255 * (number >> bit & 1)
        if film is None:
            film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), rate, frame.shape[1::-1])
        film.write(frame[..., ::-1])
    film.release()
    return path


def number_in(image: np.ndarray) -> int:
    return sum(int(image[8, 16 * bit + 8, 0] > 127) << bit for bit in range(12))


def turned(data: bytes) -> bytes:
    """An MP4 that is to be shown a quarter turn clockwise."""
    matrix = data.index(b"tkhd") + 44
    turn = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    return data[:matrix] + turn + data[matrix + 36 :]


def with_durations(data: bytes, parts: list[tuple[int, int]]) -> bytes:
    """An MP4 whose frames last so long: (frames, ticks) …; together as long as before."""
    at = data.index(b"stts") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    table = struct.pack(">II", 0, len(parts)) + b"".join(struct.pack(">II", *part) for part in parts)
    new = bytearray(data[:at] + struct.pack(">I", len(table) + 8) + b"stts" + table + data[at + size :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        place = new.index(name) - 4
        new[place : place + 4] = struct.pack(
            ">I", int.from_bytes(new[place : place + 4], "big") + len(table) + 8 - size
        )
    return bytes(new)


def detection(x: float, y: float, side: float = SIDE) -> Detection:
    return Detection((round(x), round(y), round(side), round(side)), None, 0.9,
                     (x + side / 2, y + side / 2, side))  # fmt: skip


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """Four seconds: a happy head moves right, another comes from the right and leaves on the left."""

    def frames():
        for number in range(4 * RATE):
            t = number / RATE
            yield scene([(270 - 130 * t, 130, 9, "surprise"), (20 + 40 * t, 25, 3, "happy")])

    return write(tmp_path_factory.mktemp("films") / "walk.mp4", frames())


def true_faces(image: np.ndarray) -> list[Detection]:
    """A detector for ``walk`` that knows where the heads are, by the number in the frame."""
    t = number_in(image) / RATE
    places = (20 + 40 * t, 25), (270 - 130 * t, 130)
    return [detection(x, y) for x, y in places if -SIDE / 2 <= x <= 320 - SIDE / 2]


def encoder(detector, **options) -> FaceEncoder:
    return FaceEncoder(detector, **{"emotion": None, "gender": None} | options)


# --- reading ------------------------------------------------------------------------------------------


def test_every_frame_has_its_number_and_its_time(walk):
    film = video.Film(walk)
    assert (film.rate, film.count, film.size) == (RATE, 4 * RATE, (320, 240))
    for place, (number, seconds, image) in enumerate(film.frames()):
        assert place == number == number_in(image) and seconds == pytest.approx(number / RATE, abs=1e-6)
    assert place == 4 * RATE - 1 and film.fault is None


@pytest.mark.parametrize("every", [0.1, 0.25, 1 / 3])
def test_frames_are_sampled_by_time_without_drift(walk, every):
    times = [seconds for _, seconds, _ in video.Film(walk).frames(every)]
    due = every * np.arange(len(times))
    assert len(times) == int(np.ceil((4 - 1 / RATE + 1e-6) / every)) or times[-1] + every > 4 - 1 / RATE
    assert (np.array(times) >= due - 1e-3).all() and (times < due + 1 / RATE).all()


def test_variable_frame_rate(walk, tmp_path):
    ticks = 512  # as long as OpenCV's writer lets a frame of this film last
    there = tmp_path / "variable.mp4"
    there.write_bytes(
        with_durations(walk.read_bytes(), [(40, ticks // 2), (40, ticks * 3 // 2), (20, ticks)])
    )
    true = np.cumsum([0] + [0.5] * 40 + [1.5] * 40 + [1.0] * 19) / RATE
    found = [(number_in(image), seconds) for _, seconds, image in video.Film(there).frames()]
    assert [number for number, _ in found] == list(range(100))
    assert np.abs(true - [seconds for _, seconds in found]).max() < 1e-3
    for number, seconds in ((number_in(i), s) for _, s, i in video.Film(there).frames(0.5)):
        assert seconds == pytest.approx(true[number], abs=1e-3) and seconds % 0.5 < 1.5 / RATE


def test_rotation_flag(walk, tmp_path):
    (tmp_path / "turned.mp4").write_bytes(turned(walk.read_bytes()))
    film = video.Film(tmp_path / "turned.mp4")
    upright = next(video.Film(walk).frames())[2]
    assert film.size == (240, 320)
    assert np.abs(np.rot90(upright, -1).astype(int) - next(film.frames())[2]).max() < 3


def make_faulty(walk, folder):
    """One file for each fault; name -> what the message must say."""
    data = walk.read_bytes()
    (folder / "cut.mp4").write_bytes(data[: len(data) // 2])
    (folder / "sound.mp4").write_bytes(data.replace(b"vide", b"soun").replace(b"vmhd", b"smhd"))
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.avi").write_text("Dear diary")
    (folder / "none.mp4").write_bytes(hollow(data))
    with wave.open(str(folder / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 100, "NONE", "not compressed"))
        sound.writeframes(bytes(200))
    return {
        "cut.mp4": "is truncated, its index is missing",
        "sound.mp4": "no video stream",
        "sound.wav": "no video stream",
        "empty.mp4": "the file is empty",
        "text.avi": "is no film",
        "none.mp4": "not a single frame",
        "missing.mp4": "no such file",
        ".": "cannot be read",
    }


def hollow(data: bytes) -> bytes:
    """An MP4 with its index and without its frames."""
    at = data.index(b"mdat") + 4
    return data[:at] + bytes(data.index(b"moov") - 4 - at) + data[data.index(b"moov") - 4 :]


def test_what_is_no_film_is_one_line(walk, tmp_path, capfd):
    for name, message in make_faulty(walk, tmp_path).items():
        with pytest.raises(InputError) as caught:
            facelib.analyze_video(tmp_path / name)
        assert message in str(caught.value) and "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""  # FFmpeg prints nothing of its own


def test_a_film_that_breaks_off_gives_what_it_has(walk, tmp_path):
    whole = write(tmp_path / "whole.avi", (image for _, _, image in video.Film(walk).frames()), code="MJPG")
    (tmp_path / "cut.avi").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.warns(UserWarning, match=r"cut.avi: breaks off after [12]\.\d of 4.0 s"):
        table = facelib.analyze_video(tmp_path / "cut.avi", 0, detector="none", emotion=None)
    assert 30 < len(table) < 60
    assert len(facelib.analyze_video(whole, 0, detector="none", emotion=None)) == 100  # and no warning


# --- following ----------------------------------------------------------------------------------------


def crossing(seed: int, every: float) -> bool:
    """Whether two faces that cross keep their numbers: jittered boxes in any order, one hidden."""
    rng = np.random.default_rng(seed)
    front, behind = (int(who) for who in rng.choice(40, 2, replace=False))
    (y, other_y), (speed, other_speed), length = rng.uniform(40, 110, 2), rng.uniform(80, 260, 2), 2.0
    tracker, numbers = video.Tracker(), []
    for t in np.arange(0, length, every) - length / 2:
        places = {front: (270 + speed * t, y + 10 * np.sin(3 * t)), behind: (270 - other_speed * t, other_y)}
        picture = scene([(*places[behind], behind), (*places[front], front)], (240, 640))
        apart = np.abs(np.subtract(*places.values()))
        if np.prod(np.clip(SIDE - apart, 0, None)) > 0.4 * SIDE**2:
            del places[behind]
        who = list(rng.permutation(list(places)))
        faces = [
            detection(*(np.array(places[each]) + 3 * rng.normal(size=2)), SIDE + 3 * rng.normal())
            for each in who
        ]
        gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        numbers.append(dict(zip(who, tracker.update(t, faces, [video._patch(gray, face) for face in faces]))))
    return numbers[0] == numbers[-1] and len(set(numbers[0].values())) == 2


@pytest.mark.parametrize("every", [0.04, 0.12, 0.3])
def test_tracks_keep_their_number_through_a_crossing(every):
    assert sum(crossing(seed, every) for seed in range(100, 110)) >= 9


def test_a_face_that_returns_late_or_elsewhere_is_another():
    patch = video._normal(np.arange(256, dtype=np.float32))
    tracker = video.Tracker()

    def number(t, x, looks=patch):
        return tracker.update(t, [detection(x, 50)], [looks])[0]

    assert [number(0, 10), number(0.1, 12), number(0.2, 500), number(0.4, 16)] == [1, 1, 2, 1]
    for t in (1.0, 1.5, 2.0):
        assert tracker.update(t, [], []) == []
    assert number(0.5 + video.PATIENCE, 16) == 3
    assert number(2.1, 16, -patch) == 4  # after a cut in the film: somebody else, at the same place


@pytest.mark.parametrize("detect_every", [1, 3, 7])
def test_faces_are_followed_between_the_detectors_looks(walk, detect_every):
    looks = []

    def detector(image):
        looks.append(number_in(image))
        return true_faces(image)

    frames = list(video.stream(walk, encoder(detector), every=0, detect_every=detect_every))
    assert sorted(looks) == sorted({*range(0, 100, detect_every), 99})
    assert [frame.number for frame in frames] == list(range(100))
    for frame in frames:
        left = 270 - 130 * frame.time
        true = {1: 20 + 40 * frame.time} | ({2: left} if left >= -SIDE / 2 else {})
        found = {face.track: face.box[0] for face in frame.faces}
        if abs(left + SIDE / 2) > 130 * detect_every / RATE:  # not just leaving
            assert found.keys() == true.keys()
        assert all(abs(x - true[track]) <= 1 for track, x in found.items() if track in true)
        assert all(face.path == str(walk) and face.time == frame.time for face in frame.faces)


def test_what_is_seen_once_alone_is_no_face_unless_looks_are_rare(walk):
    def flicker(image):
        number = number_in(image)
        return [detection(20, 20)] + [detection(200, 120)] * (number == 50)

    def tracks(every):
        return [len(frame.faces) for frame in video.stream(walk, encoder(flicker), every, 1)]

    assert tracks(0) == [1] * 100 and tracks(1) == [1, 1, 2, 1]


def test_rare_looks_keep_the_numbers():
    patch = video._normal(np.arange(256, dtype=np.float32))
    tracker = video.Tracker()
    assert [tracker.update(t, [detection(50 + t, 50)], [patch]) for t in range(0, 40, 5)] == [[1]] * 8


def test_interpolated_eyes_move_with_the_face():
    def seen(x, eyes):
        return Detection((x, 0, 40, 40), eyes, 0.5, (x + 20.0, 20.0, 40.0))

    middle = video._between(seen(0, ((10, 15), (30, 15))), seen(40, None), 0.25)
    assert middle.box == (10, 0, 40, 40) and middle.eyes == ((20, 15), (40, 15))
    assert video._between(seen(0, None), seen(4, None), 0.5).eyes is None


def test_smoothing_weights_fall_with_time():
    smooth = video._Smoother(0.5)
    assert smooth(1, 0.0, {"a": 1.0, "b": 0.0}) == {"a": 1.0, "b": 0.0}
    assert smooth(1, 0.5, {"a": 0.0, "b": 1.0})["a"] == pytest.approx(np.exp(-1))
    assert smooth(2, 0.5, {"a": 0.0, "b": 1.0}) == {"a": 0.0, "b": 1.0}  # another track
    assert video._Smoother(0)(1, 0.0, {"a": 0.25}) == {"a": 0.25}


# --- the whole way --------------------------------------------------------------------------------------


def test_a_film_becomes_a_table(walk):
    table = facelib.analyze_video(walk, every=0.2, detector="haar", emotion="tiny", smooth=0.5)
    assert tuple(table.columns) == video.COLUMNS and (table.path == str(walk)).all()
    assert np.allclose(table.time, table.frame / RATE) and set(table.source_index) == {0}
    first = table[table.track == 1]
    assert len(first) == 20 and np.abs(first.x + first.w / 2 - (20 + SIDE / 2 + 40 * first.time)).max() < 8
    probabilities = table[list(EMOTIONS)].to_numpy()
    smoothed = table[[f"smoothed_{name}" for name in EMOTIONS]].to_numpy()
    assert np.allclose(probabilities.sum(1), 1) and np.allclose(smoothed.sum(1), 1)
    assert first.smoothed.iloc[-1] == "happy" and table.gender.isna().all()
    assert first.smoothed_happy.std() < first.happy.std() + 1e-9


def test_bad_options_are_one_line(walk):
    for options in ({"every": -1}, {"detect_every": 0}, {"smooth": -1}, {"mode": "deepface"}):
        with pytest.raises(InputError):
            facelib.analyze_video(walk, **options)


@pytest.mark.parametrize("images", [False, True])
def test_memory_does_not_grow_with_the_film(walk, images, monkeypatch):
    """Frames alive at once, over a film of any length, are few."""
    alive = most = 0

    class Counted(np.ndarray):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def frames(self, every):
        nonlocal alive, most
        for number in range(600):
            image = np.zeros((120, 160, 3), np.uint8).view(Counted)
            alive, most = alive + 1, max(most, alive)
            yield number, number / RATE, image
            del image

    monkeypatch.setattr(video.Film, "frames", frames)
    monkeypatch.setattr(video.pictures, "MAX_WAITING", 2**20)
    reader = encoder("none", workers=2)
    assert sum(len(frame.faces) for frame in video.stream(walk, reader, 0, 3, images=images)) == 600
    assert most < 60 and alive <= 2


# --- cameras --------------------------------------------------------------------------------------------


class Camera:
    """Gives a picture each millisecond, ``n`` in all."""

    def __init__(self, n: int):
        self.n, self.given = n, 0

    def read(self):
        time.sleep(0.001)
        self.given += 1
        return self.given <= self.n, np.full((48, 48, 3), (0, 0, 200), np.uint8)


def test_a_camera_drops_frames_rather_than_delay_them():
    camera, late = Camera(300), []

    def slow(image):
        time.sleep(0.02)
        assert image[0, 0].tolist() == [200, 0, 0]  # BGR in, RGB out
        return [detection(4, 4, 40)]

    for frame in video.watch(camera, encoder(slow, workers=1)):
        late.append(camera.given - frame.number)
        assert [face.track for face in frame.faces] == [1] and frame.image.shape == (48, 48, 3)
    assert 2 < len(late) < 150 and frame.number > 200  # dropped, up to the end
    assert np.median(late) < 80


def test_a_camera_that_is_not_there_or_fails(capfd):
    with pytest.raises(InputError, match="camera 99: gives no picture; plug it in"):
        video.open_camera(99)
    assert capfd.readouterr().err == ""

    class Broken:
        def read(self):
            raise OSError("unplugged")

    with pytest.raises(OSError, match="unplugged"):
        list(video.watch(Broken(), encoder("none")))
