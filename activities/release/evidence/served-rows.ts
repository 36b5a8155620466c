/**
 * Compares what a candidate serves with the training path, while its stage is watched: the first rows, then one in a hundred. In a shadow
 * the rows come with its pairs, else from the prediction log. A check that cannot run is told as a problem; it neither fails nor passes
 * the candidate.
 */
import { outputWidth } from '@tenure/predictors/features'
import { isRemote } from '@tenure/predictors/format-names'
import { reasonOf } from '../../../domain/errors.ts'
import { readLoggedRows } from '../../../domain/model/logged-rows.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import {
  firstServedRows,
  laterServedRows,
  mergeSkew,
  type ServedRows,
} from '../../../domain/monitoring/training-serving-skew.ts'
import { observedStage, type ReleaseState } from '../../../domain/release/state.ts'
import { getVersion } from '../../../store/registry/versions.ts'
import { listServedRequests, listShadowRows, type ServedRequest } from '../../../store/release/evidence.ts'
import type { Deps } from '../../deps.ts'
import { replayLogged, type ServedRow } from '../../monitor/skew.ts'
import { unhurriedly } from './sparing-reads.ts'

export type ServedReader = (whole: boolean) => Promise<ServedRows>

/** The rows of one process after the first ones. */
const pageRows = 200
/** How long a look waits for a comparison. */
const waitMs = 500

export function servedReader(
  deps: Pick<Deps, 'store' | 'artifacts' | 'config' | 'log'>,
  state: ReleaseState,
): ServedReader {
  const { id: release, version } = state
  const { store, log } = deps
  const nextRequests = requestReader(deps, state)
  let seen: ServedRows = { compared: 0, mismatchedRows: 0, columns: [] }
  let after: ServedRequest | undefined
  /** After a comparison that has failed, as of a slow model in its time, the next one has fewer rows. */
  let maxRows = pageRows
  const readPage = async (): Promise<void> => {
    const isFirst = seen.compared < firstServedRows
    const limit = Math.min(maxRows, isFirst ? firstServedRows : pageRows)
    const requests = await nextRequests({ after, isFirst }, limit)
    if (requests.length === 0) return
    const registered = await getVersion(store, version)
    if (isRemote(registered.manifest)) {
      seen = { ...seen, problem: 'a server elsewhere answers, whose golden rows are asked instead' }
      return
    }
    const rows = requests.flatMap((request) => rowOf(request, registered.manifest) ?? [])
    const { report, reason } = rows.length === 0 ? {} : await replayLogged(deps, registered, rows)
    const unread = requests.length - (report?.compared ?? 0)
    const { problem: _problem, ...known } = seen
    seen = {
      ...mergeSkew(known, report),
      ...((reason ?? unread > 0) && {
        problem: reason ?? `${unread} of ${requests.length} rows cannot be read again`,
      }),
    }
    after = requests.at(-1)
  }
  const read = unhurriedly(async () => {
    try {
      if (seen.mismatchedRows === 0) await readPage()
    } catch (error) {
      seen = { ...seen, problem: reasonOf(error) }
      maxRows = Math.max(1, Math.floor(Math.min(maxRows, firstServedRows) / 4))
      log.warn({ release, version, error: seen.problem }, 'served rows could not be compared with training')
    }
    return seen
  }, waitMs)
  return async (whole) => {
    const { isUnread } = await read(whole)
    return isUnread ? { ...seen, isUnread } : seen
  }
}

type NextRequests = (
  at: { after: ServedRequest | undefined; isFirst: boolean },
  limit: number,
) => Promise<ServedRequest[]>

function requestReader({ store }: Pick<Deps, 'store'>, state: ReleaseState): NextRequests {
  const { id: release, model, version } = state
  if (observedStage(state) === 'shadow')
    return ({ after, isFirst }, limit) => listShadowRows(store, { release, version, after, isFirst }, limit)
  const fromMs = state.routings.at(-1)?.startedMs ?? 0
  return ({ after, isFirst }, limit) =>
    listServedRequests(
      store,
      { release, model, version, fromMs, after, isFirst, oneIn: isFirst ? 1 : laterServedRows },
      limit,
    )
}

/** One row of a request, at a place by its id. Undefined where its inputs are not in the log. */
function rowOf(
  { id, features, instances, outputs }: ServedRequest,
  { preprocessing: fits, output }: Manifest,
): ServedRow | undefined {
  const place = Number.parseInt(id.slice(24, 32), 16) % instances
  const row = readLoggedRows(features, fits, instances)?.[place]
  if (row === undefined) return undefined
  const width = outputWidth(output)
  const predictionId = instances === 1 ? id : id.slice(0, 32) + place.toString(16).padStart(4, '0')
  return { predictionId, row, outputs: outputs.slice(place * width, (place + 1) * width) }
}
