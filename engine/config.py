"""Loads configs strictly: unknown keys and types are errors before anything runs."""

import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine import registry
from mmengine.config import Config, ConfigDict
from mmengine.config.utils import ConfigParsingError
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from engine import renamed
from engine.fileio import near
from engine.mmengine_internals import drop_imported_names, fix_config_reader
from engine.shipped_configs import find_config

fix_config_reader()

REGISTRIES = (
    registry.MODELS, registry.DATASETS, registry.TRANSFORMS, registry.METRICS, registry.HOOKS,
    registry.LOOPS, registry.OPTIM_WRAPPERS, registry.OPTIMIZERS, registry.PARAM_SCHEDULERS,
    registry.DATA_SAMPLERS, registry.OPTIM_WRAPPER_CONSTRUCTORS, registry.VISUALIZERS,
    registry.VISBACKENDS, registry.LOG_PROCESSORS, registry.FUNCTIONS, registry.MODEL_WRAPPERS,
)  # fmt: skip
# Entries that a builder adds or removes before it calls the class.
BUILDER_KEYS = {"type", "convert_to_iter_based", "constructor", "paramwise_cfg", "by_epoch"}
LOADER_KEYS = {"dataset", "sampler", "collate_fn", "batch_sampler", "num_batch_per_epoch"}
RUNNER_KEYS = {
    "compile", "sync_bn", "find_unused_parameters", "model_wrapper_cfg", "activation_checkpointing",
}  # fmt: skip
# Errors of mmengine on a file that is not a config.
LOAD_ERRORS = (
    ImportError, AttributeError, SyntaxError, LookupError, NameError, TypeError, OSError,
    ConfigParsingError,
)  # fmt: skip
# mmengine would unpickle these files, which can run code in them; these options read them safely.
UNSAFE_KEYS = {"load_from": "--load-from", "resume": "--resume"}


def load(path: Path | str, options: Mapping[str, Any] | None = None) -> Config:
    """Load a config file, apply overrides, and check its own keys and those of the model.

    Only the classes of the model are imported; `require` checks the parts that a command needs.

    Args:
        path: A config file, also one dumped into a work dir, or the name of a shipped config.
        options: Dotted keys and their values; a key that the config does not have must start
            with "+".

    Raises:
        FileNotFoundError: no such config; names the nearest.
        ValueError: the file is not a config, or a key or type is unknown; names the nearest known.
    """
    path = find_config(path)
    if path.suffix != ".py":  # mmengine would run code in a YAML file too
        raise ValueError(f"{path}: not a config; a config is a .py file")
    with _explained(path):
        config = Config.fromfile(str(path))
        drop_imported_names(config)
        apply_overrides(config, options or {})
        check_keys(config, ("model",))
        _list_parts(config)
    return config


@contextmanager
def _explained(path: Path | str | None) -> Iterator[None]:
    """Turn an error in the file into one line, with the new names of renamed classes."""
    try:
        yield
    except (ValueError, *LOAD_ERRORS) as error:
        text = Path(path).read_text(errors="replace") if path else ""
        if old := renamed.old_names(text):
            raise ValueError(f"{path}: has names of version 0.1; {old}") from error
        if isinstance(error, ValueError):
            raise
        raise ValueError(f"{path}: not a valid config: {_explain_import(error)}") from error


def _list_parts(node: Any) -> None:
    """Turn dicts of named parts, and a single schedule, into lists in the order written."""
    if isinstance(node, list | tuple):
        for item in node:
            _list_parts(item)
    for key in list(node) if isinstance(node, dict | Config) else []:
        part = dict.get(node, key) if isinstance(node, dict) else node[key]
        _list_parts(part)
        is_list = _is_list(key, top=isinstance(node, Config))
        if is_list and isinstance(part, list) and any(isinstance(one, str) for one in part):
            raise ValueError(f"config {key}: {renamed.NAMED_PARTS}")
        if not isinstance(part, dict) or not is_list:
            continue
        if "type" in part and key == "param_scheduler":
            node[key] = [part]
        elif all(isinstance(one, dict) and "type" in one for one in part.values()):
            node[key] = list(part.values())


def _is_list(key: str, *, top: bool) -> bool:
    """Whether the entry is a list of parts; `top`: it is an entry of the runner."""
    return key == "transforms" or (top and key in ("custom_hooks", "param_scheduler"))


def _explain_import(error: Exception) -> str:
    """The error message; the nearest names are added to a misspelled class or base config."""
    if old := renamed.old_index(error):
        return old
    message = " ".join(str(error).split())
    if old := renamed.old_module(message):  # in a file that the config imports
        return f"{message}; {old}"
    base = re.match(r"(.+\.py) not found! It means", message)  # mmengine's words
    if base is not None:
        known = [path.stem for path in Path(base[1]).parent.glob("*.py")]
        return f"no base config {base[1]}; {near(Path(base[1]).stem, known)}"
    wrong = re.match(r"Failed to import (\w+) from ([\w.]+) in ", message)  # mmengine's words
    module = sys.modules.get(wrong[2]) if wrong else None
    if wrong is None or module is None:
        return message
    return f"{message}; {near(wrong[1], [key for key in dir(module) if key[0].isupper()])}"


def apply_overrides(config: Config, options: Mapping[str, Any]) -> None:
    """Merge dotted options; a key that the config does not have must start with "+".

    `X.type=Name` with another name than the config's first removes the options of X that the new
    class does not take.

    Raises:
        ValueError: an unknown key (names the nearest known), or a value of another kind than the
            config's.
    """
    for dotted, value in options.items():
        words = dotted.removeprefix("+").split(".")
        path, owner, old = _find(config, words, may_add=dotted.startswith("+"))
        key = ".".join(path)
        if path[-1] == "type":
            _swap_class(owner, value)
        else:
            is_named = isinstance(old, dict) and _is_list(path[-1], top=len(path) == 1)
            _check_kind(key, list(old) if is_named else old, value)
        config.merge_from_dict({key: value})


def _find(config: Config, words: Sequence[str], *, may_add: bool) -> tuple[list[str], Any, Any]:
    """The keys that lead to an option, the node that has it, and its value (None for a new key).

    A part of a list with names may also be given by its index.
    """
    path: list[str] = []
    owner: Any = None
    node: Any = config
    for depth, word in enumerate(words, 1):
        key, known = word, _keys(node)
        if path and isinstance(node, dict) and word.isdigit():
            is_list = _is_list(path[-1], top=len(path) == 1)
            if is_list and "type" in known and word == "0":
                continue  # the only schedule
            if is_list and "type" not in known and int(word) < len(known):
                key = known[int(word)]
        if key not in known and not (may_add and depth == len(words)):
            kind = _type_name(node.get("type")) if isinstance(node, dict) else ""
            raise ValueError(
                renamed.key_line(".".join(path), kind, key)
                or f"--cfg-options {'.'.join(words)}: no key {key!r} here; {near(key, known)} "
                "(a leading + adds a new key)"
            )
        path.append(key)
        owner = node
        node = owner[int(key) if isinstance(owner, list | tuple) else key] if key in known else None
    return path, owner, node


def _keys(node: Any) -> list[str]:
    if isinstance(node, list | tuple):
        return [str(index) for index in range(len(node))]
    return list(node) if isinstance(node, dict | Config) else []


def _swap_class(node: ConfigDict, name: str) -> None:
    """Remove the options that the class `name` does not take, if it is another class."""
    old = _type_name(node.get("type"))  # imports its module, which registers other classes
    new = resolve(name)
    if new is None or new.__name__ == old:
        return
    accepted = parameters(new)
    for key in [key for key in node if key != "type" and accepted and key not in accepted]:
        node.pop(key)


def _check_kind(key: str, old: Any, new: Any) -> None:
    """Raise ValueError if an override has another kind of value than the config."""
    if old is None or new is None:
        return
    kinds: dict[str, tuple[type, ...]] = {
        "true or false": (bool,),
        "a number": (int, float),
        "several values (such as 320,320,)": (list, tuple),
        "a dict of options": (dict,),
    }
    for wanted, types in kinds.items():
        if isinstance(old, types):
            if not isinstance(new, types) or (isinstance(new, bool) and bool not in types):
                raise ValueError(
                    f"--cfg-options {key}: expected {wanted}, got {new!r} "
                    f"(the config has {old!r:.80})"
                )
            return


def resolve(name: Any) -> Any:
    """The class or function that a `type=` entry names, or None."""
    if inspect.isclass(name) or inspect.isfunction(name):
        return name
    found = (one.get(str(name)) for one in REGISTRIES)
    return next((cls for cls in found if cls is not None), None)


def known_types() -> list[str]:
    """Names that a `type=` entry may have."""
    for one in REGISTRIES:
        one.import_from_location()
    return sorted({name for one in REGISTRIES for name in one.module_dict})


def parameters(cls: Any) -> set[str] | None:
    """Keywords that the constructor takes; also those of its bases if it has **kwargs.

    None if they cannot be known (a constructor in C, or **kwargs in every base).
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


def check_keys(config: Config, parts: Sequence[str] | None = None) -> None:
    """Check the keys of the runner and its loaders, and every key and type name in `parts`.

    A key is checked against the constructor that gets it; this imports the module of the class.

    Args:
        config: The config to check.
        parts: Keys of the runner; None means all.

    Raises:
        ValueError: the first unknown key or type, with the nearest known names.
    """
    runner = set(inspect.signature(Runner.__init__).parameters) | RUNNER_KEYS
    for key in config:
        if key in UNSAFE_KEYS:
            raise ValueError(f"config key {key!r} is not supported; use {UNSAFE_KEYS[key]} instead")
        if key not in runner:
            raise ValueError(f"config key {key!r} is unknown; {near(key, sorted(runner))}")
        if key.endswith("_dataloader") and config[key]:
            _check_loader(key, config[key])
    for part in config if parts is None else set(parts) & set(config):
        for where, node in typed_nodes(config[part], part):
            _check_node(where, node)


def _check_loader(name: str, loader: ConfigDict) -> None:
    known = set(inspect.signature(DataLoader.__init__).parameters) | LOADER_KEYS
    for key in loader:
        if key not in known:
            raise ValueError(f"config key {name}.{key} is unknown; {near(key, sorted(known))}")


def typed_nodes(node: Any, where: str) -> Iterator[tuple[str, Any]]:
    """All dicts with a `type` inside `node`, each with its dotted key below `where`."""
    if isinstance(node, dict | Config):
        if "type" in node:
            yield where, node
        for key in node:
            yield from typed_nodes(node[key], f"{where}.{key}".lstrip("."))
    elif isinstance(node, list | tuple):
        for index, item in enumerate(node):
            yield from typed_nodes(item, f"{where}.{index}")


def _check_node(where: str, node: ConfigDict) -> None:
    cls = resolve(node["type"])
    if cls is None:
        name = str(node["type"])
        new = renamed.new_name(name)
        raise ValueError(
            f"config {where}.type: no class {name!r}; "
            + (f"it is {new} now" if new else near(name, known_types()))
        )
    accepted = parameters(cls)
    if accepted is None:
        return
    for key in node:
        if key not in accepted | BUILDER_KEYS:
            raise ValueError(
                renamed.key_line(where, cls.__name__, key)
                or f"config {where}.{key}: {cls.__name__} does not take {key!r}; "
                f"{near(key, sorted(accepted))}"
            )


def require(config: Config, names: Sequence[str], command: str) -> None:
    """Check that the config has the parts `names`, and check all keys and type names.

    Raises:
        ValueError: a part is missing (files of configs/_base are not complete), or a key or type
            is unknown; names the nearest known.
    """
    missing = [name for name in names if not config.get(name)]
    if missing:
        raise ValueError(
            f"{config.filename}: has no {', '.join(missing)}, which {command} needs; "
            "use one of the configs that `lcnet list-configs` shows"
        )
    with _explained(config.filename):
        check_keys(config, names if set(names) == {"model"} else None)


def use_data(config: Config, data: Path | None, split: str | None = None) -> None:
    """Set the folder `data` in all loaders and `split` in the test loader, if given."""
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        if data is not None and config.get(name):
            config[name].dataset.data_root = str(data)
    if split is not None and config.get("test_dataloader"):
        config.test_dataloader.dataset.split = split


def data_classes(config: Config, loader: str) -> dict[str, Any]:
    """Metainfo of the data set of `loader`; "classes" holds the class names."""
    dataset = registry.DATASETS.build(config[loader].dataset)
    return dict(dataset.metainfo)


def check_sizes(config: Config) -> None:
    """Raise ValueError if an input size is not a multiple of the model's largest stride."""
    stride = getattr(resolve(config.model.type), "size_divisor", 1)
    preprocess = config.model.data_preprocessor
    sizes = [*(preprocess.get("size") or ()), *preprocess.get("train_sizes", ())]
    for size in sizes:
        if size % stride or size < stride:
            below = max(size // stride, 1) * stride
            raise ValueError(
                f"model.data_preprocessor: input size {size} is not a multiple of {stride}; "
                f"use {below} or {below + stride}"
            )


def plain(node: Any) -> Any:
    """The config part as plain data: classes by their registered name, tuples as lists.

    Raises:
        ValueError: it holds a value that is neither a class nor plain data.
    """
    if isinstance(node, dict | Config):
        return {key: _type_name(node[key]) if key == "type" else plain(node[key]) for key in node}
    if isinstance(node, list | tuple):
        return [plain(item) for item in node]
    if inspect.isclass(node):
        return node.__name__
    if node is None or isinstance(node, str | int | float | bool):
        return node
    raise ValueError(f"{node!r} in a model config is not plain data")


def _type_name(name: Any) -> str:
    """Registered name of a class, which is given as the class, its name or its dotted path."""
    cls = resolve(name)
    return str(name) if cls is None else cls.__name__
