"""COCO detection data: reading, checking, repairing, splitting, converting."""
