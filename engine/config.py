"""Configs that fail early: strict loading, overrides, and cross-checks before anything runs."""

import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    FUNCTIONS,
    HOOKS,
    LOG_PROCESSORS,
    LOOPS,
    METRICS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
    VISBACKENDS,
    VISUALIZERS,
    Registry,
)
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from engine.fileio import near
from engine.mmengine_internals import drop_imported_names

REGISTRIES = (
    MODELS, DATASETS, TRANSFORMS, METRICS, HOOKS, LOOPS, OPTIM_WRAPPERS, OPTIMIZERS,
    PARAM_SCHEDULERS, DATA_SAMPLERS, OPTIM_WRAPPER_CONSTRUCTORS, VISUALIZERS, VISBACKENDS,
    LOG_PROCESSORS, FUNCTIONS,
)  # fmt: skip
# Entries that a builder adds or takes away before the class sees them.
BUILDER_KEYS = {"type", "convert_to_iter_based", "constructor", "paramwise_cfg", "by_epoch"}
LOADER_KEYS = {"dataset", "sampler", "collate_fn", "batch_sampler", "num_batch_per_epoch"}
RUNNER_KEYS = {"compile", "sync_bn", "find_unused_parameters", "model_wrapper_cfg"}
RUNNER_KEYS |= {"activation_checkpointing"}
# What mmengine raises on a file that is no config.
LOAD_ERRORS = (ImportError, AttributeError, SyntaxError, NameError, TypeError, OSError)
# mmengine would read these files its own way, which runs code in them.
UNSAFE_KEYS = {"load_from": "--load-from", "resume": "--resume"}


def load(path: Path | str, options: Mapping[str, Any] | None = None) -> Config:
    """Config file with overrides applied and every key and type name checked.

    Args:
        path: A config file of ours or one dumped into a work dir.
        options: Dotted keys and their values; a key the config lacks must start with "+".

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no config, or a key or type is unknown; names the nearest known.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"{path}: no such config file; configs are listed by `ls configs/*.py`"
        )
    if Path(path).suffix != ".py":  # mmengine would run code in a YAML file, too
        raise ValueError(f"{path}: no config, which is a .py file; give one of configs/*.py")
    try:
        config = Config.fromfile(str(path))
        drop_imported_names(config)
        apply_overrides(config, options or {})
        check_keys(config)  # builds the lazy imports, so a misspelled class shows here
    except LOAD_ERRORS as error:
        raise ValueError(f"{path}: not a valid config: {_explain_import(error)}") from error
    return config


def _explain_import(error: Exception) -> str:
    """The error, with the nearest names where a class was misspelled."""
    message = " ".join(str(error).split())
    wrong = re.match(r"Failed to import (\w+) from ([\w.]+) in ", message)  # mmengine's words
    module = sys.modules.get(wrong[2]) if wrong else None
    if wrong is None or module is None:
        return message
    return f"{message}; {near(wrong[1], [key for key in dir(module) if key[0].isupper()])}"


def apply_overrides(config: Config, options: Mapping[str, Any]) -> None:
    """Merge dotted options; a key that the config does not have is an error unless it starts "+".

    `X.type=Name` with another name than the config's empties X first, so that the options of one
    class never leak into another.

    Raises:
        ValueError: unknown key, with the nearest known ones, or a value of another kind than the
            config's.
    """
    for dotted, value in options.items():
        key = dotted.removeprefix("+")
        parts = key.split(".")
        _check_path(config, parts, may_add=dotted.startswith("+"))
        if parts[-1] == "type":
            _swap_class(_node(config, parts[:-1]), value)
        else:
            _check_kind(key, _get(config, parts), value)
        config.merge_from_dict({key: value})


def _swap_class(node: ConfigDict, name: str) -> None:
    """Clear the options of another class than `name`, but those that both classes take."""
    old = node.get("type")
    old_name = old if isinstance(old, str) else getattr(old, "__name__", "")
    new = resolve(name)
    if new is None or old_name.rsplit(".", 1)[-1] == new.__name__:
        return
    accepted = parameters(new)
    for key in [key for key in node if key != "type" and accepted and key not in accepted]:
        node.pop(key)


def _get(config: Config, parts: Sequence[str]) -> Any:
    """What stands at that place, or None."""
    node = _node(config, parts[:-1])
    return node.get(parts[-1]) if isinstance(node, dict | Config) else _node(node, parts[-1:])


def _check_kind(key: str, old: Any, new: Any) -> None:
    """Raise ValueError where an override puts a word for a number, or one value for several."""
    if old is None or new is None:
        return
    kinds: dict[str, tuple[type, ...]] = {
        "true or false": (bool,),
        "a number": (int, float),
        "several values, e.g. 320,320,": (list, tuple),
        "a part with keys of its own": (dict,),
    }
    for wanted, types in kinds.items():
        if isinstance(old, types):
            if not isinstance(new, types) or (isinstance(new, bool) and bool not in types):
                raise ValueError(f"--cfg-options {key}={new}: it is {old} now; give {wanted}")
            return


def _node(config: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        config = config[int(part)] if isinstance(config, list | tuple) else config[part]
    return config


def _check_path(config: Config, parts: Sequence[str], *, may_add: bool) -> None:
    node: Any = config
    for depth, part in enumerate(parts):
        if isinstance(node, list | tuple):
            known = [str(index) for index in range(len(node))]
        else:
            known = list(node) if isinstance(node, dict | Config) else []
        if part not in known:
            if may_add and depth == len(parts) - 1:
                return
            raise ValueError(
                f"--cfg-options {'.'.join(parts)}: no key {part!r} here; {near(part, known)} "
                "(a leading + adds a key on purpose)"
            )
        node = _node(node, [part])


def resolve(name: Any) -> Any:
    """The class or function that a `type=` entry means, or None."""
    if inspect.isclass(name) or inspect.isfunction(name):
        return name
    for registry in REGISTRIES:
        found = registry.get(str(name))
        if found is not None:
            return found
    return None


def known_types() -> list[str]:
    """Names that a `type=` entry may have."""
    return sorted({name for registry in REGISTRIES for name in _names(registry)})


def _names(registry: Registry) -> list[str]:
    registry.import_from_location()
    return list(registry.module_dict)


def parameters(cls: Any) -> set[str] | None:
    """Keyword names its constructor takes, those of its bases where it passes on the rest.

    None when they cannot be known (a constructor in C, or **kwargs down to the last base).
    """
    names: set[str] = set()
    bases = cls.__mro__[:-1] if inspect.isclass(cls) else ()
    chain: list[Any] = [vars(base).get("__init__") for base in bases] or [cls]
    for function in filter(None, chain):
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            return None
        kinds = signature.parameters.values()
        names |= {p.name for p in kinds if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind is p.VAR_KEYWORD for p in kinds):
            return names - {"self"}
    return None


def check_keys(config: Config) -> None:
    """Check every key against the constructor that will get it, and every type name.

    Raises:
        ValueError: the first unknown one, with the nearest known names.
    """
    runner = set(inspect.signature(Runner.__init__).parameters) | RUNNER_KEYS
    for key in config:
        if key in UNSAFE_KEYS:
            raise ValueError(f"config key {key!r} is not read; pass {UNSAFE_KEYS[key]} instead")
        if key not in runner:
            raise ValueError(f"config key {key!r} is unknown; {near(key, sorted(runner))}")
        if key.endswith("_dataloader") and config[key]:
            _check_loader(key, config[key])
    for where, node in _typed_nodes(config, ""):
        _check_node(where, node)


def _check_loader(name: str, loader: ConfigDict) -> None:
    known = set(inspect.signature(DataLoader.__init__).parameters) | LOADER_KEYS
    for key in loader:
        if key not in known:
            raise ValueError(f"config key {name}.{key} is unknown; {near(key, sorted(known))}")


def _typed_nodes(node: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict | Config):
        if "type" in node:
            yield where, node
        for key in node:
            yield from _typed_nodes(node[key], f"{where}.{key}".lstrip("."))
    elif isinstance(node, list | tuple):
        for index, item in enumerate(node):
            yield from _typed_nodes(item, f"{where}.{index}")


def _check_node(where: str, node: ConfigDict) -> None:
    cls = resolve(node["type"])
    if cls is None:
        name = str(node["type"])
        raise ValueError(f"config {where}.type: no class {name!r}; {near(name, known_types())}")
    accepted = parameters(cls)
    if accepted is None:
        return
    for key in node:
        if key not in accepted | BUILDER_KEYS:
            raise ValueError(
                f"config {where}.{key}: {cls.__name__} takes no {key!r}; "
                f"{near(key, sorted(accepted))}"
            )


def require(config: Config, names: Sequence[str], command: str) -> None:
    """Check that the config has the parts that a command needs.

    Raises:
        ValueError: one is missing, as in the files of configs/_base.
    """
    missing = [name for name in names if not config.get(name)]
    if missing:
        raise ValueError(
            f"{config.filename}: has no {', '.join(missing)}, which {command} needs; "
            "take one of configs/*.py"
        )


def use_data(config: Config, data: Path | None, split: str | None = None) -> None:
    """Point all loaders at the folder `data` and the test loader at `split`, where given."""
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        if data is not None and config.get(name):
            config[name].dataset.data_root = str(data)
    if split is not None and config.get("test_dataloader"):
        config.test_dataloader.dataset.split = split


def data_classes(config: Config, loader: str) -> dict[str, Any]:
    """Metainfo of the data set behind `loader` (its class names under "classes")."""
    dataset = DATASETS.build(config[loader].dataset)
    return dict(dataset.metainfo)


def check(config: Config, classes: Sequence[str]) -> None:
    """Cross-checks that no constructor can make alone.

    Raises:
        ValueError: the class count of model and data differ, an input size does not fit the
            model's strides, or the metric that picks the best checkpoint is not evaluated.
    """
    if config.model.num_classes != len(classes):
        raise ValueError(
            f"model.num_classes is {config.model.num_classes}, but the data has {len(classes)} "
            f"classes ({', '.join(classes[:5])}{', ...' if len(classes) > 5 else ''}); pass "
            f"--cfg-options model.num_classes={len(classes)}, or --data DIR to take them from it"
        )
    check_sizes(config)
    _check_best_key(config)


def check_sizes(config: Config) -> None:
    """Raise ValueError where an input size is no multiple of the model's coarsest stride."""
    stride = getattr(resolve(config.model.type), "size_divisor", 1)
    preprocess = config.model.data_preprocessor
    sizes = [*(preprocess.get("size") or ()), *preprocess.get("train_sizes", ())]
    for size in sizes:
        if size % stride or size < stride:
            below = max(size // stride, 1) * stride
            raise ValueError(
                f"model.data_preprocessor: input size {size} is no multiple of {stride}; "
                f"use {below} or {below + stride}"
            )


def _check_best_key(config: Config) -> None:
    best = config.default_hooks.checkpoint.get("best")
    evaluators = config.get("val_evaluator")
    if not best or not evaluators:
        return
    known = [
        key
        for evaluator in (evaluators if isinstance(evaluators, list) else [evaluators])
        for key in getattr(resolve(evaluator.type), "keys", ())
    ]
    if known and best not in known:
        raise ValueError(
            f"default_hooks.checkpoint.best is {best!r}, which no evaluator gives; "
            f"{near(best, known)}"
        )


def plain(node: Any) -> Any:
    """The config part as plain data: classes by their registered name, tuples as lists.

    Raises:
        ValueError: it holds something that is neither a class nor plain data.
    """
    if isinstance(node, dict | Config):
        return {key: _type_name(node[key]) if key == "type" else plain(node[key]) for key in node}
    if isinstance(node, list | tuple):
        return [plain(item) for item in node]
    if inspect.isclass(node):
        return node.__name__
    if node is None or isinstance(node, str | int | float | bool):
        return node
    raise ValueError(f"{node!r} in a model config is no plain data")


def _type_name(name: Any) -> str:
    """Registered name of a class, given itself, its name or, as in dumped configs, its path."""
    cls = resolve(name)
    return str(name) if cls is None else cls.__name__
