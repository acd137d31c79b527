"""Register two brains: in one call, or stage by stage.

>>> import SLSFGRLib
>>> from SLSFGRLib.registration.schedules import planned_levels
>>> fixed, moving = SLSFGRLib.load_subject(fixed_image), SLSFGRLib.load_subject(moving_image)  # doctest: +SKIP
>>> affine = SLSFGRLib.align(fixed, moving)  # doctest: +SKIP
>>> field = SLSFGRLib.deform(fixed, moving, affine, planned_levels("standard", fixed.image))  # doctest: +SKIP
>>> result = SLSFGRLib.publish(fixed, moving, SLSFGRLib.Solution.from_field(fixed, affine, field))  # doctest: +SKIP
"""
