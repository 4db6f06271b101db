"""Elements and groups in the conventions of other libraries.

Each module imports its library when one of its functions needs it, so none of them is a
dependency of ours:

- ``liegroups.interop.scipy``: ``scipy.spatial.transform.Rotation`` and ``RigidTransform``;
- ``liegroups.interop.e3nn``: Euler angles, quaternions and Wigner matrices as e3nn has them;
- ``liegroups.interop.geomstats``: the matrix Lie groups of geomstats, both ways.

Quaternions have their real part first here and in e3nn, and last in scipy.
"""
