"""All private attributes of mmengine that this project uses or changes, and why."""

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
    """Make mmengine read configs the same way in every folder that packages can be in.

    mmengine treats a package below Python's prefix but outside site-packages as built-in (a
    checkout in /usr/src, `pip install --target`). It then keeps real classes in the config, and
    their dump `<class ...>` cannot be loaded.

    mmengine looks for the base config `lcnet_vision.configs.NAME` in the first package of this
    distribution, which is `backbone`.
    """
    reader: Any = mmengine.config.config
    for module in (reader, mmengine.config.utils):
        module._is_builtin_module = _is_builtin
    reader.get_installed_path = _package_folder


def _is_builtin(name: str) -> bool:
    """Whether a config imports this module for real: the standard library and mmengine.config."""
    return name.partition(".")[0] in sys.stdlib_module_names or name.startswith("mmengine.config")


def _package_folder(package: str) -> str:
    """Folder of a package: `package.configs.NAME` is its file configs/NAME.py.

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
    """Set the number of done iterations: the wrapper updates the weights at multiples of the
    number of accumulated batches.

    The public `initialize_count_status` warns at other counts.
    """
    optimizer._inner_count = steps


def count_step(optimizer: OptimWrapper) -> None:
    """Count an iteration that has no backward pass; only `update_params` counts otherwise."""
    set_step_count(optimizer, optimizer._inner_count + 1)


def set_progress(loop: Any, epoch: int, iteration: int) -> None:
    """Set the epoch and iteration of a training loop, from 0; they are read-only otherwise."""
    loop._epoch, loop._iter = epoch, iteration


def drop_imported_names(config: Config) -> None:
    """Remove the imported names of config files, which mmengine keeps as entries.

    No public function tells imports from entries, and `Config` cannot remove a lazy import.
    """
    for name in set(config._imported_names) & set(config._cfg_dict):
        dict.pop(config._cfg_dict, name)
