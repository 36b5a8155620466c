/** How a worker, or a replay, reads encrypted payloads and writes encrypted failures. */
import { join } from 'node:path'
import type { WorkerOptions } from '@temporalio/worker'
import { dataConverterOf } from '../../temporal/payload-codec.ts'
import { checkout, type Config } from '../../temporal.config.ts'

type WorkflowBundle = NonNullable<WorkerOptions['workflowBundle']>

const failureConverterPath = join(checkout, 'scripts', 'build', 'failure-converter.mjs')

/** Messages of failures are encrypted where payloads are. */
const encodesFailures = ({ payloadKeys = [] }: Config['temporal']): boolean => payloadKeys.length > 0

export const converterOf = (temporal: Config['temporal']): Pick<WorkerOptions, 'dataConverter'> => ({
  dataConverter: encodesFailures(temporal) ? { ...dataConverterOf(temporal), failureConverterPath } : {},
})

/** The sandbox of workflows has no configuration. In the first line, so that positions in the source map stay right. */
export const withSettings = (bundle: WorkflowBundle, temporal: Config['temporal']): WorkflowBundle =>
  encodesFailures(temporal) && 'code' in bundle
    ? { ...bundle, code: `globalThis.encodesFailures = true;${bundle.code}` }
    : bundle
