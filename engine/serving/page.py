"""The page of tools/demo.py: shows the results of several models on a picture side by side."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from PIL import Image as Pillow

from engine.data.images import pixels_of
from engine.inference.files import PREPARE
from engine.inference.predictor import Predictor
from engine.inference.stopwatch import Stopwatch
from engine.reports.report import fitted
from engine.serving.service import FORMATS, count_pixels
from engine.types import Picture, Result

KEEP = 3600  # seconds that uploads and results are kept
SESSIONS = 8  # whose last results are kept; large pictures need much memory
DOWNLOAD = """text => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type: "application/json"}));
  link.download = "predictions.json";
  link.click();
  URL.revokeObjectURL(link.href);
}"""
SIDE = 1600  # longest side of a displayed picture, pixels
Update = list[Any]  # new values of the page's components, in the order of its outputs


class Column(NamedTuple):
    """The components that show one model's results."""

    picture: gr.Image
    rows: gr.Dataframe
    times: gr.Markdown


@dataclass(frozen=True)
class ImageResult:
    """Results of one model on one image."""

    model: str  # name
    image: Picture
    found: Result
    taken: dict[str, float]  # ms of each stage


class Viewer:
    """A model on the page.

    Args:
        name: Name on the page.
        model: From `load_model`.
    """

    def __init__(self, name: str, model: Predictor) -> None:
        self.name = name
        self.model = model
        self._watch = Stopwatch()
        self._watch.watch(PREPARE, model.network.data_preprocessor)

    def look(self, image: Picture) -> ImageResult:
        """Predict on an image; keep results of any score."""
        self._watch.taken.clear()
        with self._watch.stage("network", without=PREPARE):
            found = self.model.predict(image)[0]
        return ImageResult(self.name, image, found, self._watch.medians())

    def draw(self, view: ImageResult, threshold: float) -> Picture:
        """The image with the results of score `threshold` or more, its longer side at most SIDE."""
        return fitted(self.model.draw(view.image, view.found, threshold), SIDE)

    def rows(self, view: ImageResult, threshold: float) -> list[dict[str, Any]]:
        """The same results as plain data, as tools/predict.py writes them."""
        return self.model.describe(view.found, threshold)


def open_picture(path: Path, max_pixels: int) -> Picture:
    """The picture in an uploaded file.

    Raises:
        ValueError: it is not an image, has more pixels, or was removed.
    """
    if not path.is_file():
        raise ValueError("image: the uploaded file was removed; upload it again")
    data = path.read_bytes()
    count_pixels(data, max_pixels)
    return pixels_of("image", data)


def table(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Cells of a table: every value as a short text."""
    return [[_short(value) for value in row.values()] for row in rows]


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return " ".join(f"{number:.0f}" for number in value)
    return str(value)


def build(viewers: Sequence[Viewer], threshold: float, max_pixels: int) -> gr.Blocks:
    """Build the page.

    Args:
        viewers: Models, one column each.
        threshold: Initial value of the slider.
        max_pixels: Limit of an uploaded image.
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
    """Make an input accept uploaded files only, and report errors in one line.

    Gradio accepts the path of any file from a request without the file marker. Anyone who guesses
    the name of a picture on this machine could then see it.
    """
    folder = Path(photo.GRADIO_CACHE).resolve()
    path_of = photo.preprocess

    def preprocess(payload: Any) -> Any:
        path = folder if payload is None else Path(payload.path or folder)
        if not path.resolve().is_relative_to(folder):
            raise _error("not an uploaded file")
        try:
            return path_of(payload)
        except (OSError, ValueError, Pillow.DecompressionBombError):
            raise _error(f"not a readable {', '.join(FORMATS)} file, or too large") from None

    photo.preprocess = preprocess  # type: ignore[method-assign]


def show(page: gr.Blocks, host: str, port: int, max_bytes: int) -> None:
    """Serve the page until stopped; it gives access to uploaded files only."""
    fonts = ["system-ui", "sans-serif"]  # no web fonts
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
    """Callbacks of the page.

    Args:
        viewers: Models, one column each.
        max_pixels: Limit of an uploaded image.
    """

    def __init__(self, viewers: Sequence[Viewer], max_pixels: int) -> None:
        self.viewers = viewers
        self.max_pixels = max_pixels

    def look(self, path: str | None, threshold: float) -> Update:
        """Run every model on a new picture: views, their times, and the output of `redraw`."""
        if path is None:
            nothing = [None] * 2 * len(self.viewers)
            return [[], *[""] * len(self.viewers), "", *nothing]
        watch = Stopwatch()
        try:
            with watch.stage("read"):
                image = open_picture(Path(path), self.max_pixels)
        except ValueError as error:
            raise _error(str(error)) from None
        views = [viewer.look(image) for viewer in self.viewers]
        times = [_times(watch.medians() | view.taken) for view in views]
        return [views, *times, *self.redraw(views, threshold)]

    def redraw(self, views: Sequence[ImageResult], threshold: float) -> Update:
        """All results as text, and the picture and table of each model; runs no model."""
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
    """An error shown on the page but not logged."""
    return gr.Error(text, print_exception=False)


def _times(stages: dict[str, float]) -> str:
    return "ms: " + ", ".join(f"{name} {value:.1f}" for name, value in stages.items())
