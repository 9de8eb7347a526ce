"""Films and cameras: frames in, followed faces with an emotion over time out.

    decode -> detect on some frames -> follow -> cut out -> emotion -> smooth along each track

OpenCV decodes: it is here already with FFmpeg inside (PyAV would be another 36 MB with a second FFmpeg), it
gives each frame's own time stamp, so that a variable frame rate does no harm, it applies the rotation flag
that telephones write, and it passes over frames without converting them. What it lacks is the reason when a
file cannot be opened; ``_why_closed`` looks for that.
"""

from __future__ import annotations

import itertools
import os
import threading
import time as clock
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from facelib.emotions import EMOTIONS
from facelib.errors import POSITIVE, SECONDS, InputError
from facelib.vision import encoder as pictures
from facelib.vision.detection import Detection
from facelib.vision.encoder import Face, FaceEncoder
from facelib.vision.image_io import printable

if TYPE_CHECKING:
    import pandas as pd

#: Frames are reduced to this longer side for the search: a face has then at least 1/27 of the film's width.
SEARCH_SIDE = 640
#: With ``detect_every`` left open, the detector looks so often, in seconds, or on every sampled frame.
LOOK = 0.2
#: A face that was lost keeps its number if it is found again within this time, in seconds, or at the next
#: look but one where the looks are rarer.
PATIENCE = 1.5
#: Where looks follow each other within this time, in seconds, a face that is seen in one alone is left out.
MOMENT = 0.5


@dataclass(frozen=True)
class TrackedFace(Face):
    """A face of a film. source_index: which of the films given. time: of its frame, in seconds from the
    film's start. frame: that frame's number, from 0. track: the number, from 1, that this face has
    throughout. smoothed: emotion -> probability, averaged along the track."""

    source_index: int = 0
    time: float = 0.0
    frame: int = 0
    track: int = 0
    smoothed: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """An analysed frame. number: from 0, of all frames of the film. time: in seconds. image: (H, W, 3) uint8
    RGB, None unless images were asked for."""

    number: int
    time: float
    faces: list[TrackedFace]
    image: np.ndarray | None = None


# --- reading ------------------------------------------------------------------------------------------


class Film:
    """A film's frames by their time stamps, upright; memory is that of one frame.

    rate: frames per second, the average as the file states it. count: frames as the file states them, for
    some formats an estimate. size: width, height in pixels. fault: after the last frame, an InputError if the
    film breaks off before its end. Raises InputError for what is not a film with at least one frame.
    """

    def __init__(self, path: str | bytes | os.PathLike):
        self.path, self.name, self.fault = os.fsdecode(path), printable(path), None
        try:
            with open(self.path, "rb") as stream:
                if not stream.read(1):
                    raise InputError(f"{self.name}: the file is empty; copy or download it again")
        except FileNotFoundError:
            raise InputError(f"{self.name}: no such file; check the path") from None
        except OSError as error:
            raise InputError(f"{self.name}: cannot be read ({error.strerror}); give a film's file") from None
        with _quiet():
            self._capture = cv2.VideoCapture(self.path, cv2.CAP_FFMPEG)
            opened = self._capture.isOpened()
            started = opened and self._capture.grab()
        if not opened:
            raise InputError(f"{self.name}: {_why_closed(self.path)}")
        if not started:
            raise InputError(f"{self.name}: not a single frame can be decoded; convert it, or copy it again")
        get = self._capture.get
        rate = get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0.1 <= rate <= 1000 else 25.0  # a file may state nothing, or nonsense
        self.count = max(0, int(get(cv2.CAP_PROP_FRAME_COUNT)))
        self.size = int(get(cv2.CAP_PROP_FRAME_WIDTH)), int(get(cv2.CAP_PROP_FRAME_HEIGHT))

    def frames(self, every: float = 0.0) -> Iterator[tuple[int, float, np.ndarray]]:
        """(number, seconds, (H, W, 3) uint8 RGB): the first frame at or after each multiple of ``every``
        seconds; 0: all frames. To be called once."""
        number, due, last, more, lost = 0, 0.0, -1.0, True, 0
        while more:
            time = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if time <= last:  # no time stamp
                time = last + 1 / self.rate if number else 0.0
            last = time
            if time >= due - 1e-3:
                due = every * (1 + int((time + 1e-3) / every)) if every else 0.0
                read, image = self._capture.retrieve()
                if read:
                    yield number, time, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
                lost += not read
            number += 1
            more = self._capture.grab()
        self._capture.release()
        length = self.count / self.rate
        if number < 0.95 * self.count - 1 and last < 0.95 * length - 1 / self.rate:
            self.fault = InputError(
                f"{self.name}: breaks off after {last:.1f} of {length:.1f} s (truncated or damaged); "
                "copy or download it again"
            )
        elif lost:
            self.fault = InputError(f"{self.name}: {lost} frames could not be decoded and were left out")


@contextmanager
def _quiet() -> Iterator[None]:
    """OpenCV keeps its opinion of a file to itself: the error is one line of ours. (FFmpeg's own words are
    switched off in ``facelib/__init__.py``.)"""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def _why_closed(path: str) -> str:
    """Why OpenCV opens no film here, as far as the file's own boxes tell (MP4 and MOV: ISO/IEC 14496-12)."""
    boxes, end = {}, os.path.getsize(path)
    with open(path, "rb") as stream:
        at = 0
        while at + 8 <= end:
            stream.seek(at)
            head = stream.read(16)
            size, kind = int.from_bytes(head[:4], "big"), head[4:8]
            size = int.from_bytes(head[8:16], "big") if size == 1 else size or end - at
            if size < 8 or not kind.isalnum():
                break
            boxes[kind], at = (at, size), at + size
        if b"ftyp" in boxes and b"moov" not in boxes:
            return "is truncated, its index is missing; copy or download it again"
        if b"moov" in boxes:
            stream.seek(boxes[b"moov"][0])
            if b"vide" not in stream.read(min(boxes[b"moov"][1], 2**24)):
                return "has no video stream, sound at most; name a film"
    return (
        "is no film that can be decoded: no video stream, damaged, or an unknown format; convert it to .mp4"
    )


# --- following ----------------------------------------------------------------------------------------


@dataclass
class _Track:
    number: int
    place: np.ndarray  # centre x, y and side of the frame around the face, in pixels
    patch: np.ndarray  # what the face looks like, as ``_patch`` gives it
    time: float
    speed: np.ndarray = field(default_factory=lambda: np.zeros(3))  # of the place, in pixels per second
    seen: int = 1

    def at(self, time: float) -> np.ndarray:
        """Where it should be, at constant velocity; its size stays."""
        return self.place + self.speed * [1, 1, 0] * (time - self.time)


class Tracker:
    """Gives the faces of successive frames numbers that stay: tracking by detection.

    Each track moves on at constant velocity (an alpha-beta filter: a Kalman filter of given gains), and the
    assignment of new faces to tracks with the greatest sum of scores is found by the Hungarian method (Kuhn
    1955), as in SORT (Bewley et al. 2016, arXiv:1602.00763). A score is the intersection over union of
    enlarged squares, which still meet after a fast move (Yang et al., WACV 2023), plus half the correlation
    of small gray patches: where two faces cross, their squares tell nothing and their looks do.
    """

    #: Seconds in which a place, and a speed, takes over most of what is measured.
    PLACE, SPEED = 0.06, 0.4

    def __init__(self):
        self._tracks: list[_Track] = []
        self._last, self._before = 0, 0.0

    def update(self, time: float, faces: list[Detection], patches: list[np.ndarray]) -> list[int]:
        """The track numbers of a frame's faces, in their order. patches: of each, from ``_patch``."""
        patience = max(PATIENCE, 2.5 * (time - self._before))
        self._tracks = [track for track in self._tracks if time - track.time <= patience]
        self._before = time
        places = [np.array(face.frame) for face in faces]
        alone = [sum(_overlap(place, other, 1.0) > 0 for other in places) == 1 for place in places]
        scores = np.zeros((len(self._tracks), len(faces)))
        for i, track in enumerate(self._tracks):
            margin = min(1.4 + (time - track.time), 3.0)  # the longer unseen, the less sure where
            for j, place in enumerate(places):
                alike = float(track.patch @ patches[j])
                overlap = _overlap(track.at(time), place, margin)
                # Of another size, or nothing alike after a cut in the film: another face.
                if overlap > 0 and alike > -0.2 and 0.4 < place[2] / track.place[2] < 2.5:
                    scores[i, j] = overlap + 0.5 * alike + 0.5
        numbers = [0] * len(faces)
        for i, j in zip(*linear_sum_assignment(scores, maximize=True)):
            if scores[i, j] > 0:
                numbers[j] = self._tracks[i].number
                self._see(self._tracks[i], time, places[j], patches[j] if alone[j] else None)
        for j, number in enumerate(numbers):
            if not number:
                self._last = numbers[j] = self._last + 1
                self._tracks.append(_Track(self._last, places[j], patches[j], time))
        return numbers

    def seen_again(self, number: int) -> bool:
        """Whether this track was seen more than once."""
        return any(track.seen > 1 for track in self._tracks if track.number == number)

    def _see(self, track: _Track, time: float, place: np.ndarray, patch: np.ndarray | None) -> None:
        """A new sighting. patch: None where another face may cover it: looks are not learned from that."""
        expected, passed = track.at(time), max(time - track.time, 1e-3)
        wrong = place - expected
        track.place = expected + (1 - np.exp(-passed / self.PLACE)) * wrong
        track.speed = track.speed + max(1 - np.exp(-passed / self.SPEED), 1 / track.seen) * wrong / passed
        if patch is not None and float(track.patch @ patch) > 0.5:
            track.patch = _normal(0.8 * track.patch + 0.2 * patch)
        track.time, track.seen = time, track.seen + 1


def _overlap(one: np.ndarray, other: np.ndarray, margin: float) -> float:
    """Intersection over union of two squares (centre x, y, side), each enlarged ``margin`` times."""
    a, b = one[2] * margin, other[2] * margin
    w, h = np.clip((a + b) / 2 - np.abs(one[:2] - other[:2]), 0, min(a, b))
    return float(w * h / (a * a + b * b - w * h))


def _patch(gray: np.ndarray, face: Detection) -> np.ndarray:
    """The middle of a face, 16x16 values of mean 0 and length 1: the scalar product is the correlation."""
    x, y, side = face.frame
    half = max(2.0, 0.4 * side)
    rows, columns = (np.clip([c - half, c + half], 0, n) for c, n in ((y, gray.shape[0]), (x, gray.shape[1])))
    (top, bottom), (left, right) = rows.astype(int), columns.astype(int)
    part = gray[min(top, gray.shape[0] - 1) : bottom + 1, min(left, gray.shape[1] - 1) : right + 1]
    return _normal(cv2.resize(part, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32).ravel())


def _normal(values: np.ndarray) -> np.ndarray:
    values = values - values.mean()
    return values / max(float(np.linalg.norm(values)), 1e-6)


def _between(before: Detection, after: Detection, share: float) -> Detection:
    """A face between two sightings, ``share`` of the way from the first to the second."""

    def mean(one, other) -> np.ndarray:
        return (1 - share) * np.asarray(one, float) + share * np.asarray(other, float)

    frame = mean(before.frame, after.frame)
    # Eyes relative to the face; where they were found only once, as they were then.
    eyes = [(np.array(f.eyes) - f.frame[:2]) / f.frame[2] for f in (before, after) if f.eyes]
    if eyes:
        eyes = tuple(map(tuple, (mean(eyes[0], eyes[-1]) * frame[2] + frame[:2]).tolist()))
    box = tuple(round(v) for v in mean(before.box, after.box).tolist())
    confidence = float(mean(before.confidence, after.confidence))
    return Detection(box, eyes or None, confidence, tuple(frame.tolist()))


class _Smoother:
    """Probabilities averaged along each track with weights that fall exponentially with time.

    The weight of what was e-folded ``seconds`` ago is 1/e. Only the past counts: a change is seen about
    ``seconds`` late, and a camera can have it too.
    """

    def __init__(self, seconds: float):
        self.seconds = seconds
        self._last: dict[int, tuple[float, np.ndarray]] = {}

    def __call__(self, track: int, time: float, emotions: dict[str, float]) -> dict[str, float]:
        now = np.array(list(emotions.values()))
        before, mean = self._last.get(track, (time, now))
        kept = np.exp((before - time) / self.seconds) if self.seconds else 0.0
        mean = kept * mean + (1 - kept) * now
        if len(self._last) > 1000:  # tracks that have ended
            self._last = {key: each for key, each in self._last.items() if time - each[0] <= PATIENCE}
        self._last[track] = time, mean
        return dict(zip(emotions, mean.tolist()))


# --- analysis -----------------------------------------------------------------------------------------


@dataclass
class _Raw:
    """A frame on its way: its faces are found and numbered later."""

    number: int
    time: float
    image: np.ndarray
    faces: list[Detection] = field(default_factory=list)
    tracks: list[int] = field(default_factory=list)


def _search(encoder: FaceEncoder, image: np.ndarray) -> tuple[list[Detection], list[np.ndarray]]:
    """The faces of a frame, and their patches for the tracker."""
    zoom = min(1.0, SEARCH_SIDE / max(image.shape[:2]))
    size = max(1, round(image.shape[1] * zoom)), max(1, round(image.shape[0] * zoom))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if zoom < 1 else image
    faces = encoder.detect(small)
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    patches = [_patch(gray, face) for face in faces]
    return [_enlarged(face, 1 / zoom, *image.shape[:2]) for face in faces] if zoom < 1 else faces, patches


def _enlarged(face: Detection, zoom: float, height: int, width: int) -> Detection:
    eyes = face.eyes and tuple((x * zoom, y * zoom) for x, y in face.eyes)
    x, y, w, h = (round(v * zoom) for v in face.box)
    box = x, y, min(w, width - x), min(h, height - y)
    return Detection(box, eyes, face.confidence, tuple(v * zoom for v in face.frame))


def _followed(
    encoder: FaceEncoder, frames: Iterator[tuple[int, float, np.ndarray]], detect_every: int
) -> Iterator[_Raw]:
    """The frames with their faces. The detector sees each ``detect_every``-th and the last; on those between,
    a face is where a line from one sighting to the next puts it, if both sightings are of one track."""
    tracker, last, looks = Tracker(), None, 0
    waiting: deque[tuple[list[_Raw], Future]] = deque()
    held = 0

    def finished() -> Iterator[_Raw]:
        """What is known with the next look: the frame of the last one, and those between."""
        nonlocal last, looks, held
        *between, seen = waiting[0][0]
        seen.faces, patches = waiting.popleft()[1].result()
        seen.tracks = tracker.update(seen.time, seen.faces, patches)
        looks += 1
        if last:
            yield from released(seen.time - last.time)
            old, new = (dict(zip(each.tracks, each.faces)) for each in (last, seen))
            for raw in between:
                share = (raw.time - last.time) / (seen.time - last.time)
                raw.tracks = [track for track in new if track in old]
                raw.faces = [_between(old[track], new[track], share) for track in raw.tracks]
                held -= raw.image.nbytes
                yield raw
        last = seen

    def released(passed: float) -> Iterator[_Raw]:
        """The frame of the last look. What was seen in it alone, and not a moment earlier or later, is most
        often no face: a cascade errs here and there, a face stays."""
        nonlocal held
        held -= last.image.nbytes
        faces, tracks = last.faces, last.tracks
        kept = [looks == 1 or passed > MOMENT or tracker.seen_again(track) for track in tracks]
        shown = replace(
            last,
            faces=[face for face, keep in zip(faces, kept) if keep],
            tracks=[track for track, keep in zip(tracks, kept) if keep],
        )
        last.image = np.empty(0)
        yield shown

    with pictures._one_opencv_thread_each(), ThreadPoolExecutor(encoder.workers) as pool:
        group: list[_Raw] = []
        try:
            for raw in (_Raw(*frame) for frame in frames):
                group.append(raw)
                held += raw.image.nbytes
                if len(group) < detect_every and raw.number and held < pictures.MAX_WAITING:
                    continue
                waiting.append((group, pool.submit(_search, encoder, raw.image)))
                group = []
                while len(waiting) > encoder.workers or (waiting and held >= pictures.MAX_WAITING):
                    yield from finished()
            if group:
                waiting.append((group, pool.submit(_search, encoder, group[-1].image)))
            while waiting:
                yield from finished()
            if last:
                yield from released(0.0)
        finally:
            for _, found in waiting:
                found.cancel()


def stream(
    film: Film | str | os.PathLike,
    encoder: FaceEncoder,
    every: float = 0.1,
    detect_every: int | None = None,
    smooth: float = 0.5,
    images: bool = False,
    source_index: int = 0,
    batch_size: int = 64,
) -> Iterator[Frame]:
    """Analyse a film in constant memory; the sampled frames come in order, those without a face too.

    every: seconds from one sampled frame to the next, 0 for all frames. detect_every: the detector looks at
    each so-many-th sampled frame, between them faces are interpolated; None: about every 0.2 seconds.
    smooth: seconds over which emotion is averaged along a track (``_Smoother``), 0 for not. images: frames
    keep their picture, for drawing. Raises InputError; a film that breaks off has ``Film.fault`` afterwards.
    """
    every, smooth = SECONDS(every, "every"), SECONDS(smooth, "smooth")
    film = film if isinstance(film, Film) else Film(film)
    if encoder.mode != "facelib":
        raise InputError(f'mode "{encoder.mode}" is for pictures; films take mode "facelib"')
    if detect_every is None:
        detect_every = max(1, round(LOOK / max(every, 1 / film.rate)))
    followed = _followed(encoder, film.frames(every), POSITIVE(detect_every, "detect_every"))
    return _read(followed, encoder, _Smoother(smooth), film.path, images, source_index, batch_size)


def _read(followed, encoder, smoother, path, images, source_index, batch_size) -> Iterator[Frame]:
    """Emotions of followed faces, in batches."""
    waiting: list[tuple[_Raw, object]] = []
    found = held = 0

    def finished() -> Iterator[Frame]:
        for (raw, _), picture in zip(waiting, encoder._classify([cut for _, cut in waiting]), strict=True):
            faces = []
            for track, face in zip(raw.tracks, picture.faces, strict=True):
                known = {each.name: getattr(face, each.name) for each in fields(face)}
                known |= {"path": path, "source_index": source_index, "time": raw.time, "frame": raw.number}
                smoothed = smoother(track, raw.time, face.emotions) if face.emotions else {}
                faces.append(TrackedFace(**known, track=track, smoothed=smoothed))
            yield Frame(raw.number, raw.time, faces, raw.image if images else None)

    for raw in followed:
        cut = encoder.cut(raw.number, raw.image, raw.faces)
        if not images:
            raw.image = np.empty(0)
        waiting.append((raw, cut))
        found += len(raw.faces)
        held += raw.image.nbytes
        if found >= batch_size or len(waiting) >= 4 * batch_size or held >= pictures.MAX_WAITING // 4:
            yield from finished()
            waiting, found, held = [], 0, 0
    yield from finished()


def to_row(face: TrackedFace) -> dict:
    """A face of a film as one flat row: source, time, track, then as a picture's face, then smoothed."""
    row = {"source_index": face.source_index, "path": face.path and printable(face.path)}
    row |= {"time": face.time, "frame": face.frame, "track": face.track} | pictures.to_row(face)
    row["smoothed"] = max(face.smoothed, key=face.smoothed.get) if face.smoothed else None
    return row | {f"smoothed_{name}": face.smoothed.get(name) for name in EMOTIONS}


#: The columns of ``analyze_video`` and of the CSV that `facelib analyze` writes for a film.
COLUMNS = tuple(to_row(TrackedFace((0, 0, 0, 0), None, 0.0)))


def analyze_video(
    path: str | os.PathLike,
    every: float = 0.1,
    detect_every: int | None = None,
    smooth: float = 0.5,
    progress: bool | None = None,
    **options,
) -> pd.DataFrame:
    """The faces of a film over time, a row for each face of each sampled frame; the columns are ``COLUMNS``.

    every, detect_every, smooth: as for ``stream``. progress: a bar; None: on a terminal. options: of
    ``FaceEncoder``; gender and test-time augmentation have to be asked for. A film that breaks off is a
    warning and what it has is kept; raises InputError for what is not a film.

    >>> table = facelib.analyze_video("film.mp4", every=0.2, emotion="tiny")
    >>> table.groupby("track")["smoothed"].value_counts()
    """
    import warnings

    import pandas as pd

    film = Film(path)
    encoder = FaceEncoder(**{"gender": None} | options)
    frames = with_progress(stream(film, encoder, every, detect_every, smooth), film, every, progress)
    rows = (to_row(face) for frame in frames for face in frame.faces)
    parts = []  # columns take a tenth of the memory of the rows' dictionaries
    while part := list(itertools.islice(rows, 1000)):
        parts.append(pd.DataFrame(part, columns=list(COLUMNS)))
    if film.fault:
        warnings.warn(str(film.fault), stacklevel=2)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def with_progress(frames, film: Film, every: float, show: bool | None = None):
    """The same frames, with a bar on stderr that tells how many a second are analysed."""
    from tqdm import tqdm

    total = film.count if not every else min(film.count, 1 + int(film.count / film.rate / every))
    hidden = None if show is None else not show
    return tqdm(frames, total=total or None, unit=" frames", disable=hidden, leave=False)


# --- cameras ------------------------------------------------------------------------------------------


def open_camera(number: int = 0):
    """A camera by its number, as ``cv2.VideoCapture``. Raises InputError where there is none."""
    with _quiet():
        camera = cv2.VideoCapture(number)
        if not (camera.isOpened() and camera.read()[0]):
            raise InputError(
                f"camera {number}: gives no picture; plug it in, close what uses it, or try another number"
            )
    camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return camera


def watch(camera, encoder: FaceEncoder, smooth: float = 0.5) -> Iterator[Frame]:
    """Analyse what a camera shows now, until it ends; frames that come meanwhile are dropped, not delayed.

    camera: what ``open_camera`` gives, or any object whose ``read()`` returns (True, (H, W, 3) uint8 BGR).
    ``Frame.number`` counts the camera's frames: what is missing was dropped. ``Frame.time`` is in seconds
    since the first. Images are kept.
    """
    followed = _seen(_latest(camera), encoder)
    return _read(followed, encoder, _Smoother(SECONDS(smooth, "smooth")), None, True, 0, 1)


def _seen(frames, encoder: FaceEncoder) -> Iterator[_Raw]:
    tracker = Tracker()
    for frame in frames:
        raw = _Raw(*frame)
        raw.faces, patches = _search(encoder, raw.image)
        raw.tracks = tracker.update(raw.time, raw.faces, patches)
        yield raw


def _latest(camera) -> Iterator[tuple[int, float, np.ndarray]]:
    """(number, seconds, RGB) of the newest frame each time; a thread reads the camera and keeps no other."""
    changed = threading.Condition()
    newest: list[tuple] = []  # one at most
    ended, fault = False, None

    def read() -> None:
        nonlocal ended, fault
        number, first = 0, None
        try:
            while not ended:
                there, image = camera.read()
                now = clock.perf_counter()
                first = now if first is None else first
                with changed:
                    ended |= not there
                    newest[:] = [(number, now - first, image)] if there else newest
                    changed.notify()
                number += 1
        except Exception as error:  # noqa: BLE001 raised where the frames are read
            fault = error
        with changed:
            ended = True
            changed.notify()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: newest or ended)
                if not newest:
                    break
                number, seconds, image = newest.pop()
            yield number, seconds, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        if fault:
            raise fault
    finally:
        ended = True
        thread.join(5)
