/** Writes the files of a release page: the draft of a post-mortem, and the candidate's predictions that callers received. */
import { DomainError } from '../../../../domain/errors.ts'
import { disarmedCell } from '../../../../domain/values/csv-cell.ts'
import { listExposed, maxExposed } from '../../../../store/dashboard/release-detail.ts'
import type { ApiDeps } from '../../../deps.ts'
import type { RouteRequest, RouteResponse } from '../../../http/route.ts'
import { readSubject } from './load.ts'
import { exposedCounts, postMortem } from './rollback.tsx'
import { stageRows } from './stages.ts'

type Download = (deps: ApiDeps, ask: RouteRequest<unknown, unknown>) => Promise<RouteResponse>

const file = (text: string, type: string, name: string): RouteResponse => ({
  text,
  type: `${type}; charset=utf-8`,
  headers: {
    'content-disposition': `attachment; filename="${name}"`,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  },
})

export const downloadPostMortem: Download = async ({ store }, { params }) => {
  const subject = await readSubject(store, params['id']!)
  const { outcome, state } = subject.release
  if (outcome !== 'rolled_back')
    throw new DomainError('not_found', `${state.id} was not rolled back, so it has no post-mortem`)
  return file(postMortem(subject), 'text/markdown', `post-mortem-${state.version}.md`)
}

/** Quotes what would break a line, and disarms what a spreadsheet would run as a formula. */
function csvCell(value: string | number | undefined): string {
  if (typeof value !== 'string') return value === undefined ? '' : String(value)
  const text = disarmedCell(value)
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/**
 * Returns at most `maxExposed` rows, newest first. A failed request has its error code, its message and its inputs; a last line says how
 * many of the failed ones are kept.
 */
export const downloadExposed: Download = async ({ store }, { params }) => {
  const subject = await readSubject(store, params['id']!)
  const { state, startedAt, endedAt } = subject.release
  const rows = await listExposed(store, {
    ...state,
    fromAt: startedAt,
    toAt: endedAt ?? new Date().toISOString(),
  })
  const lines = rows.map(({ id, at, instances, latencyUs, routingKey, code, message, inputs }) =>
    [id, at, instances, latencyUs, routingKey, code, message, inputs && JSON.stringify(inputs)]
      .map(csvCell)
      .join(','),
  )
  const kept = rows.filter(({ code }) => code !== undefined).length
  const { bad } = exposedCounts(stageRows(subject))
  const more = rows.length === maxExposed ? [`# the newest ${maxExposed} rows`] : []
  if (bad > kept) more.push(`# ${bad} requests failed; ${kept} of them are kept with their inputs`)
  const text = [
    'prediction_id,at,instances,latency_us,routing_key,failure,message,inputs',
    ...lines,
    ...more,
    '',
  ].join('\n')
  return file(text, 'text/csv', `exposed-${state.version}.csv`)
}
