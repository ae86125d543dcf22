"""The vocabulary: terms that a site has agreed on, to look up, and to hold messages against."""
