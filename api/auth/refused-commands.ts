/**
 * Records in the audit log that a key was refused a command: an approval by a viewer is worth knowing. At most one row a minute for each
 * key and command, so that a client in a loop does not fill the log.
 */
import { reasonOf } from '../../domain/errors.ts'
import { programRoles, type Role } from '../../domain/roles.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import type { ApiDeps } from '../deps.ts'
import type { Actor } from './authentication.ts'

const everyMs = 60_000

interface RefusedCommand {
  actor: Actor
  route: { method: string; path: string }
  /** The roles that may give the command; all for a public route. */
  roles: readonly Role[]
  /** The path as requested. */
  path: string
  message: string
}

export type NoteRefused = (refused: RefusedCommand) => void

/** Does not wait for the row: without Postgres, the refusal is answered all the same. */
export function createRefusalLog({ store, log }: Pick<ApiDeps, 'store' | 'log'>): NoteRefused {
  const lastMs = new Map<string, number>()
  return ({ actor, route, roles, path, message }: RefusedCommand): void => {
    if (!isCommand(route.method, roles)) return
    const command = `${route.method} ${route.path}`
    const key = `${actor.id} ${command}`
    const nowMs = performance.now()
    if (nowMs - (lastMs.get(key) ?? -Infinity) < everyMs) return
    lastMs.set(key, nowMs)
    const detail = { command, role: actor.role, reason: message }
    const row = { actor: actor.name, action: 'access.refused', subject: path.slice(0, 200), detail }
    store
      .transaction((database) => appendAudit(database, row))
      .catch((error: unknown) => log.warn({ error: reasonOf(error) }, 'a refused command was not recorded'))
  }
}

/** Predictions, outcomes, events and requests to public routes are no commands: programs may send them. */
const isCommand = (method: string, roles: readonly Role[]): boolean =>
  method !== 'get' && !roles.some((role) => programRoles.includes(role))
