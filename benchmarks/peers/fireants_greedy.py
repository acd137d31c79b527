"""FireANTs' greedy mode: ``python fireants_greedy.py FIXED MOVING OUTPUT cc|mi quickstart|oasis``.

Centres of mass, the quick start's affine stage, then the deformable stage of the quick start or of the script with
which FireANTs' authors register the brains of OASIS.
"""

import sys

import numpy as np
import torch
from fireants.io import BatchedImages, Image
from fireants.registration.affine import AffineRegistration
from fireants.registration.greedy import GreedyRegistration
from fireants.registration.moments import MomentsRegistration

SCALES = [4, 2, 1]
AFFINE_ITERATIONS = [200, 100, 50]
RECIPES = {
    "quickstart": {
        "iterations": [200, 100, 25],
        "optimizer_lr": 0.5,
        "cc_kernel_size": 5,
        "smooth_grad_sigma": 1.0,
        "smooth_warp_sigma": 0.5,
    },
    "oasis": {
        "iterations": [250, 200, 100],
        "optimizer_lr": 0.25,
        "cc_kernel_size": 7,
        "smooth_grad_sigma": 1.0,
        "smooth_warp_sigma": 0.25,
        "optimizer_params": {"beta1": 0.1, "scaledown": False},
    },
}


def load(path: str, is_scaled: bool) -> BatchedImages:
    """One image; as its file has it, or scaled to 0 to 1 with the outermost half per cent clipped."""
    image = Image.load_file(path, device="cuda" if torch.cuda.is_available() else "cpu")
    if is_scaled:
        low, high = np.quantile(image.array.cpu().numpy(), (0.005, 0.995))
        image.array = ((image.array - low) / (high - low)).clamp(0.0, 1.0)
    return BatchedImages([image])


def main() -> None:
    """Run the three stages and write the field as ANTs would."""
    fixed_path, moving_path, output, loss, recipe = sys.argv[1:]
    # The histogram of "mi" ends at 1. With "cc" the affine stage takes images as they are stored, as the quick start
    # does: on images from 0 to 1 it diverges at 1 mm.
    fixed, moving = (load(path, is_scaled=loss == "mi") for path in (fixed_path, moving_path))
    moments = MomentsRegistration(4, fixed, moving, moments=1)
    moments.optimize()
    affine = AffineRegistration(
        SCALES,
        AFFINE_ITERATIONS,
        fixed,
        moving,
        loss_type=loss,
        optimizer_lr=3e-3,
        cc_kernel_size=5,
        init_rigid=moments.get_affine_init(),
        progress_bar=False,
    )
    affine.optimize()
    if recipe == "oasis":
        # The brains of the script for OASIS go from 0 to 1.
        fixed, moving = (load(path, is_scaled=True) for path in (fixed_path, moving_path))
    deformable = GreedyRegistration(
        SCALES,
        fixed_images=fixed,
        moving_images=moving,
        loss_type=loss,
        deformation_type="compositive",
        init_affine=affine.get_affine_matrix().detach(),
        progress_bar=False,
        **RECIPES[recipe],
    )
    deformable.optimize()
    deformable.save_as_ants_transforms(f"{output}/warp.nii.gz")


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
