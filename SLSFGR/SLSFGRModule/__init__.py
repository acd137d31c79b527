"""The parts of the scripted module SLSFGR. They handle nodes and widgets; SLSFGRLib registers and segments."""
