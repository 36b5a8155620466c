/**
 * Converts domain errors for Temporal: by code, retryable only where the error table says so, and without secrets, because others can
 * read workflow histories.
 */
import { ApplicationFailure } from '@temporalio/activity'
import { errorTable, isError } from '../../domain/errors.ts'
import { redacted } from '../../domain/redact.ts'

type Activity = (...input: never[]) => Promise<unknown>

/** Wraps activities so that they fail with converted errors. */
export function reportingFailures<T extends Record<string, Activity>>(activities: T): T {
  return Object.fromEntries(
    Object.entries(activities).map(([name, activity]) => [
      name,
      async (...input: never[]) => {
        try {
          return await activity(...input)
        } catch (error) {
          throw toFailure(error)
        }
      },
    ]),
  ) as T
}

export function toFailure(error: unknown): unknown {
  if (!isError(error)) return isLost(error) ? lost(error) : withoutSecrets(error)
  return ApplicationFailure.create({
    message: redacted(error.message),
    type: error.code,
    nonRetryable: !errorTable[error.code].retryable,
    details: [{ code: error.code, remedy: error.remedy, context: plain(error.context) }],
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
 * A referenced row is missing or duplicated: SQLSTATE class 23. It happens after a restore of an older backup, and retrying would
 * never end.
 */
const isLost = (error: unknown): error is Error =>
  error instanceof Error && String((error as { code?: unknown }).code).startsWith('23')

const lost = (error: Error): ApplicationFailure =>
  ApplicationFailure.create({
    message: `the database lacks a row that this work needs: ${redacted(error.message)}`,
    type: 'integrity',
    nonRetryable: true,
  })
