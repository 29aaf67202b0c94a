"""Names of version 0.1 that a user's config may still have, and what they are called now."""

# By class and the keyword it took.
_KEYS = {
    ("SaveCheckpoint", "best"): "save_best",
    ("SaveCheckpoint", "keep"): "max_keep_ckpts",
}
_CLASSES = {
    "ImageNet": "ImageFolder",
    "classification.data.dataset.ImageNet": "classification.data.dataset.ImageFolder",
}


def key_line(where: str, owner: str, key: str) -> str | None:
    """The line for a config key that the class `owner` took by another name, or None."""
    new = _KEYS.get((owner, key))
    return new and f"{where}.{key} was renamed: use {new}"


def new_name(name: str) -> str | None:
    """What a class is called now, or None where that is `name`."""
    return _CLASSES.get(name)
