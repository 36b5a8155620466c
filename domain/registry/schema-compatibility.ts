/**
 * Whether callers could be given another version now: does it take what they send, and answer in the form that they read? A
 * rollback to a version with another schema would turn one model's trouble into an outage of every caller.
 */
import type { Manifest } from '../model/manifest.ts'
import { requestsStillFit } from './version.ts'

type Schema = Pick<Manifest, 'features' | 'output'>

/** Why callers of `now` could not be given `target`, in words; empty when they could. */
export function schemaIssues(now: Partial<Schema>, target: Partial<Schema>): string[] {
  const issues: string[] = []
  // Artifacts that no training of this house has made may say nothing; of two of them nothing is known to differ.
  if (now.features === undefined && target.features === undefined) return issues
  if (now.features === undefined || target.features === undefined)
    return ['its manifest says nothing of its features']
  if (!requestsStillFit(now.features, target.features)) {
    const [sent, read] = [Object.keys(now.features), Object.keys(target.features)]
    const unread = sent.filter((name) => !read.includes(name))
    const unsent = read.filter((name) => !sent.includes(name))
    if (unread.length > 0) issues.push(`it does not read ${unread.join(', ')}`)
    if (unsent.length > 0) issues.push(`it needs ${unsent.join(', ')}, which is not sent`)
    if (issues.length === 0) issues.push('it refuses values that are sent now')
  }
  if (now.output === undefined || target.output === undefined) issues.push('its output is not known')
  else if (formOf(now.output) !== formOf(target.output))
    issues.push(`it answers with ${target.output.kind} in another form than ${now.output.kind} of now`)
  return issues
}

/** What people are told when a version was returned to that callers of another one have to change for. */
export const incompatibilityReason = ({
  from,
  to,
  incompatibilities,
}: {
  from: string
  to: string
  incompatibilities: string[]
}): string => `what callers of ${from} send and read does not fit ${to}: ${incompatibilities.join(', ')}`

/** What a reader of the answers relies on. A threshold is no part of it. */
function formOf(output: Schema['output']): string {
  switch (output.kind) {
    case 'probability':
      return JSON.stringify([output.kind, output.positive])
    case 'classes':
      return JSON.stringify([output.kind, output.classes])
    case 'number':
      return JSON.stringify([output.kind, output.unit ?? null])
    default:
      return output satisfies never
  }
}
