/** A person takes an alert on, or says that it is over. Whoever is too late is told by whom it was done. */
import { DomainError } from '../../../../domain/errors.ts'
import { resolveAlertById } from '../../../../store/dashboard/alert-list.ts'
import { acknowledgeAlert, findAlert, type Alert } from '../../../../store/monitoring/alerts.ts'
import { appendAudit } from '../../../../store/audit/audit-log.ts'
import type { Database } from '../../../../store/postgres.ts'
import type { RouteResponse, RouteRequest } from '../../../http/route.ts'
import type { ApiDeps } from '../../../deps.ts'
import { requireModelAccess } from '../../../auth/authorization.ts'
import { pageHeaders } from '../../security-headers.ts'

const words = {
  acknowledge: { action: 'alert.acknowledged', do: acknowledgeAlert },
  resolve: {
    action: 'alert.resolved',
    do: (database: Database, { id }: { id: number }) => resolveAlertById(database, id),
  },
} as const

export async function updateAlert(
  { store, log }: ApiDeps,
  ask: RouteRequest<unknown, unknown>,
): Promise<RouteResponse> {
  const actor = ask.actor!
  const form = ask.body as Record<string, string>
  const word = form['word'] ?? ''
  if (!Object.hasOwn(words, word))
    throw new DomainError(
      'invalid_request',
      `word: is acknowledge or resolve, not ${JSON.stringify(word.slice(0, 40))}`,
    )
  const reason = (form['reason'] ?? '').trim()
  if (reason.length > 2_000) throw new DomainError('invalid_request', 'reason: has more than 2000 characters')
  const text = ask.params['id'] ?? ''
  const id = /^\d{1,15}$/.test(text) ? Number(text) : 0
  const found = id === 0 ? undefined : await findAlert(store, id)
  if (found === undefined) throw new DomainError('not_found', `there is no alert ${text.slice(0, 40)}`)
  if (found.model === undefined ? actor.models !== undefined : false)
    throw new DomainError('forbidden', `the key ${actor.name} may not touch what belongs to no model`)
  if (found.model !== undefined) requireModelAccess(actor, found.model)
  const said = words[word as keyof typeof words]
  await store.transaction(async (database) => {
    const done = await said.do(database, { id, by: actor.name })
    if (done === undefined) throw tooLate((await findAlert(database, id)) ?? found)
    await appendAudit(database, {
      actor: actor.name,
      action: said.action,
      subject: `alert/${id}`,
      model: done.model,
      detail: { kind: done.kind, reason: reason === '' ? null : reason },
    })
  })
  log.info({ alert: id, by: actor.name, word }, 'said to an alert')
  return { status: 303, headers: { ...pageHeaders, location: `/alerts#a${id}` } }
}

const tooLate = ({ id, resolvedAt, acknowledgedBy }: Alert): DomainError =>
  new DomainError(
    'command_refused',
    resolvedAt === undefined
      ? `${acknowledgedBy} looks after alert ${id} already`
      : `alert ${id} is over since ${resolvedAt}`,
  )
