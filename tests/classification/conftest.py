"""Drawn data sets in both layouts."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

Write = Callable[..., Path]


@pytest.fixture
def write_images(tmp_path: Path) -> Write:
    """Writes flat PNGs at these paths below a folder, each of another grey; gives the folder."""

    def write(*paths: str, size: tuple[int, int] = (20, 30)) -> Path:
        for number, path in enumerate(paths):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / path), np.full((*size, 3), 10 * number, np.uint8))
        return tmp_path

    return write


@pytest.fixture
def write_lines(tmp_path: Path) -> Callable[..., Path]:
    """Writes a text file of these lines below the same folder, and gives the file."""

    def write(name: str, *lines: str) -> Path:
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write
