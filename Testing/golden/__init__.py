"""Golden tests: what users get by default, with the bundled weights and template, against stored values.

Nothing is patched and nothing stands in for anything. A stored value changes only with a decision that results
change; CHANGELOG.md then says so. ``python -m golden.store``, run in the folder Testing, stores the arrays again.
"""
