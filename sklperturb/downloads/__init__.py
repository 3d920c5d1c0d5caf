"""Public screens: where they are, and how their files come here and are kept."""
