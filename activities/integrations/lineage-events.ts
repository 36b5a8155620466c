/**
 * Records lineage events for the start and end of each attempt at a step of a retraining. Another loop sends them, so no step waits;
 * without a configured system nothing is recorded.
 */
import { Context } from '@temporalio/activity'
import { createHash } from 'node:crypto'
import { reasonOf } from '../../domain/errors.ts'
import type { LineageJob, LineageType } from '../../domain/registry/openlineage.ts'
import { redacted } from '../../domain/redact.ts'
import { insertEvent } from '../../store/integrations/outbox.ts'
import type { Deps } from '../deps.ts'
import { uuidText } from '../runtime/uuid-text.ts'

/** The rows that a step is about. */
export interface LineageRefs {
  model: string
  asOf?: string
  snapshot?: string
  training?: string
  evaluation?: string
}

type Step<Input, Result> = (input: Input) => Promise<Result>

/** Each attempt is its own run. An attempt whose worker is killed has no end event. */
export const withLineage =
  <Input, Result>(
    { store, log }: Deps,
    job: LineageJob,
    refsOf: (input: Input, result?: Result) => LineageRefs,
    step: Step<Input, Result>,
  ): Step<Input, Result> =>
  async (input) => {
    const runId = runIdOf()
    const keep = (type: LineageType, refs: LineageRefs, problem?: string): Promise<void> =>
      insertEvent(store, { subject: runId, payload: { job, type, runId, refs, problem } })
    // The step needs the same database, so an error here retries the whole step; its writes are idempotent.
    await keep('START', refsOf(input))
    let result: Result
    try {
      result = await step(input)
    } catch (error) {
      const type = Context.current().cancellationSignal.aborted ? 'ABORT' : 'FAIL'
      await keep(type, refsOf(input), redacted(reasonOf(error)).slice(0, 2_000)).catch((failure: Error) =>
        log.warn({ job, error: failure.message }, 'failure event not recorded'),
      )
      throw error
    }
    await keep('COMPLETE', refsOf(input, result))
    return result
  }

/** Derived from the attempt, so that repeated events have the same run id. */
function runIdOf(): string {
  const { workflowExecution, activityId, attempt } = Context.current().info
  return uuidOf(`${workflowExecution?.runId ?? ''}/${activityId}/${attempt}`)
}

/** A deterministic UUID of a name (version 8, custom). */
export function uuidOf(name: string): string {
  const bytes = createHash('sha256').update(name).digest().subarray(0, 16)
  bytes[6] = (bytes[6]! & 0x0f) | 0x80
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  return uuidText(bytes)
}
