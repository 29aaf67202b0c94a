"""Optional packages, and the extras that install them."""

import importlib
from typing import Any

# Modules that each extra of pyproject.toml installs.
EXTRAS = {
    "cam": ("pytorch_grad_cam",),
    "cityscapes": ("cityscapesscripts",),
    "demo": ("gradio",),
    "export": ("nncf", "onnx", "onnxruntime", "onnxscript", "openvino"),
    "fast-eval": ("hotcoco",),
    "serve": ("fastapi", "prometheus_client", "python_multipart", "uvicorn"),
    "timm": ("timm",),
    "webdataset": ("webdataset",),
}


def require(name: str) -> Any:
    """Import a module of an optional package by its dotted name.

    Raises:
        ValueError: the package is not installed or cannot be imported; says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        absent = (error.name or "").partition(".")[0] == package
        why = "is not installed" if absent else f"cannot be imported ({error})"
        raise ValueError(f"{package} {why}; run: {_command(package)}") from error


def _command(package: str) -> str:
    for extra, names in EXTRAS.items():
        if package in names:
            return (
                f"pip install 'lcnet-vision[{extra}]' (in a checkout: pip install -e '.[{extra}]')"
            )
    return f"pip install {package}"
