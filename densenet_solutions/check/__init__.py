"""A reader's own solution, held against the answer: told what it is, or which mistake it is."""

from densenet_solutions.check.course import CourseReport as CourseReport
from densenet_solutions.check.course import course as course
from densenet_solutions.check.course import start as start
from densenet_solutions.check.network import NetworkReport as NetworkReport
from densenet_solutions.check.network import dense_block as dense_block
from densenet_solutions.check.network import densenet as densenet
from densenet_solutions.check.network import transition as transition
from densenet_solutions.check.prices import HousePricesReport as HousePricesReport
from densenet_solutions.check.prices import house_prices as house_prices
from densenet_solutions.check.report import Finding as Finding
from densenet_solutions.check.report import Report as Report
from densenet_solutions.check.search import ParameterReport as ParameterReport
from densenet_solutions.check.search import parameter_count as parameter_count
from densenet_solutions.check.training_memory import MemoryReport as MemoryReport
from densenet_solutions.check.training_memory import memory as memory
