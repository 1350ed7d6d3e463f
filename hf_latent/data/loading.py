"""What a recipe's `data` section can name."""

from .hub_data import HubData
from .trifeature_data import TrifeatureCaptionsData, TrifeatureData

Source = TrifeatureData | TrifeatureCaptionsData | HubData
SOURCES: dict[str, type[Source]] = {cls.NAME: cls for cls in (TrifeatureData, TrifeatureCaptionsData, HubData)}
