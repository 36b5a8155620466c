/** Defines the exit codes of commands. Scripts depend on them, so `tenure --help` documents them. */
import type { ErrorCode } from '../domain/errors.ts'

export const exitCodes = {
  done: 0,
  defect: 1,
  /** Of `tenure status`. */
  failing: 1,
  usage: 2,
  unreachable: 3,
  refused: 4,
  notFound: 5,
  otherwise: 6,
  interrupted: 130,
} as const

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]

export const exitCodeHelp = `Exit codes:
  0    success
  1    a defect in Tenure; for status, a model that fails
  2    wrong arguments or configuration
  3    the API, Postgres or Temporal does not respond
  4    refused: not allowed, not in this state, not valid
  5    not found
  6    the awaited or checked result is negative
  130  interrupted`

/** An error in the shape of a problem document. */
export interface CommandProblem {
  code: ErrorCode | 'unreachable' | 'usage' | 'interrupted' | 'otherwise' | 'refused'
  detail: string
  remedy?: string
  status?: number
}

export function exitCodeOf({ code, status }: CommandProblem): ExitCode {
  if (code in exitCodes) return exitCodes[code as keyof typeof exitCodes]
  if (code === 'configuration_invalid') return exitCodes.usage
  if (code === 'internal') return exitCodes.defect
  // Its status is 503 for the callers of predictions, who may retry.
  if (code === 'no_champion') return exitCodes.refused
  if (status === 404 || code.endsWith('not_found')) return exitCodes.notFound
  if (status === 503 || status === 504) return exitCodes.unreachable
  return exitCodes.refused
}
