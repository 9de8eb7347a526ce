"""Numbers and parameters as they are typed, and as they stand in a file."""

from __future__ import annotations

import numpy as np
import pytest

from facelib import errors
from facelib.cli import options
from facelib.errors import InputError


@pytest.mark.parametrize(
    ("numbers", "allowed", "refused"),
    [
        (errors.FRACTION, ["0", "1", 0.5, np.float32(0.25)], ["-0.1", "1.1", "nan", "high", None, 2]),
        (errors.AMOUNT, ["1e-9", 3], ["0", "-1", "inf", "nan"]),
        (errors.POSITIVE, ["1", 64, np.int64(3), 2.0], ["0", "1.5", 1.5, float("inf"), "many"]),
        (errors.NATURAL, ["0", 7], ["-1", -1]),
    ],
)
def test_numbers_are_checked_as_text_and_as_numbers(numbers, allowed, refused):
    for value in allowed:
        assert numbers(value) == float(value) and type(numbers(value)) is numbers.kind
    for value in refused:
        with pytest.raises(InputError, match=f"size {value} is not {numbers.words}"):
            numbers(value, "size")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("1e-3", 0.001), ("true", True), ("False", False), ("None", None), ("none", "none"),
        ("[1, 2]", [1, 2]), ("(1, 2)", [1, 2]), ("'3'", "3"), ("b'3'", "b'3'"), ("a b", "a b"), ("", ""),
    ],
)  # fmt: skip
def test_a_value_is_a_literal_or_text(text, value):
    assert options.value(text) == value and type(options.value(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0..4", [0, 1, 2, 3, 4]), ("-1..1", [-1, 0, 1]), ("none,smote", ["none", "smote"]),
        ("none, 3,true", ["none", 3, True]), ("0.1,0.2", [0.1, 0.2]), ("[1, 2],[3]", [[1, 2], [3]]),
        ("'a,b'", ["a,b"]), ("7", [7]), ("a..b", ["a..b"]),
    ],
)  # fmt: skip
def test_values_of_an_axis(text, values):
    assert options.values(text) == values


def test_the_command_line_goes_before_the_file(tmp_path):
    file = tmp_path / "all.yml"
    file.write_text("seed: 1  # a comment\nmethod: [none, smote]\nfast: yes\n")
    methods = ["none", "smote"]
    assert options.parameters(["seed=2"], file) == {"seed": 2, "method": methods, "fast": True}
    assert options.grid(["seed=0..1"], file) == {"seed": [0, 1], "method": methods, "fast": [True]}
    file.write_text("")
    assert options.parameters(["a=b=c"], file) == {"a": "b=c"}
    file.write_text("dates: {2: 2026-01-31}")  # YAML's days become text again
    assert options.parameters([], file) == {"dates": {"2": "2026-01-31"}}


LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
BAD = ["a: [", "- 1\n- 2", "a: !!set {x}", "just words", "\x00", "a: &a [*a]", LAUGHS, "[" * 9999]


@pytest.mark.parametrize("text", BAD)
def test_a_file_that_is_no_list_of_parameters(text, tmp_path):
    (tmp_path / "bad.yml").write_text(text)
    with pytest.raises(InputError, match=r"bad\.yml: "):
        options.parameters([], tmp_path / "bad.yml")


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        options.parameters([], tmp_path / "gone.yml")
    with pytest.raises(InputError, match="pipe or a device"):
        options.parameters([], "/dev/zero")
    with pytest.raises(InputError, match="--param seed: write NAME=VALUE"):
        options.parameters(["seed"])
    with pytest.raises(InputError, match="'seed' has no value"):
        options.grid(["seed=4..0"])
