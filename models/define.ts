/** Exports everything that a model file needs. A data scientist writes one file in this directory with these functions. */
export { defineModel } from './define/define-model.ts'
export type { Training } from './define/model.ts'
export { category, image, number, text, vector, type RowOf } from './define/data/features.ts'
export { always, previousChampion } from './define/fallback.ts'
export { oneOf, pinball, quantiles, quantities, quantity, yesNo } from './define/label.ts'
export { csv, parquet, postgres, program, served } from './define/data/source.ts'
export {
  between,
  complete,
  completeWhen,
  deviation,
  distinct,
  everyClass,
  finite,
  fresh,
  inSet,
  labelAfterEvent,
  matches,
  mean,
  ordered,
  positiveRate,
  quantile,
  rowCount,
  rowsAsUsual,
  textLength,
  unique,
  warn,
} from './define/data/expect.ts'
export { direction, exact, invariance } from './define/behaviour/tests.ts'
export { byTime, random, stratified } from './define/split.ts'
export { command, python, queue } from './define/trainer.ts'
export { ab, blueGreen, canary, direct, percent, rolling, shadow } from './define/release.ts'
export { haproxy, httpRoute, kserve, sagemaker } from './define/traffic.ts'
export { event } from './define/release/event.ts'
export { promql, sqlQuery, webhook } from './define/release/external.ts'
export { lookup } from './define/data/lookup.ts'
export { daily } from './define/triggers/batches.ts'
export { compress, cron } from './define/triggers/retrain.ts'
export { afterWorkflow, onWebhook, whenFile, whenWatermark } from './define/triggers/triggers.ts'
export { view } from './define/data/view.ts'
