"""Mean IoU, the report and its pictures."""
