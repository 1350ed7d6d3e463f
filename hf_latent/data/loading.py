"""What a recipe's `data` section can name."""

from .hub_data import HubData
from .mixture import MixtureData
from .trifeature_data import TrifeatureCaptionsData, TrifeatureData
from .trifeature_scenes import TrifeatureScenesData
from .trifeature_task_data import (
    TrifeatureEntailmentData,
    TrifeatureQuestionsData,
    TrifeatureStatementsData,
    TrifeatureTaskData,
    TrifeatureTextAssignmentData,
)

Source = TrifeatureData | TrifeatureCaptionsData | TrifeatureScenesData | TrifeatureTaskData | HubData | MixtureData
SOURCES: dict[str, type[Source]] = {
    cls.NAME: cls
    for cls in (
        TrifeatureData,
        TrifeatureCaptionsData,
        TrifeatureScenesData,
        TrifeatureQuestionsData,
        TrifeatureEntailmentData,
        TrifeatureStatementsData,
        TrifeatureTextAssignmentData,
        HubData,
        MixtureData,
    )
}
