"""The sections of a recipe. What values they may have stands in :mod:`SLSFGRLib.training.limits`."""

from __future__ import annotations

from dataclasses import dataclass

from ..losses.label_overlap import SCALES
from ..models.model import ModelSettings
from ..synthesis import Synthesis

METHODS = ("self_supervised", "semi_supervised", "weakly_supervised", "brain_extraction")


@dataclass(frozen=True)
class Data:
    """The images of a training run.

    :param training: file names or patterns, relative to the recipe; ``${NAME}`` is an environment variable.
    :param validation: likewise; these images are used to choose the best weights only.
    :param labelled_images: images of any contrast, whole heads or not, whose label maps are known.
    :param image_labels: these label maps in the same order, on any grid, numbered as those of ``slsfgr segment``.
    :param training_maps: label maps, from which images are synthesised.
    :param validation_maps: likewise, for choosing the best weights.
    :param training_cases: pairs of images with corresponding labels: tables (.csv) or folders, see
        :mod:`SLSFGRLib.training.data.case_files`.
    :param validation_cases: likewise, for choosing the best weights.
    :param align_cases: align each case's moving image to the fixed one by an affine registration first; false if the
        two are in position already, as with tracked ultrasound.
    """

    training: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    labelled_images: tuple[str, ...] = ()
    image_labels: tuple[str, ...] = ()
    training_maps: tuple[str, ...] = ()
    validation_maps: tuple[str, ...] = ()
    training_cases: tuple[str, ...] = ()
    validation_cases: tuple[str, ...] = ()
    align_cases: bool = True


@dataclass(frozen=True)
class Augmentation:
    """The random changes of each image, each time it is used.

    :param rotation_degrees: largest rotation about each axis.
    :param scale: largest relative change of length along each axis.
    :param shift_mm: largest shift along each axis.
    :param deformation_mm: standard deviation of a smooth random deformation.
    :param gamma: largest change of the logarithm of the exponent of the intensities.
    """

    rotation_degrees: float = 5.0
    scale: float = 0.05
    shift_mm: float = 4.0
    deformation_mm: float = 3.0
    gamma: float = 0.2


@dataclass(frozen=True)
class Supervision:
    """The labels of a semi-supervised method.

    :param shape: of synthetic images, in voxels.
    :param label_fraction: fraction of the training maps whose labels are used; of the others, images alone. Below 1,
        both images of a pair have the same contrast: without labels, two contrasts cannot be compared.
    :param segmentation_steps: number of first steps that train the segmentation of single images only; skipped without
        labels or without a segmentation branch.
    :param rarity: exponent of the class weights in these steps: a voxel of a structure of n voxels counts
        ``n ** -rarity``. A new network needs about 0.5 to find small structures; later 0 is best.
    :param overlap: weight of the Dice beside the cross-entropy, in these steps and later, also with propagated labels.
        A new network needs about 1; once it segments, a small weight keeps the sizes of structures right.
    :param real_share: fraction of these steps that train on real images: the training images, skull-stripped T1 brains
        with propagated labels, and the labelled images; half of them each if there are both.
    :param real_pairs: fraction of pairs that are drawn from the training images, which have no labels.
    :param pseudo_steps: number of steps over which the weight of losses without labels rises to its full value.
    :param full_resolution_share: fraction of pairs that train the explicit steps at the full resolution, too. These
        take more than half of the time of such a pair, and have two numbers to learn.
    """

    shape: tuple[int, ...] = (80, 96, 80)
    label_fraction: float = 1.0
    segmentation_steps: int = 0
    rarity: float = 0.5
    overlap: float = 1.0
    real_share: float = 0.0
    real_pairs: float = 0.2
    pseudo_steps: int = 500
    full_resolution_share: float = 1.0


@dataclass(frozen=True)
class WeakSupervision:
    """The losses of a weakly supervised method; synthetic images have the shape of ``supervision``.

    :param label_measure: a name in :data:`SLSFGRLib.losses.label_overlap.LABEL_MEASURES`.
    :param scales: standard deviations of the Gaussians that blur labels before they are compared, in voxels.
    :param label_weight: weight of the labels' dissimilarity; 0 trains on intensities alone.
    :param feature_weight: weight of the prototype loss, see :mod:`SLSFGRLib.losses.prototypes`.
    :param feature_steps: number of first steps that train the features alone, which takes a third of the time.
    :param labels_per_step: pairs of labels that are drawn in each step; the paper draws one for each case.
    :param images: size of the pool of synthetic images, which are paired repeatedly.
    :param similarity_weight: weight of the intensities' dissimilarity, the model's ``similarity``.
    """

    label_measure: str = "dice"
    scales: tuple[float, ...] = SCALES
    label_weight: float = 1.0
    feature_weight: float = 0.0
    feature_steps: int = 0
    labels_per_step: int = 1
    images: int = 256
    similarity_weight: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """The course of a training run.

    :param method: a name in :data:`METHODS`.
    :param start: a model file with the initial weights, relative to the recipe; empty for random ones.
    :param frozen: parts of the network that keep the weights of ``start``, such as ``encoder`` and ``segmenter``.
    :param dynamic_weights: weigh the losses by dynamic weight averaging.
    :param seed: decides the random initial weights, the order of the pairs and the augmentation.
    :param steps: number of changes of the weights.
    :param batch: number of examples in each step, whose gradients are averaged; processes share them equally.
    :param learning_rate: of Adam at the start; it falls to zero along a cosine.
    :param validate_every: steps between two validations, each with a checkpoint.
    """

    method: str = "self_supervised"
    start: str = ""
    frozen: tuple[str, ...] = ()
    dynamic_weights: bool = False
    seed: int = 0
    steps: int = 2000
    batch: int = 1
    learning_rate: float = 3e-4
    validate_every: int = 100


SECTIONS = {
    "model": ModelSettings,
    "data": Data,
    "augmentation": Augmentation,
    "synthesis": Synthesis,
    "supervision": Supervision,
    "weak_supervision": WeakSupervision,
    "training": Schedule,
}
