"""A reader's own solution, held against the answer: told what it is, or which mistake it is."""

from densenet_solutions.check.report import Finding as Finding
from densenet_solutions.check.report import Report as Report
from densenet_solutions.check.search import ParameterReport as ParameterReport
from densenet_solutions.check.search import parameter_count as parameter_count
