"""Tasks: what heads are trained for on labels, one file each."""

from ..discovery import import_modules
from .task import TASKS, Task, register_task, task_of, task_of_config

__all__ = ["TASKS", "Task", "register_task", "task_of", "task_of_config"]

import_modules(__name__, __path__)
