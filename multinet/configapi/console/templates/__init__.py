"""The markup of the console's pages (jinja2)."""
