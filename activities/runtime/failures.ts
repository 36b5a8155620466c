/**
 * How the errors of the domain reach Temporal: by their code, and tried again only when the table says that it may help.
 * A plain error would be tried for ever, also when it says that the artifact is broken. What it says is kept in a history that
 * others read, so it loses its secrets on the way.
 */
import { ApplicationFailure } from '@temporalio/activity'
import { errorTable, isError } from '../../domain/errors.ts'
import { redacted } from '../../domain/redact.ts'

type Activity = (...input: never[]) => Promise<unknown>

/** The same activities, failing in a way that Temporal understands. */
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

/** The same error, which says nothing that is nobody's business; with all that has caused it. */
function withoutSecrets(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  error.message = redacted(error.message)
  if (error.stack !== undefined) error.stack = redacted(error.stack)
  withoutSecrets(error.cause)
  return error
}

/**
 * A row that is spoken of is not there, or one is there that must not be: SQLSTATE class 23. That is how a database looks that
 * was restored from a backup older than the work in hand; trying again would go on until somebody stops it.
 */
const isLost = (error: unknown): error is Error =>
  error instanceof Error && String((error as { code?: unknown }).code).startsWith('23')

const lost = (error: Error): ApplicationFailure =>
  ApplicationFailure.create({
    message: `the database does not hold what this is about: ${redacted(error.message)}`,
    type: 'integrity',
    nonRetryable: true,
  })
