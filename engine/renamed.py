"""Names of version 0.1 that a user's config may still have, and their new names."""

import ast
import re
import traceback
from importlib.util import find_spec

# New package: its modules, as `old=new` if the name changed. The old modules were all directly in
# the first part of the package.
_ROOMS = {
    "engine": "interface=types command_line=cli files=fileio machine=hardware",
    "engine.checkpoint": "checkpoint bounds foreign=foreign_weights zoo download",
    "engine.data": """
        data=dataset bad_images images image_size preprocess seeding=seeds
        augment=augmentation sampler=samplers listed_files=safe_paths split=splits
    """,
    "engine.hooks": "saving=checkpoint_hook ema guard=nan_guard stopping=signals clock=seeds",
    "engine.checks": """
        check_images=image_checks duplicates repair=fix class_balance processes=parallel
        quick_check=preflight
    """,
    "engine.training": """
        runner loop=loops resuming=resume schedule=schedules stage_rates amp compiled
        recompute memory calibrate=norm_calibration
    """,
    "engine.runtime": "exported deployed=exported_network",
    "engine.export": """
        export=exporter prepared=plan graph writers=formats quantise=quantization
        sensitivity layer_times=layer_profile verify=metric_loss gaps=parity
    """,
    "engine.inference": "predict=predictor evaluate sources=files",
    "engine.reports": """
        album browse cam cam_sheet=cam charts figures=charts planned=lr_plot plan_chart=lr_plot
        log_chart=training_curves run_log page=html report worst tally=object_counts
        lettering contact_sheet
    """,
    "engine.benchmark": """
        benchmark=latency contestant=worker compare trials=runs verdict=statistics
        comparison=comparison_report presets=paper
    """,
    "engine.serving": """
        serving=server served=service web=app answers=schemas bodies=uploads
        batcher=batching meters=metrics demo_page=page viewing=page
    """,
    "engine.demo_data": """
        mini_data=writer mini_scenes=scenes mini_grounds=grounds mini_shapes=shapes
    """,
    "backbone": "pickled=pdparams zipped=npz",
    "detection": "ending=export_head weights=paddle_weights assigner=assigners",
    "detection.data": """
        coco_classes dataset coco_json transforms check=checks check_boxes=box_checks repair=fix
        split yolo voc labelled
    """,
    "detection.evaluation": """
        metric errors=tide operating=thresholds report report_page charts=plots
        mistakes=error_images draw=visualize evidence=cam_target
    """,
    "segmentation": "ending=export_head weights=paddle_weights inference=sliding_window",
    "segmentation.data": "dataset masks transforms check=checks repair=fix polygons",
    "segmentation.evaluation": """
        metric objects report report_page draw=visualize evidence=cam_target
    """,
    "classification": """
        create=factory batch_mix=mixup teacher=distillation ending=export_head
        weights=paddle_weights
    """,
    "classification.data": """
        dataset listing=image_lists transforms check=checks repair=fix split shards
        shard_writer person_exists=convert_person_exists
    """,
    "classification.evaluation": """
        metric predictions confusion report report_page draw=visualize evidence=cam_target
    """,
}
_MODULES = {
    f"{room.partition('.')[0]}.{word.partition('=')[0]}": f"{room}.{word.rpartition('=')[2]}"
    for room, words in _ROOMS.items()
    for word in words.split()
} | {"classification.classes": "engine.data.class_list"}
_CLASSES = {
    "ImageNet": "ImageFolder",
    "engine.progress.LiveProgress": "engine.hooks.progress.LiveProgress",
    "classification.data.dataset.ImageNet": "classification.data.dataset.ImageFolder",
}
NAMED_PARTS = (
    'the parts have names now, e.g. custom_hooks["ema"] and transforms["crop"]; a single '
    "param_scheduler is one dict"
)
# (class, old keyword): new keyword.
_KEYS = {
    ("SaveCheckpoint", "best"): "save_best",
    ("SaveCheckpoint", "keep"): "max_keep_ckpts",
}


def key_line(where: str, owner: str, key: str) -> str | None:
    """Error message for a config key of the class `owner` that was renamed, or None."""
    new = _KEYS.get((owner, key))
    return new and f"{where}.{key} was renamed: use {new}"


def new_name(name: str) -> str | None:
    """New name of a class given with or without its module; None if it was not renamed."""
    module, dot, member = name.rpartition(".")
    if name in _MODULES.values() or (module in _ROOMS and _is_module(name)):
        return None
    moved = f"{_MODULES.get(module, module)}{dot}{member}"
    now = _CLASSES.get(moved, moved)
    return None if now == name else now


def _is_module(name: str) -> bool:
    """Whether the name is that of a module; old modules and new packages share some names."""
    return find_spec(name) is not None


def old_index(error: Exception) -> str:
    """Text about a config line that uses a dict of named parts as a list; "" for others."""
    is_index = isinstance(error, KeyError) and isinstance(error.args[0], int)
    if not is_index and not re.search("no attribute '(append|extend|insert)'", str(error)):
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    line = next(frame for frame in reversed(frames) if frame.name == "<module>")  # of a config
    return f"line {line.lineno} of {line.filename}, {line.line!r}: {NAMED_PARTS}"


def old_names(config: str) -> str:
    """Text that lists the old names in a config file and the new ones; "" if it has none."""
    try:
        nodes = list(ast.walk(ast.parse(config)))
    except SyntaxError:
        return ""
    imported = [
        f"{node.module}.{alias.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    texts = [node.value for node in nodes if isinstance(node, ast.Constant)]
    dotted = [text for text in texts if isinstance(text, str) and "." in text]  # in a dump
    renamed = {name: new for name in (*imported, *dotted) if (new := new_name(name))}
    return ", ".join(f"{name} is {new} now" for name, new in renamed.items())


def old_module(message: str) -> str:
    """Text about a module that could not be imported; "" if it was not renamed."""
    found = re.search(r"No module named '([\w.]+)'|from '?([\w.]+)'? ", message)
    name = found and (found[1] or found[2])
    return f"{name} is {_MODULES[name]} now" if name in _MODULES else ""
