/** Collects the issues of a model file, each with its place, so that all of them are reported at once. */
import { counted } from '../../domain/figures.ts'

export type IssueCollector = (place: string, message: string) => void

export function collectIssues(): { report: IssueCollector; issues: string[] } {
  const issues: string[] = []
  return { issues, report: (place, message) => issues.push(`${place}: ${message}`) }
}

const mostShown = 100

/** The issue of a value that could not be read. The words of JavaScript say how it was read, and not what to write. */
export function shapeProblem(error: unknown, given: unknown): string {
  if (error instanceof Error && !(error instanceof TypeError || error instanceof RangeError))
    return `has the wrong shape: ${error.message}`
  const text = JSON.stringify(given) ?? typeof given
  const shown = text.length > mostShown ? `${text.slice(0, mostShown)}…` : text
  return `has the wrong shape, as ${shown}: docs/reference/model-file.md says what it takes`
}

export function reportRange(
  report: IssueCollector,
  place: string,
  range: { min?: number; max?: number },
): void {
  for (const side of ['min', 'max'] as const)
    if (range[side] !== undefined && !Number.isFinite(range[side]))
      report(`${place}.${side}`, `a finite number is required, not ${String(range[side])}`)
  if (range.min !== undefined && range.max !== undefined && range.min > range.max)
    report(place, `min ${range.min} is above max ${range.max}`)
}

/** Reports a list with fewer than `min` values, or with a duplicate value. */
export function reportDistinct(
  report: IssueCollector,
  place: string,
  values: readonly unknown[],
  min = 1,
): void {
  if (!Array.isArray(values) || values.length < min)
    report(place, `at least ${counted(min, 'value')} ${min === 1 ? 'is' : 'are'} required`)
  else if (new Set(values).size !== values.length) report(place, 'a value is listed twice')
}
