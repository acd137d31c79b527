"""What the scripted module SLSFGR is made of; it knows Slicer, and leaves the registration to SLSFGRLib."""
