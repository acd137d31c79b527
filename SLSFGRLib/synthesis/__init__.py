"""Training images made from label maps: any contrast, any resolution, and labels that are exact."""
