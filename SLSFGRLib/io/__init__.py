"""Read, check and write images, label maps, points, transforms and bundled files."""
