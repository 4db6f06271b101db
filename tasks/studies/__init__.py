"""Studies: one training for each combination of settings, and what came of them."""

from tasks.studies.grid import Axis, Choice, Run, combine
from tasks.studies.report import Group, group_rows
from tasks.studies.runs import Job
from tasks.studies.store import Store
from tasks.studies.study import Study
from tasks.studies.workers import Cluster, Processes, Workers

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
