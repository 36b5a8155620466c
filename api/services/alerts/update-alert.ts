/** Acknowledges and resolves alerts, for the API and the dashboard alike. */
import { DomainError, isError, requireFound } from '../../../domain/errors.ts'
import { appendAudit } from '../../../store/audit/audit-log.ts'
import {
  acknowledgeAlert,
  findAlert,
  listOfSameGroups,
  resolveAlertById,
  type Alert,
} from '../../../store/monitoring/alerts.ts'
import type { Actor } from '../../auth/authentication.ts'
import type { CommandDeps } from '../../deps.ts'

export const alertActions = ['acknowledge', 'resolve'] as const
export type AlertAction = (typeof alertActions)[number]

export interface UpdateAlertInput {
  id: string
  action: AlertAction
  reason?: string
}

const updates = {
  acknowledge: { audited: 'alert.acknowledged', update: acknowledgeAlert },
  resolve: { audited: 'alert.resolved', update: resolveAlertById },
} as const

/**
 * A repeated acknowledgement by the same key changes nothing. Throws `command_refused` when another key has acknowledged the alert, or
 * when it is resolved.
 */
export async function updateAlert(
  { store, log }: Pick<CommandDeps, 'store' | 'log'>,
  actor: Actor,
  { id: text, action, reason }: UpdateAlertInput,
): Promise<Alert> {
  const id = idOf(text)
  const found = requireFound(await findAlert(store, id), { what: 'alert', id: text })
  const { audited, update } = updates[action]
  const alert = await store.transaction(async (database) => {
    const updated = await update(database, { id, by: actor.name })
    if (updated === undefined) return unchanged((await findAlert(database, id)) ?? found, actor)
    await appendAudit(database, {
      actor: actor.name,
      action: audited,
      subject: `alert/${id}`,
      model: updated.model,
      detail: { kind: updated.kind, reason: reason ?? null },
    })
    return updated
  })
  log.info({ alert: id, by: actor.name, action }, 'alert updated')
  return alert
}

/**
 * Does the same to all open alerts of the groups of these alerts, up to each of them: a newer one has not been shown. One that another key
 * or the system has changed meanwhile is left as it is; where none is left to do it to, throws as for the alert itself.
 */
export async function updateAlertGroups(
  deps: Pick<CommandDeps, 'store' | 'log'>,
  actor: Actor,
  { ids, action, reason }: Omit<UpdateAlertInput, 'id'> & { ids: readonly string[] },
): Promise<Alert[]> {
  for (const id of ids) requireFound(await findAlert(deps.store, idOf(id)), { what: 'alert', id })
  const open = await listOfSameGroups(deps.store, ids.map(idOf))
  const updated: Alert[] = []
  let refusal: unknown
  for (const id of open.length === 0 ? ids : open)
    try {
      updated.push(await updateAlert(deps, actor, { id: String(id), action, reason }))
    } catch (error) {
      if (!isError(error, 'command_refused')) throw error
      refusal = error
    }
  if (updated.length === 0) throw refusal
  return updated
}

/** 0 for a text that is no id; no alert has it. */
const idOf = (text: string): number => (/^\d{1,15}$/.test(text) ? Number(text) : 0)

function unchanged(alert: Alert, { name }: Actor): Alert {
  const { id, resolvedAt, acknowledgedBy } = alert
  if (resolvedAt !== undefined)
    throw new DomainError('command_refused', `alert ${id} was resolved at ${resolvedAt}`)
  if (acknowledgedBy !== name)
    throw new DomainError('command_refused', `alert ${id} is acknowledged by ${acknowledgedBy}`)
  return alert
}
