/**
 * Converts domain errors for Temporal: by code, retryable only where the error table says so, and without secrets, because workflow
 * histories are widely readable. Waiting for a server or for disk space uses up no attempt.
 */
import { ApplicationFailure, Context } from '@temporalio/activity'
import { DomainError, errorTable, isError, remedyOf, type ErrorCode } from '../../domain/errors.ts'
import { redacted } from '../../domain/redact.ts'
import { requireReachable } from '../../store/artifact-marker.ts'
import { isFull } from '../../store/outage.ts'
import type { Deps } from '../deps.ts'
import { withHeartbeat } from './heartbeat.ts'

type Activity = (...input: never[]) => Promise<unknown>

interface FailureDeps {
  config: Pick<Deps['config'], 'artifactRoot'>
  log: Pick<Deps['log'], 'warn'>
}

/** Wraps activities so that they fail with converted errors, and wait for what passes by itself. */
export function reportingFailures<T extends Record<string, Activity>>(deps: FailureDeps, activities: T): T {
  return Object.fromEntries(
    Object.entries(activities).map(([name, activity]) => [
      name,
      async (...input: never[]) => {
        try {
          return await waitWhileAway({ ...deps, name }, () => activity(...input))
        } catch (error) {
          throw toFailure(error)
        }
      },
    ]),
  ) as T
}

/** Errors that pass by themselves and that no further attempt of an activity can fix. */
const away: readonly ErrorCode[] = [
  'postgres_unavailable',
  'temporal_unavailable',
  'object_store_unavailable',
  'no_room',
]
const waitMs = { first: 200, most: 2_000 }

/**
 * Repeats work within the same attempt while a server is unreachable or a disk is full. Temporal would count each failure, and a restart
 * of Postgres takes longer than five attempts.
 */
async function waitWhileAway<T>(
  { config, log, name }: FailureDeps & { name: string },
  work: () => Promise<T>,
): Promise<T> {
  for (let pauseMs = waitMs.first; ; pauseMs = Math.min(pauseMs * 2, waitMs.most))
    try {
      return await work()
    } catch (thrown) {
      const error =
        isFull(thrown) && !isError(thrown)
          ? noRoom(thrown as Error)
          : await unlessUnmounted(thrown, config.artifactRoot)
      if (!away.some((code) => isError(error, code)) || !hasLimitedAttempts()) throw error
      if (pauseMs === waitMs.first) {
        const { workflowId } = Context.current().info.workflowExecution ?? {}
        log.warn({ workflowId, error: redacted((error as Error).message) }, `the activity ${name} waits`)
      }
      // Heartbeats keep the progress of the earlier attempt.
      const { heartbeatDetails } = Context.current().info
      const jitteredMs = pauseMs * (0.5 + Math.random() / 2)
      await withHeartbeat(
        (beat) => beat.sleep(jitteredMs),
        () => heartbeatDetails as unknown,
      )
    }
}

/** What a missing file is reported as, also by a child process. */
const lossCodes = ['artifact_corrupt', 'artifact_invalid', 'training_failed', 'ENOENT']

/** Returns `object_store_unavailable` in place of an error that an unmounted folder of artifacts explains. */
async function unlessUnmounted(thrown: unknown, folder: string): Promise<unknown> {
  const { code } = (thrown ?? {}) as { code?: unknown }
  if (!lossCodes.includes(String(code))) return thrown
  return requireReachable(folder).then(
    () => thrown,
    (error: unknown) => error,
  )
}

const noRoom = ({ message }: Error) => new DomainError('no_room', `a disk is full: ${message}`)

function hasLimitedAttempts(): boolean {
  try {
    return (Context.current().info.retryPolicy?.maximumAttempts ?? 0) > 0
  } catch {
    // Not called by an activity.
    return false
  }
}

export function toFailure(error: unknown): unknown {
  if (!isError(error)) return isLost(error) ? lost(error) : withoutSecrets(error)
  return ApplicationFailure.create({
    message: redacted(error.message),
    type: error.code,
    nonRetryable: !errorTable[error.code].retryable,
    details: [{ code: error.code, remedy: redacted(remedyOf(error)), context: plain(error.context) }],
  })
}

const plain = (context: object): unknown => JSON.parse(redacted(JSON.stringify(context)))

/** The same error without secrets, including its causes. */
function withoutSecrets(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  error.message = redacted(error.message)
  if (error.stack !== undefined) error.stack = redacted(error.stack)
  withoutSecrets(error.cause)
  return error
}

/**
 * A referenced row is missing or duplicated: SQLSTATE class 23. This happens after the restore of an older backup, and a retry can never
 * succeed.
 */
const isLost = (error: unknown): error is Error =>
  error instanceof Error && String((error as { code?: unknown }).code).startsWith('23')

const lost = (error: Error): ApplicationFailure =>
  ApplicationFailure.create({
    message: `the database lacks a row that this work needs: ${redacted(error.message)}`,
    type: 'integrity',
    nonRetryable: true,
  })
