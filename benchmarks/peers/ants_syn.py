"""ANTs' symmetric normalisation through ANTsPy: ``python ants_syn.py FIXED MOVING OUTPUT TYPE``.

TYPE is ANTsPy's ``type_of_transform``; everything else is left at what ANTsPy documents as its default.
"""

import sys

import ants

if __name__ == "__main__":
    fixed, moving, output, kind = sys.argv[1:]
    ants.registration(ants.image_read(fixed), ants.image_read(moving), type_of_transform=kind, outprefix=f"{output}/")
