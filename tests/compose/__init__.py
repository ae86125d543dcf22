"""Tries the compose stack: every image built, every profile started, tasks run through each."""
