"""Show flights live in a browser, as an HTML recording or as a video, and training runs on a dashboard."""
