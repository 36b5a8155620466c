"""Joins LightGBM models of one number each, such as one for each level of a quantiles label, into one model with several outputs."""

import re
from typing import Any, Sequence

#: Objectives whose sum of trees is the prediction, so that it stays the same without the objective.
_plain = re.compile(r"(regression|regression_l1|regression_l2|huber|fair|quantile|mape|custom|)")
#: The tree of a model that has ended before the others. LightGBM writes one with a single leaf like this.
_nothing = """num_leaves=1
num_cat=0
split_feature=
split_gain=
threshold=
decision_type=
left_child=
right_child=
leaf_value=0
leaf_weight=
leaf_count=
internal_value=
internal_weight=
internal_count=
is_linear=0
shrinkage=1"""


def join_lightgbm(models: Sequence[Any]) -> Any:
    """Returns one booster that answers with the numbers of all models, in their order.

    ``models``: boosters, or estimators of the scikit-learn interface, of one number each and trained on the same columns; each counts up to
    its best round. Raises ``ValueError`` for models that cannot be joined: of other columns or categories, of classes, or with an objective
    whose predictions are not the sum of its trees, such as ``poisson``.
    """
    import lightgbm

    boosters = [getattr(model, "booster_", model) for model in models]
    return lightgbm.Booster(model_str=joined_text([booster.model_to_string() for booster in boosters]))


def joined_text(texts: Sequence[str]) -> str:
    """The text of the joined model."""
    heads, columns, forests, tails = zip(*map(_parts, texts))
    if len(set(columns)) > 1:
        raise ValueError("the models differ in their columns, in the categories of a column, or in the number of trees that they average")
    blocks: list[str] = []
    for turn in range(max(map(len, forests))):
        for forest in forests:
            blocks.append(f"Tree={len(blocks)}\n{forest[turn] if turn < len(forest) else _nothing}\n\n\n")
    several = f"num_class={len(texts)}\nnum_tree_per_iteration={len(texts)}\n"
    head = heads[0].replace("num_class=1\nnum_tree_per_iteration=1\n", several)
    sizes = " ".join(str(len(block.encode())) for block in blocks)
    return f"{head}\ntree_sizes={sizes}\n\n{''.join(blocks)}end of trees{tails[0]}"


def _parts(text: str) -> tuple[str, tuple[str, ...], list[str], str]:
    """What precedes the sizes of the trees, what all models must share of it and of the end, the trees without their numbers, and the end."""
    head, found, rest = text.partition("\ntree_sizes=")
    body, ended, tail = rest.partition("end of trees")
    if not found or not ended or "\nnum_tree_per_iteration=1\n" not in head:
        raise ValueError("a model of one number is required, not of several classes")
    objective = re.search(r"^objective=(.*)$", head, re.MULTILINE)
    name = objective[1] if objective else ""
    if not _plain.fullmatch(name):
        raise ValueError(f"predictions of the objective {name} are not the sum of their trees: train with regression or quantile")
    trees = [re.sub(r"^Tree=\d+\n", "", tree.strip("\n")) for tree in re.split(r"\n(?=Tree=\d+\n)", body)[1:]]
    head = re.sub(r"^objective=.*$", "objective=custom", head, flags=re.MULTILINE)
    categories = re.search(r"^pandas_categorical:.*$", tail, re.MULTILINE)
    names = re.search(r"^feature_names=.*$", head, re.MULTILINE)
    # The mean of a forest divides by the number of its trees.
    averaged = f"mean of {len(trees)}" if "\naverage_output" in head else ""
    return head, (names[0] if names else "", categories[0] if categories else "", averaged), trees, tail
