"""The publisher: outputs of finished tasks go to where others find them, and that is told."""
