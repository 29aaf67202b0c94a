"""Images with one class each: reading, checking, repairing, splitting, shards."""
