"""Real peers for the tests: each a real program on loopback, booted once a session."""
