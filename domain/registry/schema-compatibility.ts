/**
 * Checks whether callers can use another version: whether it accepts their requests and responds in the same form. After a rollback to an
 * incompatible version, every caller would fail.
 */
import type { Manifest } from '../model/manifest.ts'
import { describeForm } from './model-card.ts'
import { formOf, mayBeAbsent, requestsStillFit } from './version.ts'

type Schema = Pick<Manifest, 'features' | 'output'>

/** Why callers of `now` cannot use `target`; empty when they can. */
export function schemaIssues(now: Partial<Schema>, target: Partial<Schema>): string[] {
  const issues: string[] = []
  // Imported artifacts may lack features; two such artifacts are assumed to be compatible.
  if (now.features === undefined && target.features === undefined) return issues
  if (now.features === undefined || target.features === undefined) return ['its manifest lists no features']
  if (!requestsStillFit(now.features, target.features)) {
    const sent = now.features
    const unsent = Object.entries(target.features).flatMap(([name, feature]) =>
      sent[name] === undefined && !mayBeAbsent(feature) ? [name] : [],
    )
    if (unsent.length > 0) issues.push(`it needs ${unsent.join(', ')}, which callers need not send now`)
    if (issues.length === 0) issues.push('it refuses values that are sent now')
  }
  if (now.output === undefined || target.output === undefined) issues.push('its output is unknown')
  else if (formOf(now.output) !== formOf(target.output))
    issues.push(`it answers ${describeForm(target.output)} instead of ${describeForm(now.output)}`)
  return issues
}

/** The message of a rollback to an incompatible version. */
export const incompatibilityReason = (versions: { from: string; to: string }, found: string[]): string =>
  `what callers of ${versions.from} send and read does not fit ${versions.to}: ${found.join(', ')}`
