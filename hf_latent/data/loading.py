"""What a recipe's `data` section can name."""

from .hub_data import HubData
from .trifeature_data import TrifeatureCaptionsData, TrifeatureData
from .trifeature_scenes import TrifeatureScenesData

Source = TrifeatureData | TrifeatureCaptionsData | TrifeatureScenesData | HubData
SOURCES: dict[str, type[Source]] = {
    cls.NAME: cls for cls in (TrifeatureData, TrifeatureCaptionsData, TrifeatureScenesData, HubData)
}
