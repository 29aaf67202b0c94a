"""The page of tools/demo.py: a picture in, what several models find in it side by side."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import gradio as gr
import numpy as np
from PIL import Image as Pillow

from engine.data.images import pixels_of
from engine.inference.files import PREPARE
from engine.inference.predictor import Predictor
from engine.inference.stopwatch import Stopwatch
from engine.serving.service import FORMATS, BadImage, count_pixels
from engine.types import Picture, Result

KEEP = 3600  # seconds that uploads and results are kept
SESSIONS = 8  # whose last results are kept: a picture of many pixels takes a lot of memory
DOWNLOAD = """text => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type: "application/json"}));
  link.download = "predictions.json";
  link.click();
  URL.revokeObjectURL(link.href);
}"""
SIDE = 1600  # of a picture shown, at most, in pixels
Update = list[Any]  # new values of the page's parts, in the order of its outputs


class Column(NamedTuple):
    """Where one model's results go."""

    picture: gr.Image
    rows: gr.Dataframe
    times: gr.Markdown


@dataclass(frozen=True)
class ImageResult:
    """What one model found in one image."""

    model: str  # name
    image: Picture
    found: Result
    taken: dict[str, float]  # ms of each stage


class Viewer:
    """A model that is looked at.

    Args:
        name: What it is called on the page.
        model: Of `load_model`.
    """

    def __init__(self, name: str, model: Predictor) -> None:
        self.name = name
        self.model = model
        self._watch = Stopwatch()
        self._watch.watch(PREPARE, model.network.data_preprocessor)

    def look(self, image: Picture) -> ImageResult:
        """Everything that the model finds, however low its score."""
        self._watch.taken.clear()
        with self._watch.stage("network", without=PREPARE):
            found = self.model.predict(image)[0]
        return ImageResult(self.name, image, found, self._watch.medians())

    def draw(self, view: ImageResult, threshold: float) -> Picture:
        """The image with what scores at least `threshold` on it, no side longer than SIDE."""
        return fitted(self.model.draw(view.image, view.found, threshold))

    def rows(self, view: ImageResult, threshold: float) -> list[dict[str, Any]]:
        """The same as plain data, as tools/predict.py writes it."""
        return self.model.describe(view.found, threshold)


def fitted(picture: Picture) -> Picture:
    """A picture (H, W, 3) with its longer side at most SIDE."""
    longest = max(picture.shape[:2])
    if longest <= SIDE:
        return picture
    height, width = (max(1, round(side * SIDE / longest)) for side in picture.shape[:2])
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def open_picture(path: Path, max_pixels: int) -> Picture:
    """The picture in an uploaded file.

    Raises:
        BadImage: it is none, has more pixels, or is there no longer; in a line.
    """
    if not path.is_file():
        raise BadImage("image: no longer there; give it again")
    data = path.read_bytes()
    count_pixels(data, max_pixels)
    try:
        return pixels_of("image", data)
    except ValueError as error:
        raise BadImage(str(error)) from None


def table(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Rows for a table: every value as a short text."""
    return [[_short(value) for value in row.values()] for row in rows]


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return " ".join(f"{number:.0f}" for number in value)
    return str(value)


def build(viewers: Sequence[Viewer], threshold: float, max_pixels: int) -> gr.Blocks:
    """The page.

    Args:
        viewers: Models, one column each.
        threshold: Where the slider stands first.
        max_pixels: Of an image that is taken.
    """
    actions = Actions(viewers, max_pixels)
    with gr.Blocks(title="PP-LCNet models", delete_cache=(KEEP, KEEP)) as page:
        views = gr.State([], time_to_live=KEEP)
        with gr.Row():
            photo = gr.Image(
                sources=["upload", "webcam", "clipboard"], type="filepath", image_mode=None,
                label="picture or camera", height=320, elem_id="photo",
            )  # fmt: skip
            guard(photo)
            with gr.Column():
                slider = gr.Slider(
                    0, 1, threshold, step=0.01, label="lowest score", elem_id="score"
                )
                results = gr.Textbox(visible="hidden")
                save = gr.Button("download results as JSON", elem_id="save")
        with gr.Row():
            columns = [_column(number, viewer) for number, viewer in enumerate(viewers)]
        drawn = [results, *(part for column in columns for part in (column.picture, column.rows))]
        photo.change(
            actions.look, [photo, slider], [views, *(column.times for column in columns), *drawn],
            api_visibility="private",
        )  # fmt: skip
        slider.change(
            actions.redraw, [views, slider], drawn, trigger_mode="always_last",
            show_progress="hidden", api_visibility="private",
        )  # fmt: skip
        save.click(None, results, None, js=DOWNLOAD)
    return page


def guard(photo: gr.Image) -> None:
    """Have an input take files that were uploaded alone, and say in a line what is wrong with one.

    Gradio itself takes the path of any file from a request that leaves out what marks it as one,
    and would show pictures of this machine to whoever can guess their names.
    """
    folder = Path(photo.GRADIO_CACHE).resolve()
    path_of = photo.preprocess

    def preprocess(payload: Any) -> Any:
        path = folder if payload is None else Path(payload.path or folder)
        if not path.resolve().is_relative_to(folder):
            raise _error("not a file that was uploaded")
        try:
            return path_of(payload)
        except (OSError, ValueError, Pillow.DecompressionBombError):
            raise _error(f"none of {', '.join(FORMATS)} that can be read, or too large") from None

    photo.preprocess = preprocess  # type: ignore[method-assign]


def show(page: gr.Blocks, host: str, port: int, max_bytes: int) -> None:
    """Serve the page until stopped; no file but what was uploaded can be fetched through it."""
    fonts = ["system-ui", "sans-serif"]  # no others are fetched from anywhere
    page.queue(max_size=4 * SESSIONS).launch(
        server_name=host,
        server_port=port,
        share=False,
        max_file_size=max_bytes,
        allowed_paths=[],
        state_session_capacity=SESSIONS,
        enable_monitoring=False,
        footer_links=[],
        ssr_mode=False,
        theme=gr.themes.Default(font=fonts, font_mono=["monospace"]),
    )


def _column(number: int, viewer: Viewer) -> Column:
    with gr.Column():
        gr.Markdown(f"### {viewer.name}")
        picture = gr.Image(
            show_label=False, interactive=False, format="jpeg", elem_id=f"picture-{number}",
            buttons=["download", "fullscreen"], height=480,
        )  # fmt: skip
        times = gr.Markdown(elem_id=f"times-{number}")
        rows = gr.Dataframe(interactive=False, max_height=300, elem_id=f"rows-{number}")
        return Column(picture, rows, times)


class Actions:
    """What happens when something on the page changes.

    Args:
        viewers: Models, one column each.
        max_pixels: Of an image that is taken.
    """

    def __init__(self, viewers: Sequence[Viewer], max_pixels: int) -> None:
        self.viewers = viewers
        self.max_pixels = max_pixels

    def look(self, path: str | None, threshold: float) -> Update:
        """Run every model on a new picture: views, their times, and what `redraw` gives."""
        if path is None:
            nothing = [None] * 2 * len(self.viewers)
            return [[], *[""] * len(self.viewers), "", *nothing]
        watch = Stopwatch()
        try:
            with watch.stage("read"):
                image = open_picture(Path(path), self.max_pixels)
        except BadImage as error:
            raise _error(str(error)) from None
        views = [viewer.look(image) for viewer in self.viewers]
        times = [_times(watch.medians() | view.taken) for view in views]
        return [views, *times, *self.redraw(views, threshold)]

    def redraw(self, views: Sequence[ImageResult], threshold: float) -> Update:
        """Text of all results, and of each model picture and table; no model is run."""
        if not views:
            return [gr.skip()] * (1 + 2 * len(self.viewers))
        parts: Update = []
        results = {}
        for viewer, view in zip(self.viewers, views, strict=True):
            rows = results[viewer.name] = viewer.rows(view, threshold)
            columns = list(rows[0]) if rows else ["nothing found"]
            parts += [viewer.draw(view, threshold), {"headers": columns, "data": table(rows)}]
        return [json.dumps(results, indent=1), *parts]


def _error(text: str) -> gr.Error:
    """An error for the page, which is none for the log."""
    return gr.Error(text, print_exception=False)


def _times(stages: dict[str, float]) -> str:
    return "ms: " + ", ".join(f"{name} {value:.1f}" for name, value in stages.items())
