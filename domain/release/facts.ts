/**
 * Separates the facts that a release was opened with from what its workflow reports. The facts are written once, when the release opens;
 * a state that Temporal returns may claim other facts.
 */
import type { ReleaseState } from './state.ts'

const names = [
  'id',
  'model',
  'version',
  'baseline',
  'requestedBy',
  'requestedByKey',
  'hotfix',
  'drill',
  'strategy',
  'policy',
  'latencyUs',
] as const satisfies readonly (keyof ReleaseState)[]
export const factNames: readonly string[] = names

/** The fields that no event of a release changes. */
export type OpenedFacts = Pick<ReleaseState, (typeof names)[number]>

export const factsOf = (state: ReleaseState): OpenedFacts =>
  Object.fromEntries(names.map((name) => [name, state[name]])) as unknown as OpenedFacts

/** Replaces the facts of a state. */
export function withFacts(state: ReleaseState, facts: OpenedFacts): ReleaseState {
  const rest = Object.entries(state).filter(([name]) => !factNames.includes(name))
  return { ...(Object.fromEntries(rest) as unknown as ReleaseState), ...facts }
}
