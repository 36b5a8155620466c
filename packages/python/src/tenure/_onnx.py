"""Converts scikit-learn estimators to ONNX by skl2onnx."""

from __future__ import annotations

import sys
from typing import Any, Callable, Optional, Sequence


def convert(
    estimator: Any,
    columns: Sequence[Any],
    *,
    numbers: bool,
    named: bool,
    compare: Callable[[bytes], None],
) -> bytes:
    """Returns a conversion with inputs of 32 bits, whose answers equal those of the estimator.

    Of trees that split on missing values, skl2onnx never ends with inputs of 64 bits. ``numbers`` states that the model predicts numbers
    instead of probabilities, ``named`` that each column may be a separate input. ``compare`` raises an error if the answers of a conversion
    differ. Raises ``ValueError`` with the first lines of the reason.
    """
    try:
        from skl2onnx import convert_sklearn
        from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    except ImportError as error:
        raise ValueError(str(error)) from error

    failure: Optional[Exception] = None
    final = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    options = {} if numbers else {id(final): {"zipmap": False}}
    matrix = [("rows", FloatTensorType([None, len(columns)]))]
    inputs = [(column.name, (FloatTensorType if column.kind == "number" else StringTensorType)([None, 1])) for column in columns]
    # An estimator without a step that joins columns takes only one matrix.
    joined = [matrix] if all(column.kind == "number" for column in columns) else []
    for types in [inputs, *joined] if named else [matrix]:
        try:
            proto = convert_sklearn(estimator, initial_types=types, options=options, target_opset={"": 17, "ai.onnx.ml": 3})
            _name_locale(proto)
            data = bytes(proto.SerializeToString())
            compare(data)
            return data
        except Exception as error:  # The converters, the checker and ONNX Runtime raise errors of many kinds.
            failure = failure or error
    raise ValueError(first_lines(failure)) from failure


def _name_locale(proto: Any) -> None:
    """Names a locale that every Linux has. Texts become lower case by ``en_US.UTF-8`` otherwise, which slim images lack."""
    import onnx

    for node in proto.graph.node:
        if node.op_type == "StringNormalizer" and sys.platform == "linux" and all(each.name != "locale" for each in node.attribute):
            node.attribute.append(onnx.helper.make_attribute("locale", "C.UTF-8"))


def scores_outliers(estimator: Any) -> bool:
    """Whether an estimator of scikit-learn predicts 1 and -1, of which ``decision_function`` has the score."""
    try:
        from sklearn.base import BaseEstimator, is_outlier_detector
    except ImportError:
        return False
    return isinstance(estimator, BaseEstimator) and bool(is_outlier_detector(estimator))


def first_lines(error: object) -> str:
    """
    Returns the first lines of a message. Converters append whole models to their messages, and a training report would keep only the end.
    """
    lines = str(error).splitlines()[:5]
    return "\n".join(line[:300] for line in lines)
