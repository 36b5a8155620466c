/**
 * What the exit code of a command means. A pipeline that runs `tenure` decides by it, so it is a promise like any
 * other and stands in `tenure --help`.
 */
import type { ErrorCode } from '../domain/errors.ts'

export const exitCodes = {
  /** It was done. */
  done: 0,
  /** A defect in Tenure itself. */
  defect: 1,
  /** Wrong arguments or configuration. */
  usage: 2,
  /** The API, Postgres or Temporal does not answer; trying again may help. */
  unreachable: 3,
  /** Tenure answered no: not allowed, not in this state, not valid. */
  refused: 4,
  /** There is nothing of this name. */
  notFound: 5,
  /** What was waited for or checked ended otherwise than hoped. */
  otherwise: 6,
  /** Ctrl-C. */
  interrupted: 130,
} as const

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]

export const exitCodeHelp = `Exit codes:
  0    done
  1    a defect in Tenure
  2    wrong arguments or configuration
  3    the API, Postgres or Temporal does not answer
  4    refused: not allowed, not in this state, not valid
  5    there is nothing of this name
  6    what was waited for or checked ended otherwise than hoped
  130  interrupted`

/** What went wrong, in the words of a problem document. */
export interface CommandProblem {
  code: ErrorCode | 'unreachable' | 'usage' | 'interrupted' | 'otherwise' | 'refused'
  detail: string
  remedy?: string
  status?: number
}

export function exitCodeOf({ code, status }: CommandProblem): ExitCode {
  if (
    code === 'otherwise' ||
    code === 'interrupted' ||
    code === 'unreachable' ||
    code === 'usage' ||
    code === 'refused'
  )
    return exitCodes[code]
  if (code === 'configuration_invalid') return exitCodes.usage
  if (code === 'internal') return exitCodes.defect
  if (status === 404) return exitCodes.notFound
  if (status === 503 || status === 504) return exitCodes.unreachable
  return exitCodes.refused
}
