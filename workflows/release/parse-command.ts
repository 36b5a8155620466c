/** Parses the commands of a release. A signal of any shape becomes a command, because a handler that throws blocks the workflow. */
import { ApplicationFailure } from '@temporalio/workflow'
import type { Command } from '../messages.ts'
import { recordOf } from '../input/parse-input.ts'

/** Characters per field. */
const maxLengths = {
  by: 200,
  reason: 2_000,
  id: 200,
  artifactDigest: 100,
  evaluationDigest: 100,
  policyDigest: 100,
  until: 40,
  signature: 200,
}
const fieldNames = Object.keys(maxLengths) as (keyof typeof maxLengths)[]

/**
 * Drops invalid fields and cuts long ones. Postgres stores neither NUL nor lone surrogates, so they are replaced; everything else
 * stays as it was signed.
 */
export function parseCommand(sent: unknown, id: string): Command & { id: string } {
  const { unreadable, ...fields } = recordOf(sent)
  fields['reason'] ??= unreadable
  const clean = Object.fromEntries(
    fieldNames.flatMap((name) => {
      const value = fields[name]
      if (typeof value !== 'string' || value === '') return []
      return [[name, value.slice(0, maxLengths[name]).replace(/\0|\p{Surrogate}/gu, '\ufffd')]]
    }),
  ) as Partial<Command>
  return { id, by: '(no name)', ...clean }
}

/** Update validator: throws `invalid_request`. Synchronous, because Temporal does not support asynchronous validators. */
export function requireWellFormed(sent: unknown): void {
  const refuse = (issue: string) => {
    throw ApplicationFailure.nonRetryable(
      `the command must be {"by", "reason"?, …}: ${issue}`,
      'invalid_request',
    )
  }
  if (typeof sent !== 'object' || sent === null)
    return refuse(`received ${JSON.stringify(sent) ?? 'nothing'}`)
  const fields = recordOf(sent)
  if (typeof fields['unreadable'] === 'string') return refuse(fields['unreadable'])
  if (typeof fields['by'] !== 'string' || fields['by'] === '') return refuse('"by" is missing')
  for (const name of fieldNames) {
    const value = fields[name]
    if (value !== undefined && (typeof value !== 'string' || value.length > maxLengths[name]))
      return refuse(`"${name}" must be a text of at most ${maxLengths[name]} characters`)
  }
}
