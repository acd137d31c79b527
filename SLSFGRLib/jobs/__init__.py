"""Run registrations and segmentations here, in a child process, or for a folder of images."""
