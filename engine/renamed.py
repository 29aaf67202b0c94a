"""Names of version 0.1 that a user's config may still have, and what they are called now."""

# By class and the keyword it took.
_KEYS = {
    ("SaveCheckpoint", "best"): "save_best",
    ("SaveCheckpoint", "keep"): "max_keep_ckpts",
}


def key_line(where: str, owner: str, key: str) -> str | None:
    """The line for a config key that the class `owner` took by another name, or None."""
    new = _KEYS.get((owner, key))
    return new and f"{where}.{key} was renamed: use {new}"
