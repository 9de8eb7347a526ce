"""UTKFace's table: what is read of it, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import mutated_sources
from facelib.data import utkface
from facelib.errors import InputError

N = mutated_sources.N


def people(place, **columns):
    table = {"gender": ["man", "woman"] * (N // 2), "age": [30] * N, "group": [*range(N)]}
    return mutated_sources.parquet(place, "people.parquet", emotion=None, usage=None, **table | columns)


def test_rows_come_as_they_are(tmp_path):
    table = utkface.read_table(people(tmp_path))
    assert list(table.columns) == ["image", "gender", "age", "group"] and len(table) == N
    assert table["gender"][1] == "woman" and table["group"].tolist() == [*range(N)]
    image = utkface.decode(table["image"][3])
    assert image.shape == (48, 48, 3) and np.array_equal(image[..., 0], mutated_sources.IMAGES[3])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"gender": ["boy"] * N}, "row 1: is not picture, man or woman, age and group"),
        ({"age": [None] * N}, "row 1: is not picture"),
        ({"group": None}, "needed are image, gender, age, group"),
        ({"image": [bytes(2 << 20)] * N}, "a value of image has 2,097,152 bytes"),
    ],
)
def test_what_is_refused(columns, message, tmp_path):
    with pytest.raises(InputError, match=message):
        utkface.read_table(people(tmp_path, **columns))


def test_what_is_no_picture_is_refused():
    large = mutated_sources.encoded(np.zeros((2000, 9), "u1"))
    for content in (b"", b"text", mutated_sources.PNG[:60], large):
        with pytest.raises(InputError, match="is damaged"):
            utkface.decode(content)


def test_a_pipe_and_nothing_at_all(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        utkface.read_table(tmp_path / "none.parquet")
    with pytest.raises(InputError, match="is a pipe or a device"):
        utkface.read_table(mutated_sources.pipe(tmp_path, "people.parquet"))
