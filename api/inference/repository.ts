/** Lists the versions that this replica serves, in the format of the protocol's model repository extension. */
import { liveOf } from '../serving/request/choose-arm.ts'
import type { Serving } from '../serving/replica-assembly.ts'

export interface RepositoryEntry {
  name: string
  version: string
  state: 'READY' | 'UNAVAILABLE'
  reason: string
}

/** Returns the versions that a request may name, by model and version. */
export function repositoryOf(
  { routing, now }: Pick<Serving, 'routing' | 'now'>,
  isVisible: (model: string) => boolean,
): RepositoryEntry[] {
  const entries = [...routing.live()].flatMap((live): RepositoryEntry[] => {
    const name = live.route.model
    if (!isVisible(name)) return []
    const refusal = refusalOf(() => liveOf(routing, name))
    return [...routing.tableOf(live, now()).pinned].map(([version, { loaded }]) => {
      const reason = refusal ?? loaded.predictor.trouble?.() ?? ''
      return { name, version, state: reason === '' ? 'READY' : 'UNAVAILABLE', reason }
    })
  })
  const served = new Set(entries.map(({ name }) => name))
  const failed = [...routing.problems()].flatMap(([name, { text }]): RepositoryEntry[] =>
    served.has(name) || !isVisible(name) ? [] : [{ name, version: '', state: 'UNAVAILABLE', reason: text }],
  )
  return [...entries, ...failed].sort((a, b) => compare(a.name, b.name) || compare(a.version, b.version))
}

const compare = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0)

function refusalOf(check: () => unknown): string | undefined {
  try {
    check()
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}
