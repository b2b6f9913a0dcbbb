"""Showing results: a picture, a table, JSON. It knows nothing of searching; matplotlib is imported when a picture is drawn."""
