"""Dials: named shifts for any target, each an adapter on a reference that several share.

Those of the package lie in ``rewardshift/embedded``, a user's own in
``sources.folders.dials_root()``.
"""
