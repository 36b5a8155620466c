"""Converts scikit-learn estimators to ONNX with equal predictions, including rows on the threshold of a tree.

skl2onnx writes thresholds with 32 bits. If a training value equals a threshold, such as 4.7 between 4.6 and 4.8, some rows would go to the
other side.
"""

from __future__ import annotations

import contextlib
import copy
import sys
from typing import Any, Callable, Iterator, Optional, Sequence

Convert = Callable[..., None]

#: Operators whose inputs all have one type.
_same_type_operators = ("Add", "Concat", "Div", "Equal", "Gemm", "Greater", "Less", "MatMul", "Max", "Min", "Mul", "Pow", "Sub", "Sum", "Where")

_kinds = ("Classifier", "Regressor")
#: Trees that round their inputs to 32 bits.
_rounding = ("DecisionTree", "ExtraTree", "RandomForest", "ExtraTrees", "GradientBoosting")
_trees = (*_rounding, "HistGradientBoosting")

#: Steps that do not change the values of numbers.
_unchanging = {
    "Pipeline",
    "ColumnTransformer",
    "OneHotEncoder",
    "OrdinalEncoder",
    "SimpleImputer",
    "MultiOutputRegressor",
    # Changes the answer, behind the trees.
    "TransformedTargetRegressor",
}

#: The functions of NumPy that are converted, each as the operators that compute it, with a second number for some.
_functions: dict[str, Sequence[tuple[str, Optional[float]]]] = {
    "absolute": [("Abs", None)],
    "exp": [("Exp", None)],
    "expm1": [("Exp", None), ("Sub", 1.0)],
    "log": [("Log", None)],
    "log1p": [("Add", 1.0), ("Log", None)],
    "sqrt": [("Sqrt", None)],
}
_function_names = "numpy.abs, exp, expm1, log, log1p or sqrt"

_in_source = "compute its columns by SQL in prepare of the model file"
#: Steps that skl2onnx converts with functions or operators which Tenure does not read.
_unread = {"KNNImputer", "HashingVectorizer"}
#: Steps that divide texts into words.
_word_counts = {"CountVectorizer", "TfidfVectorizer"}
#: What to do about steps that skl2onnx does not convert. For another one, its columns come from the source, or it is replaced.
_instead = {
    "IterativeImputer": "use SimpleImputer(add_indicator=True)",
    "KNNImputer": "use SimpleImputer(add_indicator=True)",
    "RegressorChain": "use MultiOutputRegressor",
    "MissingIndicator": "use SimpleImputer(add_indicator=True)",
    "SplineTransformer": "use KBinsDiscretizer or PolynomialFeatures",
    "LGBMClassifier": "train it on the rows of the job, whose categories it takes itself, and save it with save_lightgbm",
    "LGBMRegressor": "train it on the rows of the job, whose categories it takes itself, and save it with save_lightgbm",
    "XGBClassifier": "train it on the rows of the job, whose categories it takes itself, and save it with save_xgboost",
    "XGBRegressor": "train it on the rows of the job, whose categories it takes itself, and save it with save_xgboost",
    "CatBoostClassifier": "train it on the rows of the job, with cat_features, and save it with save_catboost",
    "CatBoostRegressor": "train it on the rows of the job, with cat_features, and save it with save_catboost",
}


def convert(
    pipeline: Any,
    columns: Sequence[Any],
    *,
    numbers: bool,
    named: bool,
    differences: Callable[[bytes], int],
) -> tuple[bytes, int]:
    """Returns the conversion with the fewest different predictions, and their number as counted by ``differences``.

    Tries 32-bit inputs first if they can be exact, because Tenure serves more of such graphs in the request. ``numbers`` states that the
    model predicts numbers instead of probabilities, ``named`` that each column may be a separate input. Raises ``ValueError`` if nothing
    can be converted.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    source, pipeline = pipeline, _unwrapped(pipeline)
    final = pipeline.steps[-1][1] if hasattr(pipeline, "steps") else pipeline
    options = {} if numbers else {id(final): {"zipmap": False}}
    kinds = (DoubleTensorType, FloatTensorType) if _needs_doubles(source) else (FloatTensorType, DoubleTensorType)
    matrix = [[("rows", kind([None, len(columns)]))] for kind in kinds]
    inputs = [
        [(column.name, kind([None, 1]) if column.kind == "number" else StringTensorType([None, 1])) for column in columns]
        for kind in kinds
    ]
    # An estimator without a step that joins columns takes only one matrix.
    joined = matrix if all(column.kind == "number" for column in columns) else []
    _refuse_categories(final)
    failure: Optional[Exception] = None
    best: Optional[tuple[bytes, int]] = None
    for types in [*inputs, *joined] if named else matrix:
        try:
            with _patched_skl2onnx(), _own_converters():
                proto = convert_sklearn(pipeline, initial_types=types, options=options, target_opset={"": 17, "ai.onnx.ml": 3})
            if not numbers:
                _keep_outputs(proto, ["probabilities"])
            _name_locale(proto)
            _cast_constants(proto)
            _declare_outputs(proto)
            data = bytes(proto.SerializeToString())
            different = differences(data)
        except Exception as error:  # The converters, the checker and ONNX Runtime raise errors of many kinds.
            failure = failure or error
            continue
        if best is None or different < best[1]:
            best = (data, different)
        if different == 0:
            break
    if best is None:
        raise ValueError(_why_not(pipeline) or f"the pipeline cannot be converted to ONNX: {first_lines(failure)}") from failure
    return best


def _estimators_in(pipeline: Any) -> list[Any]:
    """Returns the pipeline and its steps at any depth, as they were before the training."""
    return [each for each in [pipeline, *pipeline.get_params().values()] if hasattr(each, "get_params")]


def _names_in(pipeline: Any) -> set[str]:
    return {type(each).__name__ for each in _estimators_in(pipeline)}


def _unwrapped(pipeline: Any) -> Any:
    """
    Replaces a search of hyperparameters at the end by its best estimator, and a ``TransformedTargetRegressor`` by its regressor and the
    function that follows it.
    """
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    steps = list(pipeline.steps) if hasattr(pipeline, "steps") else [("model", pipeline)]
    final = steps[-1][1]
    if hasattr(final, "best_estimator_"):
        return _unwrapped(Pipeline([*steps[:-1], (steps[-1][0], final.best_estimator_)]))
    if hasattr(final, "steps"):
        return _unwrapped(Pipeline([*steps[:-1], *final.steps]))
    if type(final).__name__ != "TransformedTargetRegressor" or not _is_converted(final.inverse_func):
        return pipeline
    return Pipeline([*steps[:-1], ("regressor", final.regressor_), ("inverse", FunctionTransformer(final.inverse_func))])


def _why_not(pipeline: Any) -> Optional[str]:
    """Names the step that prevents a conversion and what to do instead; None if skl2onnx knows all steps."""
    from skl2onnx._supported_operators import sklearn_operator_name_map as known

    for each in _estimators_in(pipeline):
        name = type(each).__name__
        if name == "TransformedTargetRegressor":
            if each is not pipeline and each is not getattr(pipeline, "steps", [(None, None)])[-1][1]:
                return f"{name} is converted at the end of a pipeline alone: put the other steps before it"
            if not _is_converted(each.inverse_func):
                return f"{name} is converted only with the inverse_func {_function_names}"
        elif name == "CalibratedClassifierCV" and hasattr(getattr(each, "estimator", None), "steps"):
            return (
                f"{name} around a pipeline of several columns is not converted: put it at the end of the pipeline in place of its "
                "classifier, as make_pipeline(encoders, CalibratedClassifierCV(classifier))"
            )
        elif name == "TargetEncoder" and len(getattr(pipeline, "classes_", [])) > 2:
            return f"{name} of more than two classes is not converted: use OneHotEncoder or OrdinalEncoder"
        elif name == "CalibratedClassifierCV" and getattr(each, "method", None) == "temperature":
            return f"{name} is converted with method='sigmoid' or 'isotonic'"
        elif name.startswith("GradientBoosting") and hasattr(getattr(each, "init", None), "predict"):
            return f"{name} is converted without an estimator as its init"
        elif name in _unread or type(each) not in known:
            other = "replace it by another model" if hasattr(each, "predict") else _in_source
            return f"{name} has no conversion to ONNX that Tenure reads: {_instead.get(name, other)}"
    return None


def counts_words(pipeline: Any) -> bool:
    """Whether a step divides texts into words."""
    return bool(_names_in(pipeline) & _word_counts)


def scores_outliers(pipeline: Any) -> bool:
    """Whether an estimator predicts 1 and -1, of which ONNX has the score."""
    from sklearn.base import is_outlier_detector

    return bool(is_outlier_detector(pipeline))


def _needs_doubles(pipeline: Any) -> bool:
    """
    Whether trees compare 64-bit numbers, or a step computes with them. Trees other than histogram gradient boosting round their inputs to
    32 bits, so encoders and imputers before them need no more.
    """
    names = _names_in(pipeline)
    trees, rounding = ({f"{tree}{kind}" for tree in some for kind in _kinds} for some in (_trees, _rounding))
    return bool(names & trees) and not names <= rounding | _unchanging


def first_lines(error: object) -> str:
    """
    Returns the first lines of a message. Converters append whole models to their messages, and a training report would keep only the end.
    """
    lines = str(error).splitlines()[:5]
    return "\n".join(line[:300] for line in lines)


@contextlib.contextmanager
def _patched_skl2onnx() -> Iterator[None]:
    """Replaces two functions of skl2onnx. A later version that lacks one is used unchanged."""
    import skl2onnx.common._container as container
    import skl2onnx.common.tree_ensemble as tree_ensemble

    kept = [(container, "make_node", _plain_node), (tree_ensemble, "sklearn_threshold", lambda theirs: _threshold)]
    with contextlib.ExitStack() as stack:
        for module, name, ours in kept:
            theirs = getattr(module, name, None)
            if theirs is not None:
                setattr(module, name, ours(theirs))
                stack.callback(setattr, module, name, theirs)
        yield


def _plain_node(make_node: Callable[..., Any]) -> Callable[..., Any]:
    """Converts NumPy scalars to plain numbers: skl2onnx returns NumPy scalars for histogram gradient boosting, and onnx refuses them."""
    import numpy

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(each) for each in value]
        value = value.item() if isinstance(value, numpy.generic) else value
        return int(value) if isinstance(value, bool) else value

    return lambda *given, **named: make_node(*given, **{name: plain(value) for name, value in named.items()})


def _threshold(threshold: float, dtype: Any, mode: str) -> Any:
    """Returns the largest number of ``dtype`` that goes left. scikit-learn trees compare 32-bit inputs with 64-bit thresholds.

    skl2onnx computes a different double, and fails for the infinite threshold of a split on missing values.
    """
    import numpy

    below = numpy.float32(threshold)
    if below > threshold:
        below = numpy.nextafter(below, numpy.float32(-numpy.inf))
    if dtype == numpy.float32 or not numpy.isfinite(below):
        return numpy.float64(below)
    with numpy.errstate(over="ignore"):
        middle = (numpy.float64(below) + numpy.float64(numpy.nextafter(below, numpy.float32(numpy.inf)))) / 2
        return middle if numpy.float32(middle) == below else numpy.nextafter(middle, -numpy.inf)


@contextlib.contextmanager
def _own_converters() -> Iterator[None]:
    """Registers our converters for trees, imputers, encoders and others, most of which call those of skl2onnx."""
    from skl2onnx.common._registration import get_converter, get_shape_calculator, register_converter, register_shape_calculator

    own: dict[str, Callable[[Any], Convert]] = {
        "SklearnSimpleImputer": _imputer_converter,
        "SklearnFunctionTransformer": _function_converter,
    }
    own.update({f"Sklearn{name}": _equal_converter for name in ("KBinsDiscretizer", "VotingClassifier", "VotingRegressor")})
    own.update({f"Sklearn{name}Encoder": _encoder_converter for name in ("OneHot", "Ordinal", "Target")})
    for kind in _kinds:
        own.update({f"Sklearn{name}{kind}": _tree_converter(f"TreeEnsemble{kind}") for name in _trees})
    kept = {name: get_converter(name) for name in own if _is_known(name)}
    own_shapes = {
        "SklearnSimpleImputer": _imputer_shape,
        "SklearnFunctionTransformer": _function_shape,
        "SklearnOneHotEncoder": _encoder_shape,
    }
    shapes = {name: get_shape_calculator(name) for name in own_shapes}
    try:
        for name, shape in shapes.items():
            register_shape_calculator(name, own_shapes[name](shape), overwrite=True)
        for name, converter in kept.items():
            register_converter(name, own[name](converter), overwrite=True, options=converter.get_allowed_options())
        yield
    finally:
        for name, shape in shapes.items():
            register_shape_calculator(name, shape, overwrite=True)
        for name, converter in kept.items():
            register_converter(name, converter._fct, overwrite=True, options=converter.get_allowed_options())


def _is_known(name: str) -> bool:
    """Whether skl2onnx has this converter: versions before 1.18 have none for target encoders."""
    from skl2onnx.common._registration import get_converter

    try:
        get_converter(name)
    except ValueError:
        return False
    return True


def _tree_converter(op_type: str) -> Callable[[Convert], Convert]:
    def converter(theirs: Convert) -> Convert:
        def ours(scope: Any, operator: Any, container: Any) -> None:
            model = operator.raw_operator
            _refuse_categories(model)
            nodes = _TreeNodes(scope, operator, container)
            theirs(scope, operator, nodes, op_type, "ai.onnx.ml", 3 if nodes.is_double else 1)

        return ours

    return converter


def _refuse_categories(model: Any) -> None:
    categorical = getattr(model, "is_categorical_", None)
    if categorical is not None and any(categorical):
        raise ValueError(
            f"{type(model).__name__} splits by categories, which ONNX does not know of it: put a OneHotEncoder or an OrdinalEncoder "
            "before it, and give it categorical_features=None"
        )


class _TreeNodes:
    """Wraps a container of skl2onnx. Trees keep 64-bit thresholds, and an exponential follows the trees of a model with a log link."""

    def __init__(self, scope: Any, operator: Any, container: Any) -> None:
        from skl2onnx.common.data_types import DoubleTensorType

        self._scope = scope
        self._container = container
        self._model = operator.raw_operator
        self.is_double = isinstance(operator.inputs[0].type, DoubleTensorType)
        link = getattr(getattr(self._model, "_loss", None), "link", None)
        self._is_log = type(link).__name__ == "LogLink"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, op_type: str, inputs: Any, outputs: Any, **attributes: Any) -> None:
        from onnx import TensorProto

        if not op_type.startswith("TreeEnsemble"):
            self._container.add_node(op_type, inputs, outputs, **attributes)
            return
        attributes = self._with_missing_directions(_with_double_tensors(attributes) if self.is_double else attributes)
        names = [outputs] if isinstance(outputs, str) else list(outputs)
        # Tree operators return 32 bits; a classifier returns its labels first.
        after: list[tuple[str, dict[str, Any]]] = [("Exp", {})] if self._is_log else []
        if self.is_double:
            after.append(("Cast", {"to": TensorProto.DOUBLE}))
        steps = [self._scope.get_unique_variable_name("scores") for _ in after] + [names[-1]]
        self._container.add_node(op_type, inputs, [*names[:-1], steps[0]], **attributes)
        for (step, more), given, made in zip(after, steps, steps[1:]):
            self._container.add_node(step, [given], [made], op_version=13, **more)

    def _with_missing_directions(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """Adds the direction of missing values at each split of a forest, which scikit-learn has since 1.3 and skl2onnx omits."""
        import numpy

        members = numpy.asarray(getattr(self._model, "estimators_", [self._model]), dtype=object).ravel()
        lefts = [getattr(getattr(each, "tree_", None), "missing_go_to_left", None) for each in members]
        if any(left is None for left in lefts):
            return attributes
        nodes = zip(attributes["nodes_treeids"], attributes["nodes_nodeids"])
        return {**attributes, "nodes_missing_value_tracks_true": [int(lefts[tree][node]) for tree, node in nodes]}


def _with_double_tensors(attributes: dict[str, Any]) -> dict[str, Any]:
    """Replaces thresholds, weights and base values by tensors of doubles, which version 3 of the operators accepts."""
    import numpy
    from onnx import numpy_helper

    kept = dict(attributes)
    for name in ("nodes_values", "class_weights", "target_weights", "base_values"):
        if len(kept.get(name, [])) > 0:
            kept[f"{name}_as_tensor"] = numpy_helper.from_array(numpy.asarray(kept.pop(name), dtype="float64"), name)
    return kept


def _is_missing(category: Any) -> bool:
    return category is None or (isinstance(category, float) and category != category)


@contextlib.contextmanager
def _changed(operator: Any, **changes: Any) -> Iterator[None]:
    """Converts a copy of the estimator with these changes."""
    model = operator.raw_operator
    operator.raw_operator = copy.copy(model)
    try:
        for name, value in changes.items():
            setattr(operator.raw_operator, name, value)
        yield
    finally:
        operator.raw_operator = model


def _takes_texts(operator: Any) -> bool:
    from skl2onnx.common.data_types import StringTensorType

    return all(isinstance(each.type, StringTensorType) for each in operator.inputs)


def _encoder_converter(theirs: Convert) -> Convert:
    def ours(scope: Any, operator: Any, container: Any) -> None:
        """Names a missing category as the empty text, where skl2onnx writes the text "nan" or fails."""
        import numpy

        model = operator.raw_operator
        if not _takes_texts(operator):
            theirs(scope, operator, container)
            return
        categories = []
        for values in model.categories_:
            values = numpy.array(values, dtype=object)
            if len(values) > 0 and _is_missing(values[-1]) and "" not in values[:-1]:
                values[-1] = ""
            categories.append(values)
        if _groups_categories(model):
            _add_groups(scope, operator, container, categories)
            return
        changes: dict[str, Any] = {"categories_": categories}
        # Without rare categories, both answer an unknown category as "ignore" does.
        if getattr(model, "handle_unknown", None) in _grouping:
            changes["handle_unknown"] = "ignore"
        with _changed(operator, **changes):
            theirs(scope, operator, _Codes(container, model) if hasattr(model, "encoded_missing_value") else container)

    return ours


#: The values of ``handle_unknown`` that count an unknown category among the rare ones.
_grouping = ("infrequent_if_exist", "warn")


def _groups_categories(model: Any) -> bool:
    """Whether a ``OneHotEncoder`` gives several rare categories one column."""
    return type(model).__name__ == "OneHotEncoder" and bool(getattr(model, "_infrequent_enabled", False))


def _add_groups(scope: Any, operator: Any, container: Any, categories: Sequence[Any]) -> None:
    """Encodes categories of which the rare ones share a column, which skl2onnx refuses."""
    from onnx import TensorProto

    model = operator.raw_operator
    dropped = getattr(model, "_drop_idx_after_grouping", None)
    drops = [None] * len(categories) if dropped is None else dropped
    parts = []

    def made(op_type: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = str(scope.get_unique_variable_name(op_type.lower()))
        container.add_node(op_type, list(inputs), [name], **attributes)
        return name

    def constant(values: Sequence[int]) -> str:
        name = str(scope.get_unique_variable_name("places"))
        container.add_initializer(name, TensorProto.INT64, [len(values)], list(values))
        return name

    # skl2onnx joins columns with FeatureVectorizer, which takes no texts.
    rows = operator.inputs[0].full_name
    if len(operator.inputs) > 1:
        rows = made("Concat", [each.full_name for each in operator.inputs], op_version=13, axis=1)
    for place, (values, groups, drop) in enumerate(zip(categories, model._default_to_infrequent_mappings, drops)):
        codes = list(range(len(values))) if groups is None else [int(code) for code in groups]
        columns = list(range(max(codes) + 1))
        is_grouped = groups is not None and model.handle_unknown in _grouping
        column = made("ArrayFeatureExtractor", [rows, constant([place])], op_domain="ai.onnx.ml")
        labels = {"keys_strings": [str(value) for value in values], "values_int64s": codes, "default_int64": columns[-1] if is_grouped else -1}
        code = made("LabelEncoder", [column], op_domain="ai.onnx.ml", op_version=2, **labels)
        zeros = int(model.handle_unknown != "error")
        hot = made("OneHotEncoder", [code], op_domain="ai.onnx.ml", cats_int64s=columns, zeros=zeros)
        flat = made("Reshape", [hot, constant([-1, len(columns)])], op_version=13)
        kept = [each for each in columns if each != drop]
        parts.append(flat if drop is None else made("Gather", [flat, constant(kept)], op_version=13, axis=1))
    container.add_node("Concat", parts, [operator.outputs[0].full_name], op_version=13, axis=1)


def _encoder_shape(theirs: Callable[[Any], None]) -> Callable[[Any], None]:
    def ours(operator: Any) -> None:
        """Counts rare categories of a column once."""
        theirs(operator)
        if _groups_categories(operator.raw_operator):
            operator.outputs[0].type.shape[1] = sum(operator.raw_operator._n_features_outs)

    return ours


class _Codes:
    """
    Wraps a container of skl2onnx, which gives the missing category of an ``OrdinalEncoder`` a code of its own instead of
    ``encoded_missing_value``, and takes infrequent categories from another column.
    """

    def __init__(self, container: Any, model: Any) -> None:
        infrequent = getattr(model, "_default_to_infrequent_mappings", None) or [None] * len(model.categories_)
        self._container = container
        self._columns = [each for each in zip(model.categories_, infrequent) if len(each[0]) > 0]
        self._are_plain = not any(_is_missing(values[-1]) or codes is not None for values, codes in self._columns)
        self._missing = float(model.encoded_missing_value)
        self._unknown = -1.0 if model.handle_unknown == "error" else float(model.unknown_value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, op_type: str, inputs: Any, outputs: Any, **attributes: Any) -> None:
        if op_type == "LabelEncoder" and not self._are_plain:
            values, infrequent = self._columns.pop(0)
            present = len(values) - int(_is_missing(values[-1]))
            codes = [float(code) for code in (range(present) if infrequent is None else infrequent)]
            attributes = {name: value for name, value in attributes.items() if name not in ("values_int64s", "default_int64")}
            attributes.update(values_floats=codes + [self._missing] * (len(values) - present), default_float=self._unknown)
        self._container.add_node(op_type, inputs, outputs, **attributes)


def _imputer_converter(theirs: Convert) -> Convert:
    def ours(scope: Any, operator: Any, container: Any) -> None:
        """
        Imputes doubles with basic operators, because no build of ONNX Runtime has an ``Imputer`` for doubles, and appends the indicators of
        missing numbers, which skl2onnx leaves out.
        """
        import math
        from onnx import TensorProto
        from skl2onnx.common.data_types import DoubleTensorType
        from skl2onnx.operator_converters.common import concatenate_variables

        model = operator.raw_operator
        if _takes_texts(operator) and _is_missing(model.missing_values) and not model.add_indicator:
            # A missing text is the empty text in a graph, and NaN in scikit-learn.
            with _changed(operator, missing_values=""):
                theirs(scope, operator, container)
            return
        is_double = all(isinstance(each.type, DoubleTensorType) for each in operator.inputs)
        if not is_double and not model.add_indicator:
            theirs(scope, operator, container)
            return
        missing = model.missing_values
        fills = [] if _takes_texts(operator) else [float(value) for value in model.statistics_]
        if not (isinstance(missing, float) and math.isnan(missing)) or any(map(math.isnan, fills)) or not fills:
            raise ValueError(
                "SimpleImputer with doubles or with an indicator fills missing numbers only, with a value for each column: use missing_values=nan, "
                "and leave out columns without a value"
            )
        rows = concatenate_variables(scope, operator.inputs, container)
        flagged = [int(place) for place in model.indicator_.features_] if model.add_indicator else []
        output = operator.outputs[0].full_name
        filled, is_missing = (scope.get_unique_variable_name(name) for name in ("filled", "missing"))
        filled = filled if flagged else output
        container.add_node("IsNaN", [rows], [is_missing], op_version=13)
        if is_double:
            fill = scope.get_unique_variable_name("fills")
            container.add_initializer(fill, TensorProto.DOUBLE, [1, len(fills)], fills)
            container.add_node("Where", [is_missing, fill, rows], [filled], op_version=16)
        else:
            options = {"imputed_value_floats": fills, "replaced_value_float": math.nan}
            container.add_node("Imputer", [rows], [filled], op_domain="ai.onnx.ml", **options)
        if flagged:
            places, some, flags = (scope.get_unique_variable_name(name) for name in ("places", "some", "flags"))
            container.add_initializer(places, TensorProto.INT64, [len(flagged)], flagged)
            container.add_node("Gather", [is_missing, places], [some], op_version=13, axis=1)
            container.add_node("Cast", [some], [flags], op_version=13, to=TensorProto.DOUBLE if is_double else TensorProto.FLOAT)
            container.add_node("Concat", [filled, flags], [output], op_version=13, axis=1)

    return ours


def _imputer_shape(theirs: Callable[[Any], None]) -> Callable[[Any], None]:
    def ours(operator: Any) -> None:
        """Counts the columns of the indicators too."""
        theirs(operator)
        indicator = getattr(operator.raw_operator, "indicator_", None)
        shape = operator.outputs[0].type.shape
        if indicator is not None and shape[1] is not None:
            operator.outputs[0].type.shape = [shape[0], shape[1] + len(indicator.features_)]

    return ours


def _equal_converter(theirs: Convert) -> Convert:
    def ours(scope: Any, operator: Any, container: Any) -> None:
        """Sets options that skl2onnx does not convert to others that give the same numbers."""
        import numpy

        model = operator.raw_operator
        changes: dict[str, Any] = {}
        if getattr(model, "encode", None) == "onehot":
            changes["encode"] = "onehot-dense"
        if getattr(model, "flatten_transform", False):
            changes["flatten_transform"] = False
        if getattr(model, "weights", None) is not None and hasattr(model, "_weights_not_none"):
            changes["weights"] = numpy.asarray(model._weights_not_none)
        with _changed(operator, **changes):
            theirs(scope, operator, container)

    return ours


def _is_converted(function: Any) -> bool:
    import numpy

    return isinstance(function, numpy.ufunc) and function.__name__ in _functions


def _operators_of(model: Any) -> Sequence[tuple[str, Optional[float]]]:
    """Returns the operators of a ``FunctionTransformer``."""
    if model.func is None:
        return [("Identity", None)]
    if not _is_converted(model.func) or model.kw_args:
        name = getattr(model.func, "__name__", "a function")
        raise ValueError(f"FunctionTransformer computes {name}, and only {_function_names} is converted: {_in_source}")
    return _functions[model.func.__name__]


def _function_converter(_theirs: Convert) -> Convert:
    def ours(scope: Any, operator: Any, container: Any) -> None:
        from onnx import TensorProto
        from skl2onnx.common.data_types import DoubleTensorType
        from skl2onnx.operator_converters.common import concatenate_variables

        given = concatenate_variables(scope, operator.inputs, container)
        kind = TensorProto.DOUBLE if isinstance(operator.inputs[0].type, DoubleTensorType) else TensorProto.FLOAT
        steps = _operators_of(operator.raw_operator)
        names = [scope.get_unique_variable_name("step") for _ in steps[1:]] + [operator.outputs[0].full_name]
        for (op_type, number), made in zip(steps, names):
            inputs = [given]
            if number is not None:
                inputs.append(scope.get_unique_variable_name("number"))
                container.add_initializer(inputs[1], kind, [1], [number])
            container.add_node(op_type, inputs, [made], op_version=14 if number is not None else 13)
            given = made

    return ours


def _function_shape(theirs: Callable[[Any], None]) -> Callable[[Any], None]:
    def ours(operator: Any) -> None:
        _operators_of(operator.raw_operator)
        with _changed(operator, func=None):
            theirs(operator)

    return ours


def _keep_outputs(proto: Any, names: Sequence[str]) -> None:
    """Removes outputs such as the labels, which Tenure does not read."""
    kept = [output for output in proto.graph.output if output.name in names]
    if kept:
        del proto.graph.output[:]
        proto.graph.output.extend(kept)


def _name_locale(proto: Any) -> None:
    """Names a locale that every Linux has. Texts become lower case by ``en_US.UTF-8`` otherwise, which slim images lack."""
    import onnx

    for node in proto.graph.node:
        if node.op_type == "StringNormalizer" and sys.platform == "linux" and all(each.name != "locale" for each in node.attribute):
            node.attribute.append(onnx.helper.make_attribute("locale", "C.UTF-8"))


def _cast_constants(proto: Any) -> None:
    """Casts floats that are combined with doubles, such as the weights of a vote: the converters write some constants as floats."""
    import onnx

    float_kind, double_kind = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
    graph = proto.graph
    del graph.value_info[:]
    kinds = {each.name: each.data_type for each in graph.initializer}
    kinds.update({each.name: each.type.tensor_type.elem_type for each in graph.input})
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        # The condition of a Where has its own type.
        first = 1 if node.op_type == "Where" else 0
        if node.op_type in _same_type_operators and double_kind in [kinds.get(name) for name in node.input[first:]]:
            for place in range(first, len(node.input)):
                name = node.input[place]
                if kinds.get(name) == float_kind:
                    node.input[place] = f"{name}_as_double_{len(graph.node)}"
                    graph.node.append(onnx.helper.make_node("Cast", [name], [node.input[place]], to=double_kind))
                    kinds[node.input[place]] = double_kind
        graph.node.append(node)
        kinds.update(_kinds_after(node, kinds))


def _kinds_after(node: Any, kinds: dict[str, int]) -> dict[str, int]:
    """Returns the types of the outputs of a node; omits those that cannot be determined from the node alone."""
    import onnx

    if node.op_type.startswith("TreeEnsemble"):
        return {node.output[-1]: onnx.TensorProto.FLOAT}
    if node.domain == "com.microsoft":
        return {}
    schema = onnx.defs.get_schema(node.op_type, 17 if node.domain == "" else 3, node.domain)
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to":
            return {node.output[0]: attribute.i}
        if node.op_type == "Constant" and attribute.name == "value":
            return {node.output[0]: attribute.t.data_type}
    taken = {form.type_str: kinds.get(name) for form, name in zip(schema.inputs, node.input)}
    found = {name: taken.get(form.type_str) for form, name in zip(schema.outputs, node.output)}
    return {name: kind for name, kind in found.items() if kind is not None}


def _declare_outputs(proto: Any) -> None:
    """Declares output types that pass the checker: as converted, all double, or all float. Raises the first error of an invalid graph."""
    import onnx

    failure: Optional[Exception] = None
    for kind in (None, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT):
        for output in proto.graph.output:
            if kind is not None:
                output.type.tensor_type.elem_type = kind
        try:
            onnx.checker.check_model(proto, full_check=True)
            return
        except Exception as error:  # Of the checker and of the inference of types.
            failure = failure or error
    assert failure is not None
    raise failure
