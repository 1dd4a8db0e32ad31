"""One FFmpeg: its command line, its process, its segments. A leaf: it knows no actor."""
