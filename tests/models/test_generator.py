"""The generator's interface, on a codec and a prior that have learnt nothing."""

from __future__ import annotations

import inspect
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from facelib import emotions
from facelib.cli import app
from facelib.emotions import EMOTIONS
from facelib.errors import InputError
from facelib.models import generator as models_generator
from facelib.models import masked_prior, vqvae
from facelib.vision import image_io, photo_editing
from helpers import in_child


@pytest.fixture(scope="module")
def generator():
    import keras

    keras.utils.set_random_seed(0)
    codec = vqvae.autoencoder(vqvae.ResidualQuantizer(2, 16, 8))
    latents = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32)
    codec.get_layer("quantizer").start(latents, 100)
    return models_generator.Generator(codec, masked_prior.prior(24, 2, 2, latent=8, depth=2, codes=16))


PICTURES = np.random.default_rng(1).integers(0, 256, (3, 48, 48)).astype(np.uint8)


def test_samples_repeat_themselves(generator):
    faces = generator.sample("fear", n=3, seed=4)
    assert faces.shape == (3, 48, 48) and faces.dtype == np.uint8
    np.testing.assert_array_equal(faces, generator.sample("fear", n=3, seed=4))
    assert (faces != generator.sample("fear", n=3, seed=5)).any()


def test_best_of_returns_what_our_network_reads_best(generator):
    from facelib.models import registry
    from facelib.models.emotion import emotion_inputs

    one, best = generator.sample("happy", n=12, seed=1), generator.sample("happy", n=3, seed=1, best_of=4)
    read = registry.OnnxNetwork("emotion")(emotion_inputs(one))[:, EMOTIONS.index("happy")]
    np.testing.assert_array_equal(best, one.reshape(3, 4, 48, 48)[range(3), read.reshape(3, 4).argmax(1)])


def test_threads_get_what_each_gets_alone(generator):
    jobs = [
        lambda: generator.sample("happy", 2, seed=1, best_of=2),
        lambda: generator.edit(PICTURES, "fear", best_of=2),
        lambda: generator.reconstruct(PICTURES),
    ]
    alone = [job() for job in jobs]
    with ThreadPoolExecutor(3) as pool:
        for expected, found in zip(3 * alone, pool.map(lambda job: job(), 3 * jobs), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.fixture
def asked(monkeypatch) -> list[dict]:
    """What the prior was asked for, call by call."""
    calls, real = [], masked_prior.sample

    def draw(model, codebooks, wanted, rng, guidance, temperature, *others, **known):
        calls.append({"guidance": guidance, "temperature": temperature, **known})
        return real(model, codebooks, wanted, rng, guidance, temperature, *others, **known)

    monkeypatch.setattr(masked_prior, "sample", draw)
    return calls


def test_each_face_draws_its_own_guidance(generator, asked):
    faces = [generator.sample("fear", 40, 3, temperature=0.9, guidance=each) for each in ((0, 5), (0, 5), 2)]
    first, second, one = (call["guidance"] for call in asked)
    assert first.shape == (40,) and 0 <= first.min() < 1 and 4 < first.max() <= 5
    assert (first == second).all() and (faces[0] == faces[1]).all() and one == 2
    of_two_depths = [0.9, 0.9 * models_generator.FINEST_TEMPERATURE]
    assert asked[0]["temperature"] == pytest.approx(of_two_depths)
    generator.between("fear", "sad", 3, guidance=(0, 5))
    assert asked[-1]["guidance"] == 2.5


def test_codes_go_and_come_back(generator):
    codes = generator.encode(PICTURES)
    assert codes.shape == (3, 6, 6, 2) and codes.max() < 16
    again = generator.decode(codes)
    np.testing.assert_array_equal(again, generator.reconstruct(PICTURES))
    direct = generator.codec.predict(PICTURES[..., None] / np.float32(255), verbose=0)[..., 0]
    assert np.abs(again - 255 * np.clip(direct, 0, 1)).max() <= 1  # decoding codes is the codec's own way
    assert generator.decode(codes[..., :1]).shape == (3, 48, 48)  # the coarse codes alone


def test_an_edit_leaves_the_rest(generator, asked):
    dark = PICTURES // 3 + 20  # is coded in even light, and comes back as dark as it was
    coded = generator.reconstruct(models_generator.even_light(dark))
    np.testing.assert_array_equal(generator.edit(dark, "sad", 0.0), models_generator.own_light(coded, dark))
    generator.edit(PICTURES, "sad", 0.5, best_of=2)
    kept = asked[-1]["keep"]
    keep = kept[0].reshape(6, 6)
    assert keep[0].all() and keep[:, 0].all() and not keep[4, 2:4].any() and not keep[2, 1:5].any()
    assert len(kept) == 6


def test_a_strip_changes_nothing_but_what_is_asked(generator):
    strip = generator.between("sad", "happy", n=4, seed=2)
    assert strip.shape == (4, 48, 48)
    np.testing.assert_array_equal(strip, generator.between("sad", "happy", n=4, seed=2))
    same = generator.between("sad", "sad", n=4, seed=2)
    assert (same == same[:1]).all()  # every row drew the same numbers


def test_a_morph_starts_and_ends_at_its_pictures(generator):
    film = generator.morph(PICTURES[0], PICTURES[1], n=5)
    ends = generator.reconstruct(PICTURES[:2])
    np.testing.assert_allclose(film[[0, -1]].astype(int), ends, atol=1)
    assert film.shape == (5, 48, 48)


class Brighter:
    """Stands for a generator: its edit adds 40 gray levels to the lower half of a face."""

    def edit(self, faces, emotion, strength=0.5, **options):
        assert emotion == {"happy": 1.0} or emotion == "happy"
        changed = faces.astype(int)
        changed[:, 24:] += 40 * (strength > 0)
        return np.clip(changed, 0, 255).astype(np.uint8)

    def morph(self, first, second, n=12):
        return np.linspace(first, second, n).astype(np.uint8)

    def sample(self, emotion, n, seed, **options):
        return np.full((n, 48, 48), 10 * seed, np.uint8)

    def between(self, first, second, n, seed, **options):
        return np.full((n, 48, 48), 200, np.uint8)


def test_a_photograph_keeps_all_but_its_face():
    import skimage.data

    photograph = skimage.data.astronaut()
    changed, faces, edited = photo_editing.edit_photograph(Brighter(), photograph, "happy")
    assert len(faces) == len(edited) == 1 and changed.shape == photograph.shape
    difference = changed.astype(int) - photograph
    y, x = np.nonzero(np.abs(difference).max(-1) > 20)
    assert 110 < y.min() and y.max() < 200 and 170 < x.min() and x.max() < 275  # the lower face, no more
    with pytest.raises(InputError, match="no face was found"):
        photo_editing.edit_photograph(Brighter(), np.full((200, 200, 3), 90, np.uint8), "happy")


@pytest.fixture
def shipped(monkeypatch):
    monkeypatch.setattr(models_generator, "load_generator", lambda codec=None, model=None: Brighter())


@pytest.mark.parametrize(
    "words, name, shape",
    [
        ("--emotion fear -n 8", "faces.png", (2 * 98, 4 * 98)),
        ("--emotion all -n 3", "sheet.png", (7 * 98, 3 * 98)),
        ("--emotion happy=2 sad --enlarge 1 -n 1", "one.png", (49, 49)),
        ("--emotion sad --to happy -n 5", "strip.gif", (96, 96)),
    ],
)
def test_generate_writes_what_its_name_says(shipped, tmp_path, words, name, shape):
    assert app.main(["generate", *words.split(), "-o", str(tmp_path / name)]) == 0
    assert image_io.read_image(tmp_path / name).shape[:2] == shape


def test_generate_fills_a_folder(shipped, tmp_path):
    assert app.main(["generate", "--emotion", "fear", "-n", "3", "-o", str(tmp_path / "faces")]) == 0
    assert sorted(p.name for p in (tmp_path / "faces").iterdir()) == ["0000.png", "0001.png", "0002.png"]


def test_edit_writes_faces_films_and_photographs(shipped, tmp_path):
    import skimage.data

    image_io.write_image(tmp_path / "photo.png", skimage.data.astronaut())
    command = ["edit", str(tmp_path / "photo.png"), "--emotion", "happy", "-o"]
    assert app.main([*command, str(tmp_path / "faces.png")]) == 0
    assert image_io.read_image(tmp_path / "faces.png").shape[:2] == (2 * 98, 98)  # before above after
    assert app.main([*command, str(tmp_path / "film.gif")]) == 0
    assert app.main([*command, str(tmp_path / "whole.png"), "--blend"]) == 0
    assert image_io.read_image(tmp_path / "whole.png").shape == (512, 512, 3)


def test_an_edit_does_not_replace_the_photograph(capsys, tmp_path):
    photograph = tmp_path / "photo.png"
    image_io.write_image(photograph, PICTURES[0])
    before = photograph.read_bytes()
    (tmp_path / "link.png").symlink_to(photograph)
    for place, said in (("photo.png", "is the photograph itself"), ("link.png", "is the photograph itself")):
        asked = ["edit", str(photograph), "--emotion", "sad", "--blend", "-o", str(tmp_path / place)]
        assert app.main(asked) == 1 and said in capsys.readouterr().err
    assert app.main([*asked[:-1], str(tmp_path / "a.gif")]) == 1
    assert "writes one photograph" in capsys.readouterr().err
    assert photograph.read_bytes() == before


@pytest.mark.parametrize(
    "words",
    ["generate --seed -1", "generate --enlarge 100000", "edit p.png --seed one", "train emotion --seed -1"],
)
def test_numbers_that_make_no_sense(capsys, words):
    with pytest.raises(SystemExit):
        app.main([*words.split(), "--emotion", "fear", "-o", "a.png"])
    assert re.search("whole number of at least 0|64 is the most", capsys.readouterr().err)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda g: g.sample("hunger"), "unknown emotion 'hunger'"),
        (lambda g: g.sample(3), "expected an emotion's name"),
        (lambda g: g.sample({"fear": -1.0}), "not negative"),
        (lambda g: g.sample("fear", n=0), "n and best_of"),
        (lambda g: g.edit(PICTURES, "fear", strength=2), "not between 0 and 1"),
        (lambda g: g.encode(PICTURES / 255), "expected pictures"),
        (lambda g: g.sample({"fear": float("nan")}), "are numbers"),
        (lambda g: g.sample("fear", temperature=float("nan")), "temperature is finite and above 0"),
        (lambda g: g.sample("fear", guidance=-5), "number of 0 or more"),
        (lambda g: g.sample("fear", guidance=(5, 0)), "the smaller first"),
        (lambda g: g.sample("fear", guidance=(0, 1, 2)), "or two such"),
        (lambda g: g.sample("fear", seed=-1), "a seed is at least 0"),
        (lambda g: g.between("fear", "sad", n=0), "n and best_of"),
        (lambda g: g.morph(PICTURES[0], PICTURES[1], n=0), "n and best_of"),
        (lambda g: g.reconstruct(PICTURES[:0]), "expected pictures"),
        (lambda g: g.edit(PICTURES, "sad", guidance=float("inf")), "guidance is a finite"),
        (lambda g: g.decode(np.full((1, 6, 6, 1), -1)), "codes are 0 to"),
        (lambda g: g.decode(np.zeros((1, 6, 6, 9), int)), "expected codes"),
    ],
)
def test_calls_name_what_is_wrong(generator, call, said):
    with pytest.raises(InputError, match=said):
        call(generator)


@pytest.mark.parametrize(
    "words, said",
    [
        ("generate --emotion happy=much -o a.png", "write NAME or NAME=SHARE"),
        ("generate --emotion happy -o a.doc", "write a .png or .jpg"),
        ("generate --emotion happy -o a.png --codec nowhere", "no finished run"),
        ("generate --emotion fear fear=3 -o a.png", "names an emotion twice"),
        ("generate --emotion all --to happy -o a.png", "--to goes from one emotion to another"),
        ("generate --emotion sad --to happy --best-of 4 -o a.png", "nor with --best-of"),
        ("generate --emotion sad --to hunger -o a.png", "unknown emotion 'hunger'"),
        ("evaluate vqvae --tta mirror", "--tta is for emotion, not for vqvae"),
        ("evaluate emotion -n 3", "--n is for generator, not for emotion"),
        ("edit nowhere.png --emotion happy -o a.png", "nowhere.png"),
    ],
)
def test_commands_name_what_is_wrong(capsys, words, said):
    assert app.main(words.split()) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("command, call", [("generate", "sample"), ("edit", "edit")])
def test_commands_and_calls_have_the_same_defaults(command, call):
    """The command line does not import Keras to learn them."""
    words = [command, "--emotion", "happy", "-o", "a.png", *(["photo.jpg"] if command == "edit" else [])]
    said = vars(app.build_parser().parse_args(words))
    asked = inspect.signature(getattr(models_generator.Generator, call)).parameters
    both = set(said) & set(asked) - {"emotion", "n"}
    assert both >= {"guidance", "temperature", "best_of", "seed"}
    assert {name: said[name] for name in both} == {name: asked[name].default for name in both}


def test_shares_of_emotions():
    assert emotions.shares("fear").tolist() == [0, 0, 1, 0, 0, 0, 0]
    np.testing.assert_allclose(emotions.shares({"happy": 3, "sad": 1}), [0, 0, 0, 0.75, 0.25, 0, 0])


def test_even_light():
    images = np.random.default_rng(0).integers(0, 40, (3, 48, 48)).astype(np.uint8)
    even = models_generator.even_light(images)
    assert np.abs(even.mean((1, 2)) - 128).max() < 3 and np.abs(even.std((1, 2)) - 55).max() < 5
    assert np.abs(models_generator.own_light(even, images).astype(int) - images).max() <= 1


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_after_a_fork_it_says_why_it_does_not_answer(generator):
    """TensorFlow has run here, and has no threads in the child."""
    generator.sample("happy", n=1)
    calls = {
        "sample": lambda: generator.sample("happy", n=1),
        "encode": lambda: generator.encode(PICTURES),
        "decode": lambda: generator.decode(np.zeros((1, 6, 6, 2), int)),
        "edit": lambda: generator.edit(PICTURES, "happy"),
        "load": models_generator.load_generator,
    }
    for name, call in calls.items():

        def said(call=call) -> str:
            with pytest.raises(InputError) as caught:
                call()
            return str(caught.value)

        line, *_ = in_child(said, seconds=30)
        assert line.startswith("this process was forked after TensorFlow") and "\n" not in line, (name, line)
