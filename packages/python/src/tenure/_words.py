# Written by `npm run docs` from the TypeScript declarations of model files; `npm run check` fails when the two differ.
"""The words of a model file, as :mod:`tenure` exports them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Literal, Mapping, Optional, Pattern, Sequence, Union

from ._define import Made, defines, word

if TYPE_CHECKING:
    from typing_extensions import NotRequired, TypedDict

    from ._job import Job

    class BehaviourSpec(Made): ...
    class CompressionWish(Made): ...
    class DailySpec(Made): ...
    class EventSpec(Made): ...
    class ExpectSpec(Made): ...
    class ExternalSpec(Made): ...
    class FallbackSpec(Made): ...
    class Feature(Made): ...
    class FeatureViewHandle(Made): ...
    class LabelDefinition(Made): ...
    class ReleaseSpec(Made): ...
    class RetrainSpec(Made): ...
    class SourceSpec(Made): ...
    class SplitSpec(Made): ...
    class StageSpec(Made): ...
    class TrafficSpec(Made): ...
    class TrainerSpec(Made): ...
    class TriggerSpec(Made): ...

    PrepareSpec = TypedDict("PrepareSpec", {"fields": 'NotRequired[Mapping[str, Feature]]', "columns": 'Mapping[str, str]'})
    WeightsSpec = TypedDict("WeightsSpec", {"column": 'NotRequired[str]', "classes": 'NotRequired[Union[Literal["balanced"], Mapping[str, float]]]'})
    EvaluationSpec = TypedDict("EvaluationSpec", {"primary": 'NotRequired[Union[Literal["auc", "accuracy", "brier", "logLoss", "f1", "precision", "recall", "averagePrecision", "recallAtTop", "precisionAtTop", "macroF1", "rmse", "mae", "r2", "pinball", "coverageError"], str]]', "stand_in": 'NotRequired[Literal["auc", "accuracy", "brier", "logLoss", "f1", "precision", "recall", "averagePrecision", "recallAtTop", "precisionAtTop", "macroF1", "rmse", "mae", "r2", "pinball", "coverageError"]]', "floors": 'Mapping[str, float]', "margin": 'NotRequired[Union[float, EvaluationSpecMargin]]', "top": 'NotRequired[float]', "guards": 'NotRequired[Sequence[Union[Literal["auc", "accuracy", "brier", "logLoss", "f1", "precision", "recall", "averagePrecision", "recallAtTop", "precisionAtTop", "macroF1", "rmse", "mae", "r2", "pinball", "coverageError"], str]]]', "margins": 'NotRequired[Mapping[str, Union[float, EvaluationSpecMargin]]]', "metrics": 'NotRequired[Mapping[str, MetricSpec]]', "evidence": 'NotRequired[EvaluationSpecEvidence]', "calibration": 'NotRequired[Union[Literal["off"], EvaluationSpecCalibration]]', "fairness": 'NotRequired[EvaluationSpecFairness]', "leakage": 'NotRequired[EvaluationSpecLeakage]', "slices": 'NotRequired[Sequence[SliceDefinition]]', "slice_limits": 'NotRequired[EvaluationSpecSliceLimits]', "groups": 'NotRequired[Sequence[str]]', "entity": 'NotRequired[str]', "baseline": 'NotRequired[str]', "importance": 'NotRequired[Union[Literal["off"], ImportancePolicy]]', "cost": 'NotRequired[CostSpec]', "break_glass": 'NotRequired[bool]'})
    EvaluationSpecMargin = TypedDict("EvaluationSpecMargin", {"relative": 'float'})
    MetricSpec = TypedDict("MetricSpec", {"of": 'Callable[..., Any]', "better": 'Literal["higher", "lower"]'})
    EvaluationSpecEvidence = TypedDict("EvaluationSpecEvidence", {"rows": 'NotRequired[float]', "positives": 'NotRequired[float]', "negatives": 'NotRequired[float]', "slice_rows": 'NotRequired[float]', "slice_positives": 'NotRequired[float]'})
    EvaluationSpecCalibration = TypedDict("EvaluationSpecCalibration", {"ece": 'float', "over_champion": 'float'})
    EvaluationSpecFairness = TypedDict("EvaluationSpecFairness", {"selection_ratio": 'NotRequired[float]', "rate_difference": 'NotRequired[float]', "error_difference": 'NotRequired[float]', "min_rows": 'NotRequired[float]'})
    EvaluationSpecLeakage = TypedDict("EvaluationSpecLeakage", {"overlap": 'NotRequired[float]', "feature_auc": 'NotRequired[float]', "feature_correlation": 'NotRequired[float]', "gain": 'NotRequired[float]'})
    SliceDefinition = TypedDict("SliceDefinition", {"name": 'str', "where": 'str'})
    EvaluationSpecSliceLimits = TypedDict("EvaluationSpecSliceLimits", {"metric": 'NotRequired[Literal["accuracy", "auc", "brier", "logLoss", "rmse", "mae", "pinball"]]', "points": 'NotRequired[float]', "alpha": 'NotRequired[float]'})
    ImportancePolicy = TypedDict("ImportancePolicy", {"rows": 'NotRequired[float]', "permutations": 'NotRequired[float]'})
    CostSpec = TypedDict("CostSpec", {"p99": 'NotRequired[float]', "processor": 'NotRequired[float]', "memory": 'NotRequired[float]'})
    ModelFileRetrain = TypedDict("ModelFileRetrain", {"every": 'NotRequired[str]', "cron": 'NotRequired[str]', "catch_up": 'NotRequired[str]', "then": 'NotRequired[CompressionWish]'})
    ScheduledBatchSpec = TypedDict("ScheduledBatchSpec", {"rows": 'SourceSpec', "partition": 'NotRequired[DailySpec]', "when": 'NotRequired[Union[RetrainSpec, TriggerSpec, Sequence[Union[RetrainSpec, TriggerSpec, RetrainFields]], RetrainFields]]', "to": 'NotRequired[str]', "key": 'NotRequired[Sequence[str]]', "log": 'NotRequired[float]'})
    RetrainFields = TypedDict("RetrainFields", {"every": 'NotRequired[str]', "cron": 'NotRequired[str]', "catch_up": 'NotRequired[str]'})
    MonitorSpec = TypedDict("MonitorSpec", {"every": 'NotRequired[str]', "span": 'NotRequired[str]', "count": 'NotRequired[str]', "settle": 'NotRequired[str]', "outcomes_within": 'NotRequired[str]', "silent": 'NotRequired[str]', "outcomes_stopped": 'NotRequired[str]', "errors": 'NotRequired[MonitorSpecErrors]', "latency_p95": 'NotRequired[str]', "quality": 'NotRequired[MonitorSpecQuality]', "importance": 'NotRequired[Mapping[str, float]]', "drift": 'NotRequired[MonitorSpecDrift]', "outside": 'NotRequired[float]', "resources": 'NotRequired[MonitorSpecResources]', "business": 'NotRequired[BusinessPolicy]', "cost": 'NotRequired[CostPolicy]', "retrain": 'NotRequired[bool]', "rollback": 'NotRequired[bool]', "cooldown": 'NotRequired[MonitorSpecCooldown]'})
    MonitorSpecErrors = TypedDict("MonitorSpecErrors", {"warn": 'float', "alarm": 'float'})
    MonitorSpecQuality = TypedDict("MonitorSpecQuality", {"warn": 'NotRequired[float]', "alarm": 'NotRequired[float]', "metrics": 'NotRequired[Mapping[str, QualityFloors]]'})
    QualityFloors = TypedDict("QualityFloors", {"warn": 'NotRequired[float]', "alarm": 'NotRequired[float]'})
    MonitorSpecDrift = TypedDict("MonitorSpecDrift", {"warn": 'NotRequired[float]', "alarm": 'NotRequired[float]', "exclude": 'NotRequired[Sequence[str]]', "features": 'NotRequired[Mapping[str, MonitorSpecDriftFeatures]]', "reference": 'NotRequired[Union[Literal["training", "same season last year"], str]]'})
    MonitorSpecDriftFeatures = TypedDict("MonitorSpecDriftFeatures", {"warn": 'NotRequired[float]', "alarm": 'NotRequired[float]', "reference": 'NotRequired[Union[Literal["training", "same season last year"], str]]'})
    MonitorSpecResources = TypedDict("MonitorSpecResources", {"rss_mb": 'NotRequired[float]', "cpu_share": 'NotRequired[float]', "loop_delay": 'NotRequired[str]'})
    BusinessPolicy = TypedDict("BusinessPolicy", {"name": 'str', "unit": 'str', "per_prediction": 'str', "warn": 'NotRequired[float]', "alarm": 'NotRequired[float]', "lower_is_better": 'NotRequired[bool]'})
    CostPolicy = TypedDict("CostPolicy", {"processor_hour": 'NotRequired[float]', "gib_hour": 'NotRequired[float]', "unit": 'str', "per_prediction": 'NotRequired[float]', "per_day": 'NotRequired[float]'})
    MonitorSpecCooldown = TypedDict("MonitorSpecCooldown", {"after": 'NotRequired[MonitorSpecCooldownAfter]', "max": 'NotRequired[str]', "max_per_week": 'NotRequired[float]', "week": 'NotRequired[str]', "new_rows": 'NotRequired[float]'})
    MonitorSpecCooldownAfter = TypedDict("MonitorSpecCooldownAfter", {"drift": 'NotRequired[str]', "quality": 'NotRequired[str]', "labels": 'NotRequired[str]'})
    ClassBand = TypedDict("ClassBand", {"below": 'float'})
    ProbabilityBand = TypedDict("ProbabilityBand", {"from": 'float', "to": 'float'})
    CompleteWhenCondition = TypedDict("CompleteWhenCondition", {"column": 'str', "is": 'Union[str, float, bool]'})
    ByTimeOptionsMaxRows = TypedDict("ByTimeOptionsMaxRows", {"train": 'NotRequired[float]', "test": 'NotRequired[float]'})
    ApprovalSpec = TypedDict("ApprovalSpec", {"by": 'float', "within": 'str', "from": 'NotRequired[Sequence[str]]', "business": 'NotRequired[Sequence[str]]', "engineering": 'NotRequired[Sequence[str]]'})
    AbOptionsWatch = TypedDict("AbOptionsWatch", {"tick": 'NotRequired[str]', "every": 'NotRequired[str]', "exposure": 'NotRequired[str]', "acknowledge": 'NotRequired[str]', "decision": 'NotRequired[str]'})
    CanaryPolicy = TypedDict("CanaryPolicy", {"error_ratio": 'NotRequired[float]', "slow_ratio": 'NotRequired[float]', "guard_rate": 'NotRequired[float]', "alpha": 'NotRequired[AlphaSplit]', "min_delta": 'NotRequired[float]', "max_stale_ms": 'NotRequired[float]', "harm_budget": 'NotRequired[float]', "shadow_cost": 'NotRequired[float]', "restart_ms": 'NotRequired[float]', "promotion": 'NotRequired[Union[Literal["off"], PromotionPolicy]]', "non_inferiority": 'NotRequired[CanaryPolicyNonInferiority]', "srm": 'NotRequired[Union[Literal["off"], SrmPolicy]]', "score_shift": 'NotRequired[Union[Literal["off"], ScoreShiftPolicy]]', "disagreement": 'NotRequired[Union[Literal["off"], DisagreementPolicy]]', "business": 'NotRequired[Mapping[str, BusinessMetric]]', "external": 'NotRequired[Mapping[str, ExternalMetric]]', "ramp": 'NotRequired[CanaryPolicyRamp]'})
    AlphaSplit = TypedDict("AlphaSplit", {"errors": 'float', "guard": 'float', "slow95": 'float', "slow99": 'float', "invalid": 'float', "paired": 'float', "quality": 'float', "score_shift": 'float', "disagreement": 'float', "conversion": 'float', "business": 'NotRequired[float]', "external": 'NotRequired[float]', "reserve": 'float'})
    PromotionPolicy = TypedDict("PromotionPolicy", {"ratio": 'float', "log_e": 'float', "metrics": 'Sequence[Literal["errors", "invalid", "slow95", "slow99"]]', "negligible_rate": 'Any', "at": 'Literal["every_stage", "last_stage"]'})
    CanaryPolicyNonInferiority = TypedDict("CanaryPolicyNonInferiority", {"margin": 'float', "log_e": 'float'})
    SrmPolicy = TypedDict("SrmPolicy", {"alpha": 'float', "tolerance": 'float', "design_effect": 'float'})
    ScoreShiftPolicy = TypedDict("ScoreShiftPolicy", {"tolerance": 'float', "min_delta": 'float', "action": 'Literal["ask", "rollback"]', "rollback_ratio": 'Any'})
    DisagreementPolicy = TypedDict("DisagreementPolicy", {"max": 'float', "action": 'Literal["ask", "rollback"]'})
    BusinessMetric = TypedDict("BusinessMetric", {"event": 'str', "counts": 'Literal["total", "any", "mean"]', "min": 'float', "max": 'float', "within_ms": 'float', "delay_ms": 'float', "lower_is_better": 'bool', "action": 'Literal["rollback", "ask"]', "not_worse": 'NotRequired[float]', "better": 'NotRequired[bool]'})
    ExternalMetric = TypedDict("ExternalMetric", {"kind": 'Literal["promql", "sql", "webhook"]', "source": 'str', "query": 'str', "limit": 'NotRequired[float]', "tolerance": 'float', "min": 'float', "max": 'float', "lower_is_better": 'bool', "every_ms": 'float', "delay_ms": 'float', "min_requests": 'float', "action": 'Literal["rollback", "ask"]', "on_error": 'Literal["ask", "hold", "ignore"]'})
    CanaryPolicyRamp = TypedDict("CanaryPolicyRamp", {"reaction_seconds": 'float'})
    AbOptionsHotfix = TypedDict("AbOptionsHotfix", {"stages": 'Sequence[StageSpec]', "soak": 'NotRequired[str]', "requests": 'NotRequired[float]', "deadline": 'NotRequired[str]'})
    QualificationLimits = TypedDict("QualificationLimits", {"timeout_ms": 'NotRequired[float]', "p99_us": 'NotRequired[float]', "rss_bytes": 'NotRequired[float]', "weight_bytes": 'NotRequired[float]', "p99_times": 'NotRequired[float]', "cpu_times": 'NotRequired[float]', "rss_times": 'NotRequired[float]'})
    DrillSpec = TypedDict("DrillSpec", {"every": 'NotRequired[str]', "cron": 'NotRequired[str]', "kinds": 'NotRequired[Sequence[str]]', "traffic": 'NotRequired[Literal["mirrored", "live"]]', "percent": 'NotRequired[float]', "harm_budget": 'NotRequired[float]', "within": 'NotRequired[str]'})
    AbOptionsRequireDrill = TypedDict("AbOptionsRequireDrill", {"within": 'str'})
    ProbationSpec = TypedDict("ProbationSpec", {"soak": 'NotRequired[str]', "requests": 'NotRequired[float]', "deadline": 'NotRequired[str]', "holdback": 'NotRequired[float]', "shadow": 'NotRequired[float]', "cover_labels": 'NotRequired[bool]'})
    FirstSpec = TypedDict("FirstSpec", {"header": 'NotRequired[str]', "attribute": 'NotRequired[Mapping[str, Union[str, float]]]', "allow_list": 'NotRequired[Sequence[str]]', "soak": 'NotRequired[str]', "requests": 'NotRequired[float]', "deadline": 'NotRequired[str]'})
    CounterOptions = TypedDict("CounterOptions", {"source": 'str', "requests": 'NotRequired[str]', "status": 'NotRequired[str]', "settle": 'NotRequired[str]'})
    SagemakerOptionsAddresses = TypedDict("SagemakerOptionsAddresses", {"sagemaker": 'str', "cloudwatch": 'str'})

#: The arguments and options of each word: [name in the definition, shape] by name in Python.
WORDS: dict[str, Any] = {
    "define_model": {"name": "defineModel", "positional": {}, "required": 0, "leading": [], "options": {"fields": "ModelFile"}},
    "category": {"name": "category", "positional": {}, "required": 0, "leading": ["values"], "options": {"fields": "CategoryOptions"}},
    "image": {"name": "image", "positional": {}, "required": 0, "leading": [], "options": {"fields": "ImageOptions"}},
    "number": {"name": "number", "positional": {}, "required": 0, "leading": [], "options": {"fields": "NumberOptions"}},
    "text": {"name": "text", "positional": {}, "required": 0, "leading": [], "options": {"fields": "TextOptions"}},
    "vector": {"name": "vector", "positional": {"length": ""}, "required": 1, "leading": [], "options": {"fields": "VectorOptions"}},
    "always": {"name": "always", "positional": {"answer": ""}, "required": 1, "leading": [], "options": {"fields": "AlwaysOptions"}},
    "previous_champion": {"name": "previousChampion", "positional": {}, "required": 0, "leading": [], "options": {"fields": "PreviousChampionOptions"}},
    "one_of": {"name": "oneOf", "positional": {"classes": ""}, "required": 1, "leading": [], "options": {"fields": "OneOfOptions"}},
    "quantiles": {"name": "quantiles", "positional": {"levels": ""}, "required": 1, "leading": [], "options": {"fields": "QuantilesOptions"}},
    "quantities": {"name": "quantities", "positional": {"columns": ""}, "required": 1, "leading": [], "options": {"fields": "QuantitiesOptions"}},
    "quantity": {"name": "quantity", "positional": {}, "required": 0, "leading": [], "options": {"fields": "QuantilesOptions"}},
    "yes_no": {"name": "yesNo", "positional": {}, "required": 0, "leading": [], "options": {"fields": "YesNoOptions"}},
    "csv": {"name": "csv", "positional": {"files": ""}, "required": 1, "leading": [], "options": {"fields": "CsvOptions"}},
    "parquet": {"name": "parquet", "positional": {"files": ""}, "required": 1, "leading": [], "options": {"fields": "CsvOptions"}},
    "postgres": {"name": "postgres", "positional": {"database": ""}, "required": 0, "leading": [], "options": {"fields": "PostgresOptions"}},
    "program": {"name": "program", "positional": {"run": ""}, "required": 1, "leading": [], "options": {"fields": "ProgramOptions"}},
    "served": {"name": "served", "positional": {}, "required": 0, "leading": [], "options": {"fields": "ServedOptions"}},
    "between": {"name": "between", "positional": {"column": ""}, "required": 1, "leading": [], "options": {"fields": "BetweenOptions"}},
    "complete": {"name": "complete", "positional": {"columns": ""}, "required": 1, "leading": [], "options": {"fields": "CompleteOptions"}},
    "complete_when": {"name": "completeWhen", "positional": {"column": "", "condition": {"fields": "CompleteWhenCondition"}}, "required": 2, "leading": [], "options": {"fields": "CompleteOptions"}},
    "deviation": {"name": "deviation", "positional": {"column": ""}, "required": 1, "leading": [], "options": {"fields": "DeviationOptions"}},
    "distinct": {"name": "distinct", "positional": {"column": ""}, "required": 1, "leading": [], "options": {"fields": "DeviationOptions"}},
    "every_class": {"name": "everyClass", "positional": {}, "required": 0, "leading": [], "options": {"fields": "EveryClassOptions"}},
    "finite": {"name": "finite", "positional": {"columns": ""}, "required": 1, "leading": [], "options": {"fields": "CompleteOptions"}},
    "fresh": {"name": "fresh", "positional": {"within": ""}, "required": 1, "leading": []},
    "in_set": {"name": "inSet", "positional": {"column": "", "values": ""}, "required": 2, "leading": [], "options": {"fields": "CompleteOptions"}},
    "label_after_event": {"name": "labelAfterEvent", "positional": {}, "required": 0, "leading": [], "options": {"fields": "CompleteOptions"}},
    "matches": {"name": "matches", "positional": {"column": "", "pattern": "pattern"}, "required": 2, "leading": [], "options": {"fields": "CompleteOptions"}},
    "mean": {"name": "mean", "positional": {"column": ""}, "required": 1, "leading": [], "options": {"fields": "DeviationOptions"}},
    "ordered": {"name": "ordered", "positional": {"low": "", "high": ""}, "required": 2, "leading": [], "options": {"fields": "CompleteOptions"}},
    "positive_rate": {"name": "positiveRate", "positional": {}, "required": 0, "leading": [], "options": {"fields": "DeviationOptions"}},
    "quantile": {"name": "quantile", "positional": {"column": "", "q": ""}, "required": 2, "leading": [], "options": {"fields": "DeviationOptions"}},
    "row_count": {"name": "rowCount", "positional": {}, "required": 0, "leading": [], "options": {"fields": "DeviationOptions"}},
    "rows_as_usual": {"name": "rowsAsUsual", "positional": {}, "required": 0, "leading": [], "options": {"fields": "RowsAsUsualOptions"}},
    "text_length": {"name": "textLength", "positional": {"column": ""}, "required": 1, "leading": [], "options": {"fields": "BetweenOptions"}},
    "unique": {"name": "unique", "positional": {"columns": ""}, "required": 0, "leading": [], "options": {"fields": "CompleteOptions"}},
    "warn": {"name": "warn", "positional": {"spec": ""}, "required": 1, "leading": []},
    "direction": {"name": "direction", "positional": {"name": ""}, "required": 1, "leading": [], "options": {"fields": "DirectionOptions"}},
    "exact": {"name": "exact", "positional": {"name": ""}, "required": 1, "leading": [], "options": {"fields": "ExactOptions"}},
    "invariance": {"name": "invariance", "positional": {"name": ""}, "required": 1, "leading": [], "options": {"fields": "InvarianceOptions"}},
    "by_time": {"name": "byTime", "positional": {}, "required": 0, "leading": [], "options": {"fields": "ByTimeOptions"}},
    "random": {"name": "random", "positional": {}, "required": 0, "leading": [], "options": {"fields": "RandomOptions"}},
    "stratified": {"name": "stratified", "positional": {}, "required": 0, "leading": [], "options": {"fields": "RandomOptions"}},
    "command": {"name": "command", "positional": {"argv": ""}, "required": 1, "leading": [], "options": {"fields": "CommandOptions"}},
    "python": {"name": "python", "positional": {"file": ""}, "required": 1, "leading": [], "options": {"fields": "PythonOptions"}},
    "queue": {"name": "queue", "positional": {"name": ""}, "required": 1, "leading": [], "options": {"fields": "QueueOptions"}},
    "ab": {"name": "ab", "positional": {}, "required": 0, "leading": [], "options": {"fields": "AbOptions"}},
    "blue_green": {"name": "blueGreen", "positional": {}, "required": 0, "leading": [], "options": {"fields": "BlueGreenOptions"}},
    "canary": {"name": "canary", "positional": {}, "required": 0, "leading": [], "options": {"fields": "CanaryOptions"}},
    "direct": {"name": "direct", "positional": {}, "required": 0, "leading": [], "options": {"fields": "DirectOptions"}},
    "percent": {"name": "percent", "positional": {"share": ""}, "required": 1, "leading": [], "options": {"fields": "PercentOptions"}},
    "rolling": {"name": "rolling", "positional": {}, "required": 0, "leading": [], "options": {"fields": "RollingOptions"}},
    "shadow": {"name": "shadow", "positional": {}, "required": 0, "leading": [], "options": {"fields": "ShadowOptions"}},
    "haproxy": {"name": "haproxy", "positional": {}, "required": 0, "leading": [], "options": {"fields": "HaproxyOptions"}},
    "http_route": {"name": "httpRoute", "positional": {}, "required": 0, "leading": [], "options": {"fields": "HttpRouteOptions"}},
    "kserve": {"name": "kserve", "positional": {}, "required": 0, "leading": [], "options": {"fields": "KserveOptions"}},
    "sagemaker": {"name": "sagemaker", "positional": {}, "required": 0, "leading": [], "options": {"fields": "SagemakerOptions"}},
    "event": {"name": "event", "positional": {"name": ""}, "required": 1, "leading": [], "options": {"fields": "EventOptions"}},
    "promql": {"name": "promql", "positional": {"source": "", "query": ""}, "required": 2, "leading": [], "options": {"fields": "PromqlOptions"}},
    "sql_query": {"name": "sqlQuery", "positional": {"source": "", "query": ""}, "required": 2, "leading": [], "options": {"fields": "PromqlOptions"}},
    "webhook": {"name": "webhook", "positional": {"source": "", "metric": ""}, "required": 2, "leading": [], "options": {"fields": "PromqlOptions"}},
    "lookup": {"name": "lookup", "positional": {"of": "", "value": ""}, "required": 2, "leading": [], "options": {"fields": "LookupOptions"}},
    "daily": {"name": "daily", "positional": {}, "required": 0, "leading": [], "options": {"fields": "DailyOptions"}},
    "compress": {"name": "compress", "positional": {"to": ""}, "required": 1, "leading": [], "options": {"fields": "CompressOptions"}},
    "cron": {"name": "cron", "positional": {"text": ""}, "required": 1, "leading": [], "options": {"fields": "CronOptions"}},
    "after_workflow": {"name": "afterWorkflow", "positional": {}, "required": 0, "leading": [], "options": {"fields": "AfterWorkflowOptions"}},
    "on_webhook": {"name": "onWebhook", "positional": {}, "required": 0, "leading": [], "options": {"fields": "OnWebhookOptions"}},
    "when_file": {"name": "whenFile", "positional": {"glob": ""}, "required": 1, "leading": [], "options": {"fields": "WhenFileOptions"}},
    "when_watermark": {"name": "whenWatermark", "positional": {}, "required": 0, "leading": [], "options": {"fields": "WhenWatermarkOptions"}},
    "view": {"name": "view", "positional": {"name": ""}, "required": 1, "leading": [], "options": {"fields": "ViewOptions"}},
}

#: The fields of each object: [name in the definition, shape] by name in Python.
TYPES: dict[str, Any] = {
    "ModelFile": {"name": ["name", ""], "about": ["about", ""], "owner": ["owner", ""], "risk": ["risk", ""], "features": ["features", ""], "prepare": ["prepare", {"fields": "PrepareSpec"}], "label": ["label", ""], "source": ["source", ""], "expect": ["expect", ""], "split": ["split", ""], "floods": ["floods", ""], "weights": ["weights", {"fields": "WeightsSpec"}], "hyperparameters": ["hyperparameters", ""], "seed": ["seed", ""], "train": ["train", "function"], "serve": ["serve", ""], "evaluation": ["evaluation", {"fields": "EvaluationSpec"}], "tests": ["tests", ""], "release": ["release", ""], "retrain": ["retrain", {"either": [{"list": {"fields": "ModelFileRetrain"}}, {"fields": "ModelFileRetrain"}]}], "batches": ["batches", {"record": {"fields": "ScheduledBatchSpec"}}], "subject": ["subject", ""], "monitor": ["monitor", {"fields": "MonitorSpec"}], "fallback": ["fallback", ""], "traffic": ["traffic", ""], "golden": ["golden", ""]},
    "PrepareSpec": {"fields": ["fields", ""], "columns": ["columns", ""]},
    "WeightsSpec": {"column": ["column", ""], "classes": ["classes", ""]},
    "EvaluationSpec": {"primary": ["primary", ""], "stand_in": ["standIn", ""], "floors": ["floors", ""], "margin": ["margin", {"fields": "EvaluationSpecMargin"}], "top": ["top", ""], "guards": ["guards", ""], "margins": ["margins", {"record": {"fields": "EvaluationSpecMargin"}}], "metrics": ["metrics", {"record": {"fields": "MetricSpec"}}], "evidence": ["evidence", {"fields": "EvaluationSpecEvidence"}], "calibration": ["calibration", {"fields": "EvaluationSpecCalibration"}], "fairness": ["fairness", {"fields": "EvaluationSpecFairness"}], "leakage": ["leakage", {"fields": "EvaluationSpecLeakage"}], "slices": ["slices", {"list": {"fields": "SliceDefinition"}}], "slice_limits": ["sliceLimits", {"fields": "EvaluationSpecSliceLimits"}], "groups": ["groups", ""], "entity": ["entity", ""], "baseline": ["baseline", ""], "importance": ["importance", {"fields": "ImportancePolicy"}], "cost": ["cost", {"fields": "CostSpec"}], "break_glass": ["breakGlass", ""]},
    "EvaluationSpecMargin": {"relative": ["relative", ""]},
    "MetricSpec": {"of": ["of", "function"], "better": ["better", ""]},
    "EvaluationSpecEvidence": {"rows": ["rows", ""], "positives": ["positives", ""], "negatives": ["negatives", ""], "slice_rows": ["sliceRows", ""], "slice_positives": ["slicePositives", ""]},
    "EvaluationSpecCalibration": {"ece": ["ece", ""], "over_champion": ["overChampion", ""]},
    "EvaluationSpecFairness": {"selection_ratio": ["selectionRatio", ""], "rate_difference": ["rateDifference", ""], "error_difference": ["errorDifference", ""], "min_rows": ["minRows", ""]},
    "EvaluationSpecLeakage": {"overlap": ["overlap", ""], "feature_auc": ["featureAuc", ""], "feature_correlation": ["featureCorrelation", ""], "gain": ["gain", ""]},
    "SliceDefinition": {"name": ["name", ""], "where": ["where", ""]},
    "EvaluationSpecSliceLimits": {"metric": ["metric", ""], "points": ["points", ""], "alpha": ["alpha", ""]},
    "ImportancePolicy": {"rows": ["rows", ""], "permutations": ["permutations", ""]},
    "CostSpec": {"p99": ["p99", ""], "processor": ["processor", ""], "memory": ["memory", ""]},
    "ModelFileRetrain": {"every": ["every", ""], "cron": ["cron", ""], "catch_up": ["catchUp", ""], "then": ["then", ""]},
    "ScheduledBatchSpec": {"rows": ["rows", ""], "partition": ["partition", ""], "when": ["when", {"either": [{"list": {"fields": "RetrainFields"}}, {"fields": "RetrainFields"}]}], "to": ["to", ""], "key": ["key", ""], "log": ["log", ""]},
    "RetrainFields": {"every": ["every", ""], "cron": ["cron", ""], "catch_up": ["catchUp", ""]},
    "MonitorSpec": {"every": ["every", ""], "span": ["span", ""], "count": ["count", ""], "settle": ["settle", ""], "outcomes_within": ["outcomesWithin", ""], "silent": ["silent", ""], "outcomes_stopped": ["outcomesStopped", ""], "errors": ["errors", {"fields": "MonitorSpecErrors"}], "latency_p95": ["latencyP95", ""], "quality": ["quality", {"fields": "MonitorSpecQuality"}], "importance": ["importance", ""], "drift": ["drift", {"fields": "MonitorSpecDrift"}], "outside": ["outside", ""], "resources": ["resources", {"fields": "MonitorSpecResources"}], "business": ["business", {"fields": "BusinessPolicy"}], "cost": ["cost", {"fields": "CostPolicy"}], "retrain": ["retrain", ""], "rollback": ["rollback", ""], "cooldown": ["cooldown", {"fields": "MonitorSpecCooldown"}]},
    "MonitorSpecErrors": {"warn": ["warn", ""], "alarm": ["alarm", ""]},
    "MonitorSpecQuality": {"warn": ["warn", ""], "alarm": ["alarm", ""], "metrics": ["metrics", {"record": {"fields": "QualityFloors"}}]},
    "QualityFloors": {"warn": ["warn", ""], "alarm": ["alarm", ""]},
    "MonitorSpecDrift": {"warn": ["warn", ""], "alarm": ["alarm", ""], "exclude": ["exclude", ""], "features": ["features", {"record": {"fields": "MonitorSpecDriftFeatures"}}], "reference": ["reference", ""]},
    "MonitorSpecDriftFeatures": {"warn": ["warn", ""], "alarm": ["alarm", ""], "reference": ["reference", ""]},
    "MonitorSpecResources": {"rss_mb": ["rssMb", ""], "cpu_share": ["cpuShare", ""], "loop_delay": ["loopDelay", ""]},
    "BusinessPolicy": {"name": ["name", ""], "unit": ["unit", ""], "per_prediction": ["perPrediction", ""], "warn": ["warn", ""], "alarm": ["alarm", ""], "lower_is_better": ["lowerIsBetter", ""]},
    "CostPolicy": {"processor_hour": ["processorHour", ""], "gib_hour": ["gibHour", ""], "unit": ["unit", ""], "per_prediction": ["perPrediction", ""], "per_day": ["perDay", ""]},
    "MonitorSpecCooldown": {"after": ["after", {"fields": "MonitorSpecCooldownAfter"}], "max": ["max", ""], "max_per_week": ["maxPerWeek", ""], "week": ["week", ""], "new_rows": ["newRows", ""]},
    "MonitorSpecCooldownAfter": {"drift": ["drift", ""], "quality": ["quality", ""], "labels": ["labels", ""]},
    "CategoryOptions": {"column": ["column", ""], "about": ["about", ""], "missing": ["missing", ""], "values": ["values", ""]},
    "ImageOptions": {"column": ["column", ""], "about": ["about", ""], "log": ["log", ""], "max_bytes": ["maxBytes", ""], "missing": ["missing", ""]},
    "NumberOptions": {"column": ["column", ""], "about": ["about", ""], "unit": ["unit", ""], "min": ["min", ""], "max": ["max", ""], "missing": ["missing", ""], "outside": ["outside", ""]},
    "TextOptions": {"column": ["column", ""], "about": ["about", ""], "log": ["log", ""], "max_length": ["maxLength", ""], "missing": ["missing", ""]},
    "VectorOptions": {"column": ["column", ""], "about": ["about", ""], "log": ["log", ""], "missing": ["missing", ""]},
    "AlwaysOptions": {"automatic": ["automatic", ""]},
    "PreviousChampionOptions": {"automatic": ["automatic", ""], "otherwise": ["otherwise", ""]},
    "OneOfOptions": {"column": ["column", ""], "known_at": ["knownAt", ""], "review": ["review", {"fields": "ClassBand"}]},
    "ClassBand": {"below": ["below", ""]},
    "QuantilesOptions": {"column": ["column", ""], "known_at": ["knownAt", ""], "unit": ["unit", ""], "min": ["min", ""], "max": ["max", ""], "clip": ["clip", ""]},
    "QuantitiesOptions": {"known_at": ["knownAt", ""], "unit": ["unit", ""], "min": ["min", ""], "max": ["max", ""], "clip": ["clip", ""]},
    "YesNoOptions": {"column": ["column", ""], "known_at": ["knownAt", ""], "positive": ["positive", ""], "threshold": ["threshold", ""], "review": ["review", {"fields": "ProbabilityBand"}]},
    "ProbabilityBand": {"from": ["from", ""], "to": ["to", ""]},
    "CsvOptions": {"rows": ["rows", ""], "derive": ["derive", ""], "event_time": ["eventTime", ""], "lookback": ["lookback", ""], "key": ["key", ""]},
    "PostgresOptions": {"rows": ["rows", ""], "derive": ["derive", ""], "event_time": ["eventTime", ""], "lookback": ["lookback", ""], "key": ["key", ""]},
    "ProgramOptions": {"rows": ["rows", ""], "derive": ["derive", ""], "event_time": ["eventTime", ""], "lookback": ["lookback", ""], "key": ["key", ""], "memory": ["memory", ""], "limit": ["limit", ""], "silence": ["silence", ""], "requirements": ["requirements", ""], "interpreter": ["interpreter", ""], "files": ["files", ""], "secrets": ["secrets", ""]},
    "ServedOptions": {"since": ["since", ""], "matured": ["matured", ""], "known_at": ["knownAt", ""], "max_requests": ["maxRequests", ""], "min_rows": ["minRows", ""], "derive": ["derive", ""]},
    "BetweenOptions": {"min": ["min", ""], "max": ["max", ""], "mostly": ["mostly", ""]},
    "CompleteOptions": {"mostly": ["mostly", ""]},
    "CompleteWhenCondition": {"column": ["column", ""], "is": ["is", ""]},
    "DeviationOptions": {"min": ["min", ""], "max": ["max", ""]},
    "EveryClassOptions": {"min": ["min", ""]},
    "RowsAsUsualOptions": {"min": ["min", ""], "max": ["max", ""]},
    "DirectionOptions": {"column": ["column", ""], "rows": ["rows", ""], "where": ["where", ""], "allow": ["allow", ""], "by": ["by", ""], "never": ["never", ""], "of": ["of", ""], "within": ["within", ""]},
    "ExactOptions": {"row": ["row", ""], "answer": ["answer", ""], "within": ["within", ""]},
    "InvarianceOptions": {"column": ["column", ""], "rows": ["rows", ""], "where": ["where", ""], "allow": ["allow", ""], "to": ["to", ""], "within": ["within", ""]},
    "ByTimeOptions": {"train": ["train", ""], "test": ["test", ""], "validation": ["validation", ""], "matured": ["matured", ""], "max_rows": ["maxRows", {"fields": "ByTimeOptionsMaxRows"}]},
    "ByTimeOptionsMaxRows": {"train": ["train", ""], "test": ["test", ""]},
    "RandomOptions": {"test": ["test", ""], "validation": ["validation", ""]},
    "CommandOptions": {"memory": ["memory", ""], "limit": ["limit", ""], "silence": ["silence", ""], "files": ["files", ""]},
    "PythonOptions": {"memory": ["memory", ""], "limit": ["limit", ""], "silence": ["silence", ""], "requirements": ["requirements", ""], "interpreter": ["interpreter", ""]},
    "QueueOptions": {"limit": ["limit", ""]},
    "AbOptions": {"approval": ["approval", {"fields": "ApprovalSpec"}], "watch": ["watch", {"fields": "AbOptionsWatch"}], "limits": ["limits", {"fields": "CanaryPolicy"}], "when_inconclusive": ["whenInconclusive", ""], "when_busy": ["whenBusy", ""], "hotfix": ["hotfix", {"fields": "AbOptionsHotfix"}], "qualification": ["qualification", {"fields": "QualificationLimits"}], "drill": ["drill", {"fields": "DrillSpec"}], "refit": ["refit", ""], "refit_distance": ["refitDistance", ""], "require_drill": ["requireDrill", {"fields": "AbOptionsRequireDrill"}], "business": ["business", ""], "external": ["external", ""], "soak": ["soak", ""], "requests": ["requests", ""], "deadline": ["deadline", ""], "shadow": ["shadow", ""], "probation": ["probation", {"fields": "ProbationSpec"}], "split": ["split", ""], "metric": ["metric", ""], "alpha": ["alpha", ""]},
    "ApprovalSpec": {"by": ["by", ""], "within": ["within", ""], "from": ["from", ""], "business": ["business", ""], "engineering": ["engineering", ""]},
    "AbOptionsWatch": {"tick": ["tick", ""], "every": ["every", ""], "exposure": ["exposure", ""], "acknowledge": ["acknowledge", ""], "decision": ["decision", ""]},
    "CanaryPolicy": {"error_ratio": ["errorRatio", ""], "slow_ratio": ["slowRatio", ""], "guard_rate": ["guardRate", ""], "alpha": ["alpha", {"fields": "AlphaSplit"}], "min_delta": ["minDelta", ""], "max_stale_ms": ["maxStaleMs", ""], "harm_budget": ["harmBudget", ""], "shadow_cost": ["shadowCost", ""], "restart_ms": ["restartMs", ""], "promotion": ["promotion", {"fields": "PromotionPolicy"}], "non_inferiority": ["nonInferiority", {"fields": "CanaryPolicyNonInferiority"}], "srm": ["srm", {"fields": "SrmPolicy"}], "score_shift": ["scoreShift", {"fields": "ScoreShiftPolicy"}], "disagreement": ["disagreement", {"fields": "DisagreementPolicy"}], "business": ["business", {"record": {"fields": "BusinessMetric"}}], "external": ["external", {"record": {"fields": "ExternalMetric"}}], "ramp": ["ramp", {"fields": "CanaryPolicyRamp"}]},
    "AlphaSplit": {"errors": ["errors", ""], "guard": ["guard", ""], "slow95": ["slow95", ""], "slow99": ["slow99", ""], "invalid": ["invalid", ""], "paired": ["paired", ""], "quality": ["quality", ""], "score_shift": ["scoreShift", ""], "disagreement": ["disagreement", ""], "conversion": ["conversion", ""], "business": ["business", ""], "external": ["external", ""], "reserve": ["reserve", ""]},
    "PromotionPolicy": {"ratio": ["ratio", ""], "log_e": ["logE", ""], "metrics": ["metrics", ""], "negligible_rate": ["negligibleRate", ""], "at": ["at", ""]},
    "CanaryPolicyNonInferiority": {"margin": ["margin", ""], "log_e": ["logE", ""]},
    "SrmPolicy": {"alpha": ["alpha", ""], "tolerance": ["tolerance", ""], "design_effect": ["designEffect", ""]},
    "ScoreShiftPolicy": {"tolerance": ["tolerance", ""], "min_delta": ["minDelta", ""], "action": ["action", ""], "rollback_ratio": ["rollbackRatio", ""]},
    "DisagreementPolicy": {"max": ["max", ""], "action": ["action", ""]},
    "BusinessMetric": {"event": ["event", ""], "counts": ["counts", ""], "min": ["min", ""], "max": ["max", ""], "within_ms": ["withinMs", ""], "delay_ms": ["delayMs", ""], "lower_is_better": ["lowerIsBetter", ""], "action": ["action", ""], "not_worse": ["notWorse", ""], "better": ["better", ""]},
    "ExternalMetric": {"kind": ["kind", ""], "source": ["source", ""], "query": ["query", ""], "limit": ["limit", ""], "tolerance": ["tolerance", ""], "min": ["min", ""], "max": ["max", ""], "lower_is_better": ["lowerIsBetter", ""], "every_ms": ["everyMs", ""], "delay_ms": ["delayMs", ""], "min_requests": ["minRequests", ""], "action": ["action", ""], "on_error": ["onError", ""]},
    "CanaryPolicyRamp": {"reaction_seconds": ["reactionSeconds", ""]},
    "AbOptionsHotfix": {"stages": ["stages", ""], "soak": ["soak", ""], "requests": ["requests", ""], "deadline": ["deadline", ""]},
    "QualificationLimits": {"timeout_ms": ["timeoutMs", ""], "p99_us": ["p99Us", ""], "rss_bytes": ["rssBytes", ""], "weight_bytes": ["weightBytes", ""], "p99_times": ["p99Times", ""], "cpu_times": ["cpuTimes", ""], "rss_times": ["rssTimes", ""]},
    "DrillSpec": {"every": ["every", ""], "cron": ["cron", ""], "kinds": ["kinds", ""], "traffic": ["traffic", ""], "percent": ["percent", ""], "harm_budget": ["harmBudget", ""], "within": ["within", ""]},
    "AbOptionsRequireDrill": {"within": ["within", ""]},
    "ProbationSpec": {"soak": ["soak", ""], "requests": ["requests", ""], "deadline": ["deadline", ""], "holdback": ["holdback", ""], "shadow": ["shadow", ""], "cover_labels": ["coverLabels", ""]},
    "BlueGreenOptions": {"approval": ["approval", {"fields": "ApprovalSpec"}], "watch": ["watch", {"fields": "AbOptionsWatch"}], "limits": ["limits", {"fields": "CanaryPolicy"}], "when_inconclusive": ["whenInconclusive", ""], "when_busy": ["whenBusy", ""], "hotfix": ["hotfix", {"fields": "AbOptionsHotfix"}], "qualification": ["qualification", {"fields": "QualificationLimits"}], "drill": ["drill", {"fields": "DrillSpec"}], "refit": ["refit", ""], "refit_distance": ["refitDistance", ""], "require_drill": ["requireDrill", {"fields": "AbOptionsRequireDrill"}], "business": ["business", ""], "external": ["external", ""], "soak": ["soak", ""], "requests": ["requests", ""], "deadline": ["deadline", ""], "shadow": ["shadow", ""], "probation": ["probation", {"fields": "ProbationSpec"}]},
    "CanaryOptions": {"approval": ["approval", {"fields": "ApprovalSpec"}], "watch": ["watch", {"fields": "AbOptionsWatch"}], "limits": ["limits", {"fields": "CanaryPolicy"}], "when_inconclusive": ["whenInconclusive", ""], "when_busy": ["whenBusy", ""], "hotfix": ["hotfix", {"fields": "AbOptionsHotfix"}], "qualification": ["qualification", {"fields": "QualificationLimits"}], "drill": ["drill", {"fields": "DrillSpec"}], "refit": ["refit", ""], "refit_distance": ["refitDistance", ""], "require_drill": ["requireDrill", {"fields": "AbOptionsRequireDrill"}], "first": ["first", {"fields": "FirstSpec"}], "business": ["business", ""], "external": ["external", ""], "stages": ["stages", ""], "soak": ["soak", ""], "requests": ["requests", ""], "deadline": ["deadline", ""], "shadow": ["shadow", ""], "probation": ["probation", {"fields": "ProbationSpec"}]},
    "FirstSpec": {"header": ["header", ""], "attribute": ["attribute", ""], "allow_list": ["allowList", ""], "soak": ["soak", ""], "requests": ["requests", ""], "deadline": ["deadline", ""]},
    "DirectOptions": {"approval": ["approval", {"fields": "ApprovalSpec"}], "watch": ["watch", {"fields": "AbOptionsWatch"}], "limits": ["limits", {"fields": "CanaryPolicy"}], "when_inconclusive": ["whenInconclusive", ""], "when_busy": ["whenBusy", ""], "hotfix": ["hotfix", {"fields": "AbOptionsHotfix"}], "qualification": ["qualification", {"fields": "QualificationLimits"}], "drill": ["drill", {"fields": "DrillSpec"}], "refit": ["refit", ""], "refit_distance": ["refitDistance", ""], "require_drill": ["requireDrill", {"fields": "AbOptionsRequireDrill"}]},
    "PercentOptions": {"soak": ["soak", ""], "requests": ["requests", ""], "deadline": ["deadline", ""]},
    "RollingOptions": {"approval": ["approval", {"fields": "ApprovalSpec"}], "watch": ["watch", {"fields": "AbOptionsWatch"}], "limits": ["limits", {"fields": "CanaryPolicy"}], "when_inconclusive": ["whenInconclusive", ""], "when_busy": ["whenBusy", ""], "hotfix": ["hotfix", {"fields": "AbOptionsHotfix"}], "qualification": ["qualification", {"fields": "QualificationLimits"}], "drill": ["drill", {"fields": "DrillSpec"}], "refit": ["refit", ""], "refit_distance": ["refitDistance", ""], "require_drill": ["requireDrill", {"fields": "AbOptionsRequireDrill"}], "business": ["business", ""], "external": ["external", ""], "stages": ["stages", ""], "soak": ["soak", ""], "requests": ["requests", ""], "deadline": ["deadline", ""], "shadow": ["shadow", ""], "probation": ["probation", {"fields": "ProbationSpec"}]},
    "ShadowOptions": {"approval": ["approval", {"fields": "ApprovalSpec"}], "watch": ["watch", {"fields": "AbOptionsWatch"}], "limits": ["limits", {"fields": "CanaryPolicy"}], "when_inconclusive": ["whenInconclusive", ""], "when_busy": ["whenBusy", ""], "hotfix": ["hotfix", {"fields": "AbOptionsHotfix"}], "qualification": ["qualification", {"fields": "QualificationLimits"}], "drill": ["drill", {"fields": "DrillSpec"}], "refit": ["refit", ""], "refit_distance": ["refitDistance", ""], "require_drill": ["requireDrill", {"fields": "AbOptionsRequireDrill"}], "business": ["business", ""], "external": ["external", ""], "soak": ["soak", ""], "requests": ["requests", ""], "deadline": ["deadline", ""], "probation": ["probation", {"fields": "ProbationSpec"}], "shadow": ["shadow", ""], "when_passed": ["whenPassed", ""]},
    "HaproxyOptions": {"address": ["address", ""], "backend": ["backend", ""]},
    "HttpRouteOptions": {"namespace": ["namespace", ""], "name": ["name", ""], "metrics": ["metrics", {"fields": "CounterOptions"}], "server": ["server", ""], "rule": ["rule", ""]},
    "CounterOptions": {"source": ["source", ""], "requests": ["requests", ""], "status": ["status", ""], "settle": ["settle", ""]},
    "KserveOptions": {"namespace": ["namespace", ""], "name": ["name", ""], "metrics": ["metrics", {"fields": "CounterOptions"}], "server": ["server", ""]},
    "SagemakerOptions": {"region": ["region", ""], "endpoint": ["endpoint", ""], "secret": ["secret", ""], "addresses": ["addresses", {"fields": "SagemakerOptionsAddresses"}]},
    "SagemakerOptionsAddresses": {"sagemaker": ["sagemaker", ""], "cloudwatch": ["cloudwatch", ""]},
    "EventOptions": {"counts": ["counts", ""], "min": ["min", ""], "max": ["max", ""], "within": ["within", ""], "delay": ["delay", ""], "lower_is_better": ["lowerIsBetter", ""], "action": ["action", ""], "not_worse": ["notWorse", ""], "better": ["better", ""]},
    "PromqlOptions": {"max": ["max", ""], "min": ["min", ""], "limit": ["limit", ""], "tolerance": ["tolerance", ""], "lower_is_better": ["lowerIsBetter", ""], "every": ["every", ""], "delay": ["delay", ""], "min_requests": ["minRequests", ""], "action": ["action", ""], "on_error": ["onError", ""]},
    "LookupOptions": {"by": ["by", ""], "otherwise": ["otherwise", ""], "fresh": ["fresh", ""], "within": ["within", ""]},
    "DailyOptions": {"from": ["from", ""], "after": ["after", ""], "ready": ["ready", ""]},
    "CompressOptions": {"epsilon": ["epsilon", ""], "times": ["times", ""], "trees": ["trees", ""]},
    "CronOptions": {"catch_up": ["catchUp", ""]},
    "AfterWorkflowOptions": {"name": ["name", ""], "every": ["every", ""], "type": ["type", ""], "id": ["id", ""], "namespace": ["namespace", ""]},
    "OnWebhookOptions": {"name": ["name", ""], "parameters": ["parameters", ""]},
    "WhenFileOptions": {"name": ["name", ""], "every": ["every", ""]},
    "WhenWatermarkOptions": {"name": ["name", ""], "every": ["every", ""], "table": ["table", ""], "column": ["column", ""], "source": ["source", ""]},
    "ViewOptions": {"about": ["about", ""], "entity": ["entity", ""], "source": ["source", ""], "known_at": ["knownAt", ""], "values": ["values", ""], "time_to_live": ["timeToLive", ""], "every": ["every", ""], "late": ["late", ""], "keep": ["keep", ""]},
}


@defines
def define_model(
    *,
    name: str,
    about: Optional[str] = None,
    owner: Optional[str] = None,
    risk: Optional[Literal["high"]] = None,
    features: Mapping[str, Feature],
    prepare: Optional[Union[PrepareSpec, Callable[[Any], Any]]] = None,
    label: LabelDefinition,
    source: SourceSpec,
    expect: Optional[Sequence[ExpectSpec]] = None,
    split: SplitSpec,
    floods: Optional[Literal["thin", "leave_out", "warn"]] = None,
    weights: Optional[WeightsSpec] = None,
    hyperparameters: Optional[Mapping[str, Union[float, str, bool]]] = None,
    seed: Optional[float] = None,
    train: Optional[Union[Callable[..., Any], TrainerSpec]] = None,
    serve: Optional[TrainerSpec] = None,
    evaluation: EvaluationSpec,
    tests: Optional[Sequence[BehaviourSpec]] = None,
    release: ReleaseSpec,
    retrain: Optional[Union[RetrainSpec, TriggerSpec, Sequence[Union[RetrainSpec, TriggerSpec, ModelFileRetrain]], ModelFileRetrain]] = None,
    batches: Optional[Mapping[str, ScheduledBatchSpec]] = None,
    subject: Optional[str] = None,
    monitor: Optional[MonitorSpec] = None,
    fallback: Optional[FallbackSpec] = None,
    traffic: Optional[TrafficSpec] = None,
    golden: Optional[Sequence[Mapping[str, Any]]] = None,
) -> None:
    r"""Defines a model. Throws ``invalid_model_file`` with all issues in ``context.issues``; each begins with its place.

    name: The name of the file, without its extension.
    about: A description for readers; shown in lists.
    owner: The person or team responsible for the model; named in requests for approval and on its pages.
    risk: The risk class: ``high`` requires two approvers, stages before 100 %, a probation, and a drill within five weeks. These become the defaults of approvals and drills.
    features: The features that the model takes: names with ``number(…)`` and ``category(…)``. A request sends those that ``prepare`` does not compute.
    prepare: Features that are computed from the fields of a row, in training, batches and requests alike: ``{ fields: { charges: number(), months: number() }, columns: { ratio: 'charges / nullif(months, 0)' } }``. A model file in Python may give a function of a data frame.
    label: The label to predict: ``yes_no(…)``, ``one_of(…)``, ``quantity(…)``, ``quantities(…)`` or ``quantiles(…)``.
    source: The source of the rows: ``csv(…)``, ``parquet(…)``, ``postgres(…)`` or ``served(…)``.
    expect: The expectations that the rows must meet before a training.
    split: The split into training and test rows: ``by_time(…)``, ``random(…)`` or ``stratified(…)``.
    floods: What to do with the rows of a value that floods some periods, such as an attack: ``'thin'`` them to the usual share, ``'leave_out'`` all of them, or ``'warn'`` and train on all. Default: ``'thin'``.
    weights: The weights of training rows: ``{ column: 'weight' }``, ``{ classes: 'balanced' }`` or both. The gate weighs every row equally.
    hyperparameters: Numbers, texts and booleans for ``train``; stored with every version.
    seed: The seed of every random choice. Default: 1.
    train: Builds and fits the network; its output is a softmax for classes and a sigmoid for a probability. Or the training program: ``python('train.py')``, ``command([…])`` or ``queue('gpu')``. Without it, users bring versions: ``tenure versions register``.
    serve: The file whose code answers: ``python('serve.py')``, with a class or functions ``load(folder)`` and ``predict(frame)``. ``job.save('folder')`` of ``train`` stores both. Default: the saved model answers by itself.
    evaluation: The requirements of the gate.
    tests: Predictions that every version must make: ``exact(…)``, ``invariance(…)`` and ``direction(…)``. A failing test refuses a challenger.
    release: The release strategy of a version that has passed the gate: ``canary(…)`` or another one.
    retrain: The schedule of retrainings, or a list with a schedule, triggers and what follows a promotion. Default: none.
    batches: Batch predictions for each day or each firing of a trigger, by name: ``{ daily: { rows: parquet('in/{date}.parquet'), partition: daily(from_='2026-11-01') } }``.
    subject: The source column that identifies the person of a row, such as a customer number, for erasures. It must not be a number among the features.
    monitor: The monitoring policy. Default: the default limits.
    fallback: The fallback that serves while the kill switch is ``fallback``: ``always('setosa')`` or ``previous_champion()``.
    traffic: The gateway that passes the requests, where callers do not ask this system: ``haproxy(address='10.0.0.5:9999', backend='roses')``. Default: callers ask the replicas.
    golden: Rows whose predictions every predictor must reproduce. Default: rows chosen from the training rows.
    """
    raise AssertionError


@word
def category(
    values: Optional[Sequence[str]] = None,
    *,
    column: Optional[str] = None,
    about: Optional[str] = None,
    missing: Optional[Literal["fill"]] = None,
) -> Feature:
    r"""Defines a text feature with given values: ``category(['red', 'green'])``. Without values, any text is accepted.

    column: The name of its column in files, where that is another: ``'Total Charges ($)'``. Read so from the one file of a source without ``rows``, and from the files of batches.
    about: A description for readers.
    missing: Whether null may be sent. It is encoded as "other".
    """
    raise AssertionError


@word
def image(
    *,
    column: Optional[str] = None,
    about: Optional[str] = None,
    log: Optional[Literal["value", "digest"]] = None,
    max_bytes: Optional[float] = None,
    missing: Optional[Literal["fill"]] = None,
) -> Feature:
    r"""Defines a feature of an image, as base64 of PNG, JPEG, GIF or WebP: ``image(max_bytes=200_000)``. Taken by objects of Python and endpoints, and as PNG by ONNX graphs.

    column: The name of its column in files, where that is another: ``'Total Charges ($)'``. Read so from the one file of a source without ``rows``, and from the files of batches.
    about: A description for readers.
    log: What the prediction log keeps. ``'digest'``: the SHA-256 of the value and the parts in which it drifts, never the value, so that no check can repeat the request. Default: ``'value'``.
    max_bytes: The most bytes of an image, as a file; a larger one is refused. Default: 1,000,000.
    missing: Whether null may be sent. The model gets it as None, or as many NaN where it is a graph.
    """
    raise AssertionError


@word
def number(
    *,
    column: Optional[str] = None,
    about: Optional[str] = None,
    unit: Optional[str] = None,
    min: Optional[float] = None,
    max: Optional[float] = None,
    missing: Optional[Literal["fill"]] = None,
    outside: Optional[Literal["missing"]] = None,
) -> Feature:
    r"""Defines a numeric feature with its expected range: ``number(unit='cm', min=3, max=9)``.

    column: The name of its column in files, where that is another: ``'Total Charges ($)'``. Read so from the one file of a source without ``rows``, and from the files of batches.
    about: A description for readers.
    unit: The unit; displayed, never converted.
    min: The lower end of the expected range. Values outside are served and counted; a batch in which more than 10 % of the values are outside is blocked.
    max: The upper end of the expected range.
    missing: Whether null may be sent. A network of Tenure gets the value fitted in training instead; another model gets the missing value itself.
    outside: ``'missing'``: a value outside ``min`` to ``max`` is imputed like a missing value, in training and serving. A sender that changes its unit then costs this feature, not the prediction. The value is logged and counted as it was sent.
    """
    raise AssertionError


@word
def text(
    *,
    column: Optional[str] = None,
    about: Optional[str] = None,
    log: Optional[Literal["value", "digest"]] = None,
    max_length: Optional[float] = None,
    missing: Optional[Literal["fill"]] = None,
) -> Feature:
    r"""Defines a feature of free text: ``text(max_length=2_000)``. Taken by objects of Python, endpoints, and graphs with an input of texts.

    column: The name of its column in files, where that is another: ``'Total Charges ($)'``. Read so from the one file of a source without ``rows``, and from the files of batches.
    about: A description for readers.
    log: What the prediction log keeps. ``'digest'``: the SHA-256 of the value and the parts in which it drifts, never the value, so that no check can repeat the request. Default: ``'value'``.
    max_length: The most characters of a value, in UTF-16 units; a longer one is refused. Default: 10,000.
    missing: Whether null may be sent. The model gets it as None, or as an empty text where it is a graph.
    """
    raise AssertionError


@word
def vector(
    length: float,
    *,
    column: Optional[str] = None,
    about: Optional[str] = None,
    log: Optional[Literal["value", "digest"]] = None,
    missing: Optional[Literal["fill"]] = None,
) -> Feature:
    r"""Defines a feature of several numbers, such as an embedding or pixels: ``vector(384)``. Taken by objects of Python, endpoints, graphs and trees.

    column: The name of its column in files, where that is another: ``'Total Charges ($)'``. Read so from the one file of a source without ``rows``, and from the files of batches.
    about: A description for readers.
    log: What the prediction log keeps. ``'digest'``: the SHA-256 of the value and the parts in which it drifts, never the value, so that no check can repeat the request. Default: ``'value'``.
    missing: Whether null may be sent. The model gets it as None, or as many NaN where it is a graph or trees.
    """
    raise AssertionError


@word
def always(
    answer: Union[str, float],
    *,
    automatic: Optional[bool] = None,
) -> FallbackSpec:
    r"""Defines a constant response: a class by its name, a probability, or a number.

    automatic: Whether the fallback serves automatically while the champion is broken. Default: false, only by kill switch.
    """
    raise AssertionError


@word
def previous_champion(
    *,
    automatic: Optional[bool] = None,
    otherwise: Optional[Union[str, float]] = None,
) -> FallbackSpec:
    r"""Serves the last earlier champion that passed its probation and was never rolled back. ``otherwise`` is the constant response if the model has no such version.

    automatic: Whether the fallback serves automatically while the champion is broken. Default: false, only by kill switch.
    """
    raise AssertionError


@word
def one_of(
    classes: Sequence[str],
    *,
    column: Optional[str] = None,
    known_at: Optional[str] = None,
    review: Optional[ClassBand] = None,
) -> LabelDefinition:
    r"""Defines a label with several classes: ``one_of(['setosa', 'versicolor', 'virginica'])``.

    column: The column of the source. Default: ``label``.
    known_at: The column with the time at which the label became known. Rows known later than ``as_of`` are omitted. Where one class becomes known later than the other, also set ``matured`` of the split.
    review: Predictions whose largest probability is below this are marked for human review: ``{ below: 0.6 }``.
    """
    raise AssertionError


@word
def quantiles(
    levels: Sequence[float],
    *,
    column: Optional[str] = None,
    known_at: Optional[str] = None,
    unit: Optional[str] = None,
    min: Optional[float] = None,
    max: Optional[float] = None,
    clip: Optional[bool] = None,
) -> LabelDefinition:
    r"""Defines a label predicted by quantiles of a number, for an interval around the value: ``quantiles([0.1, 0.5, 0.9], unit='min')``, with 2 to 99 rising levels between 0 and 1. The model returns one output per level; crossing quantiles are sorted.

    column: The column of the source. Default: ``label``.
    known_at: The column with the time at which the label became known. Rows known later than ``as_of`` are omitted. Where one class becomes known later than the other, also set ``matured`` of the split.
    unit: The unit; displayed, never converted.
    min: The least value. The gate refuses a version that answers below it.
    max: The largest value. The gate refuses a version that answers above it.
    clip: Whether an answer outside of ``min`` and ``max`` becomes the nearest limit instead, in training, gate and predictions alike. Default: false.
    """
    raise AssertionError


@word
def quantities(
    columns: Sequence[str],
    *,
    known_at: Optional[str] = None,
    unit: Optional[str] = None,
    min: Optional[float] = None,
    max: Optional[float] = None,
    clip: Optional[bool] = None,
) -> LabelDefinition:
    r"""Defines a label of several numbers per row: ``quantities(['departure_delay', 'arrival_delay'], unit='min')`` names their 2 to 100 columns. The model returns one output per number, in this order; predictions and outcomes name them.

    known_at: The column with the time at which the label became known. Rows known later than ``as_of`` are omitted. Where one class becomes known later than the other, also set ``matured`` of the split.
    unit: The unit; displayed, never converted.
    min: The least value. The gate refuses a version that answers below it.
    max: The largest value. The gate refuses a version that answers above it.
    clip: Whether an answer outside of ``min`` and ``max`` becomes the nearest limit instead, in training, gate and predictions alike. Default: false.
    """
    raise AssertionError


@word
def quantity(
    *,
    column: Optional[str] = None,
    known_at: Optional[str] = None,
    unit: Optional[str] = None,
    min: Optional[float] = None,
    max: Optional[float] = None,
    clip: Optional[bool] = None,
) -> LabelDefinition:
    r"""Defines a label that is a number: ``quantity(unit='min', min=0)``.

    column: The column of the source. Default: ``label``.
    known_at: The column with the time at which the label became known. Rows known later than ``as_of`` are omitted. Where one class becomes known later than the other, also set ``matured`` of the split.
    unit: The unit; displayed, never converted.
    min: The least value. The gate refuses a version that answers below it.
    max: The largest value. The gate refuses a version that answers above it.
    clip: Whether an answer outside of ``min`` and ``max`` becomes the nearest limit instead, in training, gate and predictions alike. Default: false.
    """
    raise AssertionError


@word
def yes_no(
    *,
    column: Optional[str] = None,
    known_at: Optional[str] = None,
    positive: str,
    threshold: Optional[float] = None,
    review: Optional[ProbabilityBand] = None,
) -> LabelDefinition:
    r"""Defines a label that is true or false: the model predicts the probability of true.

    column: The column of the source. Default: ``label``.
    known_at: The column with the time at which the label became known. Rows known later than ``as_of`` are omitted. Where one class becomes known later than the other, also set ``matured`` of the split.
    positive: The name of true in predictions.
    threshold: The probability from which a prediction is positive, between 0 and 1. Default: 0.5.
    review: Predictions from one probability to the other are marked for human review: ``{ from: 0.4, to: 0.6 }``.
    """
    raise AssertionError


@word
def csv(
    files: Union[str, Mapping[str, str]],
    *,
    rows: Optional[str] = None,
    derive: Optional[str] = None,
    event_time: Optional[str] = None,
    lookback: Optional[str] = None,
    key: Optional[Sequence[str]] = None,
) -> SourceSpec:
    r"""Reads rows from CSV files: ``csv('models/data/iris.csv')``, ``csv('s3://bucket/iris.csv')`` or ``csv('https://example.com/iris.csv')``.

    rows: A query that returns one row per event; with one file, over the view ``source``. Default: all rows of the file.
    derive: DuckDB SQL over ``known``, the rows known at ``as_of``, that adds features derived from other rows.
    event_time: The column with the time of the event (UTC).
    lookback: How much history ``derive`` needs before the first row of the split.
    key: The columns that identify a row. Default: all columns but those of the label. Name them where rows repeat: a split by hash keeps rows that are equal on one side, so few different rows make the metrics those of few cases; the gate says when most repeat.
    """
    raise AssertionError


@word
def parquet(
    files: Union[str, Mapping[str, str]],
    *,
    rows: Optional[str] = None,
    derive: Optional[str] = None,
    event_time: Optional[str] = None,
    lookback: Optional[str] = None,
    key: Optional[Sequence[str]] = None,
) -> SourceSpec:
    r"""Reads rows from Parquet files, of the project or at an address as for ``csv``.

    rows: A query that returns one row per event; with one file, over the view ``source``. Default: all rows of the file.
    derive: DuckDB SQL over ``known``, the rows known at ``as_of``, that adds features derived from other rows.
    event_time: The column with the time of the event (UTC).
    lookback: How much history ``derive`` needs before the first row of the split.
    key: The columns that identify a row. Default: all columns but those of the label. Name them where rows repeat: a split by hash keeps rows that are equal on one side, so few different rows make the metrics those of few cases; the gate says when most repeat.
    """
    raise AssertionError


@word
def postgres(
    database: Optional[str] = None,
    *,
    rows: str,
    derive: Optional[str] = None,
    event_time: Optional[str] = None,
    lookback: Optional[str] = None,
    key: Optional[Sequence[str]] = None,
) -> SourceSpec:
    r"""Runs a query on Tenure's own Postgres as ``tenure_reader``, to which tables are granted: ``postgres(rows='select * from shop.orders')``. ``postgres('warehouse', rows=…)`` reads another Postgres.

    derive: DuckDB SQL over ``known``, the rows known at ``as_of``, that adds features derived from other rows.
    event_time: The column with the time of the event (UTC).
    lookback: How much history ``derive`` needs before the first row of the split.
    key: The columns that identify a row. Default: all columns but those of the label. Name them where rows repeat: a split by hash keeps rows that are equal on one side, so few different rows make the metrics those of few cases; the gate says when most repeat.
    """
    raise AssertionError


@word
def program(
    run: Union[str, Sequence[str]],
    *,
    rows: Optional[str] = None,
    derive: Optional[str] = None,
    event_time: Optional[str] = None,
    lookback: Optional[str] = None,
    key: Optional[Sequence[str]] = None,
    memory: Optional[str] = None,
    limit: Optional[str] = None,
    silence: Optional[str] = None,
    requirements: Optional[str] = None,
    interpreter: Optional[str] = None,
    files: Optional[Sequence[str]] = None,
    secrets: Optional[Sequence[str]] = None,
) -> SourceSpec:
    r"""Reads the Parquet files that a program writes: ``program('extract.py', requirements='requirements.txt')`` for a Python script, or ``program(['Rscript', 'extract.R'])``. The program gets the moment of the snapshot and writes the rows known then, so that the client of any warehouse can read them.

    rows: A query that returns one row per event; with one file, over the view ``source``. Default: all rows of the file.
    derive: DuckDB SQL over ``known``, the rows known at ``as_of``, that adds features derived from other rows.
    event_time: The column with the time of the event (UTC).
    lookback: How much history ``derive`` needs before the first row of the split.
    key: The columns that identify a row. Default: all columns but those of the label. Name them where rows repeat: a split by hash keeps rows that are equal on one side, so few different rows make the metrics those of few cases; the gate says when most repeat.
    memory: Memory limit of each process of the program: ``'8 GB'``. Default: TENURE_TRAINING_MEMORY_MB.
    limit: Time limit of an attempt; a longer one fails the training. Default: 24 hours.
    silence: Time without output after which an attempt is ended and retried. Default: 30 minutes.
    requirements: The packages of the script, as a pip requirements file beside it. Without it, the script runs with those of the interpreter.
    interpreter: The Python of the script: a command on the PATH of the training worker, such as ``python3.12``, or an absolute path. Default: ``python3``.
    files: Files and folders of the program that no argument names: ``['trainer']``; ``[]`` for an installed program. A change of them makes other code of the model. Required when no argument is a file or folder.
    secrets: The variables of the worker's environment that the program gets: ``['WAREHOUSE_PASSWORD']``. It gets no others.
    """
    raise AssertionError


@word
def served(
    *,
    since: Optional[str] = None,
    matured: Optional[str] = None,
    known_at: Optional[Literal["arrived", "observed"]] = None,
    max_requests: Optional[float] = None,
    min_rows: Optional[float] = None,
    derive: Optional[str] = None,
) -> SourceSpec:
    r"""Reads the served requests of this model with their outcomes: ``served(since='90 d')``, with ``label: yes_no(column='outcome', …)``.

    since: The maximum age of requests. Default: the whole prediction log.
    matured: The minimum age of a request: younger requests have only early outcomes, which are a biased sample. Default: the learnt age by which 95 % of outcomes have arrived.
    known_at: When an outcome counts as known: when it ``'arrived'`` here, or when it was ``'observed'`` according to its sender, for outcomes loaded long afterwards. Default: ``'arrived'``.
    max_requests: The maximum number of requests, chosen by a hash of their ids. Default: 1,000,000.
    min_rows: The minimum number of rows with an outcome for a retraining. Default: 100.
    derive: DuckDB SQL over ``known``, the rows with their outcomes, that computes the label or adds columns.
    """
    raise AssertionError


@word
def between(
    column: str,
    *,
    min: Optional[float] = None,
    max: Optional[float] = None,
    mostly: Optional[float] = None,
) -> ExpectSpec:
    r"""Requires that every number lies within these limits.

    mostly: The share of rows that must comply. Default: 1.
    """
    raise AssertionError


@word
def complete(
    columns: Union[Literal["all"], Sequence[str]],
    *,
    mostly: Optional[float] = None,
) -> ExpectSpec:
    r"""Requires that no value is missing in these columns; ``'all'`` means the label and all features that are not imputed.

    mostly: The share of rows that must comply. Default: 1.
    """
    raise AssertionError


@word
def complete_when(
    column: str,
    condition: CompleteWhenCondition,
    *,
    mostly: Optional[float] = None,
) -> ExpectSpec:
    r"""Requires a value in this column wherever another column has this value.

    mostly: The share of rows that must comply. Default: 1.
    """
    raise AssertionError


@word
def deviation(
    column: str,
    *,
    min: Optional[float] = None,
    max: Optional[float] = None,
) -> ExpectSpec:
    r"""Requires that the standard deviation of a column lies within these limits."""
    raise AssertionError


@word
def distinct(
    column: str,
    *,
    min: Optional[float] = None,
    max: Optional[float] = None,
) -> ExpectSpec:
    r"""Requires that the number of distinct values of a column lies within these limits."""
    raise AssertionError


@word
def every_class(
    *,
    min: float,
) -> ExpectSpec:
    r"""Requires at least this many rows of every class of the label."""
    raise AssertionError


@word
def finite(
    columns: Sequence[str],
    *,
    mostly: Optional[float] = None,
) -> ExpectSpec:
    r"""Requires that every number is finite.

    mostly: The share of rows that must comply. Default: 1.
    """
    raise AssertionError


@word
def fresh(
    within: str,
) -> ExpectSpec:
    r"""Requires that the newest event is at most this old at ``as_of``."""
    raise AssertionError


@word
def in_set(
    column: str,
    values: Sequence[Union[str, float]],
    *,
    mostly: Optional[float] = None,
) -> ExpectSpec:
    r"""Requires that every value is one of these.

    mostly: The share of rows that must comply. Default: 1.
    """
    raise AssertionError


@word
def label_after_event(
    *,
    mostly: Optional[float] = None,
) -> ExpectSpec:
    r"""Requires that no label was known before its event, which would leak the future.

    mostly: The share of rows that must comply. Default: 1.
    """
    raise AssertionError


@word
def matches(
    column: str,
    pattern: Union[str, Pattern[str]],
    *,
    mostly: Optional[float] = None,
) -> ExpectSpec:
    r"""Requires that every text matches the pattern.

    mostly: The share of rows that must comply. Default: 1.
    """
    raise AssertionError


@word
def mean(
    column: str,
    *,
    min: Optional[float] = None,
    max: Optional[float] = None,
) -> ExpectSpec:
    r"""Requires that the mean of a column lies within these limits."""
    raise AssertionError


@word
def ordered(
    low: str,
    high: str,
    *,
    mostly: Optional[float] = None,
) -> ExpectSpec:
    r"""Requires that one column is never above another.

    mostly: The share of rows that must comply. Default: 1.
    """
    raise AssertionError


@word
def positive_rate(
    *,
    min: Optional[float] = None,
    max: Optional[float] = None,
) -> ExpectSpec:
    r"""Requires that the share of rows whose label is true lies within these limits."""
    raise AssertionError


@word
def quantile(
    column: str,
    q: float,
    *,
    min: Optional[float] = None,
    max: Optional[float] = None,
) -> ExpectSpec:
    r"""Requires that a quantile of a column lies within these limits: ``quantile('price', 0.95, max=1000)``."""
    raise AssertionError


@word
def row_count(
    *,
    min: Optional[float] = None,
    max: Optional[float] = None,
) -> ExpectSpec:
    r"""Requires that the number of rows lies within these limits."""
    raise AssertionError


@word
def rows_as_usual(
    *,
    min: float,
    max: float,
) -> ExpectSpec:
    r"""Requires about as many rows as in the last runs: ``rows_as_usual(min=0.5, max=2)``, as ratios to their median."""
    raise AssertionError


@word
def text_length(
    column: str,
    *,
    min: Optional[float] = None,
    max: Optional[float] = None,
    mostly: Optional[float] = None,
) -> ExpectSpec:
    r"""Requires that every text has a length within these limits.

    mostly: The share of rows that must comply. Default: 1.
    """
    raise AssertionError


@word
def unique(
    columns: Optional[Sequence[str]] = None,
    *,
    mostly: Optional[float] = None,
) -> ExpectSpec:
    r"""Requires that no two rows have the same values in these columns. Default: the key of the source; without one, all columns but those of the label.

    mostly: The share of rows that must comply. Default: 1.
    """
    raise AssertionError


@word
def warn(
    spec: ExpectSpec,
) -> ExpectSpec:
    r"""Reports a failure without stopping the retraining."""
    raise AssertionError


@word
def direction(
    name: str,
    *,
    column: str,
    rows: Optional[float] = None,
    where: Optional[str] = None,
    allow: Optional[float] = None,
    by: Union[float, Sequence[float]],
    never: Literal["lower", "higher"],
    of: Optional[str] = None,
    within: Optional[float] = None,
) -> BehaviourSpec:
    r"""Requires that raising a number does not lower the score: ``direction('more debt', column='debt', by=[100, 1000], never='lower')``.

    column: The feature to change.
    rows: The maximum number of test rows, drawn with a fixed seed. Default: 1,000.
    where: The rows to test, as DuckDB SQL over the columns of a snapshot: ``"hour >= '17'"``. Default: all rows.
    allow: The share of rows that may fail, in percent. Default: 0.
    by: How much to add to the number, up to the ``max`` of its feature. Each value of a list is added separately.
    never: The direction in which the score must not move: ``'lower'`` or ``'higher'``.
    of: For ``one_of`` labels, the class whose probability is tested; for ``quantities``, the number that is tested.
    within: How far the score may still move in that direction. Default: 0.
    """
    raise AssertionError


@word
def exact(
    name: str,
    *,
    row: Mapping[str, Any],
    answer: Union[str, float, bool, Sequence[float]],
    within: Optional[float] = None,
) -> BehaviourSpec:
    r"""Requires this prediction for one row: ``exact('a small flower', { row: { petal_length: 1.4, … }, answer: 'setosa' })``.

    row: The row, with every feature.
    answer: The required prediction: a class; ``True``, ``False`` or the name of true; a probability or a number; a list of quantiles.
    within: Tolerance of a number. Default: 0.
    """
    raise AssertionError


@word
def invariance(
    name: str,
    *,
    column: str,
    rows: Optional[float] = None,
    where: Optional[str] = None,
    allow: Optional[float] = None,
    to: Optional[Sequence[Any]] = None,
    within: Optional[float] = None,
) -> BehaviourSpec:
    r"""Requires that changing a column does not change the prediction: ``invariance('the region', column='region', within=0.02)``.

    column: The feature to change.
    rows: The maximum number of test rows, drawn with a fixed seed. Default: 1,000.
    where: The rows to test, as DuckDB SQL over the columns of a snapshot: ``"hour >= '17'"``. Default: all rows.
    allow: The share of rows that may fail, in percent. Default: 0.
    to: The values to set the column to. Default: the declared values of a category.
    within: How far the score may move. Default: the decision must stay. Required for a numeric label.
    """
    raise AssertionError


@word
def by_time(
    *,
    train: str,
    test: str,
    validation: Optional[str] = None,
    matured: Optional[str] = None,
    max_rows: Optional[ByTimeOptionsMaxRows] = None,
) -> SplitSpec:
    r"""Tests on the latest known rows and trains on the rows before them. Without ``matured``, a training row is one whose label was known when the test period began. With it, one whose label is known now: the rows of both periods are at least that old.

    train: The period of the training rows. It contains its end, where the test period begins, and not its start. Its rows begin ``train`` + ``test`` + ``matured`` before the snapshot, and later where the source does.
    test: The latest period: the test rows. It contains its end and not its start.
    validation: The last part of the training period: the validation rows, by which ``fit`` stops early and a sweep selects.
    matured: The minimum age of an event at the snapshot: younger events have only early labels, which are a biased sample. The test period ends so much earlier. It adds to the ``known_at`` of a row and does not replace it.
    max_rows: The maximum number of rows of each part, sampled by a hash of the row.
    """
    raise AssertionError


@word
def random(
    *,
    test: float,
    validation: Optional[float] = None,
) -> SplitSpec:
    r"""Selects a share of the rows by a hash of the row. A row stays on its side as rows are added.

    test: The share of the test rows, between 0 and 1.
    validation: The share of the validation rows, by which ``fit`` stops early and a sweep selects. The test rows stay the same.
    """
    raise AssertionError


@word
def stratified(
    *,
    test: float,
    validation: Optional[float] = None,
) -> SplitSpec:
    r"""Selects the same share of each class by a hash of the row.

    test: The share of the test rows, between 0 and 1.
    validation: The share of the validation rows, by which ``fit`` stops early and a sweep selects. The test rows stay the same.
    """
    raise AssertionError


@word
def command(
    argv: Sequence[str],
    *,
    memory: Optional[str] = None,
    limit: Optional[str] = None,
    silence: Optional[str] = None,
    files: Optional[Sequence[str]] = None,
) -> TrainerSpec:
    r"""Trains with any other program, run in the folder of the model file: ``command(['Rscript', 'train.R'])``.

    memory: Memory limit of each process of the program: ``'8 GB'``. Default: TENURE_TRAINING_MEMORY_MB.
    limit: Time limit of an attempt; a longer one fails the training. Default: 24 hours.
    silence: Time without output after which an attempt is ended and retried. Default: 30 minutes.
    files: Files and folders of the program that no argument names: ``['trainer']``; ``[]`` for an installed program. A change of them makes other code of the model. Required when no argument is a file or folder.
    """
    raise AssertionError


@word
def python(
    file: Union[str, Callable[[Job], Any]],
    *,
    memory: Optional[str] = None,
    limit: Optional[str] = None,
    silence: Optional[str] = None,
    requirements: Optional[str] = None,
    interpreter: Optional[str] = None,
) -> TrainerSpec:
    r"""Trains with a Python script in the folder of the model file: ``python('train.py', requirements='requirements.txt')``.

    memory: Memory limit of each process of the program: ``'8 GB'``. Default: TENURE_TRAINING_MEMORY_MB.
    limit: Time limit of an attempt; a longer one fails the training. Default: 24 hours.
    silence: Time without output after which an attempt is ended and retried. Default: 30 minutes.
    requirements: The packages of the script, as a pip requirements file beside it. Without it, the script runs with those of the interpreter.
    interpreter: The Python of the script: a command on the PATH of the training worker, such as ``python3.12``, or an absolute path. Default: ``python3``.
    """
    raise AssertionError


@word
def queue(
    name: str,
    *,
    limit: Optional[str] = None,
) -> TrainerSpec:
    r"""Trains on your own workers, which run the activity ``train`` on this Temporal task queue: ``queue('gpu')``.

    limit: Time limit of an attempt; a longer one fails the training. Default: 24 hours.
    """
    raise AssertionError


@word
def ab(
    *,
    approval: Optional[ApprovalSpec] = None,
    watch: Optional[AbOptionsWatch] = None,
    limits: Optional[CanaryPolicy] = None,
    when_inconclusive: Optional[Literal["ask", "end"]] = None,
    when_busy: Optional[Literal["queue", "supersede", "refuse"]] = None,
    hotfix: Optional[AbOptionsHotfix] = None,
    qualification: Optional[QualificationLimits] = None,
    drill: Optional[Union[Literal["off"], DrillSpec]] = None,
    refit: Optional[Literal["matured", "off"]] = None,
    refit_distance: Optional[float] = None,
    require_drill: Optional[AbOptionsRequireDrill] = None,
    business: Optional[Mapping[str, EventSpec]] = None,
    external: Optional[Mapping[str, ExternalSpec]] = None,
    soak: Optional[str] = None,
    requests: Optional[float] = None,
    deadline: Optional[str] = None,
    shadow: Optional[Union[Literal["off"], StageSpec]] = None,
    probation: Optional[Union[Literal["off"], ProbationSpec]] = None,
    split: StageSpec,
    metric: str,
    alpha: Optional[float] = None,
) -> ReleaseSpec:
    r"""Keeps a fixed split until the sequential test on one metric decides, or its horizon is reached.

    approval: The approvals. Default: one within seven days.
    watch: Intervals and timeouts of the observation.
    limits: The limits of the canary judge. Unset fields keep their defaults.
    when_inconclusive: The result of an inconclusive stage at its deadline.
    when_busy: The behaviour while another release of the model is open.
    hotfix: The shorter stages of a release that is marked as a hotfix.
    qualification: The limits of the pre-flight checks. Unset fields keep their defaults.
    drill: The drills. Default: monthly, on copied requests.
    refit: Trains the recipe that has passed the gate again on all matured rows, and releases those weights; only for a split by time. Default: matured for a split by time, off for others.
    refit_distance: The maximum mean change of the answers to the test rows by the refit. Of probabilities: as a multiple of the mean difference between the judged answers to two rows; of numbers: in standard deviations of the labels. Default: 1 for probabilities, 0.2 for numbers.
    require_drill: Refuses a release if the last drill failed or is too old.
    business: What users do after their first request, by the name of the metric: ``{ revenue: event('purchase', max=500) }``. A proven loss rolls back.
    external: Metrics that other systems measure for each arm, by name: ``{ complaints: promql('prometheus', '…{version="$version"}…', { max: 0.2 }) }``. A proven loss rolls back.
    soak: The minimum time of stages without their own. Default: 30 min.
    requests: The minimum requests of stages without their own. Default: 400.
    deadline: The deadline of stages without their own. Default: eight times the soak.
    shadow: The shadow stage before the first stage. Default of a canary: copies of all requests for the soak time; of others none.
    probation: The probation after 100 %: the previous champion keeps ``holdback`` percent as a control. Default: on, with the defaults of its fields.
    split: The split in percent of the traffic; its deadline is the horizon of the test.
    metric: The metric that decides: ``accuracy``, ``loss``, ``conversions``, ``errors``, or a name of ``business``.
    alpha: The probability of wrongly declaring a candidate better. Default: 0.05.
    """
    raise AssertionError


@word
def blue_green(
    *,
    approval: Optional[ApprovalSpec] = None,
    watch: Optional[AbOptionsWatch] = None,
    limits: Optional[CanaryPolicy] = None,
    when_inconclusive: Optional[Literal["ask", "end"]] = None,
    when_busy: Optional[Literal["queue", "supersede", "refuse"]] = None,
    hotfix: Optional[AbOptionsHotfix] = None,
    qualification: Optional[QualificationLimits] = None,
    drill: Optional[Union[Literal["off"], DrillSpec]] = None,
    refit: Optional[Literal["matured", "off"]] = None,
    refit_distance: Optional[float] = None,
    require_drill: Optional[AbOptionsRequireDrill] = None,
    business: Optional[Mapping[str, EventSpec]] = None,
    external: Optional[Mapping[str, ExternalSpec]] = None,
    soak: Optional[str] = None,
    requests: Optional[float] = None,
    deadline: Optional[str] = None,
    shadow: Optional[Union[Literal["off"], StageSpec]] = None,
    probation: Optional[Union[Literal["off"], ProbationSpec]] = None,
) -> ReleaseSpec:
    r"""Switches from 0 to 100 % at once, after every replica has loaded the candidate. The previous champion stays loaded.

    approval: The approvals. Default: one within seven days.
    watch: Intervals and timeouts of the observation.
    limits: The limits of the canary judge. Unset fields keep their defaults.
    when_inconclusive: The result of an inconclusive stage at its deadline.
    when_busy: The behaviour while another release of the model is open.
    hotfix: The shorter stages of a release that is marked as a hotfix.
    qualification: The limits of the pre-flight checks. Unset fields keep their defaults.
    drill: The drills. Default: monthly, on copied requests.
    refit: Trains the recipe that has passed the gate again on all matured rows, and releases those weights; only for a split by time. Default: matured for a split by time, off for others.
    refit_distance: The maximum mean change of the answers to the test rows by the refit. Of probabilities: as a multiple of the mean difference between the judged answers to two rows; of numbers: in standard deviations of the labels. Default: 1 for probabilities, 0.2 for numbers.
    require_drill: Refuses a release if the last drill failed or is too old.
    business: What users do after their first request, by the name of the metric: ``{ revenue: event('purchase', max=500) }``. A proven loss rolls back.
    external: Metrics that other systems measure for each arm, by name: ``{ complaints: promql('prometheus', '…{version="$version"}…', { max: 0.2 }) }``. A proven loss rolls back.
    soak: The minimum time of stages without their own. Default: 30 min.
    requests: The minimum requests of stages without their own. Default: 400.
    deadline: The deadline of stages without their own. Default: eight times the soak.
    shadow: The shadow stage before the first stage. Default of a canary: copies of all requests for the soak time; of others none.
    probation: The probation after 100 %: the previous champion keeps ``holdback`` percent as a control. Default: on, with the defaults of its fields.
    """
    raise AssertionError


@word
def canary(
    *,
    approval: Optional[ApprovalSpec] = None,
    watch: Optional[AbOptionsWatch] = None,
    limits: Optional[CanaryPolicy] = None,
    when_inconclusive: Optional[Literal["ask", "end"]] = None,
    when_busy: Optional[Literal["queue", "supersede", "refuse"]] = None,
    hotfix: Optional[AbOptionsHotfix] = None,
    qualification: Optional[QualificationLimits] = None,
    drill: Optional[Union[Literal["off"], DrillSpec]] = None,
    refit: Optional[Literal["matured", "off"]] = None,
    refit_distance: Optional[float] = None,
    require_drill: Optional[AbOptionsRequireDrill] = None,
    first: Optional[FirstSpec] = None,
    business: Optional[Mapping[str, EventSpec]] = None,
    external: Optional[Mapping[str, ExternalSpec]] = None,
    stages: Sequence[StageSpec],
    soak: Optional[str] = None,
    requests: Optional[float] = None,
    deadline: Optional[str] = None,
    shadow: Optional[Union[Literal["off"], StageSpec]] = None,
    probation: Optional[Union[Literal["off"], ProbationSpec]] = None,
) -> ReleaseSpec:
    r"""Releases in steps: shadow, rising shares, 100 %, probation.

    approval: The approvals. Default: one within seven days.
    watch: Intervals and timeouts of the observation.
    limits: The limits of the canary judge. Unset fields keep their defaults.
    when_inconclusive: The result of an inconclusive stage at its deadline.
    when_busy: The behaviour while another release of the model is open.
    hotfix: The shorter stages of a release that is marked as a hotfix.
    qualification: The limits of the pre-flight checks. Unset fields keep their defaults.
    drill: The drills. Default: monthly, on copied requests.
    refit: Trains the recipe that has passed the gate again on all matured rows, and releases those weights; only for a split by time. Default: matured for a split by time, off for others.
    refit_distance: The maximum mean change of the answers to the test rows by the refit. Of probabilities: as a multiple of the mean difference between the judged answers to two rows; of numbers: in standard deviations of the labels. Default: 1 for probabilities, 0.2 for numbers.
    require_drill: Refuses a release if the last drill failed or is too old.
    first: The callers who get the candidate before any share of the traffic, counted separately; only in ``canary``.
    business: What users do after their first request, by the name of the metric: ``{ revenue: event('purchase', max=500) }``. A proven loss rolls back.
    external: Metrics that other systems measure for each arm, by name: ``{ complaints: promql('prometheus', '…{version="$version"}…', { max: 0.2 }) }``. A proven loss rolls back.
    stages: The stages: ``[percent(5), percent(25), percent(50)]``.
    soak: The minimum time of stages without their own. Default: 30 min.
    requests: The minimum requests of stages without their own. Default: 400.
    deadline: The deadline of stages without their own. Default: eight times the soak.
    shadow: The shadow stage before the first stage. Default of a canary: copies of all requests for the soak time; of others none.
    probation: The probation after 100 %: the previous champion keeps ``holdback`` percent as a control. Default: on, with the defaults of its fields.
    """
    raise AssertionError


@word
def direct(
    *,
    approval: Optional[ApprovalSpec] = None,
    watch: Optional[AbOptionsWatch] = None,
    limits: Optional[CanaryPolicy] = None,
    when_inconclusive: Optional[Literal["ask", "end"]] = None,
    when_busy: Optional[Literal["queue", "supersede", "refuse"]] = None,
    hotfix: Optional[AbOptionsHotfix] = None,
    qualification: Optional[QualificationLimits] = None,
    drill: Optional[Union[Literal["off"], DrillSpec]] = None,
    refit: Optional[Literal["matured", "off"]] = None,
    refit_distance: Optional[float] = None,
    require_drill: Optional[AbOptionsRequireDrill] = None,
) -> ReleaseSpec:
    r"""Checks floors and an approval, then switches to 100 % at once.

    approval: The approvals. Default: one within seven days.
    watch: Intervals and timeouts of the observation.
    limits: The limits of the canary judge. Unset fields keep their defaults.
    when_inconclusive: The result of an inconclusive stage at its deadline.
    when_busy: The behaviour while another release of the model is open.
    hotfix: The shorter stages of a release that is marked as a hotfix.
    qualification: The limits of the pre-flight checks. Unset fields keep their defaults.
    drill: The drills. Default: monthly, on copied requests.
    refit: Trains the recipe that has passed the gate again on all matured rows, and releases those weights; only for a split by time. Default: matured for a split by time, off for others.
    refit_distance: The maximum mean change of the answers to the test rows by the refit. Of probabilities: as a multiple of the mean difference between the judged answers to two rows; of numbers: in standard deviations of the labels. Default: 1 for probabilities, 0.2 for numbers.
    require_drill: Refuses a release if the last drill failed or is too old.
    """
    raise AssertionError


@word
def percent(
    share: float,
    *,
    soak: Optional[str] = None,
    requests: Optional[float] = None,
    deadline: Optional[str] = None,
) -> StageSpec:
    r"""Defines a stage by its share of the traffic: ``percent(5)``, ``percent(5, soak='10 min', requests=1000)``.

    soak: The minimum time in the stage.
    requests: The minimum number of the candidate's requests.
    deadline: The time after which the stage ends.
    """
    raise AssertionError


@word
def rolling(
    *,
    approval: Optional[ApprovalSpec] = None,
    watch: Optional[AbOptionsWatch] = None,
    limits: Optional[CanaryPolicy] = None,
    when_inconclusive: Optional[Literal["ask", "end"]] = None,
    when_busy: Optional[Literal["queue", "supersede", "refuse"]] = None,
    hotfix: Optional[AbOptionsHotfix] = None,
    qualification: Optional[QualificationLimits] = None,
    drill: Optional[Union[Literal["off"], DrillSpec]] = None,
    refit: Optional[Literal["matured", "off"]] = None,
    refit_distance: Optional[float] = None,
    require_drill: Optional[AbOptionsRequireDrill] = None,
    business: Optional[Mapping[str, EventSpec]] = None,
    external: Optional[Mapping[str, ExternalSpec]] = None,
    stages: Sequence[StageSpec],
    soak: Optional[str] = None,
    requests: Optional[float] = None,
    deadline: Optional[str] = None,
    shadow: Optional[Union[Literal["off"], StageSpec]] = None,
    probation: Optional[Union[Literal["off"], ProbationSpec]] = None,
) -> ReleaseSpec:
    r"""Releases replica by replica: the percentages are shares of the replicas, rounded up.

    approval: The approvals. Default: one within seven days.
    watch: Intervals and timeouts of the observation.
    limits: The limits of the canary judge. Unset fields keep their defaults.
    when_inconclusive: The result of an inconclusive stage at its deadline.
    when_busy: The behaviour while another release of the model is open.
    hotfix: The shorter stages of a release that is marked as a hotfix.
    qualification: The limits of the pre-flight checks. Unset fields keep their defaults.
    drill: The drills. Default: monthly, on copied requests.
    refit: Trains the recipe that has passed the gate again on all matured rows, and releases those weights; only for a split by time. Default: matured for a split by time, off for others.
    refit_distance: The maximum mean change of the answers to the test rows by the refit. Of probabilities: as a multiple of the mean difference between the judged answers to two rows; of numbers: in standard deviations of the labels. Default: 1 for probabilities, 0.2 for numbers.
    require_drill: Refuses a release if the last drill failed or is too old.
    business: What users do after their first request, by the name of the metric: ``{ revenue: event('purchase', max=500) }``. A proven loss rolls back.
    external: Metrics that other systems measure for each arm, by name: ``{ complaints: promql('prometheus', '…{version="$version"}…', { max: 0.2 }) }``. A proven loss rolls back.
    stages: The stages: ``[percent(5), percent(25), percent(50)]``.
    soak: The minimum time of stages without their own. Default: 30 min.
    requests: The minimum requests of stages without their own. Default: 400.
    deadline: The deadline of stages without their own. Default: eight times the soak.
    shadow: The shadow stage before the first stage. Default of a canary: copies of all requests for the soak time; of others none.
    probation: The probation after 100 %: the previous champion keeps ``holdback`` percent as a control. Default: on, with the defaults of its fields.
    """
    raise AssertionError


@word
def shadow(
    *,
    approval: Optional[ApprovalSpec] = None,
    watch: Optional[AbOptionsWatch] = None,
    limits: Optional[CanaryPolicy] = None,
    when_inconclusive: Optional[Literal["ask", "end"]] = None,
    when_busy: Optional[Literal["queue", "supersede", "refuse"]] = None,
    hotfix: Optional[AbOptionsHotfix] = None,
    qualification: Optional[QualificationLimits] = None,
    drill: Optional[Union[Literal["off"], DrillSpec]] = None,
    refit: Optional[Literal["matured", "off"]] = None,
    refit_distance: Optional[float] = None,
    require_drill: Optional[AbOptionsRequireDrill] = None,
    business: Optional[Mapping[str, EventSpec]] = None,
    external: Optional[Mapping[str, ExternalSpec]] = None,
    soak: Optional[str] = None,
    requests: Optional[float] = None,
    deadline: Optional[str] = None,
    probation: Optional[Union[Literal["off"], ProbationSpec]] = None,
    shadow: StageSpec,
    when_passed: Optional[Literal["promote", "ask"]] = None,
) -> ReleaseSpec:
    r"""Copies requests until the predictions are proven or an approver decides.

    approval: The approvals. Default: one within seven days.
    watch: Intervals and timeouts of the observation.
    limits: The limits of the canary judge. Unset fields keep their defaults.
    when_inconclusive: The result of an inconclusive stage at its deadline.
    when_busy: The behaviour while another release of the model is open.
    hotfix: The shorter stages of a release that is marked as a hotfix.
    qualification: The limits of the pre-flight checks. Unset fields keep their defaults.
    drill: The drills. Default: monthly, on copied requests.
    refit: Trains the recipe that has passed the gate again on all matured rows, and releases those weights; only for a split by time. Default: matured for a split by time, off for others.
    refit_distance: The maximum mean change of the answers to the test rows by the refit. Of probabilities: as a multiple of the mean difference between the judged answers to two rows; of numbers: in standard deviations of the labels. Default: 1 for probabilities, 0.2 for numbers.
    require_drill: Refuses a release if the last drill failed or is too old.
    business: What users do after their first request, by the name of the metric: ``{ revenue: event('purchase', max=500) }``. A proven loss rolls back.
    external: Metrics that other systems measure for each arm, by name: ``{ complaints: promql('prometheus', '…{version="$version"}…', { max: 0.2 }) }``. A proven loss rolls back.
    soak: The minimum time of stages without their own. Default: 30 min.
    requests: The minimum requests of stages without their own. Default: 400.
    deadline: The deadline of stages without their own. Default: eight times the soak.
    probation: The probation after 100 %: the previous champion keeps ``holdback`` percent as a control. Default: on, with the defaults of its fields.
    shadow: The share of copied requests, and the minimum time.
    when_passed: Whether a passed shadow promotes (``promote``, which needs ``limits.non_inferiority``) or asks an approver (``ask``).
    """
    raise AssertionError


@word
def haproxy(
    *,
    address: str,
    backend: str,
) -> TrafficSpec:
    r"""Moves the weights of the servers of a backend of HAProxy, and counts what they answer.

    address: Host and port of the runtime socket (``stats socket … level admin``). A private host must be in TENURE_PRIVATE_HOSTS.
    backend: The backend of the model. Each of its servers has the name of a version.
    """
    raise AssertionError


@word
def http_route(
    *,
    namespace: str,
    name: str,
    metrics: CounterOptions,
    server: Optional[str] = None,
    rule: Optional[float] = None,
) -> TrafficSpec:
    r"""Moves the weights of the Services of a rule of an HTTPRoute, and counts what they answer by Prometheus.

    namespace: The namespace of the object.
    name: The name of the object.
    metrics: Which counters Prometheus has of the gateway.
    server: The address of the API server, as ``https://10.0.0.1:6443``. Default: that of the cluster in which the replicas run.
    rule: The place of the rule in the route, from 0. Each of its ``backend_refs`` is the Service of a version: ``roses-v1-2-0`` of ``roses_v1.2.0``. Default: 0.
    """
    raise AssertionError


@word
def kserve(
    *,
    namespace: str,
    name: str,
    metrics: CounterOptions,
    server: Optional[str] = None,
) -> TrafficSpec:
    r"""Moves the ``canary_traffic_percent`` of an InferenceService, and counts what its revisions answer by Prometheus.

    namespace: The namespace of the object.
    name: The name of the object.
    metrics: Which counters Prometheus has of the gateway.
    server: The address of the API server, as ``https://10.0.0.1:6443``. Default: that of the cluster in which the replicas run.
    """
    raise AssertionError


@word
def sagemaker(
    *,
    region: str,
    endpoint: str,
    secret: str,
    addresses: Optional[SagemakerOptionsAddresses] = None,
) -> TrafficSpec:
    r"""Moves the weights of the production variants of an endpoint of SageMaker, and reads their counts from CloudWatch.

    region: The region of AWS, such as ``eu-west-1``.
    endpoint: The endpoint of the model. Each of its production variants has the name of a version, with hyphens: ``roses-v1-2-0``.
    secret: The name of the secret with the key of AWS, never the key.
    addresses: Other addresses than those of AWS in its region, such as those of VPC endpoints.
    """
    raise AssertionError


@word
def event(
    name: str,
    *,
    counts: Optional[Literal["total", "any", "mean"]] = None,
    min: Optional[float] = None,
    max: Optional[float] = None,
    within: Optional[str] = None,
    delay: Optional[str] = None,
    lower_is_better: Optional[bool] = None,
    action: Optional[Literal["rollback", "ask"]] = None,
    not_worse: Optional[float] = None,
    better: Optional[bool] = None,
) -> EventSpec:
    r"""Defines a metric of user events: ``event('purchase', max=500)``, ``event('signup', counts='any', not_worse=0.05)``.

    counts: How the events of a user count: the ``total`` of their values; whether there is ``any`` event, such as a conversion; or the ``mean`` of their values, such as a rating, over users with an event only. Default: ``total``.
    min: Lower values of a user count as this. Default: 0.
    max: Higher values of a user count as this, so that one large purchase does not decide. Required unless ``counts`` is ``any``.
    within: How long after a user's first request events count. Default: 30 min.
    delay: The maximum delay until an event arrives, after which a user is counted. Default: 1 min.
    lower_is_better: Whether lower values are better, such as refunds. Default: false.
    action: The effect of a proven loss: ``rollback``, or ``ask`` an approver. Default: ``rollback``.
    not_worse: Requires proof, before the promotion, that the mean is not worse by more than this share: 0.05 is 5 %.
    better: Whether to require proof, before the promotion, that the mean is better. Default: false.
    """
    raise AssertionError


@word
def promql(
    source: str,
    query: str,
    *,
    max: float,
    min: Optional[float] = None,
    limit: Optional[float] = None,
    tolerance: Optional[float] = None,
    lower_is_better: Optional[bool] = None,
    every: Optional[str] = None,
    delay: Optional[str] = None,
    min_requests: Optional[float] = None,
    action: Optional[Literal["rollback", "ask"]] = None,
    on_error: Optional[Literal["ask", "hold", "ignore"]] = None,
) -> ExternalSpec:
    r"""Queries Prometheus for one series or a scalar, with ``$version``, ``$arm``, ``$model`` and ``$window``.

    max: Higher values count as this, so that one extreme window does not decide. Required.
    min: Lower values count as this. Default: 0.
    limit: The highest allowed value, or the lowest if higher is better. Default: the candidate is compared with the control.
    tolerance: How much worse than the control still counts as not worse. Default: 0.1, a tenth.
    lower_is_better: Whether lower values are better, such as complaints. Default: true.
    every: The length of a window, which is queried once. Default: 1 min.
    delay: The delay after the end of a window until the source has all its data. Default: 30 s.
    min_requests: The minimum number of requests of an arm; windows with fewer are not queried. Default: 20.
    action: The effect of a proven loss: ``rollback``, or ``ask`` an approver. Default: ``rollback``.
    on_error: What happens while a source returns no value: ``ask`` holds the release and asks an approver after three windows, ``hold`` only holds it, ``ignore`` does neither. Default: ``ask``.
    """
    raise AssertionError


@word
def sql_query(
    source: str,
    query: str,
    *,
    max: float,
    min: Optional[float] = None,
    limit: Optional[float] = None,
    tolerance: Optional[float] = None,
    lower_is_better: Optional[bool] = None,
    every: Optional[str] = None,
    delay: Optional[str] = None,
    min_requests: Optional[float] = None,
    action: Optional[Literal["rollback", "ask"]] = None,
    on_error: Optional[Literal["ask", "hold", "ignore"]] = None,
) -> ExternalSpec:
    r"""Queries another Postgres for one number, with ``$version``, ``$arm``, ``$model``, ``$from`` and ``$to``.

    max: Higher values count as this, so that one extreme window does not decide. Required.
    min: Lower values count as this. Default: 0.
    limit: The highest allowed value, or the lowest if higher is better. Default: the candidate is compared with the control.
    tolerance: How much worse than the control still counts as not worse. Default: 0.1, a tenth.
    lower_is_better: Whether lower values are better, such as complaints. Default: true.
    every: The length of a window, which is queried once. Default: 1 min.
    delay: The delay after the end of a window until the source has all its data. Default: 30 s.
    min_requests: The minimum number of requests of an arm; windows with fewer are not queried. Default: 20.
    action: The effect of a proven loss: ``rollback``, or ``ask`` an approver. Default: ``rollback``.
    on_error: What happens while a source returns no value: ``ask`` holds the release and asks an approver after three windows, ``hold`` only holds it, ``ignore`` does neither. Default: ``ask``.
    """
    raise AssertionError


@word
def webhook(
    source: str,
    metric: str,
    *,
    max: float,
    min: Optional[float] = None,
    limit: Optional[float] = None,
    tolerance: Optional[float] = None,
    lower_is_better: Optional[bool] = None,
    every: Optional[str] = None,
    delay: Optional[str] = None,
    min_requests: Optional[float] = None,
    action: Optional[Literal["rollback", "ask"]] = None,
    on_error: Optional[Literal["ask", "hold", "ignore"]] = None,
) -> ExternalSpec:
    r"""Posts metric, model, version, arm, from and to; the response is ``{ "value": number }``.

    max: Higher values count as this, so that one extreme window does not decide. Required.
    min: Lower values count as this. Default: 0.
    limit: The highest allowed value, or the lowest if higher is better. Default: the candidate is compared with the control.
    tolerance: How much worse than the control still counts as not worse. Default: 0.1, a tenth.
    lower_is_better: Whether lower values are better, such as complaints. Default: true.
    every: The length of a window, which is queried once. Default: 1 min.
    delay: The delay after the end of a window until the source has all its data. Default: 30 s.
    min_requests: The minimum number of requests of an arm; windows with fewer are not queried. Default: 20.
    action: The effect of a proven loss: ``rollback``, or ``ask`` an approver. Default: ``rollback``.
    on_error: What happens while a source returns no value: ``ask`` holds the release and asks an approver after three windows, ``hold`` only holds it, ``ignore`` does neither. Default: ``ask``.
    """
    raise AssertionError


@word
def lookup(
    of: FeatureViewHandle,
    value: str,
    *,
    by: Optional[Union[str, Sequence[str]]] = None,
    otherwise: Optional[Union[float, str]] = None,
    fresh: Optional[str] = None,
    within: Optional[str] = None,
) -> Feature:
    r"""Defines a feature that is looked up in a view, so that callers need not send it: ``lookup(airport_delays, 'mean', by='origin')``. Training rows get the value that was known at the time of each row.

    by: The fields of a row that identify the entity, if their names differ from those of the view.
    otherwise: The value if none is known, in training and in serving. Default: null, imputed as fitted in training.
    fresh: The maximum age of a value cached by a replica. Default: 1 min.
    within: How long a request waits for a value that is not cached. Default: 20 ms.
    """
    raise AssertionError


@word
def daily(
    *,
    from_: str,
    after: Optional[str] = None,
    ready: Optional[str] = None,
) -> DailySpec:
    r"""Defines one partition per day, each scored once: ``daily(from_='2026-11-01', after='2 h')``.

    from_: The first day, in UTC: ``'2026-11-01'``.
    after: How long after the end of a day its rows are complete. Default: 0 s. Before its end for what is scored ahead: with ``'-30 h'`` the rows of a day are complete at 18:00 UTC of the day before.
    ready: A file below the directory for batches that marks a day as complete, such as ``in/{date}.done``. Default: the file of the rows.
    """
    raise AssertionError


@word
def compress(
    to: str,
    *,
    epsilon: Optional[float] = None,
    times: Optional[float] = None,
    trees: Optional[float] = None,
) -> CompressionWish:
    r"""Makes a smaller version of each version that is promoted: ``{ then: compress('int8', epsilon=0.01) }`` (how).

    epsilon: The mean distance of two answers that is too large, above 0 and below 1. Default: what follows from the margin of the primary metric.
    times: How many times smaller or faster the version must be. Default: 1.2.
    trees: For ``fewer-trees``: how many stay. Default: the fewest whose answers to training rows differ by half of ε on average.
    """
    raise AssertionError


@word
def cron(
    text: str,
    *,
    catch_up: Optional[str] = None,
) -> RetrainSpec:
    r"""Defines a schedule in a list of triggers: ``cron('0 3 * * 1')``, in UTC."""
    raise AssertionError


@word
def after_workflow(
    *,
    name: Optional[str] = None,
    every: Optional[str] = None,
    type: Optional[str] = None,
    id: Optional[str] = None,
    namespace: Optional[str] = None,
) -> TriggerSpec:
    r"""Fires when a run of another Temporal workflow has completed: ``after_workflow(type='load_orders')``.

    name: The name of the trigger in lists and commands. Default: its kind (``file``, ``watermark``, ``workflow``, ``webhook``). Two of a kind need names.
    every: The polling interval, at least 1 s. Default: 30 s.
    type: The type of the upstream workflow. Set the type or the id.
    id: The id of the upstream workflow.
    namespace: The namespace of the upstream workflow on the same server. Default: Tenure's namespace.
    """
    raise AssertionError


@word
def on_webhook(
    *,
    name: Optional[str] = None,
    parameters: Optional[Mapping[str, Feature]] = None,
) -> TriggerSpec:
    r"""Fires on ``POST /v1/models/:name/triggers/webhook`` with an operator's key: ``on_webhook({ parameters: { region: category(['eu', 'us']) } })``.

    name: The name of the trigger in lists and commands. Default: its kind (``file``, ``watermark``, ``workflow``, ``webhook``). Two of a kind need names.
    parameters: The parameters that each request must send: names with ``number(…)`` and ``category(…)``. A parameter with the name of a hyperparameter replaces it.
    """
    raise AssertionError


@word
def when_file(
    glob: str,
    *,
    name: Optional[str] = None,
    every: Optional[str] = None,
) -> TriggerSpec:
    r"""Fires when a matching file of the project is new or has changed: ``when_file('data/ready/*.done')``.

    name: The name of the trigger in lists and commands. Default: its kind (``file``, ``watermark``, ``workflow``, ``webhook``). Two of a kind need names.
    every: The polling interval, at least 1 s. Default: 30 s.
    """
    raise AssertionError


@word
def when_watermark(
    *,
    name: Optional[str] = None,
    every: Optional[str] = None,
    table: str,
    column: str,
    source: Optional[str] = None,
) -> TriggerSpec:
    r"""Fires when the maximum of a column has increased: ``when_watermark(table='orders', column='changed_at')``.

    name: The name of the trigger in lists and commands. Default: its kind (``file``, ``watermark``, ``workflow``, ``webhook``). Two of a kind need names.
    every: The polling interval, at least 1 s. Default: 30 s.
    table: The table: ``orders`` or ``sales.orders``, as written in the database.
    column: A column that only increases, such as the time of a change or a serial number.
    source: The name of a metric source of the kind ``sql`` with the table. Default: Tenure's own database.
    """
    raise AssertionError


@word
def view(
    name: str,
    *,
    about: Optional[str] = None,
    entity: Union[str, Sequence[str]],
    source: SourceSpec,
    known_at: str,
    values: Mapping[str, Feature],
    time_to_live: str,
    every: Optional[str] = None,
    late: Optional[str] = None,
    keep: Optional[str] = None,
) -> FeatureViewHandle:
    r"""Defines the values of an entity that change over time. Never throws: the models that use the view report its issues.

    about: A description for readers.
    entity: The columns that identify an entity: ``'airport'``, or several.
    source: The source. ``rows`` returns one row per value; ``event_time`` is the time of the value.
    known_at: The column with the time at which a row became known. The value is not used before.
    values: The columns that models can use as features.
    time_to_live: The maximum age of a value.
    every: The interval of the ingestion. Default: 5 min.
    late: How late a row may arrive after its ``known_at``. Default: 1 h. It is usable from its ingestion.
    keep: How much older than the newest event values are kept. Default: 400 d.
    """
    raise AssertionError


__all__ = [
    "ab",
    "after_workflow",
    "always",
    "between",
    "blue_green",
    "by_time",
    "canary",
    "category",
    "command",
    "complete",
    "complete_when",
    "compress",
    "cron",
    "csv",
    "daily",
    "define_model",
    "deviation",
    "direct",
    "direction",
    "distinct",
    "event",
    "every_class",
    "exact",
    "finite",
    "fresh",
    "haproxy",
    "http_route",
    "image",
    "in_set",
    "invariance",
    "kserve",
    "label_after_event",
    "lookup",
    "matches",
    "mean",
    "number",
    "on_webhook",
    "one_of",
    "ordered",
    "parquet",
    "percent",
    "positive_rate",
    "postgres",
    "previous_champion",
    "program",
    "promql",
    "python",
    "quantile",
    "quantiles",
    "quantities",
    "quantity",
    "queue",
    "random",
    "rolling",
    "row_count",
    "rows_as_usual",
    "sagemaker",
    "served",
    "shadow",
    "sql_query",
    "stratified",
    "text",
    "text_length",
    "unique",
    "vector",
    "view",
    "warn",
    "webhook",
    "when_file",
    "when_watermark",
    "yes_no",
]
