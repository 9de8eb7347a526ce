"""Texts, numbers and tables in French; the language comes from an argument or from the environment."""

from __future__ import annotations

import pandas as pd
import pytest

from facelib import language
from facelib.emotions import EMOTIONS, EMOTIONS_FR, emotion_name, shares
from facelib.errors import InputError


@pytest.mark.parametrize(
    "english, french",
    [
        ("fear", "peur"),
        ("recall of fear", "rappel, peur"),
        ("best of 8", "meilleur de 8"),
        ("fear → surprise\n1,203 pictures", "peur → surprise\n1\u202f203 images"),
        ("happy 71.5%", "joie 71,5\u00a0%"),
        ("  190 of 5,600", "  190 sur 5\u202f600"),
        ("calibration error", "erreur de calibration"),
        ("random\noversampling", "suréchantillonnage aléatoire"),  # broken to fit, which changes no meaning
        ("version 2.21.0 at 10.0.0.1", "version 2.21.0 at 10.0.0.1"),  # unknown words and no decimals
        ("words that are not there: 0.5", "words that are not there: 0,5"),
        ("by -2.6. Version 2.21.0.", "by -2,6. Version 2.21.0."),  # a number, and the end of a sentence
        ("", ""),
    ],
)
def test_texts(english, french):
    assert language.say(english, "fr") == french
    assert language.say(english, "en") == english


def test_columns_keep_their_places():
    page = "label      pictures   recall\nangry         1,203    71.5%\nsurprise          9     3.0%"
    assert language.say(page, "fr").splitlines() == [
        "étiquette    images   rappel",
        "colère        1\u202f203   71,5\u00a0%",
        "surprise          9    3,0\u00a0%",
    ]


def test_tables_and_lists():
    table = pd.DataFrame({"accuracy": [0.5, 0.25], "verdict": ["fear", 3]}, ["happy", "nothing"])
    found = language.say(table, "fr")
    assert list(found.columns) == ["exactitude", "verdict"] and list(found.index) == ["joie", "rien"]
    assert found["exactitude"].tolist() == ["0,5", "0,25"] and found["verdict"].tolist() == ["peur", 3]
    assert language.say(table, "en") is table
    several = pd.DataFrame({("fear", "bias"): [float("nan")]}).T.rename_axis(["label", None])
    found = language.say(several, "fr")
    assert found.index.tolist() == [("peur", "bias")] and found.index.names == ["étiquette", None]
    assert found.iloc[0, 0] == "–" and several.index.names == ["label", None]
    assert language.say(pd.Series([1, 2], ["fear", "sad"], name="recall"), "fr").name == "rappel"
    assert language.say({"fear": ["sad", 2]}, "fr") == {"peur": ["tristesse", 2]}


def test_the_language_is_an_argument_or_the_environment(monkeypatch):
    assert language.current() == "en"
    monkeypatch.setenv("FACELIB_LANG", "fr")
    assert language.current() == "fr" and language.current("en") == "en"

    @language.speaks
    def outer():
        return inner(), language.current()

    @language.speaks
    def inner():
        return language.say("fear")

    assert outer() == ("peur", "fr") and outer(lang="en") == ("fear", "en") and language.current() == "fr"
    monkeypatch.setenv("FACELIB_LANG", "de")
    with pytest.raises(InputError, match="unknown language 'de'"):
        outer()


def test_emotions_have_names_in_both_languages():
    for english, french in zip(EMOTIONS, EMOTIONS_FR, strict=True):
        assert emotion_name(english) == emotion_name(french.upper()) == emotion_name(f" {french} ") == english
        assert language.say(english, "fr") == french
    others = "Anger fearful Disgusted HAPPINESS sadness Surprised 3_surprise Fâché AF ne".split()
    assert [emotion_name(each) for each in others] == (
        "angry fear disgust happy sad surprise surprise angry fear neutral".split()
    )
    for unknown in ("contempt", "3", ""):
        with pytest.raises(InputError, match="unknown emotion"):
            emotion_name(unknown)
    assert emotion_name("colere") == emotion_name("cole\u0300re") == "angry"
    assert shares({"joie": 3, "sad": 1}).tolist() == [0, 0, 0, 0.75, 0.25, 0, 0]
    for wrong, said in (
        ("glee", "unknown emotion 'glee'"),
        ({"joie": 1, "happy": 1}, "names an emotion twice"),
    ):
        with pytest.raises(InputError, match=said):
            shares(wrong)
