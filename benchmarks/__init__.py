"""Measurements of SLSFGR and its peers.

Each experiment is one command, run from the root of the repository; what it needs and prints stands in its ``--help``:

- ``python -m benchmarks.ten_pairs``: ten pairs of real brains, in one contrast or two;
- ``python -m benchmarks.multimodal``: pairs in two contrasts, with the multimodal model;
- ``python -m benchmarks.scaling``: seconds and memory at several resolutions;
- ``python -m benchmarks.segmentation``: label maps against manual ones;
- ``python -m benchmarks.ablation``: what each part of the network SL-SFGR contributes;
- ``python -m benchmarks.forward_pass``: one pass of the network;
- ``python -m benchmarks.slicer_panel``: how long the panel in Slicer keeps its user waiting;
- ``python -m benchmarks.main_thread``: each step of the module on Slicer's main thread, at 256 x 256 x 256 voxels.
"""
