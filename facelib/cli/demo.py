"""`facelib demo`: a page in the browser that analyses, generates and edits faces, on this machine alone.

Gradio makes the page. It loads nothing from elsewhere and tells nobody, and the pictures that it was shown
are removed when it ends. TensorFlow starts with the first face that is to be generated or edited.
"""

from __future__ import annotations

import argparse
import base64
import functools
import gc
import html
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from unittest import mock

from facelib import paths
from facelib.cli.options import command, port
from facelib.errors import InputError
from facelib.language import current, say, speaks

#: The page of each language, by its name there.
PAGES = {"en": "English", "fr": "Français"}
FACE = 192  # pixels of a face's side on the page
STYLE = """
.gradio-container {max-width: 1180px !important; margin: auto}
.head h1 {font-size: 2.2rem; margin: 0; letter-spacing: -.02em}
.head hr {height: 6px; border: 0; border-radius: 3px; margin: .5rem 0 .8rem !important;
           background: linear-gradient(90deg, COLOURS)}
.faces {display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(250px, 1fr))}
.face {display: flex; gap: 1rem; align-items: center}
.face img {width: 96px; height: 96px; border-radius: 12px}
.face dl {flex: 1; display: grid; grid-template-columns: auto 1fr 2.6rem; gap: .25rem .6rem; margin: 0}
.face dl > * {margin: 0; align-self: center; font-size: .9rem; line-height: 1.15; text-align: right}
.face dt {text-align: left !important}
.face .bar, .face i {display: block; height: .6rem; border-radius: 1rem}
.face .bar {background: var(--border-color-primary)}
.said {margin: 0; padding: .5rem .8rem; border-left: 4px solid var(--border-color-primary)}
.said.fault {border-color: #C0392B; font-weight: 600}
"""


def add_commands(commands) -> None:
    parser = command(
        commands,
        "demo",
        demo,
        "open a page for the browser: analyse, generate and edit faces without code",
        "  facelib demo                 (then open the address that it prints)\n"
        "  facelib demo --lang fr --open\n"
        "Needs `pip install 'facelib[demo]'`. The page is for this machine alone and sends nothing\n"
        "anywhere; the pictures that it was shown are removed when it ends.",
    )
    parser.add_argument("--port", type=port, metavar="N", help="default: the first free one from 7860")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS",
        help="default 127.0.0.1: this machine alone; 0.0.0.0: everyone in its networks")  # fmt: skip
    parser.add_argument("--lang", choices=sorted(PAGES),
        help="of the first page, by default $FACELIB_LANG; the other is a click away")  # fmt: skip
    parser.add_argument("--open", action="store_true", help="open it in the browser")


def demo(arguments: argparse.Namespace) -> int:
    first, host = current(arguments.lang), arguments.host
    near = ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1,localhost", host]))
    with (
        tempfile.TemporaryDirectory(prefix="facelib-", ignore_cleanup_errors=True) as folder,
        # Gradio's files; and its own question whether the page is there, which needs no proxy.
        paths.environment(GRADIO_TEMP_DIR=folder, NO_PROXY=near),
    ):
        page = _launched(first, server_name=host, server_port=arguments.port, inbrowser=arguments.open)
        print(f"{page.local_url}   (Ctrl-C ends it)", flush=True)
        if host != "127.0.0.1":
            print("facelib: others in this network can open the page as well", file=sys.stderr)
        try:
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # removes the pictures as well
            threading.Event().wait()
        except KeyboardInterrupt:
            page.close(verbose=False)
    return 0


def _launched(first: str, **server):
    """Gradio's Blocks, served from a thread; ``first``: the language at its address, the other's is below."""
    from facelib.emotions import COLOURS

    # Left out, as it only costs time: garbage collection, the type stubs that Gradio writes anew beside its
    # own modules (it passes over classes whose file cannot be told), and servers made for unfinished pages.
    gc.disable()
    try:
        with mock.patch("inspect.getfile", side_effect=OSError):
            import gradio as gr
    except ImportError:
        raise InputError("the page needs Gradio: run `pip install 'facelib[demo]'`") from None
    finally:
        gc.enable()
    with mock.patch("gradio.routes.App.create_app"):
        page = gr.Blocks(title="facelib", analytics_enabled=False)
        for lang in (first, *PAGES.keys() - {first}):
            with page if lang == first else page.route(PAGES[lang], lang):
                gr.Navbar(main_page_name=PAGES[first])
                _page(gr, lang=lang)
    theme = gr.themes.Default(primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["monospace"])
    try:
        page.launch(
            prevent_thread_lock=True, quiet=True, share=False, inline=False, ssr_mode=False, mcp_server=False,
            enable_monitoring=False, run_history=False, footer_links=[], max_file_size="200mb", theme=theme,
            css=STYLE.replace("COLOURS", ", ".join(COLOURS)), **server,
        )  # fmt: skip
    except OSError:
        place = f"{server['server_name']}, port {server['server_port'] or 'from 7860'}"
        raise InputError(f"{place}: is taken or cannot be had; name another with --port") from None
    return page


# --- what the page shows -----------------------------------------------------------------------------------


@speaks
def _page(gr) -> None:
    """The three tabs, in the language in force."""
    from facelib.emotions import EMOTIONS

    lang, names = current(), [(say(name), name) for name in EMOTIONS]
    shown = {"interactive": False, "buttons": ["download", "fullscreen"], "format": "jpeg"}

    def photograph(*sources: str):
        """Pictures are read by facelib and not by Gradio: for its formats, its limits and its errors."""
        words = say("Drop a photograph here, or click")
        made = gr.Image(label=say("photograph"), sources=["upload", "clipboard", *sources], placeholder=words)
        made.preprocess = lambda given: given and given.path
        return made

    def answer(event, function, inputs: list, outputs: list, **options) -> None:
        told = functools.partial(_told, function, len(outputs) - 1, lang)
        event(told, inputs, outputs, api_visibility="private", **options)

    def told(words: str = "") -> gr.HTML:
        return gr.HTML(_line(say(words)))

    gr.HTML(f"<h1>facelib</h1><hr>{say('Faces to emotions, and emotions to faces.')}", elem_classes="head")
    with gr.Tab(say("Analyse")), gr.Row():
        with gr.Column(scale=4):
            with gr.Tab(say("Photograph")):
                photo = photograph()
            with gr.Tab(say("Live camera")):
                camera = gr.Image(label=say("camera"), sources=["webcam"], streaming=True)
            gender = gr.Checkbox(False, label=say("apparent gender as well"))
        with gr.Column(scale=5):
            picture = gr.Image(label=say("faces"), show_label=False, **shown)
            outputs = [told("No picture leaves this machine."), picture, told()]
        for event in (photo.change, gender.input):
            answer(event, look, [photo, gender], outputs)
        live = {"stream_every": 0.25, "time_limit": None, "show_progress": "hidden"}
        answer(camera.stream, look, [camera, gender], outputs, **live)
    alone = {"concurrency_id": "generator", "concurrency_limit": 1}  # each call takes all cores
    with gr.Tab(say("Generate")), gr.Row():
        with gr.Column(scale=4):
            inputs = [
                gr.Dropdown(names, value="happy", label=say("emotion")),
                gr.Dropdown([(say("no other"), ""), *names], value="", label=say("mixed with")),
                gr.Slider(0, 100, 50, step=5, label=say("share of the second, %")),
                gr.Number(0, precision=0, minimum=0, label=say("seed")),
                gr.Slider(4, 16, 8, step=4, label=say("number of faces")),
                gr.Slider(0, 8, 3, step=0.5, label=say("guidance"),
                          info=say("0: any face; more: clearer and less various")),
                gr.Slider(0.1, 1.5, 0.9, step=0.1, label=say("temperature"),
                          info=say("less: likelier, smoother faces")),
            ]  # fmt: skip
            button = gr.Button(say("Generate"), variant="primary")
        with gr.Column(scale=5):
            outputs = [told("The first faces take half a minute: TensorFlow starts."),
                       gr.Image(label=say("faces"), show_label=False, **shown), told()]  # fmt: skip
        answer(button.click, draw, inputs, outputs, **alone)
    with gr.Tab(say("Edit")), gr.Row():
        with gr.Column(scale=4):
            inputs = [
                photograph("webcam"),
                gr.Dropdown(names, value="happy", label=say("emotion")),
                gr.Slider(0, 1, 0.5, step=0.1, label=say("strength"),
                          info=say("part of the face that is generated anew")),
            ]  # fmt: skip
            button = gr.Button(say("Edit"), variant="primary")
        with gr.Column(scale=5):
            outputs = [told("Expect a caricature. Ask the people first."),
                       gr.ImageSlider(label=say("before and after"), **shown),
                       gr.Image(label=say("faces"), show_label=False, **shown)]  # fmt: skip
        answer(button.click, edit, inputs, outputs, **alone)
    told("An expression is not a feeling: do not judge, hire, grade or watch people with this.")


# --- what it does ------------------------------------------------------------------------------------------


def _told(function, results: int, lang: str, *values) -> list:
    """A line for the page, and what a function returns beside it; where the input is at fault, that alone."""
    try:
        words, *found = function(*values, lang=lang)
        return [_line(words), *found]
    except (InputError, OSError) as error:
        words = str(error)
    for path in filter(os.path.isabs, (value for value in values if isinstance(value, str))):
        words = words.replace(path, os.path.basename(path))  # an upload's name, not where it lies here
    return [_line(say(words, lang), "fault"), *[None] * results]


@speaks
def look(photograph, gender: bool) -> tuple:
    """How many faces a picture has, the picture with them, and their bars."""
    if photograph is None:
        return "", None, None
    from facelib.reporting import plots
    from facelib.vision import encoder, image_io

    image = image_io.load(photograph)
    faces = encoder.analyze(image, gender="facelib" if gender else None)
    words = say(f"{len(faces)} faces" if len(faces) > 1 else "1 face")
    if not faces:
        words = say("no face found; come closer, look straight ahead, or run `facelib data fetch yunet` once")
    bars = ""
    for face in faces:
        x, y, w, h = face.box
        bars += _bars(face.emotions | face.genders, image[max(y, 0) : y + h, max(x, 0) : x + w])
    return words, plots.annotate(image, faces), f'<div class="faces">{bars}</div>'


@speaks
def draw(emotion, other, share, seed, n, guidance, temperature) -> tuple:
    """Generated faces in one picture, and what facelib reads in them on average."""
    from facelib.emotions import EMOTIONS
    from facelib.models import emotion as networks
    from facelib.models import registry

    asked = {emotion: 1 - share / 100, other: share / 100} if other not in ("", emotion) else emotion
    options = {"n": int(n), "seed": int(seed or 0), "temperature": temperature, "guidance": guidance}
    faces = _generator().sample(emotion=asked, **options)
    read = registry.OnnxNetwork("emotion")(networks.emotion_inputs(faces)).mean(0).tolist()
    words = say(f"{len(faces)} faces of people who do not exist; what facelib reads in them, on average")
    return words, _strip(faces, 4), _bars(dict(zip(EMOTIONS, read, strict=True)))


@speaks
def edit(photograph, emotion, strength) -> tuple:
    """A photograph before and after, and so each of its faces."""
    from facelib.vision import image_io, photo_editing

    if photograph is None:
        raise InputError("there is no photograph yet: drop one into the frame")
    before = image_io.load(photograph)
    options = {"emotion": emotion, "strength": strength}
    after, *faces = photo_editing.edit_photograph(_generator(), before, **options)
    pairs = [face for pair in zip(*faces, strict=True) for face in pair]
    return say("Ask the people first."), (before, after), _strip(pairs, 2 if len(pairs) == 2 else 4)


@functools.cache
def _generator():
    from facelib.models.generator import load_generator  # imports TensorFlow

    return load_generator()


def _strip(faces, columns: int):
    """Faces, each (48, 48) uint8, side by side, enlarged without steps."""
    import cv2
    import numpy as np

    from facelib.cli.output_writers import grid

    large = [cv2.resize(face, (FACE, FACE), interpolation=cv2.INTER_CUBIC) for face in faces]
    return grid(np.stack(large), 8, columns)[:-8, :-8]


def _line(words: str, kind: str = "") -> str:
    role = "alert" if kind else "status"
    return f'<p class="said {kind}" role="{role}">{html.escape(words)}</p>' if words else ""


def _bars(read: Mapping[str, float], face=None) -> str:
    """Probabilities as bars in the emotions' colours, beside a face, (h, w, 3) uint8 RGB."""
    import cv2

    from facelib.emotions import COLOURS, EMOTIONS

    colours, picture = dict(zip(EMOTIONS, COLOURS, strict=True)), ""
    if face is not None:
        data = base64.b64encode(cv2.imencode(".jpg", cv2.resize(face[..., ::-1], (FACE, FACE)))[1])
        picture = f'<img alt="" src="data:image/jpeg;base64,{data.decode()}">'
    rows = "".join(
        f'<dt>{say(name)}</dt><dd class="bar"><i style="width: {p:.1%}; background: '
        f'{colours.get(name, "currentColor")}"></i></dd><dd>{say(f"{p:.0%}")}</dd>'
        for name, p in read.items()
    )
    return f'<div class="face">{picture}<dl>{rows}</dl></div>'
