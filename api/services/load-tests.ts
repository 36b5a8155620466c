/** Starts a load test of a version, and shows the last one. */
import { DomainError } from '../../domain/errors.ts'
import { defaultLoadTest, loadTestLimits, loadText, type LoadTest } from '../../domain/model/load-test.ts'
import { findLoadTest, findPeak } from '../../store/registry/load-tests.ts'
import { getVersion } from '../../store/registry/versions.ts'
import { loadTestWorkflowId } from '../../workflows/messages.ts'
import type { Actor } from '../auth/authentication.ts'
import type { CommandDeps } from '../deps.ts'
import { callTimeoutMs } from '../temporal/client.ts'
import { isNotFound } from '../temporal/errors.ts'
import { startWorkflow } from '../temporal/start-workflow.ts'
import { recordStart } from './start-command.ts'

export interface StartLoadTestInput {
  version: string
  /** Multiplies the peak of the last week. Default: 2. */
  factor?: number
  /** Requests per second, instead of the peak. */
  rate?: number
  seconds?: number
}

/**
 * Starts a load test. Throws `temporal_unavailable` instead of deferring, because the caller waits for it, `invalid_request` without a rate, and
 * `command_refused` while another one of the version runs.
 */
export async function startLoadTest(
  deps: CommandDeps,
  actor: Actor,
  { version: name, factor, rate: given, seconds = defaultLoadTest.seconds }: StartLoadTestInput,
  { id: requestId }: { id: string },
): Promise<{ id: string; version: string; rate: number; seconds: number }> {
  const { store, temporal, log } = deps
  const { model, version } = await getVersion(store, name)
  if (given !== undefined && factor !== undefined)
    throw new DomainError('invalid_request', 'give a rate or a factor of the peak, not both')
  const peak = await findPeak(store, model)
  const times = given === undefined ? (factor ?? defaultLoadTest.factor) : undefined
  if (peak === undefined && given === undefined)
    throw new DomainError('invalid_request', `${model} had no request in the last seven days`, {
      remedy: 'Give the requests per second: `rate`, or --rate on the command line.',
    })
  const rate = given ?? times! * peak!.requestsPerSecond
  if (rate > loadTestLimits.maxRate)
    throw new DomainError(
      'invalid_request',
      `${Math.round(rate)} requests/s are more than one process is tested with: at most ${loadTestLimits.maxRate}`,
      { remedy: 'Give a lower factor, or the rate that one of your replicas gets.' },
    )
  const id = `ldt_${requestId}`
  const start = { id, model, version, rate, seconds, factor: times, peak }
  const order = await recordStart(deps, actor, { kind: 'loadTest', request: requestId, input: start })
  await startWorkflow(temporal, {
    type: 'loadTest',
    workflowId: loadTestWorkflowId(version),
    request: { order },
    requestId: order,
    conflict: () => new DomainError('command_refused', `a load test of ${version} is running`),
  })
  log.info({ loadTest: id, version, rate, by: actor.name }, 'load test started')
  return { id, version, rate, seconds }
}

/** The last load test of a version, and whether one runs. Throws `temporal_unavailable` where that is not known. */
export async function readLoadTest(
  { store, temporal }: Pick<CommandDeps, 'store' | 'temporal'>,
  name: string,
): Promise<{ running: boolean; last?: LoadTest; text?: string }> {
  const { version } = await getVersion(store, name)
  const running = await temporal
    .call(callTimeoutMs, (client) => client.workflow.getHandle(loadTestWorkflowId(version)).describe())
    .then(
      ({ status }) => status.name === 'RUNNING',
      (error: unknown) => {
        if (isNotFound(error)) return false
        throw error
      },
    )
  const last = await findLoadTest(store, version)
  return { running, ...(last && { last, text: loadText(last) }) }
}
