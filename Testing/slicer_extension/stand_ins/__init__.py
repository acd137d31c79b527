"""Stand-ins for what the slicer-core wheel lacks of Slicer; they refuse what the real ones would refuse."""
