"""Dispatch: claims tasks and carries each attempt, phase by phase, to its end."""
