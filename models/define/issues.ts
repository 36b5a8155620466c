/**
 * Collects what is wrong with a model file. Builders never throw: a file with five mistakes must tell all five at
 * once, each with its place.
 */

export type IssueCollector = (place: string, message: string) => void

export function collectIssues(): { report: IssueCollector; issues: string[] } {
  const issues: string[] = []
  return { issues, report: (place, message) => issues.push(`${place}: ${message}`) }
}

export function reportRange(
  report: IssueCollector,
  place: string,
  range: { min?: number; max?: number },
): void {
  for (const side of ['min', 'max'] as const)
    if (range[side] !== undefined && !Number.isFinite(range[side]))
      report(`${place}.${side}`, `a finite number is wanted, not ${String(range[side])}`)
  if (range.min !== undefined && range.max !== undefined && range.min > range.max)
    report(place, `min ${range.min} is above max ${range.max}`)
}

/** Whether something is a list of different texts (or numbers), at least `least` of them. */
export function reportDistinct(
  report: IssueCollector,
  place: string,
  values: readonly unknown[],
  least = 1,
): void {
  if (!Array.isArray(values) || values.length < least) report(place, `at least ${least} value(s) are wanted`)
  else if (new Set(values).size !== values.length) report(place, 'a value stands twice')
}
