"""The private attributes of mmengine that this project uses or changes, each with its reason."""

import sys
from importlib.util import find_spec
from typing import Any

import mmengine.config.config
import mmengine.config.utils
from mmengine.config import Config
from mmengine.optim import OptimWrapper

from engine.shipped_configs import config_folder

INSTALLED = "lcnet_vision"


def fix_config_reader() -> None:
    """Let mmengine read configs alike wherever Python packages lie.

    mmengine takes every package below Python's prefix, but outside site-packages, for a built-in
    one (a checkout in /usr/src, `pip install --target`). It then keeps real classes in the config,
    whose dump `<class ...>` cannot be loaded.

    mmengine looks for the base config `lcnet_vision.configs.NAME` in the first package of our
    distribution, which is `backbone`.
    """
    reader: Any = mmengine.config.config
    for module in (reader, mmengine.config.utils):
        module._is_builtin_module = _is_builtin
    reader.get_installed_path = _package_folder


def _is_builtin(name: str) -> bool:
    """Whether a config may import this module at once: the standard library's and `read_base`'s."""
    return name.partition(".")[0] in sys.stdlib_module_names or name.startswith("mmengine.config")


def _package_folder(package: str) -> str:
    """Folder in which `package.configs.NAME` is the file configs/NAME.py.

    Raises:
        ImportError: no such package.
    """
    if package == INSTALLED:
        return str(config_folder().parent)
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"no package {package!r} to take a base config from")
    return str(spec.submodule_search_locations[0])


def set_step_count(optimizer: OptimWrapper, steps: int) -> None:
    """Say that `steps` iterations are done: the wrapper updates the weights at multiples of the
    gathered batches.

    Its public `initialize_count_status` warns at every other count.
    """
    optimizer._inner_count = steps


def count_step(optimizer: OptimWrapper) -> None:
    """Count an iteration without a backward pass, which `update_params` alone would count."""
    set_step_count(optimizer, optimizer._inner_count + 1)


def set_progress(loop: Any, epoch: int, iteration: int) -> None:
    """Set the epoch and iteration of a training loop, both from 0; it has them read-only."""
    loop._epoch, loop._iter = epoch, iteration


def drop_imported_names(config: Config) -> None:
    """Remove the names that a config's files import, which mmengine keeps as entries.

    Nothing public tells them from the entries, and `Config` removes no entry that is a lazy import.
    """
    for name in set(config._imported_names) & set(config._cfg_dict):
        dict.pop(config._cfg_dict, name)
