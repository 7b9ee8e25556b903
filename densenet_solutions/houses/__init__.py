"""House prices (exercise 5): data, preprocessing, cross-validation, submission."""

try:
    import pandas  # noqa: F401
    import sklearn  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error.name} is not installed; houses need the extra 'houses': "
        "pip install '.[houses]' in a clone of this repository",
        name=error.name,
    ) from None

from densenet_solutions.houses.comparison import corrected_difference as corrected_difference
from densenet_solutions.houses.comparison import paired_difference as paired_difference
from densenet_solutions.houses.cross_validation import cross_validate as cross_validate
from densenet_solutions.houses.cross_validation import out_of_fold as out_of_fold
from densenet_solutions.houses.data import load_houses as load_houses
from densenet_solutions.houses.encoders import BookEncoder as BookEncoder
from densenet_solutions.houses.encoders import HouseEncoder as HouseEncoder
from densenet_solutions.houses.folds import contiguous_folds as contiguous_folds
from densenet_solutions.houses.folds import partition as partition
from densenet_solutions.houses.folds import shuffled_folds as shuffled_folds
from densenet_solutions.houses.models import Ensemble as Ensemble
from densenet_solutions.houses.models import Network as Network
from densenet_solutions.houses.submission import score_submission as score_submission
from densenet_solutions.houses.submission import write_submission as write_submission
from densenet_solutions.houses.training import TrainingOptions as TrainingOptions
