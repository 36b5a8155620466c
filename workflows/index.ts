/** What the worker bundles: every export is a workflow of this name. */
export { release } from './release.ts'
export { rollback } from './rollback.ts'
