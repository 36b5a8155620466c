/** What the worker bundles: every export is a workflow of this name. */
export { batchPredict } from './batch.ts'
export { alerts } from './alerts.ts'
export { monitor } from './monitor.ts'
export { queue } from './queue.ts'
export { release } from './release.ts'
export { retention } from './retention.ts'
export { retrain } from './retrain.ts'
export { rollback } from './rollback.ts'
