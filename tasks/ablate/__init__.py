"""Studies: one training for each combination of settings, and what came of them."""

from tasks.ablate.grid import Axis, Choice, Run, combine
from tasks.ablate.report import Group, group_rows
from tasks.ablate.runs import Job
from tasks.ablate.store import Store
from tasks.ablate.study import Study
from tasks.ablate.workers import Cluster, Processes, Workers

__all__ = [
    "Axis",
    "Choice",
    "Cluster",
    "Group",
    "Job",
    "Processes",
    "Run",
    "Store",
    "Study",
    "Workers",
    "combine",
    "group_rows",
]
