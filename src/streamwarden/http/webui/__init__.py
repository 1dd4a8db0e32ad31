"""Role ``webui``: the page and the way through to the API (a backend for the front end)."""
