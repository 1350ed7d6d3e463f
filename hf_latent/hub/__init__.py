"""From a finished run to what others see of it."""
