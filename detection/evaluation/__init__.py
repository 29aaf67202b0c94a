"""Average precision, kinds of errors, the report and its pictures."""
