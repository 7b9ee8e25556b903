"""Committed results of a GPU or of a long run, and the code that reads and writes them."""

from densenet_solutions.records.store import Record as Record
from densenet_solutions.records.store import load_record as load_record
from densenet_solutions.records.store import provenance as provenance
from densenet_solutions.records.store import record_names as record_names
