"""Draws masks from Cityscapes' polygons with cityscapesscripts, the data set's own code."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.data.images import check_pixels
from engine.extras import require
from engine.fileio import read_json, written_whole
from segmentation.data.masks import POLYGONS_END, TRAIN_IDS_END


def draw_masks(data_root: Path, *, force: bool = False) -> Iterator[tuple[Path, bool]]:
    """Write `X_gtFine_labelTrainIds.png` beside every `X_gtFine_polygons.json` below `data_root`.

    Args:
        data_root: Folder that holds `gtFine/`.
        force: Draw existing masks again.

    Yields:
        Each mask, and whether it was drawn now.

    Raises:
        FileNotFoundError: there are no polygons.
        ValueError: a file of polygons is damaged, or cityscapesscripts is not installed.
    """
    polygons = sorted((data_root / "gtFine").rglob(f"*{POLYGONS_END}"))
    if not polygons:
        raise FileNotFoundError(
            f"{data_root / 'gtFine'}: no *{POLYGONS_END} there; give the folder that holds gtFine/"
        )
    for source in polygons:
        mask = source.with_name(source.name.removesuffix(POLYGONS_END) + TRAIN_IDS_END)
        wanted = force or not mask.is_file()
        if wanted:
            _draw(source, mask)
        yield mask, wanted


def _draw(source: Path, mask: Path) -> None:
    scripts = require("cityscapesscripts.preparation.json2labelImg")
    _check_size(source)
    try:
        with written_whole(mask, suffix=".png") as aside:
            scripts.json2labelImg(str(source), str(aside), "trainIds")
    except (ValueError, KeyError, TypeError, SystemExit) as error:
        raise ValueError(f"{source}: polygons that cannot be drawn ({error!r})") from error


def _check_size(source: Path) -> None:
    """Raise ValueError if the polygons have no size of their image, or too large a size."""
    content = read_json(source)
    known = content if isinstance(content, dict) else {}
    sides: list[Any] = [known.get(f"img{side}") for side in ("Height", "Width")]
    if not all(type(side) is int and side > 0 for side in sides):
        raise ValueError(f"{source}: needs imgHeight and imgWidth, whole numbers above 0")
    check_pixels(source, sides)
