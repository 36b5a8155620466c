/** Asks another version the inputs that a version failed, so that a fault of the inputs is told from a fault of the version. */
import { listFailedRequests } from '../../store/review/failed-requests.ts'
import { getVersion } from '../../store/registry/versions.ts'
import type { Deps } from '../deps.ts'
import { answersBy } from './decay.ts'

const maxRequests = 200

/**
 * Answers the newest failed requests of the version `from` by the version `to`, in a process of its own. Returns how many rows were asked
 * and how many of them `to` refuses or answers with a number that is not finite. No rows: no inputs are kept. Throws `artifact_invalid` when
 * `to` cannot be opened.
 */
export async function compareFailing(
  deps: Pick<Deps, 'store' | 'artifacts' | 'config'>,
  { model, from, to }: { model: string; from: string; to: string },
): Promise<{ rows: number; formerFailed: number }> {
  const failed = await listFailedRequests(deps.store, { model, version: from, limit: maxRequests })
  const rows = failed.flatMap(({ inputs }) => inputs.map((row) => ({ row })))
  if (rows.length === 0) return { rows: 0, formerFailed: 0 }
  const answers = await answersBy(deps, await getVersion(deps.store, to), rows)
  return { rows: rows.length, formerFailed: answers.filter((each) => each === null).length }
}
