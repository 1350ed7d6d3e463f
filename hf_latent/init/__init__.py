"""A recipe for data of one's own: what is there, what it is taken for, and the file that says so."""

from .guess import Guess, guess
from .look import Column, Found, look
from .write import init

__all__ = ["Column", "Found", "Guess", "guess", "init", "look"]
