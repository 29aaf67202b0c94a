"""Images with masks: reading, checking, repairing, converting."""
