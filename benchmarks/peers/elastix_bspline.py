"""Elastix, affine then B-splines: ``python elastix_bspline.py FIXED MOVING OUTPUT default|par0035``.

default: the parameter maps that come with elastix. par0035: the values that elastix' model zoo gives for
registering brains of different people (Par0035, Hammers' atlas).
"""

import sys

import itk

PAR0035 = {
    "Registration": ["MultiResolutionRegistration"],
    "Metric": ["AdvancedMattesMutualInformation"],
    "NumberOfResolutions": ["3"],
    "ImagePyramidSchedule": ["4", "4", "4", "2", "2", "2", "1", "1", "1"],
    "FinalGridSpacingInPhysicalUnits": ["5", "5", "5"],
    "GridSpacingSchedule": ["4", "2", "1"],
    "MaximumNumberOfIterations": ["500"],
    "MaximumStepLength": ["0.5"],
    "SP_A": ["10", "10", "10"],
    "NumberOfHistogramBins": ["32"],
    "NumberOfSpatialSamples": ["5000"],
    "FixedKernelBSplineOrder": ["1"],
    "MovingKernelBSplineOrder": ["3"],
}


def parameter_maps(settings: str) -> itk.ParameterObject:
    """Affine, then B-splines.

    The images lie in different places in space, so the affine stage begins at their centres.
    """
    maps = itk.ParameterObject.New()
    affine = maps.GetDefaultParameterMap("affine")
    affine["AutomaticTransformInitialization"] = ["true"]
    maps.AddParameterMap(affine)
    splines = maps.GetDefaultParameterMap("bspline")
    if settings == "par0035":
        for name in ("Metric0Weight", "Metric1Weight"):
            del splines[name]
        for name, values in PAR0035.items():
            splines[name] = values
    maps.AddParameterMap(splines)
    return maps


def main() -> None:
    """Run both stages and write an ITK transform."""
    fixed, moving, output, settings = sys.argv[1:]
    images = [itk.imread(path, itk.F) for path in (fixed, moving)]
    method = itk.ElastixRegistrationMethod.New(*images, parameter_object=parameter_maps(settings))
    method.Update()
    transform = method.ConvertToItkTransform(method.GetCombinationTransform())
    itk.transformwrite([transform], f"{output}/transform.h5")


if __name__ == "__main__":
    main()
