"""ANTs' rigid registration through ANTsPy: ``python ants_rigid.py FIXED MOVING OUTPUT``.

Everything is left at what ANTsPy documents as its default.
"""

import sys

import ants

if __name__ == "__main__":
    fixed, moving, output = sys.argv[1:]
    images = [ants.image_read(path) for path in (fixed, moving)]
    ants.registration(*images, type_of_transform="Rigid", outprefix=f"{output}/")
