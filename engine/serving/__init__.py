"""Models over HTTP and in a page of the browser."""
