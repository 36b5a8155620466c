/** Sets how a worker or a replay decrypts payloads and encrypts failures. */
import { join } from 'node:path'
import type { WorkerOptions } from '@temporalio/worker'
import { dataConverterOf } from '../../workflows/client/payload-codec.ts'
import { checkout, type Config } from '../../temporal.config.ts'

type WorkflowBundle = NonNullable<WorkerOptions['workflowBundle']>

const failureConverterPath = join(checkout, 'cli', 'build', 'failure-converter.mjs')

/** Failure messages are encrypted when payloads are. */
const encodesFailures = ({ payloadKeys = [] }: Config['temporal']): boolean => payloadKeys.length > 0

export const converterOf = (temporal: Config['temporal']): Pick<WorkerOptions, 'dataConverter'> => ({
  dataConverter: encodesFailures(temporal) ? { ...dataConverterOf(temporal), failureConverterPath } : {},
})

/**
 * Passes the setting as a global, because the workflow sandbox has no configuration. It goes into the first line, so that the source map
 * stays correct.
 */
export const withSettings = (bundle: WorkflowBundle, temporal: Config['temporal']): WorkflowBundle =>
  encodesFailures(temporal) && 'code' in bundle
    ? { ...bundle, code: `globalThis.encodesFailures = true;${bundle.code}` }
    : bundle
