"""Tools that make the artefacts in Resources; run them from the root of the repository."""
