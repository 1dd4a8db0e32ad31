"""FFmpeg as child processes: command lines, the watching thread, runs, and why they ended."""
