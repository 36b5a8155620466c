/** Asks another version the inputs that a version failed, so that a fault of the inputs is told from a fault of the version. */
import type { FailingComparison } from '../../domain/sequential/champion-watch.ts'
import { listFailedRequests } from '../../store/review/failed-requests.ts'
import { getVersion } from '../../store/registry/versions.ts'
import type { Deps } from '../deps.ts'
import { answersBy } from './decay.ts'

const maxRequests = 200

/**
 * Answers the newest failed requests of the version `from` since a time by the version `to`, in a process of its own. Older failures are
 * of another cause: a champion with few failures by chance would be rolled back in an outage that hits every version. Returns how many requests were
 * asked, and for how many of them `to` refuses a row or gives an invalid answer. A request of which not every row is kept is not asked. No
 * requests: no inputs are kept. Throws `artifact_invalid` when `to` cannot be opened.
 */
export async function compareFailing(
  deps: Pick<Deps, 'store' | 'artifacts' | 'config'>,
  { model, from, to, sinceMs }: { model: string; from: string; to: string; sinceMs: number },
): Promise<FailingComparison> {
  const failed = await listFailedRequests(deps.store, { model, version: from, sinceMs, limit: maxRequests })
  const whole = failed.filter(({ inputs, instances }) => inputs.length === instances)
  const rows = whole.flatMap(({ inputs }) => inputs.map((row) => ({ row })))
  if (rows.length === 0) return { requests: 0, formerFailed: 0 }
  const answers = await answersBy(deps, await getVersion(deps.store, to), rows)
  let at = 0
  const isFailed = ({ instances }: { instances: number }) =>
    answers.slice(at, (at += instances)).some((each) => each === null)
  return { requests: whole.length, formerFailed: whole.filter(isFailed).length }
}
