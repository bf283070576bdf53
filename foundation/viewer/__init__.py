"""Watching vehicles fly: live in a browser, as a recording in one HTML file, as a video, and while they train."""
