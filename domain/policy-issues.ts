/** Collects the issues of a policy, each beginning with its field, so that all of them are reported at once. */
export interface PolicyIssues {
  issues: string[]
  need(holds: boolean, issue: string): void
  integer(field: string, value: number, min: number, max?: number): void
  /** Whole milliseconds from `min` to ten years: dates and timers cannot hold every number. */
  duration(field: string, value: number, min: number): void
  oneOf(field: string, value: string, allowed: readonly string[]): void
  /** The issues of a part, each behind the field of the part. */
  part(field: string, found: readonly string[]): void
}

const maxDurationMs = 10 * 365 * 86_400_000

export function policyIssues(issues: string[] = []): PolicyIssues {
  const need = (holds: boolean, issue: string) => {
    if (!holds) issues.push(issue)
  }
  const integer: PolicyIssues['integer'] = (field, value, min, max) =>
    need(
      Number.isSafeInteger(value) && value >= min && value <= (max ?? value),
      `${field} is a whole number from ${min}${max === undefined ? '' : ` to ${max}`}, not ${value}`,
    )
  return {
    issues,
    need,
    integer,
    duration: (field, value, min) => integer(field, value, min, maxDurationMs),
    oneOf: (field, value, allowed) =>
      need(allowed.includes(value), `${field} is one of ${allowed.join(', ')}, not ${value}`),
    part: (field, found) => issues.push(...found.map((issue) => `${field}.${issue}`)),
  }
}
