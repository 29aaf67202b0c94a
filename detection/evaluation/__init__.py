"""Average precision, error types, the report and its pictures."""
