"""Register two brains, stage by stage."""
